/* What TLS lets a peer send besides data: no connection may hold the loop with it. */
#include <openssl/err.h>
#include <sys/socket.h>

#include "../check.h"
#include "net/conn_int.h"
#include "pair.h"

#define SOCKET_BYTES (4 << 20)

static SSL *peer;       /* the test's end, over raw */
static BIO *out;        /* what it has to say */

/* What the peer has written goes out, as far as the kernel takes it: what is left. */
static size_t push(void)
{
	char *p;
	long n = BIO_get_mem_data(out, &p);
	ssize_t sent = n > 0 ? send(raw, p, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
	char gone[4096];

	for (ssize_t left = sent; left > 0;)
		left -= BIO_read(out, gone, left < (ssize_t)sizeof gone ? (int)left : (int)sizeof gone);
	return (size_t)n - (size_t)(sent > 0 ? sent : 0);
}

static void pull(BIO *in)
{
	char bytes[16384];
	ssize_t n;

	while ((n = recv(raw, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
		CHECK_EQ(BIO_write(in, bytes, (int)n), n);
}

static void begin(int version)
{
	int room = SOCKET_BYTES;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *in = BIO_new(BIO_s_mem());

	pair_begin();
	pair_raw();
	setsockopt(raw, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	setsockopt(b.conn->ch.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	conn_start_tls(b.conn, pair_ssl(true));
	SSL_CTX_set_max_proto_version(ctx, version);
	peer = SSL_new(ctx);
	SSL_CTX_free(ctx);
	out = BIO_new(BIO_s_mem());
	SSL_set_bio(peer, in, out);
	SSL_set_connect_state(peer);
	for (int i = 0; i < 1000 && (b.nr_tls == 0 || !SSL_is_init_finished(peer)); i++) {
		pull(in);
		(void)SSL_do_handshake(peer);
		(void)push();
		loop_turn(loop);
	}
	CHECK_EQ(b.nr_tls, 1);
}

static void end(void)
{
	SSL_free(peer);
	pair_end();
}

static void new_keys(int kind, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		CHECK_EQ(SSL_key_update(peer, kind), 1);
		CHECK_EQ(SSL_do_handshake(peer), 1);
	}
}

static void say(const char *text)
{
	CHECK_EQ(SSL_write(peer, text, (int)strlen(text)), (int)strlen(text));
	CHECK_EQ(push(), 0);
}

static void refused(void)
{
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_TLS_FAILED);
	CHECK_STR(b.text, "handshake messages on an open connection");
	CHECK_EQ(buf_len(&b.in), 0);
	end();
}

/* RFC 8446 section 4.6.3: as often as anybody needs, and data behind them comes. */
static void test_some_new_keys(void)
{
	begin(0);
	for (unsigned i = 0; i < 100; i++) {
		new_keys(i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED, i == 0 ? 31 : 1);
		say("x");
	}
	CHECK(run_until_in(&b, 100));
	CHECK_EQ(b.nr_closed, 0);
	end();
}

/* Without end they would be all that the loop does. */
static void test_new_keys_without_end(void)
{
	begin(0);
	new_keys(SSL_KEY_UPDATE_NOT_REQUESTED, 4000);
	say("hello");
	refused();
}

static void test_new_keys_wanted_without_end(void)
{
	begin(0);
	new_keys(SSL_KEY_UPDATE_REQUESTED, 4000);
	say("hello");
	refused();
}

/* RFC 6120 section 5.3.5 */
static void test_renegotiation(void)
{
	begin(TLS1_2_VERSION);
	CHECK_EQ(SSL_renegotiate(peer), 1);
	(void)SSL_do_handshake(peer);
	CHECK_EQ(push(), 0);
	refused();
}

int main(void)
{
	RUN(test_some_new_keys);
	RUN(test_new_keys_without_end);
	RUN(test_new_keys_wanted_without_end);
	RUN(test_renegotiation);
	return check_done("net_tls_flood");
}
