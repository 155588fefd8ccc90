#ifndef GATEWAY_ROLE_HALVES_H
#define GATEWAY_ROLE_HALVES_H

/*
 * What all connections of a worker hold for stanzas that have begun and not ended, or have found no room at their service, and whose goes
 * when that is too much: the one that has made no progress for longest. So a sender that goes on outlives all that stand still, however
 * large its stanza is. Small ones have a budget of their own, half of it all: large ones never cost them theirs, nor they the large ones.
 */

#include <sys/queue.h>

#include "common/obj.h"

#define HALVES_SMALL_BYTES 32768u   /* 16 KiB of a stanza, and expat */

/* Of one connection. All zero: nothing. */
struct half {
	size_t bytes_;
	TAILQ_ENTRY(half) entry_;
};

TAILQ_HEAD(half_list, half);

/* Part of struct role_env. */
struct halves {
	struct half_list lists_[2];   /* small, large; who made progress last is last */
	uint64_t bytes_[2], max_;
};

void halves_init(struct halves *h, uint64_t max);   /* bytes */
/* x, of this h alone, now holds so many bytes; 0: it holds nothing and may go. moved: it made progress. */
void halves_set(struct halves *h, struct half *x, size_t bytes, bool moved);
/* Who has to go, until it is NULL. Nobody who is alone with its size: a budget below one stanza stops nobody. */
struct half *halves_victim(const struct halves *h);

#endif
