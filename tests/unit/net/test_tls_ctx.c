/* Certificates on disk, chosen by name; what handshakes accept; channel bindings; trust. */
/* lint: long file because the cases share one authority and its folders */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../check.h"
#include "ca.h"
#include "common/obj.h"
#include "net/tls_ctx.h"

static struct ca_cert root, inter, one, two, wild, old, srv, cn_only, other_cn, client_only;
static char why[300];

static void make_all(void)
{
	ca_make(&root, &(struct ca_params){.cn = "Root", .is_ca = 1});
	ca_make(&inter, &(struct ca_params){.cn = "Intermediate", .is_ca = 1, .issuer = &root});
	ca_make(&one,
		&(struct ca_params){.cn = "one", .san = "DNS:One.Example,DNS:www.one.example", .eku = "serverAuth", .issuer = &inter});
	ca_make(&two, &(struct ca_params){.cn = "two", .san = "DNS:two.example", .issuer = &root, .rsa_bits = 2048});
	ca_make(&wild, &(struct ca_params){.cn = "wild", .san = "DNS:*.two.example", .issuer = &root});
	ca_make(&old, &(struct ca_params){
			      .cn = "old", .san = "DNS:old.example,DNS:one.example", .from_days = -60, .to_days = -1, .issuer = &root});
	ca_make(&srv, &(struct ca_params){.cn = "srv",
					  .san = "otherName:1.3.6.1.5.5.7.8.7;IA5:_xmpp-server.srv.example,otherName:1.3.6.1.5.5.7.8.5;"
						 "UTF8:addr.example,otherName:1.3.6.1.5.5.7.8.5;UTF8:user@no.example"});
	ca_make(&cn_only, &(struct ca_params){.cn = "cn.example"});
	ca_make(&other_cn, &(struct ca_params){.cn = "believed.example", .san = "DNS:real.example"});
	ca_make(&client_only, &(struct ca_params){.cn = "client", .san = "DNS:client.example", .eku = "clientAuth", .issuer = &root});
}

static void clear_all(void)
{
	struct ca_cert *all[] = {&root, &inter, &one, &two, &wild, &old, &srv, &cn_only, &other_cn, &client_only};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		ca_clear(all[i]);
}

static struct tls_store *load(const char *dir, const char *state)
{
	const char *const dirs[] = {"/nonexistent/certs", dir, NULL};

	why[0] = '\0';
	return tls_store_load(&(struct tls_store_options){.dirs = dirs, .state_dir = state, .public_host = "gw.example"}, why, sizeof why);
}

static void put(const char *dir, const char *name, const struct ca_cert *c, bool key_inside, const char *key_name)
{
	ca_write(ca_path(dir, name), &c->x509, 1, key_inside ? c->key : NULL);
	if (key_name)
		ca_write(ca_path(dir, key_name), NULL, 0, c->key);
}

/* --- handshakes in memory ------------------------------------------------ */

static _Thread_local SSL *client, *server;

/* Pumps until both are done or one fails. */
static bool shake(void)
{
	BIO *c, *s;
	int done_c = 0, done_s = 0;

	BIO_new_bio_pair(&c, 65536, &s, 65536);
	SSL_set_bio(client, c, c);
	SSL_set_bio(server, s, s);
	ERR_clear_error();
	for (int i = 0; i < 20 && (done_c != 1 || done_s != 1); i++) {
		if (done_c != 1)
			done_c = SSL_do_handshake(client);
		if (done_s != 1)
			done_s = SSL_do_handshake(server);
	}
	/* a server's refusal of TLS 1.3's last flight comes after the client is done */
	char x;
	if (done_c == 1 && done_s == 1)
		(void)SSL_read(client, &x, 1);
	return done_c == 1 && done_s == 1;
}

static void part(void)
{
	SSL_free(client);
	SSL_free(server);
	client = server = NULL;
	ERR_clear_error();
}

/* The common name of the certificate that a client is shown. */
static const char *shown(struct tls_store *t, const char *hint, const char *sni)
{
	static char cn[64];

	client = tls_store_ssl(t, TLS_S2S_OUT, sni, NULL, NULL);
	server = tls_store_ssl(t, TLS_C2S, hint, NULL, NULL);
	snprintf(cn, sizeof cn, "none");
	if (shake())
		X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(client)), NID_commonName, cn, sizeof cn);
	part();
	return cn;
}

