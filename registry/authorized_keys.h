#ifndef REGISTRY_AUTHORIZED_KEYS_H
#define REGISTRY_AUTHORIZED_KEYS_H

/* The file authorized_keys, and the keys that an embedded registry makes for the same user. Blocks: registry thread and start only. */

#include "common/obj.h"
#include "svcproto/keyset.h"

struct authorized_keys {
	char *text;          /* of the file, as it is published; owned */
	size_t n;
	struct keyset *set;  /* owned, or given away and NULL */
};

/* 0, or -1 with one line in why that names the file and the line. */
MUST_CHECK int authorized_keys_load(const char *path, struct authorized_keys *out, char *why, size_t why_size);
void authorized_keys_clear(struct authorized_keys *a);
/* Makes gateway.key, service.key and admin.key (0600) in dir, and the file at path with one line for each, where they are missing. */
MUST_CHECK int authorized_keys_make(const char *dir, const char *path, char *why, size_t why_size);
/* One without any key, which says how to write one, where none is. */
MUST_CHECK int authorized_keys_make_empty(const char *path, char *why, size_t why_size);

#endif
