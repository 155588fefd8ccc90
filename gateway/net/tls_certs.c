/*
 * PEM files. What holds no certificate (keys alone, notes, requests) is passed over in silence, and so is an authority's certificate
 * without a key; a certificate of which we cannot find the key is the operator's mistake and gets a warning that names the file. Nothing
 * here ever asks for a passphrase, or waits for a pipe that somebody put among the certificates.
 */
#include "net/tls_certs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

enum {
	PEM_MAX_BYTES = 1 << 20,
	CERTS_MAX = 4096,
	CHAIN_MAX = 16,
	PATH_BYTES = 4096,
};

struct file {
	char *p;
	size_t n;
};

/* 0 or a negative errno; -EINVAL: no file of ours. */
static int read_all(int fd, struct file *out)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > PEM_MAX_BYTES)
		return -EINVAL;
	out->p = mem_alloc((size_t)st.st_size + 1);
	while (out->n < (size_t)st.st_size) {
		ssize_t got = read(fd, out->p + out->n, (size_t)st.st_size - out->n);

		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		out->n += (size_t)got;
	}
	return 0;
}

static int read_file(const char *path, struct file *out)
{
	*out = (struct file){0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	int err = read_all(fd, out);
	close(fd);
	return err;
}

static void drop_file(struct file *f)
{
	if (f->p)
		mem_wipe(f->p, f->n);
	free(f->p);
	*f = (struct file){0};
}

static void clear_cert(struct tls_cert *c)
{
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
	sk_X509_pop_free(c->chain, X509_free);
	SSL_CTX_free(c->ctx);
	tls_names_clear(&c->names);
	free(c->path);
}

void tls_certs_clear(struct tls_certs *c)
{
	for (size_t i = 0; i < c->nr; i++)
		clear_cert(&c->v[i]);
	free(c->v);
	*c = (struct tls_certs){0};
}

static bool parse_chain(const struct file *f, struct tls_cert *c)
{
	BIO *bio = BIO_new_mem_buf(f->p, (int)f->n);
	X509 *x;

	c->x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	c->chain = sk_X509_new_null();
	while (c->x509 && sk_X509_num(c->chain) < CHAIN_MAX && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		sk_X509_push(c->chain, x);
	BIO_free(bio);
	ERR_clear_error();
	return c->x509 != NULL;
}

static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

/* The key of the file if it is the certificate's. Else NULL, and why if there was a key. */
static EVP_PKEY *parse_key(const struct file *f, const X509 *cert, const char **why)
{
	BIO *bio = BIO_new_mem_buf(f->p, (int)f->n);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);

	BIO_free(bio);
	ERR_clear_error();
	if (key == NULL) {
		if (memmem(f->p, f->n, "PRIVATE KEY-----", 16) != NULL)
			*why = memmem(f->p, f->n, "ENCRYPTED", 9) ? "the key needs a passphrase" : "the key cannot be parsed";
		return NULL;
	}
	if (X509_check_private_key(cert, key) == 1)
		return key;
	ERR_clear_error();
	EVP_PKEY_free(key);
	*why = "the key belongs to another certificate";
	return NULL;
}

static EVP_PKEY *key_from(const char *path, const X509 *cert, const char **why)
{
	EVP_PKEY *key = NULL;
	struct file f;
	int err = read_file(path, &f);

	if (err == 0)
		key = parse_key(&f, cert, why);
	else if (err != -ENOENT && err != -ENOTDIR)
		*why = strerror(-err);
	drop_file(&f);
	return key;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* In the file itself, in NAME.key beside it (with and without the file's ending), or where letsencrypt keeps it. */
static EVP_PKEY *find_key(const char *path, const struct file *f, const X509 *cert, const char **why)
{
	const char *base = base_name(path), *dot = strrchr(base, '.');
	int dir_n = (int)(base - path), stem_n = dot && dot != base ? (int)(dot - path) : (int)strlen(path);
	char beside[PATH_BYTES + 8];
	EVP_PKEY *key = parse_key(f, cert, why);

	for (int i = 0; key == NULL && i < 3; i++) {
		if (i == 0)
			snprintf(beside, sizeof beside, "%.*s.key", stem_n, path);
		else if (i == 1)
			snprintf(beside, sizeof beside, "%.*s.key", PATH_BYTES, path);
		else if (strcmp(base, "fullchain.pem") == 0)
			snprintf(beside, sizeof beside, "%.*sprivkey.pem", dir_n, path);
		else
			break;
		key = key_from(beside, cert, why);
	}
	return key;
}

static void append(struct tls_certs *to, struct tls_cert *c, const char *path)
{
	c->path = mem_strdup(path);
	c->current = X509_cmp_current_time(X509_get0_notBefore(c->x509)) < 0 && X509_cmp_current_time(X509_get0_notAfter(c->x509)) > 0;
	tls_names_of(c->x509, &c->names);
	to->v = mem_resize(to->v, (to->nr + 1) * sizeof *to->v);
	to->v[to->nr++] = *c;
}

static void warn(const char *path, const char *why)
{
	log_warn("tls", 0, "certificate", "file=%s why=%s", log_escape(slice_str(path)), log_escape(slice_str(why)));
}

static void take_certificate(struct tls_certs *to, const char *path, const struct file *f)
{
	const char *why = NULL;
	struct tls_cert c = {0};

	if (!parse_chain(f, &c)) {
		clear_cert(&c);
		return;
	}
	c.key = find_key(path, f, c.x509, &why);
	if (c.key != NULL && to->nr < CERTS_MAX) {
		append(to, &c, path);
		if (!to->v[to->nr - 1].current)
			warn(path, "its days are over, or have not begun: used only where nothing better is there");
		return;
	}
	if (why != NULL || X509_check_ca(c.x509) == 0)
		warn(path, c.key ? "too many certificates" : why ? why : "no key in it, and none in NAME.key beside it");
	clear_cert(&c);
}

static void take_file(struct tls_certs *to, const char *path)
{
	struct file f;
	int err = read_file(path, &f);

	if (err == 0 && f.n != 0 && memmem(f.p, f.n, "-----BEGIN ", 11) != NULL)
		take_certificate(to, path, &f);
	else if (err != 0 && err != -EINVAL && err != -ENOENT)
		warn(path, strerror(-err));
	drop_file(&f);
}

/* Keys are read with their certificate, and letsencrypt's cert.pem and chain.pem are fullchain.pem in halves. */
static bool is_candidate(const char *name, bool has_fullchain)
{
	const char *dot = strrchr(name, '.');

	if (name[0] == '.' || (dot && strcmp(dot, ".key") == 0) || strcmp(name, "privkey.pem") == 0)
		return false;
	return !has_fullchain || (strcmp(name, "cert.pem") != 0 && strcmp(name, "chain.pem") != 0);
}

static void scan(struct tls_certs *to, const char *dir, int depth)
{
	struct dirent **names;
	int n = scandir(dir, &names, NULL, alphasort);
	bool has_fullchain = false;

	if (n < 0) {
		/* the system's folders are often root's alone, which is no reason to warn whoever starts as somebody else */
		if (errno != ENOENT && errno != ENOTDIR)
			log_info("tls", 0, "certificates", "folder=%s why=%s", log_escape(slice_str(dir)),
				 log_escape(slice_str(strerror(errno))));
		return;
	}
	for (int i = 0; i < n; i++)
		has_fullchain |= strcmp(names[i]->d_name, "fullchain.pem") == 0;
	for (int i = 0; i < n; i++) {
		char path[PATH_BYTES];
		struct stat st;

		snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
		if (is_candidate(names[i]->d_name, has_fullchain) && stat(path, &st) == 0) {
			if (S_ISREG(st.st_mode))
				take_file(to, path);
			else if (S_ISDIR(st.st_mode) && depth > 0)
				scan(to, path, depth - 1);
		}
		free(names[i]);
	}
	free(names);
}

void tls_certs_scan(struct tls_certs *to, const char *dir)
{
	scan(to, dir, 1);
}

bool tls_certs_add_pair(struct tls_certs *to, const char *path, const char *key_path, char *why, size_t why_size)
{
	const char *key_why = "there is no key in it";
	struct tls_cert c = {0};
	struct file f;
	int err = read_file(path, &f);

	if (err != 0 || !parse_chain(&f, &c)) {
		snprintf(why, why_size, "%s: %s", path, err ? strerror(-err) : "there is no certificate in it");
	} else if ((c.key = key_from(key_path, c.x509, &key_why)) == NULL) {
		snprintf(why, why_size, "%s: %s", key_path, key_why);
	} else {
		append(to, &c, path);
		drop_file(&f);
		return true;
	}
	drop_file(&f);
	clear_cert(&c);
	return false;
}
