#include "ca.h"

#include <ftw.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folders[64][256];
static unsigned nr_folders;

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "test set-up failed: %s\n", what);
	abort();
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	must(e != NULL && X509_add_ext(x, e, -1) == 1, value);
	X509_EXTENSION_free(e);
}

void ca_make(struct ca_cert *out, const struct ca_params *p)
{
	static long serial = 1000;
	const EVP_MD *md = p->digest && strcmp(p->digest, "") == 0 ? NULL : EVP_get_digestbyname(p->digest ? p->digest : "SHA256");
	X509 *x = X509_new();

	if (p->digest && strcmp(p->digest, "") == 0)
		out->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else
		out->key = p->rsa_bits ? EVP_RSA_gen((unsigned)p->rsa_bits) : EVP_EC_gen("P-256");
	must(out->key != NULL && x != NULL, "key");
	const struct ca_cert *issuer = p->issuer ? p->issuer : &(struct ca_cert){.x509 = x, .key = out->key};
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	X509_time_adj_ex(X509_getm_notBefore(x), p->from_days || p->to_days ? p->from_days : -1, 0, NULL);
	X509_time_adj_ex(X509_getm_notAfter(x), p->from_days || p->to_days ? p->to_days : 30, 0, NULL);
	X509_set_pubkey(x, out->key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)p->cn, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer->x509));
	extend(x, issuer->x509, NID_basic_constraints, p->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	if (p->san)
		extend(x, issuer->x509, NID_subject_alt_name, p->san);
	if (p->eku)
		extend(x, issuer->x509, NID_ext_key_usage, p->eku);
	must(X509_sign(x, issuer->key, md) > 0, "sign");
	out->x509 = x;
}

void ca_clear(struct ca_cert *c)
{
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
	*c = (struct ca_cert){0};
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void remove_folders(void)
{
	for (unsigned i = 0; i < nr_folders; i++)
		nftw(folders[i], remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *ca_folder(void)
{
	const char *tmp = getenv("TMPDIR");

	must(nr_folders < 64, "folders");
	if (nr_folders == 0)
		atexit(remove_folders);
	snprintf(folders[nr_folders], sizeof folders[0], "%s/net-test-XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(folders[nr_folders]) != NULL, "mkdtemp");
	return folders[nr_folders++];
}

const char *ca_path(const char *dir, const char *name)
{
	static char bufs[8][512];
	static unsigned turn;
	char *out = bufs[turn++ % 8];

	snprintf(out, sizeof bufs[0], "%s/%s", dir, name);
	return out;
}

void ca_write(const char *path, X509 *const *certs, size_t nr, EVP_PKEY *key)
{
	FILE *f = fopen(path, "w");

	must(f != NULL, path);
	for (size_t i = 0; i < nr; i++)
		must(PEM_write_X509(f, certs[i]) == 1, path);
	if (key)
		must(PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1, path);
	must(fclose(f) == 0, path);
}

void ca_write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	must(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0, path);
}
