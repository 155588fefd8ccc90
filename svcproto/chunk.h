#ifndef SVCPROTO_CHUNK_H
#define SVCPROTO_CHUNK_H

/* Stanzas <-> chunks: the next piece of what is to be sent, and putting received pieces together. */

#include "svcproto/window.h"

struct chunk {
	const char *p;
	uint32_t n;
	uint32_t seq;
	uint8_t flags; /* WIRE_FIRST, WIRE_LAST, and on the first WIRE_REJECT, WIRE_REPEATED */
};

/* The length of the next chunk if nothing limited it, 0 when nothing is unsent. */
uint32_t chunk_want(const struct window_out *w);
/* May it go now? Waits for a worthwhile piece of credit, so that a window does not crumble into tiny chunks. */
bool chunk_ready(const struct window_out *w, uint32_t floor_bytes);
/* The next chunk, of at most `room` bytes and the credit; borrowed from the window until acknowledged. */
void chunk_take(struct window_out *w, uint32_t room, struct chunk *c);

struct chunk_join {
	char *p;
	uint32_t n, cap;
	uint8_t flags; /* of the first chunk */
	bool active;   /* FIRST was there, LAST not yet */
};

/* Makes room for n more bytes. *grown is what the memory grows by; nothing happens unless it stays within `spare`. 0, SVCPROTO_E_NOMEM, or
 * SVCPROTO_E_FULL when spare does not suffice. */
int chunk_join_reserve(struct chunk_join *j, uint32_t n, uint32_t max, uint64_t spare, uint32_t *grown);
void chunk_join_add(struct chunk_join *j, const void *p, uint32_t n);
void chunk_join_clear(struct chunk_join *j);

#endif