/* --- what is found ------------------------------------------------------- */

static void test_layouts(void)
{
	const char *dir = ca_folder();
	X509 *chain[] = {one.x509, inter.x509};
	struct tls_store *t;

	put(dir, "a.pem", &two, true, NULL);                         /* key in the file */
	put(dir, "srv.crt", &srv, false, "srv.key");                 /* NAME.key */
	put(dir, "wild.pem", &wild, false, "wild.pem.key");
	mkdir(ca_path(dir, "one.example"), 0700);                    /* letsencrypt */
	ca_write(ca_path(dir, "one.example/fullchain.pem"), chain, 2, NULL);
	ca_write(ca_path(dir, "one.example/cert.pem"), chain, 1, NULL);
	ca_write(ca_path(dir, "one.example/chain.pem"), chain + 1, 1, NULL);
	ca_write(ca_path(dir, "one.example/privkey.pem"), NULL, 0, one.key);
	ca_write_text(ca_path(dir, "README"), "nothing here\n");
	ca_write_text(ca_path(dir, "broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	ca_write(ca_path(dir, "ssl-cert-snakeoil.key"), NULL, 0, two.key);
	CHECK_EQ(mkfifo(ca_path(dir, "fifo.pem"), 0600), 0);         /* must not hang */
	t = load(dir, ca_folder());
	CHECK(t != NULL);
	CHECK(tls_store_self_signed(t) == NULL);
	CHECK(tls_store_has(t, "two.example"));
	CHECK(tls_store_has(t, "srv.example"));
	CHECK(tls_store_has(t, "addr.example"));
	CHECK(tls_store_has(t, "one.example"));
	CHECK(tls_store_has(t, "WWW.one.EXAMPLE"));
	CHECK(tls_store_has(t, "any.two.example"));
	CHECK(!tls_store_has(t, "a.b.two.example"));
	CHECK(!tls_store_has(t, "no.example"));
	CHECK(!tls_store_has(t, "user@no.example"));
	CHECK(!tls_store_has(t, "one.example."));
	CHECK(!tls_store_has(t, "*.two.examples"));
	CHECK(!tls_store_has(t, ""));
	/* the whole chain is shown */
	client = tls_store_ssl(t, TLS_S2S_OUT, "one.example", NULL, NULL);
	server = tls_store_ssl(t, TLS_C2S, NULL, NULL, NULL);
	CHECK(shake());
	CHECK_EQ(sk_X509_num(SSL_get_peer_cert_chain(client)), 2);
	part();
	tls_store_unref(t);
}

static void test_choice(void)
{
	const char *dir = ca_folder();
	struct tls_store *t;

	put(dir, "1.pem", &one, true, NULL);
	put(dir, "2.pem", &two, true, NULL);
	put(dir, "3.pem", &wild, true, NULL);
	t = load(dir, ca_folder());
	CHECK(t != NULL);
	CHECK_STR(shown(t, NULL, "two.example"), "two");
	CHECK_STR(shown(t, "one.example", "two.example"), "two");        /* SNI before `to` */
	CHECK_STR(shown(t, "two.example", "redirected.example"), "two"); /* SNI that we do not hold: `to` */
	CHECK_STR(shown(t, "x.two.example", NULL), "wild");
	CHECK_STR(shown(t, NULL, NULL), "one");                          /* the first */
	CHECK_STR(shown(t, "nobody.example", "127.0.0.1"), "one");
	tls_store_unref(t);
	/* the gateway's own name is the default's */
	struct ca_cert own;
	ca_make(&own, &(struct ca_params){.cn = "own", .san = "DNS:gw.example"});
	put(dir, "9.pem", &own, true, NULL);
	t = load(dir, ca_folder());
	CHECK_STR(shown(t, NULL, NULL), "own");
	tls_store_unref(t);
	ca_clear(&own);
}

static void test_common_name(void)
{
	const char *dir = ca_folder();
	struct tls_store *t;

	put(dir, "1.pem", &cn_only, true, NULL);
	put(dir, "2.pem", &other_cn, true, NULL);
	t = load(dir, ca_folder());
	CHECK(tls_store_has(t, "cn.example"));
	CHECK(!tls_store_has(t, "believed.example"));
	CHECK(tls_store_has(t, "real.example"));
	tls_store_unref(t);
}

static void test_expired(void)
{
	const char *dir = ca_folder();
	struct tls_store *t;

	put(dir, "0.pem", &old, true, NULL);
	t = load(dir, ca_folder());
	CHECK(tls_store_self_signed(t) == NULL);                     /* better than one that nobody trusts */
	CHECK_STR(shown(t, NULL, NULL), "old");
	tls_store_unref(t);
	put(dir, "1.pem", &one, true, NULL);
	t = load(dir, ca_folder());
	CHECK_STR(shown(t, NULL, "one.example"), "one");
	CHECK_STR(shown(t, NULL, "old.example"), "old");
	CHECK_STR(shown(t, NULL, NULL), "one");
	tls_store_unref(t);
}

/* A renewed certificate wins wherever it was put. */
static void test_renewed(void)
{
	const char *dir = ca_folder();
	struct ca_cert renewed;
	struct tls_store *t;

	ca_make(&renewed, &(struct ca_params){.cn = "renewed", .san = "DNS:one.example", .from_days = -1, .to_days = 80});
	put(dir, "a.pem", &one, true, NULL);
	put(dir, "z.pem", &renewed, true, NULL);
	t = load(dir, ca_folder());
	CHECK_STR(shown(t, "one.example", NULL), "renewed");
	CHECK_STR(shown(t, "www.one.example", NULL), "one");
	tls_store_unref(t);
	ca_clear(&renewed);
}

static void test_unusable(void)
{
	const char *dir = ca_folder(), *state = ca_folder();
	struct ca_cert tiny;
	struct tls_store *t;

	ca_make(&tiny, &(struct ca_params){.cn = "tiny", .san = "DNS:tiny.example", .rsa_bits = 1024});
	put(dir, "nokey.pem", &one, false, NULL);
	put(dir, "wrong.pem", &two, false, NULL);
	ca_write(ca_path(dir, "wrong.key"), NULL, 0, one.key);
	put(dir, "authority.pem", &root, false, NULL);
	put(dir, "tiny.pem", &tiny, true, NULL);
	ca_write(ca_path(dir, "locked.pem"), &wild.x509, 1, NULL);
	ca_write_text(ca_path(dir, "locked.key"), "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHs\n-----END ENCRYPTED PRIVATE KEY-----\n");
	t = load(dir, state);
	CHECK(t != NULL);
	CHECK(t && tls_store_self_signed(t) != NULL);
	CHECK(!tls_store_has(t, "tiny.example"));
	tls_store_unref(t);
	ca_clear(&tiny);
}

/* --- self-signed --------------------------------------------------------- */

static long file_serial(const char *path)
{
	FILE *f = fopen(path, "r");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
	uint64_t serial = 0;

	if (f)
		fclose(f);
	if (x)
		ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(x));
	if (x) {
		CHECK_EQ(X509_check_host(x, "gw.example", 0, 0, NULL), 1);
		CHECK_EQ(X509_check_host(x, "localhost", 0, 0, NULL), 1);
		CHECK_EQ(EVP_PKEY_get_base_id(X509_get0_pubkey(x)), EVP_PKEY_EC);
	}
	X509_free(x);
	return (long)serial;
}

static void test_self_signed(void)
{
	const char *state = ca_folder();
	struct stat st;
	struct tls_store *t = load(NULL, state);

	CHECK(t != NULL);
	CHECK_STR(tls_store_self_signed(t), ca_path(state, "self-signed.crt"));
	CHECK(!tls_store_has(t, "gw.example")); /* nobody trusts it */
	CHECK(stat(ca_path(state, "self-signed.key"), &st) == 0 && (st.st_mode & 0777) == 0600);
	CHECK(stat(ca_path(state, "self-signed.crt"), &st) == 0 && (st.st_mode & 0777) == 0644);
	CHECK_STR(shown(t, "any.example", "other.example"), "Ambrosia self-signed");
	tls_store_unref(t);
	long serial = file_serial(ca_path(state, "self-signed.crt"));
	CHECK(serial != 0);
	tls_store_unref(load(NULL, state));
	CHECK_EQ(file_serial(ca_path(state, "self-signed.crt")), serial); /* kept */
	unlink(ca_path(state, "self-signed.key"));
	tls_store_unref(load(NULL, state));
	long again = file_serial(ca_path(state, "self-signed.crt"));
	CHECK(again != serial);
	ca_write(ca_path(state, "self-signed.key"), NULL, 0, one.key); /* another's key */
	t = load(NULL, state);
	CHECK(t != NULL);
	tls_store_unref(t);
	CHECK(file_serial(ca_path(state, "self-signed.crt")) != again);
	put(state, "self-signed.crt", &old, false, "self-signed.key");
	t = load(NULL, state);
	CHECK_STR(shown(t, NULL, NULL), "Ambrosia self-signed");
	tls_store_unref(t);
}

static void test_self_signed_odd_hosts(void)
{
	const char *const hosts[] = {NULL, "", "localhost", "a,DNS:evil.example", "no spaces", "\xc3\xbc.example"};
	const char *const none[] = {NULL};

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		const char *state = ca_folder();
		struct tls_store *t = tls_store_load(&(struct tls_store_options){.dirs = none, .state_dir = state, .public_host = hosts[i]},
						     why, sizeof why);
		FILE *f = fopen(ca_path(state, "self-signed.crt"), "r");
		X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

		CHECK(t != NULL && x != NULL);
		CHECK_EQ(X509_check_host(x, "localhost", 0, 0, NULL), 1);
		CHECK_EQ(X509_check_host(x, "evil.example", 0, 0, NULL), 0);
		X509_free(x);
		fclose(f);
		tls_store_unref(t);
	}
}

