#ifndef AMBROSIA_COMMON_TIMERS_H
#define AMBROSIA_COMMON_TIMERS_H

/* Private to common/: a loop's pending timers, the next one first. Pure; libevent's own would take 128 bytes for each. */

#include "common/loop.h"

struct timers {
	struct loop_timer **v;       /* a binary heap */
	uint32_t nr, cap;
	uint32_t serial;             /* of the next one that is put */
};

/* t->due_at_ is set; t is in there already, or not. Of equal times the first one put is the first. */
void timers_put(struct timers *ts, struct loop_timer *t);
void timers_remove(struct timers *ts, struct loop_timer *t);     /* idempotent, also on a zeroed one */
struct loop_timer *timers_first(const struct timers *ts);        /* NULL: none */
/* Was it put before this serial? */
static inline bool timers_before(const struct loop_timer *t, uint32_t serial)
{
	return (int32_t)(t->serial_ - serial) < 0;
}
void timers_clear(struct timers *ts);                            /* none is pending any more */

#endif
