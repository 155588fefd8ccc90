/* A repetition is known by its position. It is acknowledged when the application has handled what came first, on any stream. */
#include "svcproto/peer_row.h"

#include "svcproto/mutate.h"

bool peer_row_begin(struct peer_row *r, uint32_t last_acked)
{
	r->base = last_acked;
	r->seq = 0;
	if (!seq_after(last_acked, r->taken.received) && !seq_after(last_acked, r->taken.row) && !MUTATED(PEER_FORGETS))
		return false;
	window_in_clear(&r->taken);
	r->taken = (struct window_in){ .received = last_acked, .row = last_acked };
	return true;
}

bool peer_row_take(struct peer_row *r, uint32_t seq, uint32_t *position)
{
	*position = r->base + seq;
	r->seq = seq;
	if (!seq_after(*position, r->taken.received))
		return MUTATED(PEER_REPEATS);
	r->taken.received = *position;
	return true;
}

bool peer_row_ack(struct peer_row *r, uint32_t position)
{
	return window_in_ack(&r->taken, position) > 0;
}

uint32_t peer_row_acked(const struct peer_row *r)
{
	uint32_t last = r->base + r->seq;

	if (MUTATED(PEER_ACKS_EARLY))
		return r->seq;
	return seq_after(last, r->taken.row) ? seq_count_from(r->base, r->taken.row, last) : r->seq;
}

void peer_row_clear(struct peer_row *r)
{
	window_in_clear(&r->taken);
}
