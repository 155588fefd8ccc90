#ifndef SVCPROTO_WINDOW_H
#define SVCPROTO_WINDOW_H

/*
 * One direction of a stream each: what was sent and is not acknowledged, what was received and is not acknowledged, and the credit of
 * both. Pure counting; stanza numbers start at 1 and wrap, so they are compared by serial arithmetic.
 */

#include "svcproto/link.h"

static inline bool seq_after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

/* How many there are from base, which is not counted, to seq, of those up to last: 0 when seq is not after base. However many there are: it
 * is last that is near to seq, and not before base. */
static inline uint32_t seq_count_from(uint32_t base, uint32_t seq, uint32_t last)
{
	uint32_t all = last - base, rest = last - seq;

	return rest < all ? all - rest : 0;
}

/* A stanza that we sent or will send, until it is acknowledged. */
struct window_stanza {
	struct window_stanza *next;
	uint32_t seq;
	uint32_t n;      /* with the prefix */
	uint16_t prefix; /* bytes before the stanza proper: the condition of a rejected one */
	uint8_t flags;   /* WIRE_REJECT, WIRE_REPEATED */
	char bytes[];
};

struct window_out {
	struct window_stanza *head, *tail; /* unacknowledged, in order */
	struct window_stanza *cur;         /* the first not wholly sent, NULL when all are */
	uint32_t cur_at;                   /* bytes of it that are sent */
	uint32_t nr;                       /* unacknowledged stanzas */
	uint32_t seq;                      /* the last number given */
	uint32_t acked;
	uint32_t reached; /* the last that was ever wholly sent, to whomever */
	uint32_t credit; /* bytes of chunks that we may send */
	uint64_t bytes;  /* of unacknowledged stanzas */
	uint64_t *total; /* where those of many are summed up, or NULL */
	uint64_t unsent; /* of those not yet sent */
};

/* SVCPROTO_E_NOMEM or 0; the bound is the caller's to check. */
int window_out_push(struct window_out *w, const void *prefix, size_t prefix_n, const char *xml, size_t n, uint8_t flags);
uint32_t window_out_sent(const struct window_out *w); /* the last stanza that is wholly sent */
uint32_t window_out_begun(const struct window_out *w); /* the last one of which anything is sent */
/* The peer has everything up to seq, acknowledged or not, and nothing beyond: that is to be sent again from its beginning. */
void window_out_rewind(struct window_out *w, uint32_t seq);
/* 1: news, 0: nothing new, negative: acknowledges what was never sent. */
int window_out_ack(struct window_out *w, uint32_t seq);
/* A client comes back that has everything up to seq, and nothing beyond it that anybody may count on: what it has may go beyond what was
 * sent since another one of its resumptions. The same results. */
int window_out_resume(struct window_out *w, uint32_t seq);
int window_out_credit(struct window_out *w, uint32_t bytes); /* negative: more than 2^31-1 in all */
void window_out_clear(struct window_out *w);

#define WINDOW_INLINE 64u /* acknowledgements out of order that need no memory */

struct window_in {
	uint32_t received; /* the last whole stanza */
	uint32_t row;      /* all up to this one are acknowledged */
	uint32_t credit;   /* bytes that the peer may send */
	uint32_t due;      /* bytes taken and not yet granted again */
	uint32_t cap;      /* bits in the ring: 0 for the inline 64, else a power of two */
	uint32_t marked;   /* acknowledged beyond the row */
	union {
		uint64_t bits;  /* ring: bit seq % 64 */
		uint64_t *more; /* cap > 0 */
	};
};

/* 1: the row grew, 0: marked, negative SVCPROTO_E_*: not received, acknowledged before, or no memory. */
int window_in_ack(struct window_in *w, uint32_t seq);
int window_in_ack_through(struct window_in *w, uint32_t seq); /* all up to seq; the same results, 0 when they were before */
void window_in_clear(struct window_in *w);

#endif
