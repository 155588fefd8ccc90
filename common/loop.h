#ifndef AMBROSIA_COMMON_LOOP_H
#define AMBROSIA_COMMON_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdint.h>

#include "common/obj.h"

/* One event loop of one thread: libevent's base, work at the end of each turn, and messages from other threads. */
struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *l);                 /* runs what is left to reap; the loop must not be running */
void loop_run(struct loop *l);                  /* until loop_stop; may be run again afterwards */
void loop_turn(struct loop *l);                 /* one turn that doesn't wait, for taking a stopped loop's objects apart */
void loop_stop(struct loop *l);                 /* from this thread */
struct event_base *loop_base(struct loop *l);
/* The place of one pointer, NULL at first: to what the objects of a loop share. Who puts it there takes it out. */
void **loop_shared(struct loop *l);
uint64_t loop_now_ms(struct loop *l);           /* monotonic, read once for each turn */
uint64_t loop_turn_nr(const struct loop *l);    /* another one in each turn */

/* Work at the end of this turn, before reaping; queued twice it runs once. Embed it; fn may queue others (same turn). */
struct loop_task {
	void (*fn)(void *arg);
	void *arg;
	struct loop_task *next_;
	struct loop_task **prev_;       /* NULL: not queued */
};
void loop_task_init(struct loop_task *t, void (*fn)(void *arg), void *arg);
void loop_task_queue(struct loop *l, struct loop_task *t);
/* Work that yields: at the end of the next turn, which does not wait for an event. A task that is queued already stays where it is. */
void loop_task_queue_next(struct loop *l, struct loop_task *t);
/* Work that would keep others waiting: when all else of this turn is done, one after the other until LOOP_BEHIND_US have passed, or, behind
 * a long turn, a fourth of what it took so far, and one at least. What is left goes on in the next turns, which do not wait for an event,
 * each time behind all else. */
#define LOOP_BEHIND_US 250
#define LOOP_BEHIND_PART 4
void loop_task_queue_behind(struct loop *l, struct loop_task *t);
void loop_task_cancel(struct loop *l, struct loop_task *t);

/* Free an object after all tasks of this turn (STYLE.md section 5): fn(p) runs once. */
void loop_reap(struct loop *l, void (*fn)(void *p), void *p);

/* From any thread: run fn(arg) on the loop's thread soon. Returns -ERR_CLOSED after loop_stop (fn will not run); what was taken
 * before runs before loop_run returns. */
MUST_CHECK int loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* A one-shot timer. Embed it; zeroed it is not pending. Times are loop_now_ms()'s, and fn never runs before its time by that clock. */
struct loop_timer {
	void (*fn)(void *arg);
	void *arg;
	struct loop *loop_;
	uint64_t due_at_;
	uint32_t place_, serial_;
};
void loop_timer_init(struct loop *l, struct loop_timer *t, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, uint64_t in_ms);   /* again sets it anew */
void loop_timer_cancel(struct loop_timer *t);                /* idempotent, also on a zeroed one; also before freeing */
bool loop_timer_pending(const struct loop_timer *t);

#endif