static void test_no_state_dir(void)
{
	CHECK(load(NULL, "/nonexistent/state") == NULL);
	CHECK(strstr(why, "--state-dir") != NULL);
}

/* --- protocols ----------------------------------------------------------- */

static struct tls_store *plain_store(void)
{
	const char *dir = ca_folder();

	put(dir, "1.pem", &one, true, NULL);
	put(dir, "2.pem", &two, true, NULL);
	return load(dir, ca_folder());
}

static bool shake_with(struct tls_store *t, int min, int max, const char *ciphers, const char *groups)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, min);
	SSL_CTX_set_max_proto_version(ctx, max);
	if (ciphers)
		CHECK_EQ(SSL_CTX_set_cipher_list(ctx, ciphers), 1);
	if (groups)
		CHECK_EQ(SSL_CTX_set1_groups_list(ctx, groups), 1);
	client = SSL_new(ctx);
	SSL_set_connect_state(client);
	server = tls_store_ssl(t, TLS_C2S, "two.example", NULL, NULL);
	SSL_CTX_free(ctx);
	return shake();
}

static void test_versions(void)
{
	struct tls_store *t = plain_store();

	CHECK(!shake_with(t, TLS1_VERSION, TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL));
	part();
	CHECK(shake_with(t, TLS1_2_VERSION, TLS1_2_VERSION, NULL, NULL));
	CHECK_STR(SSL_get_version(server), "TLSv1.2");
	part();
	CHECK(shake_with(t, TLS1_2_VERSION, TLS1_3_VERSION, NULL, NULL));
	CHECK_STR(SSL_get_version(server), "TLSv1.3");
	CHECK_EQ(SSL_get_negotiated_group(server), NID_X25519);
	part();
	CHECK(shake_with(t, TLS1_3_VERSION, TLS1_3_VERSION, NULL, "P-521:P-384"));
	CHECK_EQ(SSL_get_negotiated_group(server), NID_secp384r1);
	part();
	CHECK(!shake_with(t, TLS1_3_VERSION, TLS1_3_VERSION, NULL, "P-521"));
	part();
	tls_store_unref(t);
}

