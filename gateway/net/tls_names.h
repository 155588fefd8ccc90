#ifndef GATEWAY_NET_TLS_NAMES_H
#define GATEWAY_NET_TLS_NAMES_H

/* The names that a certificate of ours was made for. Private to gateway/net. Pure. */

#include <openssl/x509.h>

#include "common/obj.h"

struct tls_names {
	char **v;      /* lower case A-labels; "*.example.org" for a wildcard */
	size_t nr;
};

/* DNS names, SRV names and XMPP addresses (RFC 6120 section 13.7.1.2) of the subjectAltName; the common name only where there is no
 * subjectAltName. */
void tls_names_of(const X509 *cert, struct tls_names *out);
void tls_names_clear(struct tls_names *n);
/* "a.example.org" gives "*.example.org"; NULL when it has no second label. out takes size bytes. */
const char *tls_names_wildcard(const char *name, char *out, size_t size);

#endif
