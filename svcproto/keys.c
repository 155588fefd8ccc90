/*
 * CURVE key pairs in files. A key that others can read is no key: such a file is refused, not mended. A file that exists is never written
 * over; a new one appears whole or not at all (written aside, then linked to its name).
 */
#include "svcproto/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define Z85_N 40u
#define KEY_FILE_N (2 * (Z85_N + 1))

int svc_key_make(struct svc_key *k)
{
	return zmq_curve_keypair(k->public_z85, k->secret_z85) == 0 ? 0 : SVCPROTO_E_KEY;
}

void svc_key_wipe(struct svc_key *k)
{
	explicit_bzero(k, sizeof(*k));
}

bool svc_key_text_ok(const char *z85)
{
	uint8_t raw[32];

	return strnlen(z85, Z85_N + 1) == Z85_N && zmq_z85_decode(raw, z85) != NULL;
}

/* Root may read what belongs to the user that it is about to become. */
static bool ours_alone(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_uid == geteuid() || geteuid() == 0) && (st.st_mode & 077) == 0;
}

/* Both lines, and a public key that belongs to the secret one. */
static int key_parse(const char *text, struct svc_key *k)
{
	char public_again[Z85_N + 1];

	if (text[Z85_N] != '\n' || text[2 * Z85_N + 1] != '\n')
		return SVCPROTO_E_KEY;
	memcpy(k->public_z85, text, Z85_N);
	k->public_z85[Z85_N] = '\0';
	memcpy(k->secret_z85, text + Z85_N + 1, Z85_N);
	k->secret_z85[Z85_N] = '\0';
	if (svc_key_text_ok(k->secret_z85) && zmq_curve_public(public_again, k->secret_z85) == 0 &&
	    strcmp(public_again, k->public_z85) == 0)
		return 0;
	svc_key_wipe(k);
	return SVCPROTO_E_KEY;
}

/* What is left to read decides too: a longer file is another file. */
int svc_file_read(const char *path, void *p, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char more;
	bool ok = fd >= 0 && ours_alone(fd) && read(fd, p, n) == (ssize_t)n && read(fd, &more, 1) == 0;

	if (fd >= 0)
		close(fd);
	return ok ? 0 : SVCPROTO_E_KEY;
}

void *svc_file_load(const char *path, size_t max, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	char *p = NULL;
	bool ok = false;

	*n = 0;
	if (fd < 0)
		return NULL;
	errno = 0;
	if (ours_alone(fd) && fstat(fd, &st) == 0 && (size_t)st.st_size <= max && (p = malloc((size_t)st.st_size + 1)) != NULL) {
		ssize_t got = 1;

		while (*n < (size_t)st.st_size && (got = read(fd, p + *n, (size_t)st.st_size - *n)) > 0)
			*n += (size_t)got;
		ok = got > 0;
	}
	close(fd);
	if (ok)
		return p;
	free(p);
	return NULL;
}

int svc_key_load(const char *path, struct svc_key *k)
{
	char text[KEY_FILE_N];
	int rc = svc_file_read(path, text, sizeof(text));

	memset(k, 0, sizeof(*k));
	if (rc == 0)
		rc = key_parse(text, k);
	explicit_bzero(text, sizeof(text));
	return rc;
}

/* A private file beside path. The name in `aside` is for link() and unlink(). */
static int write_aside(const char *path, char *aside, size_t aside_n, const void *p, size_t n)
{
	bool ok;
	int fd;

	if ((size_t)snprintf(aside, aside_n, "%s.XXXXXX", path) >= aside_n)
		return SVCPROTO_E_INVALID;
	fd = mkostemp(aside, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return SVCPROTO_E_KEY;
	ok = write(fd, p, n) == (ssize_t)n && fsync(fd) == 0;
	if (close(fd) == 0 && ok)
		return 0;
	unlink(aside);
	return SVCPROTO_E_KEY;
}

/* The name is on the disk too. Not all file systems can do that, and then there is nothing to be done about it. */
static void sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[4096] = ".";
	int fd;

	if (slash != NULL)
		snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - path), path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!fsync(fd);
	close(fd);
}

int svc_file_make(const char *path, const void *p, size_t n)
{
	char aside[4096];
	int rc = write_aside(path, aside, sizeof(aside), p, n);

	if (rc != 0)
		return rc;
	rc = link(aside, path) == 0 ? 0 : SVCPROTO_E_KEY;
	unlink(aside);
	if (rc == 0)
		sync_folder(path);
	return rc;
}

int svc_file_replace(const char *path, const void *p, size_t n)
{
	char aside[4096];
	int rc = write_aside(path, aside, sizeof(aside), p, n);

	if (rc != 0)
		return rc;
	if (rename(aside, path) == 0) {
		sync_folder(path);
		return 0;
	}
	unlink(aside);
	return SVCPROTO_E_KEY;
}

int svc_key_save(const char *path, const struct svc_key *k)
{
	char text[KEY_FILE_N + 1];
	int n = snprintf(text, sizeof(text), "%s\n%s\n", k->public_z85, k->secret_z85), rc;

	if (n != (int)KEY_FILE_N)
		return SVCPROTO_E_INVALID;
	rc = svc_file_make(path, text, (size_t)n);
	explicit_bzero(text, sizeof(text));
	return rc;
}

int svc_key_load_or_make(const char *path, struct svc_key *k)
{
	int rc;

	if (access(path, F_OK) == 0)
		return svc_key_load(path, k);
	rc = svc_key_make(k);
	if (rc == 0 && svc_key_save(path, k) != 0)
		rc = svc_key_load(path, k); /* somebody was faster */
	return rc;
}

int svc_state_dir(char *path, size_t n)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int len;

	if (geteuid() == 0)
		len = snprintf(path, n, "/var/lib/ambrosia");
	else if (state != NULL && state[0] == '/')
		len = snprintf(path, n, "%s/ambrosia", state);
	else if (home != NULL && home[0] == '/')
		len = snprintf(path, n, "%s/.local/state/ambrosia", home);
	else
		return SVCPROTO_E_INVALID;
	return (size_t)len < n ? 0 : SVCPROTO_E_INVALID;
}

int svcproto_keygen(const char *path, char *public_z85)
{
	struct svc_key k;
	int rc = svc_key_make(&k);

	if (rc == 0)
		rc = svc_key_save(path, &k);
	if (rc == 0 && public_z85 != NULL)
		memcpy(public_z85, k.public_z85, sizeof(k.public_z85));
	svc_key_wipe(&k);
	return rc;
}
