#ifndef REGISTRY_KEEP_H
#define REGISTRY_KEEP_H

/*
 * Redirects outlive whoever set them, and so the registries, all of them at once too: their bytes for the next start, with removals, and
 * when each ends by the time of day. Everything else has an owner who announces it again. Pure.
 */

#include "registry/table.h"

#define KEEP_MAX (256u << 20)

/* put() for each piece; false from it stops. False: it did, or no memory. */
bool keep_write(const struct redirects *rs, uint64_t now_ms, uint64_t wall_ms, bool (*put)(void *arg, const void *p, size_t n), void *arg);
/* All of it, or nothing: SVCPROTO_E_INVALID when a byte is wrong, SVCPROTO_E_NOMEM. What has ended since, or whose setter may not (any
 * more), is passed over. Nothing is told of as changed. */
int keep_read(struct registry_table *t, const uint8_t *p, size_t n, uint64_t now_ms, uint64_t wall_ms);

#endif
