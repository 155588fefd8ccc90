#ifndef GATEWAY_NET_TLS_DANE_H
#define GATEWAY_NET_TLS_DANE_H

/* Does what the peer showed match TLSA records (RFC 6698, 7671, 7673)? By OpenSSL's DANE support. */

#include <openssl/ssl.h>

#include "net/tlsa.h"

enum tls_dane {
	TLS_DANE_NONE,        /* no record is usable: as if there were none */
	TLS_DANE_MATCH,
	TLS_DANE_MISMATCH,
};

/* After the handshake, as either side. For a usage that wants a name in the certificate (all but DANE-EE), `host` (the target) and `domain`
 * both do (RFC 7673 section 4.1). A-labels. *why: a line when it is a mismatch, static. */
enum tls_dane tls_peer_dane(SSL *ssl, const struct tlsa_set *records, const char *host, const char *domain, const char **why);

#endif
