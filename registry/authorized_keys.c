/*
 * Reading the file whole, and making the first one. An existing file is the operator's: it is never touched.
 */
#include "registry/authorized_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "svcproto/keys.h"

/* The whole file, or NULL with errno. */
static char *slurp(const char *path, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = fd >= 0 ? malloc(KEYSET_BYTES_MAX + 1) : NULL;
	ssize_t got = 0;

	*n = 0;
	while (text != NULL && *n <= KEYSET_BYTES_MAX && (got = read(fd, text + *n, KEYSET_BYTES_MAX + 1 - *n)) > 0)
		*n += (size_t)got;
	if (got < 0) {
		free(text);
		text = NULL;
	}
	if (fd >= 0)
		close(fd);
	return text;
}

int authorized_keys_load(const char *path, struct authorized_keys *out, char *why, size_t why_size)
{
	char line[200];

	memset(out, 0, sizeof(*out));
	out->text = slurp(path, &out->n);
	if (out->text == NULL) {
		snprintf(why, why_size, "%s: cannot be read: %s", path, strerror(errno));
		return -1;
	}
	out->set = keyset_parse(out->text, out->n, line, sizeof(line));
	if (out->set != NULL)
		return 0;
	snprintf(why, why_size, "%s: %s", path, line);
	authorized_keys_clear(out);
	return -1;
}

void authorized_keys_clear(struct authorized_keys *a)
{
	free(a->text);
	keyset_free(a->set);
	memset(a, 0, sizeof(*a));
}

static const char head[] = "# serial 1\n"
			   "# Raise the serial with every change. One line for each key:\n"
			   "#   KEY gateway\n"
			   "#   KEY service DOMAIN:client,server *.DOMAIN:server\n"
			   "#   KEY admin\n";

static int make_file(const char *path, const char *text, size_t n, char *why, size_t why_size)
{
	if (access(path, F_OK) == 0 || svc_file_make(path, text, n) == 0 || access(path, F_OK) == 0)
		return 0;
	snprintf(why, why_size, "%s: cannot be made: %s", path, strerror(errno));
	return -1;
}

static int make_key(const char *dir, const char *name, char public_z85[41], char *why, size_t why_size)
{
	char path[4096];
	struct svc_key k;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path) || svc_key_load_or_make(path, &k) != 0) {
		snprintf(why, why_size, "%s/%s: cannot be made, or is not a key file of this user with mode 0600", dir, name);
		return -1;
	}
	memcpy(public_z85, k.public_z85, sizeof(k.public_z85));
	svc_key_wipe(&k);
	return 0;
}

int authorized_keys_make(const char *dir, const char *path, char *why, size_t why_size)
{
	char gateway[41], service[41], admin[41], text[1024];
	int n;

	if (make_key(dir, "gateway.key", gateway, why, why_size) != 0 || make_key(dir, "service.key", service, why, why_size) != 0 ||
	    make_key(dir, "admin.key", admin, why, why_size) != 0)
		return -1;
	n = snprintf(text, sizeof(text), "%s%s gateway\n%s service *:client,server\n%s admin\n", head, gateway, service, admin);
	return make_file(path, text, (size_t)n, why, why_size);
}

int authorized_keys_make_empty(const char *path, char *why, size_t why_size)
{
	return make_file(path, head, strlen(head), why, why_size);
}
