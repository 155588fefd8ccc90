/*
 * Counts, credits and acknowledgements of a stream. The peer's numbers are believed only as far as our own go: an acknowledgement of what
 * was not sent, or more credit than the sum may hold, is an error for the caller to punish.
 */
#include "svcproto/window.h"

#include "svcproto/mutate.h"

#include <stdlib.h>
#include <string.h>

int window_out_push(struct window_out *w, const void *prefix, size_t prefix_n, const char *xml, size_t n, uint8_t flags)
{
	struct window_stanza *st = malloc(sizeof(*st) + prefix_n + n);

	if (st == NULL)
		return SVCPROTO_E_NOMEM;
	*st = (struct window_stanza){ .seq = ++w->seq, .n = (uint32_t)(prefix_n + n), .prefix = (uint16_t)prefix_n, .flags = flags };
	if (prefix_n > 0)
		memcpy(st->bytes, prefix, prefix_n);
	memcpy(st->bytes + prefix_n, xml, n);
	if (w->tail != NULL)
		w->tail->next = st;
	else
		w->head = st;
	w->tail = st;
	if (w->cur == NULL)
		w->cur = st;
	w->nr++;
	w->bytes += st->n;
	w->unsent += st->n;
	if (w->total != NULL)
		*w->total += st->n;
	return 0;
}

uint32_t window_out_sent(const struct window_out *w)
{
	return w->cur != NULL ? w->cur->seq - 1 : w->seq;
}

uint32_t window_out_begun(const struct window_out *w)
{
	return w->cur_at > 0 ? w->cur->seq : window_out_sent(w);
}

void window_out_rewind(struct window_out *w, uint32_t seq)
{
	w->cur = w->head;
	w->cur_at = 0;
	w->unsent = w->bytes;
	while (w->cur != NULL && !seq_after(w->cur->seq, seq)) {
		w->unsent -= w->cur->n;
		w->cur = w->cur->next;
	}
}

static int drop_through(struct window_out *w, uint32_t seq)
{
	if (!seq_after(seq, w->acked))
		return 0;
	while (w->head != NULL && !seq_after(w->head->seq, seq)) {
		struct window_stanza *st = w->head;

		w->head = st->next;
		w->nr--;
		w->bytes -= st->n;
		if (w->total != NULL)
			*w->total -= st->n;
		free(st);
	}
	if (w->head == NULL)
		w->tail = NULL;
	w->acked = seq;
	return 1;
}

int window_out_ack(struct window_out *w, uint32_t seq)
{
	return seq_after(seq, window_out_sent(w)) ? SVCPROTO_E_INVALID : drop_through(w, seq);
}

int window_out_resume(struct window_out *w, uint32_t seq)
{
	int rc = seq_after(seq, w->reached) ? SVCPROTO_E_INVALID : drop_through(w, seq);

	if (rc >= 0)
		window_out_rewind(w, w->acked);
	return rc;
}

int window_out_credit(struct window_out *w, uint32_t bytes)
{
	if (bytes > (uint32_t)INT32_MAX - w->credit)
		return SVCPROTO_E_INVALID;
	w->credit += bytes;
	return 0;
}

void window_out_clear(struct window_out *w)
{
	while (w->head != NULL) {
		struct window_stanza *st = w->head;

		w->head = st->next;
		free(st);
	}
	if (w->total != NULL)
		*w->total -= w->bytes;
	w->tail = w->cur = NULL;
	w->nr = 0;
	w->bytes = w->unsent = 0;
}

static uint64_t *word(struct window_in *w, uint32_t seq)
{
	return w->cap == 0 ? &w->bits : &w->more[(seq & (w->cap - 1)) / 64];
}

static bool is_marked(struct window_in *w, uint32_t seq)
{
	return (*word(w, seq) >> (seq % 64) & 1) != 0;
}

static void mark(struct window_in *w, uint32_t seq)
{
	*word(w, seq) |= UINT64_C(1) << (seq % 64);
}

/* Room for the bits row+1 .. row+span. The span is bounded by what the peer may leave unacknowledged. */
static int grow(struct window_in *w, uint32_t span)
{
	struct window_in old = *w;
	uint32_t cap = w->cap == 0 ? WINDOW_INLINE : w->cap;
	uint64_t *more;

	if (span <= cap)
		return 0;
	while (cap < span)
		cap *= 2;
	more = calloc(cap / 64, sizeof(*more));
	if (more == NULL)
		return SVCPROTO_E_NOMEM;
	w->more = more;
	w->cap = cap;
	for (uint32_t i = 1, n = old.cap == 0 ? WINDOW_INLINE : old.cap; i <= n; i++)
		if (is_marked(&old, old.row + i))
			mark(w, old.row + i);
	if (old.cap != 0)
		free(old.more);
	return 0;
}

static void shrink(struct window_in *w)
{
	if (w->cap == 0)
		return;
	free(w->more);
	w->cap = 0;
	w->bits = 0;
}

/* The next one joins the row, and whatever waited right behind it. */
static void advance(struct window_in *w)
{
	w->row++;
	while (w->marked > 0 && is_marked(w, w->row + 1)) {
		w->row++;
		w->marked--;
		*word(w, w->row) &= ~(UINT64_C(1) << (w->row % 64));
	}
	if (w->marked == 0)
		shrink(w);
}

int window_in_ack(struct window_in *w, uint32_t seq)
{
	uint32_t span = seq - w->row;
	int rc;

	if (!seq_after(seq, w->row) || seq_after(seq, w->received))
		return SVCPROTO_E_INVALID;
	rc = grow(w, span);
	if (rc != 0)
		return rc;
	if (is_marked(w, seq))
		return SVCPROTO_E_INVALID;
	if (span > 1 && !MUTATED(ACK_SKIPS)) {
		mark(w, seq);
		w->marked++;
		return 0;
	}
	if (MUTATED(ACK_SKIPS))
		w->row = seq - 1;
	advance(w);
	return 1;
}

int window_in_ack_through(struct window_in *w, uint32_t seq)
{
	if (seq_after(seq, w->received))
		return SVCPROTO_E_INVALID;
	if (!seq_after(seq, w->row))
		return 0;
	while (seq_after(seq, w->row))
		advance(w);
	return 1;
}

void window_in_clear(struct window_in *w)
{
	shrink(w);
	w->bits = 0;
	w->marked = 0;
}
