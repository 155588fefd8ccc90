/* Session tickets: what one gateway seals another opens, as long as it holds the key; and nobody gets one who must not. */
#include <openssl/err.h>
#include <stdlib.h>

#include "../check.h"
#include "ca.h"
#include "common/obj.h"
#include "net/hello.h"
#include "net/tls_ctx.h"
#include "net/tls_tickets.h"

static SSL_SESSION *kept;   /* by the client, of its last connection */

static struct tls_store *gateway(bool ask_clients)
{
	static const char *const none[] = {NULL};
	char why[300] = "";
	struct tls_store_options o = {
		.dirs = none, .state_dir = ca_folder(), .public_host = "gw.example", .ask_clients = ask_clients};
	struct tls_store *t = tls_store_load(&o, why, sizeof why);

	CHECK(t != NULL);
	return t;
}

static struct tls_ticket_key key(char c)
{
	struct tls_ticket_key k;

	memset(&k, c, sizeof k);
	return k;
}

/* What the client's first words tell before the server has read them; too little of them tells nothing, and more only the same. */
static enum hello look(BIO *s)
{
	char *p;
	int n = BIO_nread0(s, &p);
	enum hello told = hello_look((struct slice){p, (size_t)n}), now = HELLO_PARTIAL;

	for (int i = 0; i < n; i++) {
		char *exact = malloc((size_t)i > 0 ? (size_t)i : 1); /* a sanitizer sees a step beyond */
		enum hello before = now;

		memcpy(exact, p, (size_t)i);
		now = hello_look((struct slice){exact, (size_t)i});
		for (int wrong = 0; wrong < i; wrong++) { /* a length that lies must not lead beyond the end */
			exact[wrong] = '\xff';
			(void)hello_look((struct slice){exact, (size_t)i});
			exact[wrong] = p[wrong];
		}
		CHECK(now == HELLO_PARTIAL || now == told);
		CHECK(before == HELLO_PARTIAL || now == before);
		free(exact);
	}
	return told;
}

static void pump(SSL *client, SSL *server, enum hello *told)
{
	BIO *c, *s;
	char x;

	BIO_new_bio_pair(&c, 65536, &s, 65536);
	SSL_set_bio(client, c, c);
	SSL_set_bio(server, s, s);
	(void)SSL_do_handshake(client);
	*told = look(s);
	for (int i = 0; i < 10; i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
		(void)SSL_read(client, &x, 1); /* TLS 1.3's tickets come after the handshake */
	}
	ERR_clear_error();
}

/* A connection with the session kept, if any. 1: resumed, 0: a full handshake, -1: none. */
static int shake(struct tls_store *t, const struct tls_tickets *tickets, enum tls_role role, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *client, *server = tls_store_ssl(t, role, NULL, NULL, NULL);
	int how;

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	client = SSL_new(ctx);
	if (kept != NULL)
		CHECK_EQ(SSL_set_session(client, kept), 1);
	SSL_set_connect_state(client);
	if (tickets != NULL)
		tls_tickets_use(server, tickets);
	bool shows = kept != NULL;
	enum hello told;

	pump(client, server, &told);
	CHECK_EQ(told, shows ? HELLO_RETURNING : HELLO_NEW);
	how = !SSL_is_init_finished(client) || !SSL_is_init_finished(server) ? -1 : SSL_session_reused(server);
	CHECK_EQ(SSL_session_reused(client), how == 1);
	SSL_SESSION_free(kept);
	kept = SSL_get1_session(client);
	SSL_shutdown(client);
	SSL_free(client);
	SSL_free(server);
	SSL_CTX_free(ctx);
	return how;
}

static void forget(void)
{
	SSL_SESSION_free(kept);
	kept = NULL;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void test_another_gateway_resumes(void)
{
	struct tls_store *a = gateway(false), *b = gateway(false);
	struct tls_tickets at_a = {.nr = 2, .key = {key('1'), key('0')}}, at_b = at_a;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		CHECK_EQ(shake(a, &at_a, TLS_C2S, versions[i]), 0);
		CHECK_EQ(shake(b, &at_b, TLS_C2S, versions[i]), 1);
		CHECK_EQ(shake(a, &at_a, TLS_C2S, versions[i]), 1);
		forget();
	}
	tls_store_unref(a);
	tls_store_unref(b);
}

/* The slot passes: its neighbour opens and renews, a later one does not. */
static void test_rotation(void)
{
	struct tls_store *a = gateway(false);
	struct tls_tickets first = {.nr = 1, .key = {key('1')}}, next = {.nr = 2, .key = {key('2'), key('1')}},
			   third = {.nr = 2, .key = {key('3'), key('2')}};

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		CHECK_EQ(shake(a, &first, TLS_C2S, versions[i]), 0);
		CHECK_EQ(shake(a, &next, TLS_C2S, versions[i]), 1);
		CHECK_EQ(shake(a, &third, TLS_C2S, versions[i]), 1); /* the ticket was renewed */
		CHECK_EQ(shake(a, &first, TLS_C2S, versions[i]), 0);
		CHECK_EQ(shake(a, &third, TLS_C2S, versions[i]), 0);
		forget();
	}
	tls_store_unref(a);
}

static void test_a_changed_ticket_is_no_ticket(void)
{
	struct tls_store *a = gateway(false);
	struct tls_tickets real = {.nr = 1, .key = {key('1')}}, forged = real;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		memset(forged.key[0].mac, 'x', sizeof forged.key[0].mac);
		CHECK_EQ(shake(a, &forged, TLS_C2S, versions[i]), 0);
		CHECK_EQ(shake(a, &real, TLS_C2S, versions[i]), 0);
		forget();
	}
	tls_store_unref(a);
}

/* Without keys, and where a certificate is asked for, connections are made and no ticket is given. */
static void test_none(void)
{
	struct tls_store *a = gateway(false), *asking = gateway(true);
	struct tls_tickets none = {.nr = 0}, some = {.nr = 1, .key = {key('1')}};

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		CHECK_EQ(shake(a, &none, TLS_C2S, versions[i]), 0);
		CHECK(kept == NULL || !SSL_SESSION_has_ticket(kept));
		forget();
		CHECK_EQ(shake(a, NULL, TLS_C2S, versions[i]), 0);
		CHECK(kept == NULL || !SSL_SESSION_has_ticket(kept));
		forget();
		CHECK_EQ(shake(a, &some, TLS_S2S_IN, versions[i]), 0);
		CHECK(kept == NULL || !SSL_SESSION_has_ticket(kept));
		forget();
		CHECK_EQ(shake(asking, &some, TLS_C2S, versions[i]), 0);
		CHECK(kept == NULL || !SSL_SESSION_has_ticket(kept));
		forget();
		/* one that was given before the keys went */
		CHECK_EQ(shake(a, &some, TLS_C2S, versions[i]), 0);
		CHECK_EQ(shake(a, &none, TLS_C2S, versions[i]), 0);
		forget();
	}
	tls_store_unref(a);
	tls_store_unref(asking);
}

int main(void)
{
	RUN(test_another_gateway_resumes);
	RUN(test_rotation);
	RUN(test_a_changed_ticket_is_no_ticket);
	RUN(test_none);
	return check_done("net.tickets");
}
