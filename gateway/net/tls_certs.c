#include "net/tls_certs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

/* PEM files. A file without a certificate is passed over in silence, one whose key is missing or another's gets a warning that names it. */

#define CERTS_MAX 4096

static FILE *open_file(const char *path)
{
	return fopen(path, "re");
}

static bool load_chain(const char *path, struct tls_cert *c)
{
	FILE *f = open_file(path);
	X509 *x;

	if (f == NULL)
		return false;
	c->x509 = PEM_read_X509(f, NULL, NULL, NULL);
	c->chain = sk_X509_new_null();
	while (c->x509 != NULL && (x = PEM_read_X509(f, NULL, NULL, NULL)) != NULL)
		sk_X509_push(c->chain, x);
	fclose(f);
	ERR_clear_error();
	return c->x509 != NULL;
}

static EVP_PKEY *load_key(const char *path)
{
	FILE *f = open_file(path);
	EVP_PKEY *key = f != NULL ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;

	if (f != NULL)
		fclose(f);
	ERR_clear_error();
	return key;
}

static void clear(struct tls_cert *c)
{
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
	sk_X509_pop_free(c->chain, X509_free);
	for (size_t i = 0; i < ARRAY_LEN(c->ctx); i++)
		SSL_CTX_free(c->ctx[i]);
}

static bool key_fits(struct tls_cert *c, const char *path)
{
	EVP_PKEY_free(c->key);
	c->key = load_key(path);
	return c->key != NULL && X509_check_private_key(c->x509, c->key) == 1;
}

/* dir/name.pem: the key inside, in dir/name.key, or in dir/privkey.pem. */
static bool find_key(struct tls_cert *c, const char *path, const char *dir)
{
	char beside[4096], letsencrypt[4096];
	const char *dot = strrchr(path, '.');
	int stem = dot != NULL && dot > strrchr(path, '/') ? (int)(dot - path) : (int)strlen(path);

	snprintf(beside, sizeof beside, "%.*s.key", stem, path);
	snprintf(letsencrypt, sizeof letsencrypt, "%s/privkey.pem", dir);
	return key_fits(c, path) || key_fits(c, beside) || key_fits(c, letsencrypt);
}

static void append(struct tls_cert **v, size_t *nr, const struct tls_cert *c)
{
	*v = mem_resize(*v, (*nr + 1) * sizeof **v);
	(*v)[(*nr)++] = *c;
}

static void take_file(const char *path, const char *dir, struct tls_cert **v, size_t *nr)
{
	struct tls_cert c = {0};

	if (!load_chain(path, &c)) {
		clear(&c);
		return;
	}
	if (*nr >= CERTS_MAX || !find_key(&c, path, dir)) {
		log_warn("tls", 0, "certificate", "file=%s why=\"no private key that fits was readable\"", log_escape(slice_str(path)));
		clear(&c);
		return;
	}
	if (X509_cmp_current_time(X509_get0_notAfter(c.x509)) < 0)
		log_warn("tls", 0, "certificate", "file=%s why=expired", log_escape(slice_str(path)));
	append(v, nr, &c);
}

static bool is_certificate_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	/* letsencrypt's cert.pem and chain.pem say what fullchain.pem says better. */
	return dot != NULL && (strcmp(dot, ".pem") == 0 || strcmp(dot, ".crt") == 0 || strcmp(dot, ".cert") == 0) &&
	       strcmp(name, "cert.pem") != 0 && strcmp(name, "chain.pem") != 0 && strcmp(name, "privkey.pem") != 0;
}

static void scan(const char *dir, int depth, struct tls_cert **v, size_t *nr)
{
	struct dirent **names;
	int n = scandir(dir, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char path[4096];
		struct stat st;

		snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && stat(path, &st) == 0) {
			if (S_ISDIR(st.st_mode) && depth > 0)
				scan(path, depth - 1, v, nr);
			else if (S_ISREG(st.st_mode) && is_certificate_name(names[i]->d_name))
				take_file(path, dir, v, nr);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

void tls_certs_scan(const char *dir, struct tls_cert **v, size_t *nr)
{
	scan(dir, 1, v, nr);
}

static bool add_extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;

	X509_EXTENSION_free(e);
	return ok;
}

static X509 *make_certificate(EVP_PKEY *key, const char *host)
{
	X509 *x = X509_new();
	char names[600];
	uint64_t serial;

	snprintf(names, sizeof names, "DNS:%s,DNS:localhost", host);
	mem_random(&serial, sizeof serial);
	if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL && X509_gmtime_adj(X509_getm_notAfter(x), 3600L * 24 * 825) != NULL &&
	    X509_set_pubkey(x, key) == 1 &&
	    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)"ambrosia", -1, -1, 0) == 1 &&
	    X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 && add_extension(x, NID_subject_alt_name, names) &&
	    add_extension(x, NID_basic_constraints, "critical,CA:FALSE") && X509_sign(x, key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

static FILE *create(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);

	return fd < 0 || fchmod(fd, mode) != 0 ? NULL : fdopen(fd, "w");
}

static bool make_pair(const char *crt, const char *key_path, const char *host)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = key != NULL ? make_certificate(key, host) : NULL;
	FILE *k = x != NULL ? create(key_path, 0600) : NULL, *c = k != NULL ? create(crt, 0644) : NULL;
	bool ok = c != NULL && PEM_write_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) == 1 && PEM_write_X509(c, x) == 1;

	if (k != NULL)
		ok &= fclose(k) == 0;
	if (c != NULL)
		ok &= fclose(c) == 0;
	X509_free(x);
	EVP_PKEY_free(key);
	return ok;
}

char *tls_certs_self_signed(const char *state_dir, const char *public_host, struct tls_cert **v, size_t *nr, char *why, size_t why_size)
{
	char crt[4096], key[4096];
	struct tls_cert c = {0};

	snprintf(crt, sizeof crt, "%s/self-signed.crt", state_dir);
	snprintf(key, sizeof key, "%s/self-signed.key", state_dir);
	if ((access(crt, F_OK) != 0 || access(key, F_OK) != 0) && !make_pair(crt, key, public_host)) {
		snprintf(why, why_size, "cannot make a self-signed certificate in %s: %s; choose another folder with --state-dir", state_dir,
			 strerror(errno));
		return NULL;
	}
	if (!load_chain(crt, &c) || !key_fits(&c, key)) {
		snprintf(why, why_size, "%s and its key don't fit or can't be read; remove both to have them made anew", crt);
		clear(&c);
		return NULL;
	}
	log_warn("tls", 0, "self-signed", "file=%s why=\"no certificate was found; clients will have to trust this one\"", crt);
	append(v, nr, &c);
	return mem_strdup(crt);
}

void tls_certs_free(struct tls_cert *v, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		clear(&v[i]);
	free(v);
}
