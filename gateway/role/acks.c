#include "role/acks.h"

#include <stdlib.h>

/* A ring that grows by doubling; its length is bounded by the stanzas that the service may have unacknowledged. An empty one holds no
 * memory. */

void acks_clear(struct acks *a)
{
	free(a->v_);
	*a = (struct acks){0};
}

static void grow(struct acks *a)
{
	uint32_t cap = a->cap_ ? 2 * a->cap_ : 8;
	struct ack_mark *v = mem_alloc(cap * sizeof *v);

	for (uint32_t i = 0; i < a->nr_; i++)
		v[i] = a->v_[(a->head_ + i) & (a->cap_ - 1)];
	free(a->v_);
	a->v_ = v;
	a->head_ = 0;
	a->cap_ = cap;
}

void acks_push(struct acks *a, uint64_t pos, uint32_t seq)
{
	if (a->nr_ == a->cap_)
		grow(a);
	a->v_[(a->head_ + a->nr_++) & (a->cap_ - 1)] = (struct ack_mark){pos, seq};
}

bool acks_pop(struct acks *a, uint64_t pos, uint32_t *seq)
{
	if (a->nr_ == 0 || a->v_[a->head_].pos > pos)
		return false;
	*seq = a->v_[a->head_].seq;
	a->head_ = (a->head_ + 1) & (a->cap_ - 1);
	if (--a->nr_ == 0)
		acks_clear(a);
	return true;
}
