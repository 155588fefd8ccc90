/*
 * A binary heap of pointers; each timer knows its place in it, counted from 1, so that zeroed memory is a timer that is not pending.
 */
#include "common/timers.h"

#include <stdlib.h>

static bool sooner(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->due_at_ != b->due_at_ ? a->due_at_ < b->due_at_ : timers_before(a, b->serial_);
}

static void set_at(struct timers *ts, uint32_t place, struct loop_timer *t)
{
	ts->v[place - 1] = t;
	t->place_ = place;
}

static void rise(struct timers *ts, struct loop_timer *t)
{
	uint32_t place = t->place_;

	for (; place > 1 && sooner(t, ts->v[place / 2 - 1]); place /= 2)
		set_at(ts, place, ts->v[place / 2 - 1]);
	set_at(ts, place, t);
}

static void sink(struct timers *ts, struct loop_timer *t)
{
	uint32_t place = t->place_;

	for (uint32_t below = 2 * place; below <= ts->nr; below = 2 * place) {
		if (below < ts->nr && sooner(ts->v[below], ts->v[below - 1]))
			below++;
		if (!sooner(ts->v[below - 1], t))
			break;
		set_at(ts, place, ts->v[below - 1]);
		place = below;
	}
	set_at(ts, place, t);
}

void timers_put(struct timers *ts, struct loop_timer *t)
{
	t->serial_ = ts->serial++;
	if (t->place_ == 0) {
		if (ts->nr == ts->cap) {
			ts->cap = ts->cap ? 2 * ts->cap : 16;
			ts->v = mem_resize(ts->v, ts->cap * sizeof(struct loop_timer *));
		}
		set_at(ts, ++ts->nr, t);
	}
	rise(ts, t);
	sink(ts, t);
}

void timers_remove(struct timers *ts, struct loop_timer *t)
{
	uint32_t place = t->place_;

	if (place == 0)
		return;
	struct loop_timer *last = ts->v[--ts->nr];
	t->place_ = 0;
	if (last == t)
		return;
	set_at(ts, place, last);
	rise(ts, last);
	sink(ts, last);
}

struct loop_timer *timers_first(const struct timers *ts)
{
	return ts->nr > 0 ? ts->v[0] : NULL;
}

void timers_clear(struct timers *ts)
{
	for (uint32_t i = 0; i < ts->nr; i++)
		ts->v[i]->place_ = 0;
	free(ts->v);
	*ts = (struct timers){.v = NULL};
}
