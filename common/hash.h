#ifndef AMBROSIA_COMMON_HASH_H
#define AMBROSIA_COMMON_HASH_H

#include <stdint.h>

#include "common/obj.h"

/* A SipHash-keyed table from bytes to a borrowed pointer. Keys are copied. Grows; never iterates in key order. */
struct hash;

struct hash *hash_new(void);
void hash_free(struct hash *h);                                    /* values are not touched */
size_t hash_count(const struct hash *h);
void *hash_get(const struct hash *h, struct slice key);            /* NULL when absent */
void *hash_put(struct hash *h, struct slice key, void *value);     /* the value replaced, or NULL */
void *hash_del(struct hash *h, struct slice key);                  /* the value removed, or NULL */
/* Calls fn for every entry; fn may delete the entry that it is given, and no other, and may put (a new entry is met or not).
 * A non-zero return stops and is returned. */
int hash_each(struct hash *h, int (*fn)(void *arg, struct slice key, void *value), void *arg);
/* SipHash-2-4 under a key drawn at the process's start: stable within the process only. */
uint64_t hash_bytes(struct slice key);
/* SipHash-2-4 of the bytes under a key of the caller's own (its two words as little-endian numbers). */
uint64_t hash_siphash(const uint64_t key[2], struct slice s);

static inline struct slice hash_u64_key(const uint64_t *id)
{
	return (struct slice){(const char *)id, sizeof *id};
}

#endif
