/* What an established TLS connection tells about its two ends: channel bindings, and whether the system trusts the peer's certificate. */
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "net/tls_store.h"

enum { DEPTH_MAX = 10 };

static X509 *server_certificate(SSL *ssl)
{
	return SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
}

/* RFC 5929 section 4.1: the hash of the certificate's signature, SHA-256 in place of MD5 and SHA-1. NULL: a signature without a hash of its
 * own (Ed25519) has no binding. */
static const EVP_MD *end_point_hash(X509 *cert)
{
	int hash = NID_undef;

	if (cert == NULL || X509_get_signature_info(cert, &hash, NULL, NULL, NULL) != 1 || hash == NID_undef)
		return NULL;
	return hash == NID_md5 || hash == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(hash);
}

static size_t bind_end_point(SSL *ssl, unsigned char *out, size_t size)
{
	X509 *cert = server_certificate(ssl);
	const EVP_MD *md = end_point_hash(cert);
	unsigned n = 0;

	if (md == NULL || (size_t)EVP_MD_get_size(md) > size || X509_digest(cert, md, out, &n) != 1)
		return 0;
	return n;
}

/* Two connections can be made to share what TLS 1.2 has without an extended master secret. */
static bool is_one_of_its_kind(SSL *ssl)
{
	return SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1;
}

/* RFC 9266 */
static size_t bind_exporter(SSL *ssl, unsigned char *out, size_t size)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	static const unsigned char context[1];

	return size >= 32 && SSL_export_keying_material(ssl, out, 32, label, sizeof label - 1, context, 0, 1) == 1 ? 32 : 0;
}

/* RFC 5929 section 3.1: the handshake's first Finished message, the client's unless the session was resumed. TLS 1.3 has one too, though
 * RFC 9266 leaves it undefined: docs/DECISIONS.md says why it is there all the same. */
static size_t bind_unique(SSL *ssl, unsigned char *out, size_t size)
{
	bool ours = SSL_is_server(ssl) == SSL_session_reused(ssl);
	size_t n = ours ? SSL_get_finished(ssl, out, size) : SSL_get_peer_finished(ssl, out, size);

	return n <= size ? n : 0;
}

size_t tls_channel_binding(SSL *ssl, const char *type, unsigned char *out, size_t size)
{
	size_t n = 0;

	if (!SSL_is_init_finished(ssl))
		return 0;
	if (strcmp(type, "tls-server-end-point") == 0)
		n = bind_end_point(ssl, out, size);
	else if (!is_one_of_its_kind(ssl))
		n = 0;
	else if (strcmp(type, "tls-exporter") == 0)
		n = bind_exporter(ssl, out, size);
	else if (strcmp(type, "tls-unique") == 0)
		n = bind_unique(ssl, out, size);
	ERR_clear_error();
	return n;
}

bool tls_has_channel_binding(SSL *ssl, const char *type)
{
	if (!SSL_is_init_finished(ssl))
		return false;
	if (strcmp(type, "tls-server-end-point") == 0)
		return end_point_hash(server_certificate(ssl)) != NULL;
	return is_one_of_its_kind(ssl) && (strcmp(type, "tls-exporter") == 0 || strcmp(type, "tls-unique") == 0);
}

static int verify(SSL *ssl, X509 *cert, int purpose)
{
	X509_STORE *trust = tls_store_trust(tls_store_of(ssl));
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int err = X509_V_ERR_OUT_OF_MEM;

	/* reads a folder of authorities the first time that one is met: small files of this machine, kept in memory from then on */
	if (ctx != NULL && X509_STORE_CTX_init(ctx, trust, cert, SSL_get_peer_cert_chain(ssl)) == 1) {
		X509_STORE_CTX_set_depth(ctx, DEPTH_MAX);
		X509_STORE_CTX_set_purpose(ctx, purpose);
		X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), SSL_get_security_level(ssl));
		err = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

bool tls_peer_trusted(SSL *ssl, const char **why)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);

	if (cert == NULL || tls_store_of(ssl) == NULL) {
		*why = "no certificate";
		return false;
	}
	int err = verify(ssl, cert, X509_PURPOSE_SSL_SERVER);
	if (err == X509_V_ERR_INVALID_PURPOSE)
		err = verify(ssl, cert, X509_PURPOSE_SSL_CLIENT);
	*why = X509_verify_cert_error_string(err);
	return err == X509_V_OK;
}
