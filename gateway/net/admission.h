#ifndef GATEWAY_NET_ADMISSION_H
#define GATEWAY_NET_ADMISSION_H

/*
 * Who of those that come may begin a TLS handshake now, pure: a token bucket that holds time, and a queue of those who wait for it. Times
 * are microseconds of one clock, given by the caller.
 */

#include <sys/queue.h>

#include "common/obj.h"

enum admission_class {
	ADMISSION_RETURNING,         /* shows that it was here before: goes first */
	ADMISSION_NEW,
	ADMISSION_CLASSES,
};

struct admission_options {
	unsigned share_percent;      /* of the time that newcomers may take; 0: no limit, nobody waits */
	unsigned idle_percent;       /* beside that, of the rest of what others leave them; all of it where others take hardly any */
	unsigned burst_us;           /* what may be taken at a time when none was for a while */
	unsigned patience_ms;        /* who has waited for so long is turned away */
	size_t waiting_max;          /* beyond it newcomers are turned away at once */
};

/* One that waits: to be embedded, or zeroed. */
struct admission_wait {
	TAILQ_ENTRY(admission_wait) link_;
	uint64_t since_us_;
	enum admission_class class_;
	bool waits_;
};

TAILQ_HEAD(admission_queue, admission_wait);

struct admission {
	struct admission_options o;
	struct admission_queue queues[ADMISSION_CLASSES];
	size_t nr_waiting, nr_returning;     /* in both queues; in the one */
	int64_t level_us;            /* may be below 0: what was taken in advance */
	uint64_t filled_at_us;
	unsigned hundredths;         /* of a microsecond, beside the level */
	unsigned row;                /* of the returning, admitted one after the other while new ones wait */
	uint64_t cost_us;            /* of one that comes in, a moving mean */
	uint64_t ahead_us;           /* paid in advance by those on the way, and not taken yet */
	size_t nr_on_the_way;        /* admitted, and neither in nor come to nothing */
};

enum admission_answer { ADMISSION_GO, ADMISSION_WAIT, ADMISSION_FULL };

void admission_init(struct admission *a, const struct admission_options *o, uint64_t now_us);
/* Would one that comes now have to wait? */
bool admission_crowded(struct admission *a, uint64_t now_us);
/* One has come. GO: it is admitted, w is not used. WAIT: w is queued. FULL: turn it away. Those that return
 * may hold seven eighths of the places, and who comes behind them passes for new. Until then, when all are taken, one of them gets that of
 * the new one who came last: *instead is that one, out of the queue, to be turned away; else NULL. */
enum admission_answer admission_ask(struct admission *a, struct admission_wait *w, enum admission_class class, uint64_t now_us,
				    struct admission_wait **instead);
/* It waits, and shows now that it was here before: it goes behind the others that were, or stays where it is when they have all their
 * places. */
void admission_returns(struct admission *a, struct admission_wait *w);
void admission_leave(struct admission *a, struct admission_wait *w);    /* waits no more; idempotent */
/* Something beside the admitted took this much time: there is less now. */
void admission_charge(struct admission *a, uint64_t us, uint64_t now_us);
/* Those on the way took this much, of which there is less as far as they have not paid it: each pays in advance what one took so far, as a
 * mean. */
void admission_spent(struct admission *a, uint64_t us);
/* The way of one that was admitted is over, once for each: it is in, and took so much, which the next ones pay; or it will never be. What
 * it paid and nobody took is there again. */
void admission_came_in(struct admission *a, uint64_t us);
void admission_came_to_nothing(struct admission *a);
/* So much of the time is theirs beside the share. What of it finds no place is the answer: another bucket may have it. */
uint64_t admission_give(struct admission *a, uint64_t us, uint64_t now_us);
/* The next one to be admitted now, out of the queue; NULL: none waits, or there is no time for one. */
struct admission_wait *admission_next(struct admission *a, uint64_t now_us);
/* The next one whose patience is over, out of the queue; NULL: none. */
struct admission_wait *admission_expired(struct admission *a, uint64_t now_us);
/* When somebody could be admitted if nobody waited: now_us, or later. */
uint64_t admission_open_us(struct admission *a, uint64_t now_us);
/* When to ask next() and expired() again; UINT64_MAX: nobody waits. */
uint64_t admission_due_us(struct admission *a, uint64_t now_us);
/* Which part of what is left beside the share is for newcomers, in percent, where the work for those who are in takes so many percent of
 * the time: idle_percent, and more where they have little to do; all where that is little. 0 stays 0. */
unsigned admission_part(unsigned idle_percent, unsigned others_percent);
/* Is that work at all, which newcomers could disturb? */
bool admission_is_work(unsigned others_percent);
/* How many newcomers could be admitted in the next second, beside those that wait, when they have so many percent of it; ADMISSION_ANY
 * without a limit. */
#define ADMISSION_ANY UINT32_MAX
uint32_t admission_room(const struct admission *a, unsigned percent);

#endif
