/*
 * RFC 2782's algorithm. It leaves open in which order records of equal standing stand before the draw; they are shuffled, so that a set
 * of weights 0, which is most of the sets there are, is spread as well.
 */
#include "net/srv.h"

static void move(struct dns_srv *v, size_t from, size_t to)
{
	struct dns_srv it = v[from];

	ASSERT(to <= from);
	memmove(&v[to + 1], &v[to], (from - to) * sizeof *v);
	v[to] = it;
}

static void sort_by_priority(struct dns_srv *v, size_t nr)
{
	for (size_t i = 1; i < nr; i++) {
		size_t to = i;

		while (to > 0 && v[to - 1].priority > v[i].priority)
			to--;
		move(v, i, to);
	}
}

/* Weights of 0 first, as the draw wants it. */
static void arrange(struct dns_srv *v, size_t nr, uint32_t (*random)(void *arg, uint32_t below), void *arg)
{
	for (size_t i = 0; i < nr; i++)
		move(v, i + random(arg, (uint32_t)(nr - i)), i);
	for (size_t i = 0, zeros = 0; i < nr; i++) {
		if (v[i].weight == 0)
			move(v, i, zeros++);
	}
}

static void draw(struct dns_srv *v, size_t nr, uint32_t (*random)(void *arg, uint32_t below), void *arg)
{
	uint32_t sum = 0, run = 0;
	size_t i = 0;

	for (size_t j = 0; j < nr; j++)
		sum += v[j].weight;
	uint32_t at = random(arg, sum + 1);
	while ((run += v[i].weight) < at)
		i++;
	move(v, i, 0);
}

void srv_order(struct dns_srv *v, size_t nr, uint32_t (*random)(void *arg, uint32_t below), void *arg)
{
	sort_by_priority(v, nr);
	for (size_t from = 0, to; from < nr; from = to) {
		for (to = from + 1; to < nr && v[to].priority == v[from].priority; to++)
			;
		arrange(v + from, to - from, random, arg);
		for (size_t i = from; i < to; i++)
			draw(v + i, to - i, random, arg);
	}
}
