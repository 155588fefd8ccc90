/*
 * A context for each certificate, all alike but for it, and one for dialling out. What a role needs beyond that is set on the SSL. No
 * handshake fails because of the peer's certificate: who asked for it judges it afterwards (tls_peer.c). An SSL keeps its store alive, so
 * that a reload in the middle of a handshake takes nothing from under it.
 */
#include "net/tls_ctx.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/hash.h"
#include "common/log.h"
#include "net/tls_certs.h"
#include "net/tls_store.h"
#include "net/tls_tickets.h"

static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
			      "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

struct tls_store {
	atomic_uint refs;
	bool ask_clients;
	struct tls_certs certs;
	struct tls_cert *def;            /* for whom no name fits */
	struct hash *by_name;            /* name -> struct tls_cert */
	SSL_CTX *out;                    /* dialling */
	X509_STORE *trust;
	char *self_signed;
};

/* --- whose an SSL is ----------------------------------------------------- */

static int store_index;

static void let_go(void *ssl, void *store, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)ssl;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	tls_store_unref(store);
}

static void make_index(void)
{
	store_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, let_go);
	ASSERT(store_index >= 0);
}

static void init_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_index);
}

struct tls_store *tls_store_of(const SSL *ssl)
{
	return SSL_get_ex_data(ssl, store_index);
}

X509_STORE *tls_store_trust(const struct tls_store *t)
{
	return t->trust;
}

/* --- choosing by name ---------------------------------------------------- */

static struct tls_cert *find(const struct tls_store *t, const char *name)
{
	char lower[256], wildcard[256];
	size_t n = 0;

	if (name == NULL)
		return NULL;
	for (; name[n] != '\0' && n < sizeof lower - 1; n++)
		lower[n] = name[n] >= 'A' && name[n] <= 'Z' ? (char)(name[n] + 'a' - 'A') : name[n];
	if (name[n] != '\0')
		return NULL;
	lower[n] = '\0';
	struct tls_cert *c = hash_get(t->by_name, (struct slice){lower, n});
	if (c == NULL && tls_names_wildcard(lower, wildcard, sizeof wildcard))
		c = hash_get(t->by_name, slice_str(wildcard));
	return c;
}

/* Valid before expired, then the one that ends last: a renewed certificate wins wherever it was put. */
static bool better(const struct tls_cert *a, const struct tls_cert *b)
{
	if (b == NULL || a->current != b->current)
		return b == NULL || a->current;
	return ASN1_TIME_compare(X509_get0_notAfter(a->x509), X509_get0_notAfter(b->x509)) > 0;
}

static void index_names(struct tls_store *t, const char *public_host)
{
	for (size_t i = 0; i < t->certs.nr; i++) {
		struct tls_cert *c = &t->certs.v[i];

		for (size_t j = 0; j < c->names.nr; j++) {
			struct slice name = slice_str(c->names.v[j]);

			if (better(c, hash_get(t->by_name, name)))
				hash_put(t->by_name, name, c);
		}
		/* the first one, but not an expired one before a valid one */
		if (t->def == NULL || (c->current && !t->def->current))
			t->def = c;
	}
	struct tls_cert *own = find(t, public_host);
	if (own && (own->current || !t->def->current))
		t->def = own;
}

/* --- contexts ------------------------------------------------------------ */

/* Direct TLS: a client that offers protocols must offer ours (RFC 7301 section 3.2); one that offers none never comes here and is taken
 * (XEP-0368). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned int in_n, void *arg)
{
	struct slice want = slice_str(SSL_get_app_data(ssl));

	(void)arg;
	if (slice_empty(want))
		return SSL_TLSEXT_ERR_NOACK;
	for (unsigned i = 0; i < in_n && in_n - i > in[i]; i += in[i] + 1u) {
		if (slice_eq((struct slice){(const char *)in + i + 1, in[i]}, want)) {
			*out = in + i + 1;
			*out_n = in[i];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* A client that was sent here by see-other-host may send this host's name: only a name that we hold overrides the stream's `to`. */
