#ifndef GATEWAY_ROLE_DRAIN_PACE_H
#define GATEWAY_ROLE_DRAIN_PACE_H

/* How fast a drain sends clients away, and how many of them where, pure. */

#include "common/obj.h"

/* What the other gateways can take. */
struct drain_others {
	size_t nr;                    /* that take clients and do not drain */
	uint64_t room;                /* clients a second that they take together; 0 where none of them says */
	size_t nr_draining;           /* that send clients to them, we too */
};

struct drain_pace {
	uint64_t owed;                /* of what they take, in thousandths of a client */
};

/* How many of `left` to send now, `passed_ms` after the last time and `left_ms` before all must have left, asked again in tick_ms: our part
 * of what the others can take, and never less than what the time that is left demands. */
size_t drain_pace(struct drain_pace *p, const struct drain_others *o, size_t left, uint64_t passed_ms, uint64_t left_ms, unsigned tick_ms);

/* A gateway's weight among those that clients are sent to, never 0. */
uint64_t drain_weight(bool has_room, uint32_t room);
/* The place in [0, total) to which the turn falls: in proportion, and neighbouring turns far from each other. */
uint64_t drain_place(uint32_t turn, uint64_t total);

#endif
