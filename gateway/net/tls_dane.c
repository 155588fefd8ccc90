/*
 * OpenSSL matches TLSA records against a chain where a verification asks it to, and keeps them in an SSL. Handshakes here verify nothing
 * (see tls_peer.c), and an accepted one is over when the records arrive, so the records are put into an SSL that does nothing else, and the
 * peer's chain is verified by them.
 */
#include "net/tls_dane.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "net/tls_store.h"

/* A context of its own: what DANE adds to one must not touch those that make connections. */
static SSL *make_carrier(const char *host)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = NULL;

	if (ctx != NULL && SSL_CTX_dane_enable(ctx) == 1)
		ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (ssl != NULL && SSL_dane_enable(ssl, host) == 1) {
		/* RFC 7671 section 5.1: a DANE-EE record is for this host, whatever its certificate says */
		SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
		return ssl;
	}
	SSL_free(ssl);
	return NULL;
}

static unsigned load(SSL *carrier, const struct tlsa_set *records)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < records->nr; i++)
		nr += SSL_dane_tlsa_add(carrier, records->v[i].usage, records->v[i].selector, records->v[i].type,
					records->bytes + records->v[i].at, records->v[i].n) > 0;
	return nr;
}

static int verify(SSL *ssl, SSL *carrier, const char *host, const char *domain)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int err = X509_V_ERR_OUT_OF_MEM;

	if (ctx != NULL && X509_STORE_CTX_init(ctx, tls_store_trust(tls_store_of(ssl)), SSL_get0_peer_certificate(ssl),
					       SSL_get_peer_cert_chain(ssl)) == 1) {
		X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

		X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
		X509_VERIFY_PARAM_set_auth_level(param, SSL_get_security_level(ssl));
		X509_STORE_CTX_set0_dane(ctx, SSL_get0_dane(carrier));
		if (X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 && X509_VERIFY_PARAM_add1_host(param, domain, 0) == 1)
			err = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	}
	X509_STORE_CTX_free(ctx);
	return err;
}

enum tls_dane tls_peer_dane(SSL *ssl, const struct tlsa_set *records, const char *host, const char *domain, const char **why)
{
	enum tls_dane result = TLS_DANE_NONE;
	SSL *carrier = records->nr > 0 ? make_carrier(host) : NULL;

	*why = NULL;
	if (records->nr > 0 && (carrier == NULL || SSL_get0_peer_certificate(ssl) == NULL)) {
		*why = carrier == NULL ? "OpenSSL cannot be set up for DANE" : "no certificate";
		result = TLS_DANE_MISMATCH;
	} else if (carrier != NULL && load(carrier, records) > 0) {
		int err = verify(ssl, carrier, host, domain);

		result = err == X509_V_OK ? TLS_DANE_MATCH : TLS_DANE_MISMATCH;
		if (err != X509_V_OK)
			*why = X509_verify_cert_error_string(err);
	}
	SSL_free(carrier);
	ERR_clear_error();
	return result;
}