static void test_ciphers(void)
{
	static const char *const good[] = {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"};
	static const char *const bad[] = {
		"AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES128-GCM-SHA256",
		"AES128-SHA",        "ADH-AES128-GCM-SHA256",   "ECDHE-RSA-AES128-CCM"};
	struct tls_store *t = plain_store();

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CHECK(shake_with(t, TLS1_2_VERSION, TLS1_2_VERSION, good[i], NULL));
		part();
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char list[100];
		SSL_CTX *probe = SSL_CTX_new(TLS_client_method());

		snprintf(list, sizeof list, "%s:@SECLEVEL=0", bad[i]);
		if (SSL_CTX_set_cipher_list(probe, list) == 1) {
			CHECK(!shake_with(t, TLS1_2_VERSION, TLS1_2_VERSION, list, NULL));
			part();
		}
		SSL_CTX_free(probe);
	}
	/* ours is the preference, but for a client that puts ChaCha first because it has no AES in hardware */
	CHECK(shake_with(t, TLS1_2_VERSION, TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256", NULL));
	CHECK_STR(SSL_get_cipher(server), "ECDHE-RSA-AES128-GCM-SHA256");
	part();
	CHECK(shake_with(t, TLS1_2_VERSION, TLS1_2_VERSION, "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256", NULL));
	CHECK_STR(SSL_get_cipher(server), "ECDHE-RSA-CHACHA20-POLY1305");
	part();
	tls_store_unref(t);
}

static bool shake_alpn(struct tls_store *t, const char *offer, const char *want)
{
	client = tls_store_ssl(t, TLS_S2S_OUT, "one.example", NULL, offer);
	server = tls_store_ssl(t, TLS_C2S, NULL, NULL, want);
	return shake();
}

static bool selected(SSL *ssl, const char *name)
{
	const unsigned char *p;
	unsigned n;

	SSL_get0_alpn_selected(ssl, &p, &n);
	return slice_is((struct slice){(const char *)p, n}, name);
}

static void test_alpn(void)
{
	struct tls_store *t = plain_store();
	static const unsigned char several[] = "\2h2\x0bxmpp-client";

	CHECK(shake_alpn(t, "xmpp-client", "xmpp-client"));
	CHECK(selected(client, "xmpp-client"));
	part();
	CHECK(!shake_alpn(t, "xmpp-server", "xmpp-client"));
	CHECK_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL); /* the client was told */
	part();
	CHECK(shake_alpn(t, NULL, "xmpp-client")); /* XEP-0368 */
	CHECK(selected(client, ""));
	part();
	CHECK(shake_alpn(t, "xmpp-client", NULL)); /* STARTTLS: none of our business */
	CHECK(selected(client, ""));
	part();
	client = tls_store_ssl(t, TLS_S2S_OUT, "one.example", NULL, NULL);
	SSL_set_alpn_protos(client, several, sizeof several - 1);
	server = tls_store_ssl(t, TLS_C2S, NULL, NULL, "xmpp-client");
	CHECK(shake() && selected(server, "xmpp-client"));
	part();
	tls_store_unref(t);
}

/* No tickets without keys to seal them, no renegotiation, no early data. */
static void test_habits(void)
{
	struct tls_store *t = plain_store();

	server = tls_store_ssl(t, TLS_C2S, NULL, NULL, NULL);
	CHECK_EQ(SSL_get_num_tickets(server), 0); /* test_tickets.c has them */
	CHECK_EQ(SSL_get_verify_mode(server), SSL_VERIFY_NONE);
	CHECK(SSL_get_options(server) & SSL_OP_NO_RENEGOTIATION);
	CHECK(SSL_get_options(server) & SSL_OP_NO_COMPRESSION);
	CHECK(SSL_get_mode(server) & SSL_MODE_RELEASE_BUFFERS);
	CHECK_EQ(SSL_get_max_early_data(server), 0);
	part();
	server = tls_store_ssl(t, TLS_S2S_IN, NULL, NULL, NULL);
	CHECK_EQ(SSL_get_num_tickets(server), 0);
	CHECK(SSL_get_verify_mode(server) & SSL_VERIFY_PEER);
	part();
	tls_store_unref(t);
	const char *const none[] = {NULL};
	t = tls_store_load(
		&(struct tls_store_options){.dirs = none, .state_dir = ca_folder(), .public_host = "gw.example", .ask_clients = true}, why,
		sizeof why);
	server = tls_store_ssl(t, TLS_C2S, NULL, NULL, NULL);
	CHECK(SSL_get_verify_mode(server) & SSL_VERIFY_PEER);
	part();
	tls_store_unref(t);
}

/* A reload in the middle of a connection: the SSL keeps what it needs. */
static void test_reload(void)
{
	struct tls_store *t = plain_store();

	client = tls_store_ssl(t, TLS_S2S_OUT, "two.example", NULL, NULL);
	server = tls_store_ssl(t, TLS_C2S, NULL, NULL, NULL);
	tls_store_unref(t);
	CHECK(shake());
	part();
}

static void *work(void *arg)
{
	struct tls_store *t = arg;
	static const char *const names[] = {"one.example", "two.example", "nobody.example"};
	uintptr_t bad = 0;

	for (size_t i = 0; i < 30; i++) {
		client = tls_store_ssl(t, TLS_S2S_OUT, names[i % 3], "one.example", NULL);
		server = tls_store_ssl(t, i % 2 ? TLS_S2S_IN : TLS_C2S, names[(i + 1) % 3], NULL, NULL);
		bad += !shake() || !tls_store_has(t, "one.example");
		const char *text;
		bad += tls_peer_trusted(server, &text);
		part();
	}
	tls_store_unref(t);
	return (void *)bad;
}

/* All workers share one set; the last to let go frees it. */
static void test_threads(void)
{
	struct tls_store *t = plain_store();
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, work, tls_store_ref(t)), 0);
	tls_store_unref(t);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		void *bad;

		pthread_join(threads[i], &bad);
		CHECK(bad == NULL);
	}
}

