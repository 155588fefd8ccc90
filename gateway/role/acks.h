#ifndef GATEWAY_ROLE_ACKS_H
#define GATEWAY_ROLE_ACKS_H

/* Which stanzas are on their way to a peer: (position in the connection's output, number on the svcproto stream), oldest first. */

#include "common/obj.h"

struct ack_mark { uint64_t pos; uint32_t seq; };

struct acks {
	struct ack_mark *v_;
	uint32_t head_, nr_, cap_;      /* cap_ is a power of two */
};

void acks_clear(struct acks *a);
static inline uint32_t acks_count(const struct acks *a)
{
	return a->nr_;
}
void acks_push(struct acks *a, uint64_t pos, uint32_t seq);
/* Takes the oldest mark that the peer's TCP has passed; false when there is none. */
bool acks_pop(struct acks *a, uint64_t pos, uint32_t *seq);

#endif
