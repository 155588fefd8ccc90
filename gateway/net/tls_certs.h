#ifndef GATEWAY_NET_TLS_CERTS_H
#define GATEWAY_NET_TLS_CERTS_H

/* Certificates on disk: found, loaded, or made. Private to gateway/net. Blocking. */

#include <openssl/ssl.h>
#include <stddef.h>

struct tls_cert {
	X509 *x509;
	EVP_PKEY *key;
	STACK_OF(X509) *chain;
	SSL_CTX *ctx[3];               /* by enum tls_role */
};

/* Appends every usable pair found in dir: key in the same file, in NAME.key beside it, or privkey.pem in the same folder. */
void tls_certs_scan(const char *dir, struct tls_cert **v, size_t *nr);
/* Loads or makes the self-signed pair in state_dir; its path, owned by the caller, or NULL with a line in why. */
char *tls_certs_self_signed(const char *state_dir, const char *public_host, struct tls_cert **v, size_t *nr, char *why, size_t why_size);
void tls_certs_free(struct tls_cert *v, size_t nr);

#endif