/* --- channel bindings ---------------------------------------------------- */

static void same(const char *type, size_t want)
{
	unsigned char c[64], s[64];
	size_t nc = tls_channel_binding(client, type, c, sizeof c), ns = tls_channel_binding(server, type, s, sizeof s);

	CHECK_EQ(nc, want);
	CHECK_EQ(ns, want);
	CHECK_EQ(tls_has_channel_binding(client, type), want > 0);
	CHECK_EQ(tls_has_channel_binding(server, type), want > 0);
	CHECK(memcmp(c, s, want) == 0);
	if (want > 1)
		CHECK_EQ(tls_channel_binding(server, type, s, want - 1), 0);
}

static void test_bindings(void)
{
	struct tls_store *t = plain_store();
	unsigned char got[64], want[EVP_MAX_MD_SIZE];
	unsigned n;

	CHECK(shake_with(t, TLS1_3_VERSION, TLS1_3_VERSION, NULL, NULL));
	same("tls-exporter", 32);
	same("tls-server-end-point", 32);
	same("tls-unique", SSL_get_finished(server, got, sizeof got));
	same("tls-none", 0);
	CHECK_EQ(X509_digest(two.x509, EVP_sha256(), want, &n), 1);
	CHECK_EQ(tls_channel_binding(server, "tls-server-end-point", got, sizeof got), n);
	CHECK(memcmp(got, want, n) == 0);
	part();
	CHECK(shake_with(t, TLS1_2_VERSION, TLS1_2_VERSION, NULL, NULL));
	same("tls-exporter", 32);
	same("tls-server-end-point", 32);
	same("tls-unique", 12);
	part();
	/* without an extended master secret two connections can be made to share theirs */
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
	client = SSL_new(ctx);
	SSL_set_connect_state(client);
	server = tls_store_ssl(t, TLS_C2S, NULL, NULL, NULL);
	CHECK_EQ(tls_channel_binding(server, "tls-exporter", got, sizeof got), 0); /* before the handshake */
	CHECK(!tls_has_channel_binding(server, "tls-exporter"));
	CHECK(shake());
	same("tls-exporter", 0);
	same("tls-unique", 0);
	same("tls-server-end-point", 32);
	part();
	SSL_CTX_free(ctx);
	tls_store_unref(t);
}

