#include "net/tls_ctx.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/log.h"
#include "net/tls_certs.h"

/*
 * Contexts for each certificate and side, made once and shared; choosing one by name. Verification never fails a handshake here: whoever asked for the peer's
 * certificate looks at the result afterwards.
 */

static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
			      "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

struct tls_store {
	atomic_int refs;
	struct tls_cert *certs;          /* the first is the default */
	size_t nr;
	SSL_CTX *bare;                   /* outwards, no certificate of ours */
	char *self_signed;
};

static int always_continue(int ok, X509_STORE_CTX *ctx)
{
	(void)ok;
	(void)ctx;
	return 1;
}

static const char *alpn_wanted(SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

/* Direct TLS only: a client that offers protocols must offer ours (RFC 7301); one that offers none is taken (XEP-0368). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned int in_n, void *arg)
{
	const char *want = alpn_wanted(ssl);

	(void)arg;
	if (want == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	for (unsigned i = 0; i < in_n; i += in[i] + 1u) {
		if (in[i] == strlen(want) && memcmp(in + i + 1, want, in[i]) == 0) {
			*out = in + i + 1;
			*out_n = in[i];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static struct tls_cert *cert_for(struct tls_store *t, const char *name)
{
	for (size_t i = 0; name != NULL && i < t->nr; i++) {
		if (X509_check_host(t->certs[i].x509, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1)
			return &t->certs[i];
	}
	return NULL;
}

/* A redirected client may send the redirect's host: only a name that we hold decides. */
static int on_sni(SSL *ssl, int *alert, void *arg)
{
	struct tls_cert *c = cert_for(arg, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));

	(void)alert;
	if (c != NULL)
		SSL_set_SSL_CTX(ssl, c->ctx[SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE ? TLS_C2S : TLS_S2S_IN]);
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_ctx(struct tls_store *t, enum tls_role role, const struct tls_cert *c)
{
	SSL_CTX *ctx = SSL_CTX_new(role == TLS_S2S_OUT ? TLS_client_method() : TLS_server_method());

	ASSERT(ctx != NULL);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_cipher_list(ctx, ciphers);
	SSL_CTX_set_ciphersuites(ctx, suites);
	SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384");
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"ambrosia", 8);
	SSL_CTX_set_default_verify_paths(ctx);
	if (role != TLS_C2S)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, always_continue);
	if (role != TLS_S2S_OUT) {
		SSL_CTX_set_tlsext_servername_callback(ctx, on_sni);
		SSL_CTX_set_tlsext_servername_arg(ctx, t);
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
		/* Public certificates no longer carry clientAuth: the purpose of a server's certificate is not held against it. */
		X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(ctx), X509_PURPOSE_ANY);
	}
	if (c != NULL && (SSL_CTX_use_cert_and_key(ctx, c->x509, c->key, c->chain, 1) != 1)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static bool make_contexts(struct tls_store *t)
{
	t->bare = make_ctx(t, TLS_S2S_OUT, NULL);
	for (size_t i = 0; i < t->nr; i++) {
		for (int role = TLS_C2S; role <= TLS_S2S_OUT; role++) {
			t->certs[i].ctx[role] = make_ctx(t, (enum tls_role)role, &t->certs[i]);
			if (t->certs[i].ctx[role] == NULL)
				return false;
		}
	}
	return t->nr > 0;
}

struct tls_store *tls_store_load(const struct tls_store_options *o, char *why, size_t why_size)
{
	struct tls_store *t = NEW(struct tls_store);

	atomic_init(&t->refs, 1);
	for (const char *const *dir = o->dirs; *dir != NULL; dir++)
		tls_certs_scan(*dir, &t->certs, &t->nr);
	if (t->nr == 0)
		t->self_signed = tls_certs_self_signed(o->state_dir, o->public_host, &t->certs, &t->nr, why, why_size);
	if (t->nr > 0 && make_contexts(t))
		return t;
	if (t->nr > 0)
		snprintf(why, why_size, "a certificate could not be used: %s", ERR_reason_error_string(ERR_get_error()));
	tls_store_unref(t);
	return NULL;
}

struct tls_store *tls_store_ref(struct tls_store *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void tls_store_unref(struct tls_store *t)
{
	if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	tls_certs_free(t->certs, t->nr);
	SSL_CTX_free(t->bare);
	free(t->self_signed);
	free(t);
}

bool tls_store_has(const struct tls_store *t, const char *domain_ascii)
{
	return t->self_signed == NULL && cert_for((struct tls_store *)t, domain_ascii) != NULL;
}

const char *tls_store_self_signed(const struct tls_store *t)
{
	return t->self_signed;
}

static SSL *make_client(struct tls_store *t, const char *remote, const char *own, const char *alpn)
{
	struct tls_cert *c = t->self_signed == NULL ? cert_for(t, own) : NULL;
	SSL *ssl = SSL_new(c != NULL ? c->ctx[TLS_S2S_OUT] : t->bare);
	unsigned char wire[32];

	if (ssl == NULL)
		return NULL;
	SSL_set_connect_state(ssl);
	SSL_set_tlsext_host_name(ssl, remote);
	if (alpn != NULL && strlen(alpn) < sizeof wire) {
		wire[0] = (unsigned char)strlen(alpn);
		memcpy(wire + 1, alpn, wire[0]);
		SSL_set_alpn_protos(ssl, wire, wire[0] + 1u);
	}
	return ssl;
}

SSL *tls_store_ssl(struct tls_store *t, enum tls_role role, const char *hint, const char *own, const char *alpn)
{
	struct tls_cert *c;
	SSL *ssl;

	if (role == TLS_S2S_OUT)
		return make_client(t, hint, own, alpn);
	c = cert_for(t, hint);
	ssl = SSL_new((c != NULL ? c : &t->certs[0])->ctx[role]);
	if (ssl != NULL) {
		SSL_set_accept_state(ssl);
		SSL_set_app_data(ssl, (char *)alpn);
	}
	return ssl;
}

static size_t end_point(SSL *ssl, unsigned char *out, size_t size)
{
	X509 *cert = SSL_get_certificate(ssl);
	int md = NID_undef;
	const EVP_MD *hash;
	unsigned n = 0;

	if (cert == NULL || size < EVP_MAX_MD_SIZE)
		return 0;
	/* RFC 5929 section 4.1: the hash of the signature, SHA-256 in the place of MD5 and SHA-1. */
	OBJ_find_sigid_algs(X509_get_signature_nid(cert), &md, NULL);
	hash = md == NID_md5 || md == NID_sha1 || md == NID_undef ? EVP_sha256() : EVP_get_digestbynid(md);
	return hash != NULL && X509_digest(cert, hash, out, &n) == 1 ? n : 0;
}

size_t tls_channel_binding(SSL *ssl, const char *type, unsigned char *out, size_t size)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	bool tls13 = SSL_version(ssl) >= TLS1_3_VERSION;

	if (strcmp(type, "tls-server-end-point") == 0)
		return end_point(ssl, out, size);
	if (strcmp(type, "tls-exporter") == 0 && size >= 32 && (tls13 || SSL_get_extms_support(ssl) == 1))
		return SSL_export_keying_material(ssl, out, 32, label, sizeof label - 1, NULL, 0, 1) == 1 ? 32 : 0;
	/* tls-unique means the first Finished message, which on a full handshake is the client's. RFC 9266 leaves it undefined for TLS 1.3; see
	 * docs/DECISIONS.md for why it is there all the same. */
	if (strcmp(type, "tls-unique") == 0)
		return SSL_session_reused(ssl) ? SSL_get_finished(ssl, out, size) : SSL_get_peer_finished(ssl, out, size);
	return 0;
}

bool tls_peer_trusted(SSL *ssl, const char **why)
{
	long result = SSL_get_verify_result(ssl);
	X509 *cert = SSL_get0_peer_certificate(ssl);

	*why = cert == NULL ? "no certificate" : X509_verify_cert_error_string(result);
	return cert != NULL && result == X509_V_OK;
}
