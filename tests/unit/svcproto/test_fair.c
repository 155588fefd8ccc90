/*
 * No head-of-line blocking: a 4 MiB stanza on one stream while 50 others exchange 200-byte stanzas, on a throttled link. Between the
 * queueing and the arrival of any small stanza at most 128 KiB of the large one cross the link; counted, not timed.
 */
#include "pair.h"

#include <stdlib.h>

#include "tests/unit/check.h"

enum { SMALL = 50, LARGE = 4 << 20, LIMIT = 128 << 10, STEP_BYTES = 4096, BUFFER = 64 << 10, ROUNDS = 20 };

static struct pair p;
static struct svc_stream *small[2][SMALL], *large;
static uint64_t crossed, queued_at[2][SMALL], worst;
static uint32_t waiting[2], arrived, pipe_bytes[2];
static uint64_t rng = 3;

static uint32_t rnd(uint32_t n)
{
	rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((rng >> 33) % n);
}

static void queue(unsigned k, uint32_t i)
{
	char b[200];

	memset(b, 's', sizeof(b));
	CHECK_EQ(svc_stream_send(small[k][i], b, sizeof(b), 0, NULL), 0);
	queued_at[k][i] = crossed;
	waiting[k]++;
}

static void hook(struct end *e, const char *event, struct svc_stream *s, uint32_t seq)
{
	unsigned from = e == &p.gw ? 1 : 0;
	uintptr_t i = (uintptr_t)(s != NULL ? svc_stream_data(s) : NULL);

	(void)seq;
	if (strcmp(event, "stanza") != 0 || i == 0)
		return;
	if (crossed - queued_at[from][i - 1] > worst)
		worst = crossed - queued_at[from][i - 1];
	arrived++;
	waiting[from]--;
}

/* The large stanza's bytes in a batch. */
static uint32_t large_bytes(const uint8_t *p0, size_t n)
{
	uint32_t sum = 0;
	struct wire_frame f;
	size_t used;

	for (size_t at = WIRE_BATCH_HEADER; at < n && wire_get_frame(p0 + at, n - at, &f, &used) == 0; at += used)
		if (f.type == WIRE_DATA && f.stream == large->handle)
			sum += f.length;
	return sum;
}

/* A bounded buffer from which STEP_BYTES leave in each step, in order; a batch arrives when its last byte does. */
static void step(struct end *e, unsigned k)
{
	uint32_t budget = STEP_BYTES;

	e->room = e->out.tail - e->out.head > 0 ? 0 : 1; /* one batch in the buffer of the transport */
	svc_link_flush(e->l, p.now);
	while (budget > 0 && e->out.head != e->out.tail) {
		size_t i = e->out.head % WIRE_BATCHES, left = e->out.n[i] - pipe_bytes[k];

		if (left > budget) {
			pipe_bytes[k] += budget;
			break;
		}
		budget -= (uint32_t)left;
		pipe_bytes[k] = 0;
		crossed += large_bytes(e->out.p[i], e->out.n[i]);
		pair_deliver_one(&p, e);
	}
}

static void one_large_among_many_small(struct end *sender)
{
	char *b = malloc(LARGE);
	uint32_t sent = 0;

	CHECK(b != NULL);
	if (b == NULL)
		return;
	memset(b, 'L', LARGE);
	crossed = worst = arrived = 0;
	memset(waiting, 0, sizeof(waiting));
	memset(pipe_bytes, 0, sizeof(pipe_bytes));
	pair_init(&p, NULL, NULL);
	pair_up(&p);
	p.gw.quiet = p.sv.quiet = true;
	large = pair_open(&p, "large@example.org");
	for (uint32_t i = 0; i < SMALL; i++) {
		small[0][i] = pair_open(&p, "small@example.org");
		small[1][i] = p.sv.last;
		svc_stream_set_data(small[0][i], (void *)(uintptr_t)(i + 1));
		svc_stream_set_data(small[1][i], (void *)(uintptr_t)(i + 1));
	}
	p.gw.hook = p.sv.hook = hook;
	if (sender == &p.sv)
		large = table_find(&p.sv.l->table, large->handle);
	CHECK_EQ(svc_stream_send(large, b, LARGE, 0, NULL), 0);
	while (large->out.nr > 0 && p.now < 100000) {
		for (unsigned k = 0; k < 2; k++)
			for (uint32_t i = 0; i < SMALL; i++)
				if (waiting[k] < SMALL && rnd(8) == 0 && svc_stream_can_send(small[k][i]) && small[k][i]->out.nr == 0) {
					queue(k, i);
					sent++;
				}
		step(&p.gw, 0);
		step(&p.sv, 1);
		p.now++;
	}
	CHECK(large->out.nr == 0);
	CHECK(arrived > 2000);
	CHECK(worst <= LIMIT);
	fprintf(stderr, "large by the %s: %u small ones queued, %u arrived meanwhile, at most %" PRIu64 " bytes of the large one between\n",
		sender->name, sent, arrived, worst);
	free(b);
	pair_clear(&p);
}

static void large_to_the_service(void)
{
	one_large_among_many_small(&p.gw);
}

static void large_to_the_gateway(void)
{
	one_large_among_many_small(&p.sv);
}

int main(void)
{
	RUN(large_to_the_service);
	RUN(large_to_the_gateway);
	return check_done("svcproto/fair");
}
