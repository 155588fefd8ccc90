/*
 * The certificate of a gateway that was given none: ECDSA P-256, made once and kept, so that who chose to trust it is not asked again. Ten
 * years, since nobody is there to renew it; when they are over, or the pair is damaged, a new one is made and the log says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "net/tls_certs.h"

enum { DAYS = 3650, PATH_BYTES = 4096 };

static bool add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;

	X509_EXTENSION_free(e);
	return ok;
}

/* The host name comes from the system or the operator; what cannot be a name must not become an extension's syntax. */
static void alt_names(const char *host, char *out, size_t size)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	bool usable = host != NULL && host[0] != '\0' && strspn(host, allowed) == strlen(host) && strcmp(host, "localhost") != 0;

	snprintf(out, size, "%s%s%sDNS:localhost", usable ? "DNS:" : "", usable ? host : "", usable ? "," : "");
}

static bool fill(X509 *x, EVP_PKEY *key, const char *host)
{
	char names[600];
	uint64_t serial;
	X509_NAME *subject = X509_get_subject_name(x);

	alt_names(host, names, sizeof names);
	mem_random(&serial, sizeof serial);
	return X509_set_version(x, X509_VERSION_3) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL && X509_time_adj_ex(X509_getm_notAfter(x), DAYS, 0, NULL) != NULL &&
	       X509_set_pubkey(x, key) == 1 &&
	       X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"Ambrosia self-signed", -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x, subject) == 1 && add_extension(x, NID_subject_alt_name, names) &&
	       add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(x, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(x, NID_ext_key_usage, "serverAuth,clientAuth") && X509_sign(x, key, EVP_sha256()) > 0;
}

/* Written whole beside it, then moved into place. 0 or a negative errno. */
static int write_pem(const char *path, mode_t mode, EVP_PKEY *key, X509 *cert)
{
	char tmp[PATH_BYTES + 8];

	snprintf(tmp, sizeof tmp, "%s.new", path);
	(void)unlink(tmp);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	FILE *f = fdopen(fd, "w");
	ASSERT(f != NULL);
	errno = EIO;
	bool ok = fchmod(fd, mode) == 0 &&
		  (key ? PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) : PEM_write_X509(f, cert)) == 1 && fflush(f) == 0 &&
		  fsync(fd) == 0;
	int err = ok ? 0 : -errno;
	fclose(f);
	if (err == 0 && rename(tmp, path) != 0)
		err = -errno;
	if (err != 0)
		(void)unlink(tmp);
	return err;
}

static int make_pair(const char *crt_path, const char *key_path, const char *host)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	int err = -EIO;

	if (key != NULL && x != NULL && fill(x, key, host)) {
		err = write_pem(key_path, 0600, key, NULL);
		if (err == 0)
			err = write_pem(crt_path, 0644, NULL, x);
	}
	X509_free(x);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return err;
}

static bool may_replace(const char *path)
{
	return access(path, F_OK) != 0 || access(path, R_OK) == 0;
}

bool tls_certs_add_self_signed(struct tls_certs *to, const char *state_dir, const char *public_host, char *why, size_t why_size)
{
	char crt[PATH_BYTES], key[PATH_BYTES];
	bool there;

	snprintf(crt, sizeof crt, "%s/self-signed.crt", state_dir);
	snprintf(key, sizeof key, "%s/self-signed.key", state_dir);
	snprintf(why, why_size, "%s or its key cannot be read", crt);
	there = access(crt, F_OK) == 0 && access(key, F_OK) == 0;
	if (there && tls_certs_add_pair(to, crt, key, why, why_size)) {
		if (to->v[to->nr - 1].current)
			return true;
		tls_certs_clear(to); /* it is only asked for where there is no other */
		snprintf(why, why_size, "%s: its days are over", crt);
	}
	/* a pair that we may not even read is somebody else's */
	if (!may_replace(crt) || !may_replace(key))
		return false;
	if (there)
		log_warn("tls", 0, "self-signed", "made=anew why=%s", log_escape(slice_str(why)));
	int err = make_pair(crt, key, public_host);
	if (err != 0) {
		snprintf(why, why_size, "cannot make a self-signed certificate in %s: %s; choose another folder with --state-dir",
			 state_dir, strerror(-err));
		return false;
	}
	return tls_certs_add_pair(to, crt, key, why, why_size);
}
