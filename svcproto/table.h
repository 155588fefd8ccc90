#ifndef SVCPROTO_TABLE_H
#define SVCPROTO_TABLE_H

/* Stream handle -> stream. Open addressing; the peer chooses half of the handles, so their order is keyed. */

#include <stddef.h>
#include <stdint.h>

struct svc_stream;

struct table {
	struct table_slot *slots; /* NULL while empty */
	uint32_t cap, nr;         /* cap: a power of two, or 0 */
	uint64_t seed;            /* random, for the life of the table */
};

void table_clear(struct table *t);
struct svc_stream *table_find(const struct table *t, uint32_t handle);
int table_add(struct table *t, uint32_t handle, struct svc_stream *s); /* handle is not there yet; SVCPROTO_E_NOMEM */
void table_remove(struct table *t, uint32_t handle);

#endif
