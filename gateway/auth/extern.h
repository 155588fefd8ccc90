#ifndef GATEWAY_AUTH_EXTERN_H
#define GATEWAY_AUTH_EXTERN_H

/* Names in certificates (RFC 6120 section 13.7, RFC 6125, RFC 9525: subjectAltName only, never the CN) and dialback keys (XEP-0185). Pure
 * but for OpenSSL. */

#include <openssl/x509.h>

#include "common/obj.h"

/* Does the certificate speak for this domain: DNS-ID (wildcard as the whole left-most label), SRV-ID _xmpp-server, XmppAddr, among its
 * first thousand names? domain is prepared (U-labels). */
bool extern_cert_is_domain(X509 *cert, const char *domain);
/* The XmppAddr bare JIDs of a client's certificate: a NULL-terminated owned array (extern_jids_free), or NULL when none. */
char **extern_cert_jids(X509 *cert);
void extern_jids_free(char **jids);

/* Dialback key, XEP-0185: HMAC-SHA256(SHA256-hex(secret), receiving || ' ' || originating || ' ' || stream id), lower-case hex. out takes
 * 65 bytes. */
void dialback_key(const unsigned char *secret, size_t secret_n, const char *receiving, const char *originating, struct slice stream_id,
		  char *out);
/* Constant time. */
bool dialback_key_matches(const char *key, struct slice given);

/* Of the cluster, for slots of time: the first makes keys, all of them verify. nr 0: none are known. */
#define DIALBACK_SECRETS_MAX 3
struct dialback_secrets {
	unsigned nr;
	unsigned char secret[DIALBACK_SECRETS_MAX][32];
};

/* The same with the first of them; false when there is none. */
MUST_CHECK bool dialback_make(const struct dialback_secrets *s, const char *receiving, const char *originating, struct slice stream_id,
			      char *out);
/* Was the key made with any of them? */
bool dialback_is_ours(const struct dialback_secrets *s, const char *receiving, const char *originating, struct slice stream_id,
		      struct slice given);

#endif
