/* TLSA records against what a peer shows: both sides of real handshakes, in memory. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "../check.h"
#include "ca.h"
#include "net/tls_ctx.h"
#include "net/tls_dane.h"

static struct ca_cert root, one, old, alone;
static SSL *client, *server;
static struct tlsa_set set;
static struct tls_store *t;

static void shake(const char *domain)
{
	BIO *c, *s;

	client = tls_store_ssl(t, TLS_S2S_OUT, domain, domain, NULL);
	server = tls_store_ssl(t, TLS_S2S_IN, domain, NULL, NULL);
	CHECK(BIO_new_bio_pair(&c, 0, &s, 0) == 1);
	SSL_set_bio(client, c, c);
	SSL_set_bio(server, s, s);
	for (int i = 0; i < 10; i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
	}
	CHECK(SSL_is_init_finished(client) && SSL_is_init_finished(server));
}

static void part(void)
{
	SSL_free(client);
	SSL_free(server);
}

/* SHA-256 of the certificate (selector 0) or of its key (1). */
static void add(unsigned char usage, unsigned char selector, X509 *cert)
{
	unsigned char rdata[3 + 32] = {usage, selector, 1};
	unsigned n = 32;

	if (selector == 0) {
		CHECK(X509_digest(cert, EVP_sha256(), rdata + 3, &n) == 1);
	} else {
		unsigned char *der = NULL;
		int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

		CHECK(len > 0 && EVP_Digest(der, (size_t)len, rdata + 3, &n, EVP_sha256(), NULL) == 1);
		OPENSSL_free(der);
	}
	tlsa_add(&set, (struct slice){(const char *)rdata, sizeof rdata});
}

static enum tls_dane ask(SSL *ssl, const char *host, const char *domain)
{
	const char *why;
	enum tls_dane r = tls_peer_dane(ssl, &set, host, domain, &why);

	CHECK((r == TLS_DANE_MISMATCH) == (why != NULL));
	return r;
}

/* Both sides show the same certificate: one answer for both. */
static void check_both(const char *host, const char *domain, enum tls_dane want)
{
	CHECK_EQ(ask(client, host, domain), want);
	CHECK_EQ(ask(server, host, domain), want);
}

static struct tls_store *store(void)
{
	const char *dir = ca_folder();
	const char *dirs[] = {dir, NULL};
	X509 *chain[] = {one.x509, root.x509};
	char why[200];

	ca_write(ca_path(dir, "1.pem"), chain, 2, one.key);
	ca_write(ca_path(dir, "2.pem"), &old.x509, 1, old.key);
	ca_write(ca_path(dir, "3.pem"), &alone.x509, 1, alone.key);
	setenv("SSL_CERT_FILE", ca_path(dir, "none"), 1);
	setenv("SSL_CERT_DIR", ca_path(dir, "none"), 1);
	return tls_store_load(&(struct tls_store_options){.dirs = dirs, .state_dir = ca_folder(), .public_host = "h.example"}, why,
			      sizeof why);
}

static void test_end_entity(void)
{
	shake("alone.example");
	set = (struct tlsa_set){.nr = 0};
	check_both("host.example", "alone.example", TLS_DANE_NONE);
	add(3, 1, one.x509);
	check_both("host.example", "alone.example", TLS_DANE_MISMATCH);
	add(3, 1, alone.x509); /* a key about to be changed for another: either does */
	check_both("host.example", "alone.example", TLS_DANE_MATCH);
	check_both("other.example", "another.example", TLS_DANE_MATCH); /* RFC 7671 section 5.1: no names */
	set = (struct tlsa_set){.nr = 0};
	add(3, 0, alone.x509);
	check_both("host.example", "alone.example", TLS_DANE_MATCH);
	part();
	shake("old.example");
	set = (struct tlsa_set){.nr = 0};
	add(3, 1, old.x509);
	check_both("host.example", "old.example", TLS_DANE_MATCH); /* nor dates */
	part();
}

static void test_trust_anchor(void)
{
	shake("one.example");
	set = (struct tlsa_set){.nr = 0};
	add(2, 0, root.x509);
	check_both("host.example", "one.example", TLS_DANE_MATCH);   /* the domain's name */
	check_both("one.example", "other.example", TLS_DANE_MATCH);  /* or the target's */
	check_both("host.example", "other.example", TLS_DANE_MISMATCH);
	set = (struct tlsa_set){.nr = 0};
	add(2, 0, alone.x509);
	check_both("host.example", "one.example", TLS_DANE_MISMATCH);
	part();
}

/* PKIX-EE: the record, and an authority that the system trusts, which there is none here. */
static void test_pkix(void)
{
	shake("one.example");
	set = (struct tlsa_set){.nr = 0};
	add(1, 0, one.x509);
	check_both("host.example", "one.example", TLS_DANE_MISMATCH);
	part();
}

static void test_no_certificate(void)
{
	shake("unheld.example"); /* the client has none to show */
	set = (struct tlsa_set){.nr = 0};
	add(3, 1, one.x509);
	CHECK_EQ(ask(server, "host.example", "unheld.example"), TLS_DANE_MISMATCH);
	part();
}

static void test_records(void)
{
	static const char *const none[] = {"", "\3\1", "\3\1\1", "\3\1\1short", "\4\1\0x", "\3\2\0x", "\3\1\3x", "\3\1\0"};
	char big[3 + TLSA_BYTES_MAX] = "\3";
	static const size_t lengths[] = {0, 2, 3, 8, 4, 4, 4, 3};

	set = (struct tlsa_set){.nr = 0};
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		tlsa_add(&set, (struct slice){none[i], lengths[i]});
	CHECK_EQ(set.nr, 0);
	tlsa_add(&set, (struct slice){big, 3 + TLSA_BYTES_MAX});
	CHECK_EQ(set.nr, 1);
	tlsa_add(&set, (struct slice){big, 4}); /* no room */
	CHECK_EQ(set.nr, 1);
	set = (struct tlsa_set){.nr = 0};
	for (unsigned i = 0; i < TLSA_RECORDS_MAX + 5; i++)
		tlsa_add(&set, (struct slice){big, 4});
	CHECK_EQ(set.nr, TLSA_RECORDS_MAX);
}

int main(void)
{
	ca_make(&root, &(struct ca_params){.cn = "Root", .is_ca = 1});
	ca_make(&one, &(struct ca_params){.cn = "one", .san = "DNS:one.example", .issuer = &root});
	ca_make(&old, &(struct ca_params){.cn = "old", .san = "DNS:old.example", .from_days = -20, .to_days = -10});
	ca_make(&alone, &(struct ca_params){.cn = "alone", .san = "DNS:alone.example"});
	t = store();
	CHECK(t != NULL);

	RUN(test_end_entity);
	RUN(test_trust_anchor);
	RUN(test_pkix);
	RUN(test_no_certificate);
	RUN(test_records);
	tls_store_unref(t);
	ca_clear(&root);
	ca_clear(&one);
	ca_clear(&old);
	ca_clear(&alone);
	return check_done("net_tls_dane");
}