static void end_point(const char *digest, size_t want)
{
	const char *dir = ca_folder();
	struct ca_cert c;

	ca_make(&c, &(struct ca_params){.cn = "x", .san = "DNS:x.example", .digest = digest});
	put(dir, "x.pem", &c, true, NULL);
	struct tls_store *t = load(dir, ca_folder());
	CHECK_STR(shown(t, NULL, NULL), "x");
	client = tls_store_ssl(t, TLS_S2S_OUT, NULL, NULL, NULL);
	server = tls_store_ssl(t, TLS_C2S, NULL, NULL, NULL);
	CHECK(shake());
	same("tls-server-end-point", want);
	part();
	tls_store_unref(t);
	ca_clear(&c);
}

static void test_end_point_hashes(void)
{
	end_point("SHA384", 48);
	end_point("SHA512", 64);
	end_point("", 0); /* Ed25519 has no hash of its own */
}

/* --- trust --------------------------------------------------------------- */

static bool trusted_in(struct tls_store *t, const char *own)
{
	const char *text;

	client = tls_store_ssl(t, TLS_S2S_OUT, "two.example", own, NULL);
	server = tls_store_ssl(t, TLS_S2S_IN, "two.example", NULL, NULL);
	CHECK(shake()); /* whatever it is, the handshake goes on */
	bool ok = tls_peer_trusted(server, &text);
	CHECK(text != NULL);
	CHECK(SSL_get_verify_result(server) != X509_V_OK || SSL_get0_peer_certificate(server) == NULL);
	return ok;
}

