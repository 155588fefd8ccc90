#ifndef SVCPROTO_DIRECTORY_KEEP_H
#define SVCPROTO_DIRECTORY_KEEP_H

/*
 * A directory as bytes, for the next start: messages of part II (KEYS, then ENTRY), each after its length as u32. Pure. Loads and
 * rooms are left out: they say nothing later, and the bytes are the same as long as nothing else changes.
 */

#include "svcproto/directory_feed.h"

#define DIRECTORY_KEEP_MAX (128u << 20)

/* put() for each piece; false from it stops. False: it did, or no memory, or there are no keys yet and so nothing to keep. */
bool directory_keep_write(const struct directory *d, bool (*put)(void *arg, const void *p, size_t n), void *arg);
/* All of it, or nothing: SVCPROTO_E_INVALID when a byte is wrong, SVCPROTO_E_NOMEM. What it names is then held by no registry. */
int directory_keep_read(struct directory *d, const uint8_t *p, size_t n, uint64_t now_ms);

#endif
