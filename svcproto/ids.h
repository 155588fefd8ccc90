#ifndef SVCPROTO_IDS_H
#define SVCPROTO_IDS_H

/* Stream id -> stream. Chains through the streams; ids come from the other side, so their order is keyed. */

#include "svcproto/link.h"

struct ids {
	struct svc_stream **heads; /* NULL while empty */
	uint32_t cap, nr;          /* cap: a power of two, or 0 */
	uint64_t seed;             /* random, for the life of the table */
};

void ids_clear(struct ids *t); /* the table, not the streams */
struct svc_stream *ids_find(const struct ids *t, const struct svc_id *id);
int ids_add(struct ids *t, struct svc_stream *s); /* its id is not there yet; SVCPROTO_E_NOMEM */
void ids_remove(struct ids *t, struct svc_stream *s); /* which is there */

#endif