static int on_sni(SSL *ssl, int *alert, void *arg)
{
	struct tls_store *t = tls_store_of(ssl);
	struct tls_cert *c = t ? find(t, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) : NULL;

	(void)alert;
	(void)arg;
	if (c != NULL)
		SSL_set_SSL_CTX(ssl, c->ctx);
	return SSL_TLSEXT_ERR_OK;
}

/* Goes on, and leaves a result behind that nobody can mistake for trust: see tls_peer_trusted(). */
static int judge_later(X509_STORE_CTX *ctx, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
	return 1;
}

static SSL_CTX *make_ctx(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_options(ctx,
			    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_cert_verify_callback(ctx, judge_later, NULL);
	/* FIPS providers know no X25519 */
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_max_proto_version(ctx, 0) == 1 &&
	    SSL_CTX_set_cipher_list(ctx, ciphers) == 1 && SSL_CTX_set_ciphersuites(ctx, suites) == 1 &&
	    (SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1 || SSL_CTX_set1_groups_list(ctx, "P-256:P-384") == 1))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static SSL_CTX *make_server_ctx(const struct tls_cert *c)
{
	SSL_CTX *ctx = make_ctx(TLS_server_method());

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, 0); /* tls_tickets_use() allows them */
	SSL_CTX_set_max_early_data(ctx, 0);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"ambrosia", 8);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_sni);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	if (tls_tickets_install(ctx) == 0 && SSL_CTX_use_cert_and_key(ctx, c->x509, c->key, c->chain, 1) == 1)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static const char *openssl_why(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "OpenSSL refuses it";
}

/* Lets go of those that OpenSSL refuses: a key too small for the system's security level, say. */
static void make_contexts(struct tls_store *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->certs.nr; i++) {
		struct tls_certs refused = {.v = NULL, .nr = 1};
		struct tls_cert *c = &t->certs.v[i];

		ERR_clear_error();
		c->ctx = make_server_ctx(c);
		if (c->ctx != NULL) {
			t->certs.v[kept++] = *c;
			continue;
		}
		log_warn("tls", 0, "certificate", "file=%s why=%s", log_escape(slice_str(c->path)), log_escape(slice_str(openssl_why())));
		refused.v = mem_alloc(sizeof *c);
		refused.v[0] = *c;
		tls_certs_clear(&refused);
	}
	t->certs.nr = kept;
	ERR_clear_error();
}

/* --- the store ----------------------------------------------------------- */

static bool fall_back(struct tls_store *t, const struct tls_store_options *o, char *why, size_t why_size)
{
	if (!tls_certs_add_self_signed(&t->certs, o->state_dir, o->public_host, why, why_size))
		return false;
	t->self_signed = mem_strdup(t->certs.v[0].path);
	log_warn("tls", 0, "self-signed", "file=%s why=\"no certificate was found, so clients must be told to trust this one\"",
		 log_escape(slice_str(t->self_signed)));
	make_contexts(t);
	snprintf(why, why_size, "%s: OpenSSL refuses it", t->self_signed);
	return t->certs.nr != 0;
}

static bool make_trust(struct tls_store *t, char *why, size_t why_size)
{
	t->out = make_ctx(TLS_client_method());
	t->trust = X509_STORE_new();
	if (t->out != NULL && t->trust != NULL && X509_STORE_set_default_paths(t->trust) == 1) {
		ERR_clear_error(); /* a folder of authorities that is not there is no error */
		return true;
	}
	snprintf(why, why_size, "OpenSSL cannot be set up: %s", openssl_why());
	ERR_clear_error();
	return false;
}

struct tls_store *tls_store_load(const struct tls_store_options *o, char *why, size_t why_size)
{
	struct tls_store *t = NEW(struct tls_store);

