#ifndef GATEWAY_LINK_CHOOSE_H
#define GATEWAY_LINK_CHOOSE_H

/* Which instance gets a new stream (DESIGN.md 3.4). Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slice.h"

struct choose_candidate {
	unsigned char instance[16];
	uint32_t weight;             /* >= 1 */
	void *owner;                 /* the caller's, and so is: */
	bool reopens;
};

/* Weighted rendezvous hashing of the key: the same on every gateway, with no coordination. Index, or nr when there is none. */
size_t choose_hash(const struct choose_candidate *v, size_t nr, struct slice key);
/* Weighted round robin over a counter that the caller keeps. Candidates are ordered by instance id first, so their order does not matter.
 */
size_t choose_round_robin(const struct choose_candidate *v, size_t nr, uint64_t *counter);

#endif
