#ifndef SVCPROTO_PEER_ROW_H
#define SVCPROTO_PEER_ROW_H

/*
 * One row of stanzas from another instance, over all the streams that it takes (PROTOCOL.md section 13): what of it has come, and what is
 * handled. Positions count from the row's beginning, numbers from a stream's. Pure. Zeroed is a row of which nothing is known.
 */

#include "svcproto/window.h"

struct peer_row {
	struct window_in taken; /* by position */
	uint32_t base;          /* position before the stream's first stanza */
	uint32_t seq;           /* the stream's last stanza */
};

/* Another stream of this row, whose sender knows that so many are acknowledged. True: nothing was known of it up to there, or something
 * else, and it begins with that position. */
bool peer_row_begin(struct peer_row *r, uint32_t last_acked);
/* The stream's next stanza, and its position. False: it came before, on another stream, and is not to be handed on. */
bool peer_row_take(struct peer_row *r, uint32_t seq, uint32_t *position);
/* Handled, in any order. True: the row has grown. */
bool peer_row_ack(struct peer_row *r, uint32_t position);
/* The number of the present stream up to which all is handled; 0: nothing yet. */
uint32_t peer_row_acked(const struct peer_row *r);
void peer_row_clear(struct peer_row *r);

#endif
