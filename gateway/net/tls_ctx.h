#ifndef GATEWAY_NET_TLS_CTX_H
#define GATEWAY_NET_TLS_CTX_H

/*
 * Certificates and TLS contexts: an immutable, refcounted set, shared by all workers and replaced as a whole at SIGHUP. TLS 1.2 and 1.3
 * only, modern ciphers, X25519 first. A certificate is chosen by SNI where we hold that name, else by the stream's `to`, else the
 * first/self-signed one. An SSL is used by one thread at a time, not always the same; what it looks at here never changes.
 */

#include <openssl/ssl.h>

#include "common/obj.h"

struct tls_store;

struct tls_store_options {
	const char *const *dirs;      /* NULL-terminated; each may be absent. PEM chains as DESIGN.md section 7 says */
	const char *state_dir;        /* where a self-signed one is kept when dirs hold none: self-signed.crt / .key */
	const char *public_host;      /* names of the self-signed certificate: this and localhost */
	bool ask_clients;             /* ask c2s clients for a certificate (EXTERNAL); off: some of them prompt their users when asked */
};

/* Loads or makes certificates; warnings (self-signed made, unreadable files) go to the log. NULL with a line in why. Blocking: not on a
 * loop. */
struct tls_store *tls_store_load(const struct tls_store_options *o, char *why, size_t why_size);
struct tls_store *tls_store_ref(struct tls_store *t);   /* thread-safe */
void tls_store_unref(struct tls_store *t);
/* True if the set holds a certificate (not the self-signed one) for the domain. */
bool tls_store_has(const struct tls_store *t, const char *domain_ascii);
/* Path of the self-signed certificate if that is what is used, else NULL. */
const char *tls_store_self_signed(const struct tls_store *t);

/* Every certificate that may be shown: the first name that it holds, and the second (since the epoch) after which it is no good. */
void tls_store_each_certificate(const struct tls_store *t, void (*fn)(void *arg, const char *name, int64_t not_after), void *arg);

enum tls_role { TLS_C2S, TLS_S2S_IN, TLS_S2S_OUT };
/* A new SSL, owned by the caller. Accepting roles: hint is the stream's `to` as A-labels or NULL (direct TLS); S2S_IN asks for a
 * certificate without failing on a bad one. S2S_OUT: `hint` is the remote domain (SNI, verification names), `own` the domain whose
 * certificate we show if we hold one. alpn: "xmpp-client", "xmpp-server" (static) required/offered when direct, NULL else: a client that
 * offers others is refused, one that offers none is taken. */
SSL *tls_store_ssl(struct tls_store *t, enum tls_role role, const char *hint, const char *own, const char *alpn);

/* Channel binding data (RFC 5929, 9266): type "tls-exporter", "tls-server-end-point", "tls-unique". Returns its length, 0 when not to be
 * had: after conn_settled() a server has no certificate to bind to any more. */
size_t tls_channel_binding(SSL *ssl, const char *type, unsigned char *out, size_t size);
/* Is it to be had? Without deriving it, since most logins are not bound. */
bool tls_has_channel_binding(SSL *ssl, const char *type);

/* The peer's certificate: did its chain verify against the system's trust (serverAuth or clientAuth purposes both count)? why: a line when
 * not. */
bool tls_peer_trusted(SSL *ssl, const char **why);

#endif
