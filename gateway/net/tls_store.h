#ifndef GATEWAY_NET_TLS_STORE_H
#define GATEWAY_NET_TLS_STORE_H

/* The store of a TLS object: every one made by tls_store_ssl() holds a reference. Private to gateway/net. */

#include "net/tls_ctx.h"

/* NULL for an SSL that is not ours. Borrowed. */
struct tls_store *tls_store_of(const SSL *ssl);
/* The authorities whom the system trusts. */
X509_STORE *tls_store_trust(const struct tls_store *t);

#endif
