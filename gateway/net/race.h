#ifndef GATEWAY_NET_RACE_H
#define GATEWAY_NET_RACE_H

/*
 * Which of a domain's addresses to connect to, and when (RFC 8305, RFC 2782). Addresses of one target race, a little apart; the next
 * target's turn comes when all of this one's failed, or kept silent for long. The first that connects is alone from there on; when it fails
 * later, the others go on, so that every one is tried before the domain is given up. Pure: times are arguments.
 */

#include "common/obj.h"

enum {
	RACE_MAX = 32,              /* addresses */
	RACE_AT_ONCE_MAX = 4,
	RACE_DELAY_MS = 250,        /* RFC 8305 section 8: Connection Attempt Delay */
	RACE_TARGET_DELAY_MS = 3000,/* a slow target is not an unreachable one: RFC 2782 wants it before the next */
};

struct race {
	struct {
		unsigned char target, state;
	} v_[RACE_MAX];
	unsigned nr_, last_;
	uint64_t last_at_ms_;
};

void race_init(struct race *r);
/* In the order to try; target: any number, equal for the addresses of one target. False when there are enough. */
bool race_add(struct race *r, unsigned target);
/* The number (from 0, in the order of race_add) of the address to connect to now; ask again after starting it. -1: none, and *at_ms is when
 * to ask again; UINT64_MAX when only a result changes anything. */
int race_next(struct race *r, uint64_t now_ms, uint64_t *at_ms);
/* It is connected. All others that were connecting are to be let go; they count as untried. */
void race_connected(struct race *r, unsigned i);
void race_failed(struct race *r, unsigned i);
/* Nothing is left that could still succeed. */
bool race_lost(const struct race *r);

#endif