	init_once();
	atomic_init(&t->refs, 1);
	t->ask_clients = o->ask_clients;
	t->by_name = hash_new();
	for (size_t i = 0; o->dirs && o->dirs[i]; i++)
		tls_certs_scan(&t->certs, o->dirs[i]);
	make_contexts(t);
	if ((t->certs.nr == 0 && !fall_back(t, o, why, why_size)) || !make_trust(t, why, why_size)) {
		tls_store_unref(t);
		return NULL;
	}
	index_names(t, o->public_host);
	return t;
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
	tls_certs_clear(&t->certs);
	hash_free(t->by_name);
	SSL_CTX_free(t->out);
	X509_STORE_free(t->trust);
	free(t->self_signed);
	free(t);
}

bool tls_store_has(const struct tls_store *t, const char *domain_ascii)
{
	return t->self_signed == NULL && find(t, domain_ascii) != NULL;
}

const char *tls_store_self_signed(const struct tls_store *t)
{
	return t->self_signed;
}

static int64_t ends_at(const X509 *x)
{
	struct tm t;

	return ASN1_TIME_to_tm(X509_get0_notAfter(x), &t) == 1 ? (int64_t)timegm(&t) : 0;
}

void tls_store_each_certificate(const struct tls_store *t, void (*fn)(void *arg, const char *name, int64_t not_after), void *arg)
{
	for (size_t i = 0; i < t->certs.nr; i++) {
		const struct tls_cert *c = &t->certs.v[i];
		const char *name = c->names.nr > 0 ? c->names.v[0] : c == t->def ? "" : NULL;

		/* of several with one name only the best is shown to peers */
		if (name != NULL && (c->names.nr == 0 || hash_get(t->by_name, slice_str(name)) == c))
			fn(arg, name, ends_at(c->x509));
	}
}

/* --- TLS objects --------------------------------------------------------- */

static bool set_sni(SSL *ssl, const char *host)
{
	unsigned char addr[sizeof(struct in6_addr)];

	/* RFC 6066 section 3: no literal addresses */
	if (host == NULL || host[0] == '[' || inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1)
		return true;
	return SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool offer_alpn(SSL *ssl, const char *alpn)
{
	unsigned char wire[32];
	size_t n = alpn ? strlen(alpn) : 0;

	if (n == 0)
		return true;
	ASSERT(n < sizeof wire);
	wire[0] = (unsigned char)n;
	memcpy(wire + 1, alpn, n);
	return SSL_set_alpn_protos(ssl, wire, (unsigned)n + 1) == 0; /* 0 is success, here only */
}

static bool set_up_out(const struct tls_store *t, SSL *ssl, const char *remote, const char *own, const char *alpn)
{
	struct tls_cert *c = t->self_signed ? NULL : find(t, own);

	SSL_set_connect_state(ssl);
	return set_sni(ssl, remote) && offer_alpn(ssl, alpn) && (c == NULL || SSL_use_cert_and_key(ssl, c->x509, c->key, c->chain, 1) == 1);
}

static void ask_for_certificate(SSL *ssl)
{
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
}

SSL *tls_store_ssl(struct tls_store *t, enum tls_role role, const char *hint, const char *own, const char *alpn)
{
	struct tls_cert *c = role == TLS_S2S_OUT ? NULL : find(t, hint);
	SSL *ssl = SSL_new(role == TLS_S2S_OUT ? t->out : c ? c->ctx : t->def->ctx);

	if (ssl == NULL)
		return NULL;
	if (SSL_set_ex_data(ssl, store_index, t) != 1)
		goto fail;
	tls_store_ref(t);
	if (role == TLS_S2S_OUT) {
		if (!set_up_out(t, ssl, hint, own, alpn))
			goto fail;
		return ssl;
	}
	SSL_set_accept_state(ssl);
	if (alpn && SSL_set_app_data(ssl, (char *)(uintptr_t)alpn) != 1)
		goto fail;
	if (role == TLS_S2S_IN || t->ask_clients)
		ask_for_certificate(ssl);
	return ssl;
fail:
	SSL_free(ssl);
	ERR_clear_error();
	return NULL;
}
