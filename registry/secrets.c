/* Keys from the master. Nothing of it is kept or logged; the caller wipes what it was given. */
#include "registry/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "svcproto/keys.h"
#include "svcproto/wire.h"

#define LABEL_MAX 64u

static int make_master(const char *path)
{
	unsigned char b[SECRETS_MASTER_MIN];
	int rc;

	if (access(path, F_OK) == 0)
		return 0;
	mem_random(b, sizeof(b));
	rc = svc_file_make(path, b, sizeof(b));
	mem_wipe(b, sizeof(b));
	return rc == 0 || access(path, F_OK) == 0 ? 0 : -1;
}

/* Root's too: that is how a container is handed a secret. */
static bool is_private(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) == 0 && (st.st_uid == geteuid() || st.st_uid == 0);
}

static int read_master(struct secrets_master *m, int fd)
{
	ssize_t got;

	while (m->n < sizeof(m->bytes) && (got = read(fd, m->bytes + m->n, sizeof(m->bytes) - m->n)) != 0) {
		if (got < 0)
			return -1;
		m->n += (size_t)got;
	}
	return 0;
}

int secrets_master_load(struct secrets_master *m, const char *path, bool make, char *why, size_t why_size)
{
	int fd;

	m->n = 0;
	if (make && make_master(path) != 0) {
		snprintf(why, why_size, "%s: cannot be made: %s", path, strerror(errno));
		return -1;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !is_private(fd) || read_master(m, fd) != 0)
		snprintf(why, why_size, "%s: cannot be read as a secret that only its owner may read (mode 0600)", path);
	else if (m->n < SECRETS_MASTER_MIN || m->n == sizeof(m->bytes))
		snprintf(why, why_size, "%s: a master secret has %u to %u bytes", path, SECRETS_MASTER_MIN, SECRETS_MASTER_MAX - 1);
	else
		why = NULL;
	if (fd >= 0)
		close(fd);
	if (why == NULL)
		return 0;
	secrets_master_wipe(m);
	return -1;
}

void secrets_master_wipe(struct secrets_master *m)
{
	mem_wipe(m, sizeof(*m));
}

uint64_t secrets_slot_at(uint64_t wall_ms)
{
	return wall_ms / SECRETS_SLOT_MS;
}

/* HKDF: extract with the salt "ambrosia", expand with the label and, but for what never changes, the slot's number. */
static bool hkdf(const struct secrets_master *m, const char *label, const uint64_t *slot, unsigned char *out, size_t n)
{
	unsigned char info[LABEL_MAX];
	size_t info_n = strlen(label);
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM params[5];
	bool ok;

	ASSERT(info_n + 8 <= sizeof(info));
	memcpy(info, label, info_n);
	if (slot != NULL) {
		wire_put_u64(info + info_n, *slot);
		info_n += 8;
	}
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)m->bytes, m->n);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t) "ambrosia", 8);
	params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, info_n);
	params[4] = OSSL_PARAM_construct_end();
	ok = ctx != NULL && EVP_KDF_derive(ctx, out, n, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok;
}

int secrets_derive(const struct secrets_master *m, uint64_t slot, struct secrets_slot *out)
{
	if (hkdf(m, "scram salt", NULL, out->salt_key, sizeof(out->salt_key)) &&
	    hkdf(m, "dialback", &slot, out->dialback_key, sizeof(out->dialback_key)) &&
	    hkdf(m, "tls ticket", &slot, out->ticket_keys, sizeof(out->ticket_keys)))
		return 0;
	secrets_slot_wipe(out);
	return -1;
}

void secrets_slot_wipe(struct secrets_slot *s)
{
	mem_wipe(s, sizeof(*s));
}

int secrets_each(const struct secrets_master *m, uint64_t wall_ms, void (*fn)(void *arg, const struct reg_slot *s), void *arg)
{
	uint64_t current = secrets_slot_at(wall_ms);

	for (uint64_t slot = current > 0 ? current - 1 : 0; slot <= current + 1; slot++) {
		struct secrets_slot keys;
		struct reg_slot s = {.number = slot,
				     .current = current,
				     .left_ms = (current + 1) * SECRETS_SLOT_MS - wall_ms,
				     .salt_key = keys.salt_key,
				     .dialback_key = keys.dialback_key,
				     .ticket_keys = keys.ticket_keys};

		if (secrets_derive(m, slot, &keys) != 0)
			return -1;
		fn(arg, &s);
		secrets_slot_wipe(&keys);
	}
	return 0;
}
