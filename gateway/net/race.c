/* A few addresses with a state each: small enough to look through every time. */
#include "net/race.h"

enum { UNTRIED, CONNECTING, CONNECTED, FAILED };

void race_init(struct race *r)
{
	*r = (struct race){0};
}

bool race_add(struct race *r, unsigned target)
{
	if (r->nr_ == RACE_MAX)
		return false;
	r->v_[r->nr_].target = (unsigned char)target;
	r->v_[r->nr_++].state = UNTRIED;
	return true;
}

static unsigned count(const struct race *r, unsigned char state)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < r->nr_; i++)
		nr += r->v_[i].state == state;
	return nr;
}

static int first_untried(const struct race *r)
{
	for (unsigned i = 0; i < r->nr_; i++) {
		if (r->v_[i].state == UNTRIED)
			return (int)i;
	}
	return -1;
}

int race_next(struct race *r, uint64_t now_ms, uint64_t *at_ms)
{
	unsigned nr = count(r, CONNECTING);
	int next = first_untried(r);

	*at_ms = UINT64_MAX;
	if (next < 0 || nr >= RACE_AT_ONCE_MAX || count(r, CONNECTED) > 0)
		return -1;
	if (nr > 0) {
		uint64_t due = r->last_at_ms_ + (r->v_[next].target == r->v_[r->last_].target ? RACE_DELAY_MS : RACE_TARGET_DELAY_MS);

		if (now_ms < due) {
			*at_ms = due;
			return -1;
		}
	}
	r->v_[next].state = CONNECTING;
	r->last_ = (unsigned)next;
	r->last_at_ms_ = now_ms;
	return next;
}

void race_connected(struct race *r, unsigned i)
{
	ASSERT(i < r->nr_ && r->v_[i].state == CONNECTING);
	for (unsigned j = 0; j < r->nr_; j++) {
		if (r->v_[j].state == CONNECTING)
			r->v_[j].state = UNTRIED;
	}
	r->v_[i].state = CONNECTED;
}

void race_failed(struct race *r, unsigned i)
{
	ASSERT(i < r->nr_ && r->v_[i].state != UNTRIED);
	r->v_[i].state = FAILED;
}

bool race_lost(const struct race *r)
{
	return count(r, FAILED) == r->nr_;
}