static void test_trust(void)
{
	const char *dir = ca_folder(), *ca = ca_folder(), *text;
	X509 *chain[] = {one.x509, inter.x509};

	ca_write(ca_path(ca, "root.pem"), &root.x509, 1, NULL);
	setenv("SSL_CERT_FILE", ca_path(ca, "root.pem"), 1);
	setenv("SSL_CERT_DIR", ca_path(ca, "none"), 1);
	ca_write(ca_path(dir, "1.pem"), chain, 2, one.key);
	put(dir, "2.pem", &two, true, NULL);
	put(dir, "3.pem", &client_only, true, NULL);
	put(dir, "4.pem", &old, true, NULL);
	put(dir, "5.pem", &cn_only, true, NULL);
	struct tls_store *t = load(dir, ca_folder());

	CHECK(trusted_in(t, "one.example"));            /* serverAuth only, through an intermediate */
	CHECK(tls_peer_trusted(client, &text));         /* the other way: two's */
	part();
	CHECK(trusted_in(t, "two.example"));            /* no purpose at all */
	part();
	CHECK(trusted_in(t, "client.example"));
	part();
	CHECK(!trusted_in(t, "old.example"));
	CHECK(tls_peer_trusted(server, &text) == false && strstr(text, "expired") != NULL);
	part();
	CHECK(!trusted_in(t, "cn.example"));            /* signed by itself */
	part();
	CHECK(!trusted_in(t, "unheld.example"));        /* none shown */
	CHECK(SSL_get0_peer_certificate(server) == NULL);
	part();
	CHECK(!trusted_in(t, NULL));
	part();
	tls_store_unref(t);
	/* another root: nothing of it counts */
	struct ca_cert stranger;
	ca_make(&stranger, &(struct ca_params){.cn = "Root", .is_ca = 1});
	ca_write(ca_path(ca, "root.pem"), &stranger.x509, 1, NULL);
	t = load(dir, ca_folder());
	CHECK(!trusted_in(t, "one.example"));
	part();
	tls_store_unref(t);
	ca_clear(&stranger);
	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");
}

static void test_self_signed_is_not_shown(void)
{
	const char *const none[] = {NULL};
	struct tls_store *t = tls_store_load(
		&(struct tls_store_options){.dirs = none, .state_dir = ca_folder(), .public_host = "gw.example"}, why, sizeof why);

	CHECK(!trusted_in(t, "gw.example"));
	CHECK(SSL_get0_peer_certificate(server) == NULL);
	part();
	tls_store_unref(t);
}

int main(void)
{
	make_all();
	RUN(test_layouts);
	RUN(test_choice);
	RUN(test_common_name);
	RUN(test_expired);
	RUN(test_renewed);
	RUN(test_unusable);
	RUN(test_self_signed);
	RUN(test_self_signed_odd_hosts);
	RUN(test_no_state_dir);
	RUN(test_versions);
	RUN(test_ciphers);
	RUN(test_alpn);
	RUN(test_habits);
	RUN(test_reload);
	RUN(test_threads);
	RUN(test_bindings);
	RUN(test_end_point_hashes);
	RUN(test_trust);
	RUN(test_self_signed_is_not_shown);
	clear_all();
	return check_done("net_tls_ctx");
}
