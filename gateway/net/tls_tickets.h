#ifndef GATEWAY_NET_TLS_TICKETS_H
#define GATEWAY_NET_TLS_TICKETS_H

/*
 * Session tickets (RFC 5077, RFC 8446 section 4.6.1) under keys that all gateways of a cluster share, so that one resumes what another
 * began.
 */

#include <openssl/ssl.h>

#include "common/obj.h"

#define TLS_TICKETS_MAX 3

struct tls_ticket_key {
	unsigned char name[16], cipher[32], mac[32];   /* AES-256-CBC, HMAC with SHA-256 */
};

/* The first one seals, all of them open. nr 0: none are known, and no ticket is given or taken. */
struct tls_tickets {
	unsigned nr;
	struct tls_ticket_key key[TLS_TICKETS_MAX];
};

/* Once for each context that accepts: its tickets are sealed by the keys of their SSL, and by nothing else. */
MUST_CHECK int tls_tickets_install(SSL_CTX *ctx);
/* For an accepting SSL, which begins without tickets. t is borrowed and outlives it; its keys may change meanwhile, on the thread that uses
 * ssl. */
void tls_tickets_use(SSL *ssl, const struct tls_tickets *t);
/* Before another thread uses ssl: what keys it has now are copied, and it looks at *copy from then on. What it looked at before, for
 * tls_tickets_use_again() when ssl is back; NULL: it has none. */
const struct tls_tickets *tls_tickets_use_copy(SSL *ssl, struct tls_tickets *copy);
void tls_tickets_use_again(SSL *ssl, const struct tls_tickets *t);

#endif
