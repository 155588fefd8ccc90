#ifndef GATEWAY_NET_TLS_CERTS_H
#define GATEWAY_NET_TLS_CERTS_H

/* Certificates on disk: found, loaded, or made. Private to gateway/net. Blocking. */

#include <openssl/ssl.h>

#include "common/obj.h"
#include "net/tls_names.h"

struct tls_cert {
	char *path;
	X509 *x509;
	EVP_PKEY *key;
	STACK_OF(X509) *chain;         /* without x509 */
	struct tls_names names;
	bool current;                  /* within its days when it was loaded */
	SSL_CTX *ctx;                  /* of the accepting side; tls_ctx.c makes it */
};

struct tls_certs {
	struct tls_cert *v;
	size_t nr;
};

/* Appends every usable pair of the folder and of the folders in it, in the order of their names. What is there but cannot be used is one
 * line in the log. */
void tls_certs_scan(struct tls_certs *to, const char *dir);
/* One pair. False with a line in why. */
MUST_CHECK bool tls_certs_add_pair(struct tls_certs *to, const char *path, const char *key_path, char *why, size_t why_size);
void tls_certs_clear(struct tls_certs *c);

/* Loads the self-signed pair of state_dir, or makes it when there is none or its days are over. False with a line in why. */
MUST_CHECK bool tls_certs_add_self_signed(struct tls_certs *to, const char *state_dir, const char *public_host, char *why, size_t why_size);

#endif
