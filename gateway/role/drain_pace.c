#include "role/drain_pace.h"

/*
 * Every client that is sent away logs in elsewhere, so what the others have room for is the pace. They say it seldom, and several gateways
 * may drain at a time and see the same room: each takes its part. Whatever the others say, a drain ends in its time.
 */

#define ROOM_UNTOLD 256u        /* of one that sets no limit, beside those that do */
#define GOLDEN 2654435769u      /* 2^32 divided by the golden ratio: multiples of it spread evenly */

size_t drain_pace(struct drain_pace *p, const struct drain_others *o, size_t left, uint64_t passed_ms, uint64_t left_ms, unsigned tick_ms)
{
	uint64_t ticks = left_ms > tick_ms ? (left_ms + tick_ms - 1) / tick_ms : 1;
	size_t least = (left + ticks - 1) / ticks, can;

	p->owed += passed_ms * o->room / (o->nr_draining > 0 ? o->nr_draining : 1);
	can = p->owed / 1000 < left ? (size_t)(p->owed / 1000) : left;
	if (can > least)
		least = can;
	/* what the time demanded beyond it was taken in advance; what nobody needed is not saved up */
	p->owed -= p->owed < (uint64_t)least * 1000 ? p->owed : (uint64_t)least * 1000;
	if (p->owed >= 1000)
		p->owed %= 1000;
	return least;
}

uint64_t drain_weight(bool has_room, uint32_t room)
{
	return has_room ? (uint64_t)room + 1 : ROOM_UNTOLD;
}

uint64_t drain_place(uint32_t turn, uint64_t total)
{
	uint64_t part = (uint32_t)(turn * GOLDEN);

	/* total is a sum of a few 32-bit numbers: halved until the product fits */
	return total >> 32 ? (part * (total >> 16)) >> 16 : (part * total) >> 32;
}
