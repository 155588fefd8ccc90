#ifndef SVCPROTO_KEYS_H
#define SVCPROTO_KEYS_H

/* CURVE key pairs in files (0600, two lines: public, secret, Z85), and the state folder of a bare gateway. */

#include <ambrosia/svcproto.h>

struct svc_key {
	char public_z85[41];
	char secret_z85[41];
};

int svc_key_make(struct svc_key *k);
int svc_key_load(const char *path, struct svc_key *k);             /* SVCPROTO_E_KEY if missing, malformed, or not 0600 and ours */
int svc_key_save(const char *path, const struct svc_key *k);       /* never over an existing file */
int svc_key_load_or_make(const char *path, struct svc_key *k);
void svc_key_wipe(struct svc_key *k);
bool svc_key_text_ok(const char *z85);                              /* 40 characters of Z85 */
/* Exactly n bytes from a file that is 0600 and ours (root may read what another user owns). SVCPROTO_E_KEY: it is not such a file. */
int svc_file_read(const char *path, void *p, size_t n);
/* The same for a file of at most max bytes: allocated, *n of them. NULL: errno is ENOENT when none is there, 0 when it is no such file. */
void *svc_file_load(const char *path, size_t max, size_t *n);
/* A 0600 file with these bytes, whole or not at all: svc_file_make never over an existing one. */
int svc_file_make(const char *path, const void *p, size_t n);
int svc_file_replace(const char *path, const void *p, size_t n);
/* The default state folder (/var/lib/ambrosia as root, else the user's). 0, or an error when path is too small. */
int svc_state_dir(char *path, size_t n);

#endif
