#ifndef AMBROSIA_TESTS_NET_CA_H
#define AMBROSIA_TESTS_NET_CA_H

/* Certificates made by the tests, in a folder of their own that goes away at the end. */

#include <openssl/ssl.h>

struct ca_cert {
	X509 *x509;
	EVP_PKEY *key;
};

struct ca_params {
	const char *cn;
	const char *san;            /* as OpenSSL's configuration has it, or NULL */
	const char *eku;            /* "serverAuth", or NULL */
	int from_days, to_days;     /* from today; 0, 0: yesterday to in 30 days */
	int rsa_bits;               /* 0: ECDSA P-256 */
	int is_ca;
	const char *digest;         /* NULL: SHA256 */
	const struct ca_cert *issuer;   /* NULL: itself */
};

void ca_make(struct ca_cert *out, const struct ca_params *p);
void ca_clear(struct ca_cert *c);

/* A fresh folder under TMPDIR, removed at exit with all in it. Static buffer of its own for each call, at most 64. */
const char *ca_folder(void);
/* dir/name; one of several static buffers. */
const char *ca_path(const char *dir, const char *name);
void ca_write(const char *path, X509 *const *certs, size_t nr, EVP_PKEY *key);
void ca_write_text(const char *path, const char *text);

#endif
