#include "role/halves.h"

#include "common/stat.h"

/* Two lists, each in the order of the last progress. No clock: the order is all that is asked for. */

void halves_init(struct halves *h, uint64_t max)
{
	*h = (struct halves){.max_ = max};
	for (size_t i = 0; i < ARRAY_LEN(h->lists_); i++)
		TAILQ_INIT(&h->lists_[i]);
}

static size_t list_of(size_t bytes)
{
	return bytes > HALVES_SMALL_BYTES;
}

void halves_set(struct halves *h, struct half *x, size_t bytes, bool moved)
{
	size_t old = list_of(x->bytes_), new = list_of(bytes);

	if (x->bytes_ == 0 && bytes == 0)
		return;
	stat_add(STAT_held_unfinished, (uint64_t)bytes - x->bytes_); /* or less than nothing: sums wrap */
	h->bytes_[old] -= x->bytes_;
	h->bytes_[new] += bytes;
	moved |= old != new || x->bytes_ == 0;
	if (x->bytes_ > 0 && (moved || bytes == 0))
		TAILQ_REMOVE(&h->lists_[old], x, entry_);
	if (bytes > 0 && moved)
		TAILQ_INSERT_TAIL(&h->lists_[new], x, entry_);
	x->bytes_ = bytes;
}

struct half *halves_victim(const struct halves *h)
{
	for (size_t i = 0; i < ARRAY_LEN(h->lists_); i++) {
		struct half *oldest = TAILQ_FIRST(&h->lists_[i]);

		if (h->bytes_[i] > h->max_ / 2 && oldest != NULL && TAILQ_NEXT(oldest, entry_) != NULL)
			return oldest;
	}
	return NULL;
}
