/*
 * Two ends, a link that loses, stalls and restarts, applications that do anything at any time, all from a seed: `test_svcproto_sim [seed
 * [rounds]]`. What must hold: stanzas of a stream arrive whole, in order, once; nobody is told of an acknowledgement that was not given;
 * what was sent and not acknowledged is exactly what closed() shows; every stream ends once; and when the faults stop, everything gets
 * through.
 */
#include "svcproto/engine.h"

#include <stdlib.h>

#include "tests/unit/check.h"

enum { STREAMS = 24, PENDING = 64, QUEUE = 64 };

static uint64_t rng;

static uint32_t rnd(uint32_t n)
{
	rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((rng >> 33) % n);
}

/* One end of one stream, as its application sees it. */
struct side {
	struct svc_stream *s;
	uint32_t sent, told;      /* told: acknowledged, says acked() */
	uint32_t received, row;   /* row: acknowledged by us without a hole */
	uint32_t pending[PENDING], nr_pending;
	bool ended;
};

struct model {
	bool used;
	uint32_t nr;              /* in its id */
	struct side side[2];
};

struct end {
	struct svc_link *l;
	enum svc_side which;
	uint64_t incarnation;
	uint8_t *q[QUEUE];
	size_t q_n[QUEUE], head, tail;
	bool up;
};

static struct end ends[2];
static struct model models[STREAMS];
static uint64_t now, delivered, epochs, stream_nr;
static bool faults;

static void bad(const char *what)
{
	check_bad_++;
	fprintf(stderr, "broken: %s\n", what);
}

#define MUST(cond) do { if (!(cond)) bad(#cond); } while (0)

static uint32_t size_of(const struct model *m, unsigned from, uint32_t seq)
{
	uint64_t x = ((uint64_t)m->nr << 33 | (uint64_t)from << 32 | seq) * UINT64_C(0x9e3779b97f4a7c15);

	x >>= 40;
	return x % 16 == 0 ? 9 + (uint32_t)(x / 16 % 150000) : 9 + (uint32_t)(x / 16 % 400);
}

static void fill(char *b, const struct model *m, unsigned from, uint32_t seq, uint32_t n)
{
	memset(b, (int)(seq & 0x7f), n);
	wire_put_u32((uint8_t *)b, m->nr * 2 + from);
	wire_put_u32((uint8_t *)b + 4, seq);
}

static bool is_right(const char *b, size_t n, const struct model *m, unsigned from, uint32_t seq)
{
	static char want[160000];

	if (n != size_of(m, from, seq))
		return false;
	fill(want, m, from, seq, (uint32_t)n);
	return memcmp(b, want, n) == 0;
}

static int on_send(void *arg, const void *batch, size_t n)
{
	struct end *e = arg;
	uint8_t *copy;

	if (e->tail - e->head >= QUEUE || (faults && rnd(6) == 0))
		return SVCPROTO_E_FULL;
	copy = malloc(n);
	if (copy == NULL)
		return SVCPROTO_E_FULL;
	memcpy(copy, batch, n);
	e->q[e->tail % QUEUE] = copy;
	e->q_n[e->tail++ % QUEUE] = n;
	return 0;
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	struct end *e = arg;

	(void)peer;
	MUST(!e->up);
	e->up = true;
	epochs++;
}

static void on_down(void *arg, const char *why)
{
	struct end *e = arg;

	MUST(e->up && why[0] != '\0');
	e->up = false;
	for (int i = 0; i < STREAMS; i++)
		MUST(models[i].side[e->which].s == NULL);
}

static struct side *side_of(struct end *e, struct svc_stream *s)
{
	struct model *m = svc_stream_data(s);

	return &m->side[e->which];
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct end *e = arg;
	uint32_t nr = wire_get_u32(o->stream_id.b);

	for (int i = 0; i < STREAMS; i++) {
		if (!models[i].used || models[i].nr != nr)
			continue;
		if (rnd(8) == 0 && svc_stream_refuse(s, &(struct svc_refusal){ .condition = "conflict" }) == 0)
			return;
		svc_stream_set_data(s, &models[i]);
		models[i].side[e->which].s = s;
		if (rnd(3) != 0)
			(void)svc_stream_accept(s, "a@b/c");
		return;
	}
	(void)svc_stream_refuse(s, &(struct svc_refusal){ .condition = "gone" }); /* its opener lost the epoch meanwhile */
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	MUST(side_of(arg, s)->s == s);
	(void)full_jid;
}

static void forget(struct model *m, unsigned which)
{
	m->side[which].s = NULL;
	m->side[which].ended = true;
	if (m->side[!which].s == NULL)
		m->used = false;
}

static void on_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	struct end *e = arg;

	(void)r;
	forget(svc_stream_data(s), e->which);
}

static void ack_some(struct side *d)
{
	while (d->nr_pending > 0 && rnd(3) != 0) {
		uint32_t i = rnd(d->nr_pending), seq = d->pending[i];

		MUST(svc_stream_ack(d->s, seq) == 0);
		d->pending[i] = d->pending[--d->nr_pending];
	}
	d->row = d->received;
	for (uint32_t i = 0; i < d->nr_pending; i++)
		if (d->pending[i] - 1 < d->row)
			d->row = d->pending[i] - 1;
}

static void act(struct end *e, struct model *m);

static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct end *e = arg;
	struct model *m = svc_stream_data(s);
	struct side *d = &m->side[e->which];

	MUST(flags == 0 && d->s == s && seq == d->received + 1 && is_right(xml, n, m, !e->which, seq));
	d->received = seq;
	delivered++;
	MUST(d->nr_pending < PENDING);
	d->pending[d->nr_pending++] = seq;
	if (rnd(2) == 0)
		ack_some(d);
	if (rnd(10) == 0) /* something else altogether, from within */
		act(e, &models[rnd(STREAMS)]);
	if (faults && rnd(3000) == 0)
		svc_link_break(e->l, "from a callback", now);
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	struct end *e = arg;
	struct model *m = svc_stream_data(s);
	struct side *d = &m->side[e->which];

	MUST(seq > d->told && seq <= d->sent);
	if (m->side[!e->which].s != NULL)
		MUST(seq <= m->side[!e->which].row);
	d->told = seq;
}

static void on_writable(void *arg, struct svc_stream *s)
{
	MUST(side_of(arg, s)->s == s && svc_stream_can_send(s));
}

struct unacked {
	const struct model *m;
	unsigned from;
	uint32_t next;
};

static void on_unacked(void *arg, uint32_t seq, const char *xml, size_t n)
{
	struct unacked *u = arg;

	MUST(seq == u->next && is_right(xml, n, u->m, u->from, seq));
	u->next++;
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct end *e = arg;
	struct model *m = svc_stream_data(s);
	struct side *d = &m->side[e->which];
	struct unacked u = { m, e->which, d->told + 1 };

	(void)text;
	MUST(d->s == s && !d->ended);
	MUST(condition == NULL || strcmp(condition, "policy-violation") != 0);
	svc_stream_unacked(s, on_unacked, &u);
	MUST(u.next == d->sent + 1);
	forget(m, e->which);
}

static const struct svc_link_ops ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed,
};

static void new_link(struct end *e)
{
	struct svc_hello h = {.incarnation = ++e->incarnation,
			      .stream_window_bytes = 1u << (12 + rnd(5)),
			      .unacked_stanzas_max = 1 + rnd(PENDING - 1),
			      .unacked_bytes_max = 1000 + rnd(300000),
			      .stanza_bytes_max = 200000,
			      .streams_max = STREAMS / 2};

	h.instance.b[0] = (uint8_t)(e->which + 1);
	e->l = svc_link_new(e->which, &h, &ops, e);
	if (e->l != NULL)
		e->l->join_soft = 100000; /* so that it is felt */
	if (e->l != NULL && e->which == SVC_SERVICE)
		MUST(svc_link_start(e->l, now) == 0);
}

/* The process dies without a word: its applications see nothing more. */
static void restart(struct end *e)
{
	svc_link_free(e->l);
	e->up = false;
	for (int i = 0; i < STREAMS; i++)
		if (models[i].side[e->which].s != NULL)
			forget(&models[i], e->which);
	new_link(e);
}

static void send_one(struct end *e, struct model *m)
{
	static char b[160000];
	struct side *d = &m->side[e->which];
	uint32_t seq = 0, n = size_of(m, e->which, d->sent + 1);
	int rc;

	fill(b, m, e->which, d->sent + 1, n);
	rc = svc_stream_send(d->s, b, n, 0, &seq);
	MUST(rc == 0 || rc == SVCPROTO_E_FULL || rc == SVCPROTO_E_CLOSED || rc == SVCPROTO_E_INVALID);
	if (rc == 0)
		MUST(seq == ++d->sent);
}

static void open_one(struct end *e, struct model *m)
{
	struct svc_open o = {.kind = e->which == SVC_GATEWAY ? SVC_KIND_CLIENT : SVC_KIND_SERVER_OUT,
			     .bare_jid = "a@b",
			     .from_domain = "b",
			     .to_domain = "c"};
	struct svc_stream *s;

	memset(m, 0, sizeof(*m));
	m->nr = (uint32_t)++stream_nr;
	wire_put_u32(o.stream_id.b, m->nr);
	s = svc_stream_open(e->l, &o, m);
	if (s == NULL)
		return;
	m->used = true;
	m->side[e->which].s = s;
}

static void act(struct end *e, struct model *m)
{
	struct side *d = &m->side[e->which];
	uint32_t what = rnd(40);

	if (!m->used && what < 20)
		open_one(e, m);
	else if (d->s == NULL)
		return;
	else if (what < 24)
		send_one(e, m);
	else if (what < 34 && (d->s->state == STREAM_OPEN || d->s->state == STREAM_DRAINING))
		ack_some(d);
	else if (what < 36)
		svc_stream_pause(d->s, what == 34);
	else if (what == 37 && rnd(3) == 0)
		(void)svc_stream_close(d->s, rnd(2) ? NULL : "reset", NULL);
	else if (what > 37 && d->s->state == STREAM_OFFERED)
		(void)svc_stream_accept(d->s, "a@b/c");
}

static void lose(struct end *e, size_t nr)
{
	for (; nr > 0 && e->head != e->tail; nr--)
		free(e->q[e->head++ % QUEUE]);
}

static void deliver(struct end *from)
{
	struct end *to = &ends[!from->which];
	size_t i = from->head;

	if (i == from->tail)
		return;
	from->head++;
	svc_link_input(to->l, from->q[i % QUEUE], from->q_n[i % QUEUE], now);
	free(from->q[i % QUEUE]);
}

static void step(void)
{
	struct end *e = &ends[rnd(2)];
	uint32_t what = rnd(30);

	if (what < 14)
		act(e, &models[rnd(STREAMS)]);
	else if (what < 20)
		svc_link_flush(e->l, now);
	else if (what < 28)
		deliver(e);
	else if (what == 28)
		now += rnd(faults ? 40 : 5);
	else
		svc_link_tick(e->l, now);
	if (!faults)
		return;
	what = rnd(4000);
	if (what < 2)
		lose(e, 1 + rnd(4));
	else if (what == 2) { /* a connection dies with what was on the way */
		lose(&ends[0], QUEUE);
		lose(&ends[1], QUEUE);
	} else if (what == 3 && rnd(2) == 0)
		restart(e);
	else if (what == 4 && e->up && rnd(3) == 0) {
		svc_link_break(e->l, "by hand", now);
		if (e->which == SVC_SERVICE)
			MUST(svc_link_start(e->l, now) == 0);
	}
}

static bool at_rest(void)
{
	for (int i = 0; i < STREAMS; i++)
		for (int k = 0; k < 2; k++)
			if (models[i].side[k].s != NULL &&
			    (models[i].side[k].told != models[i].side[k].sent || models[i].side[k].s->state != STREAM_OPEN))
				return false;
	return ends[0].up && ends[1].up;
}

/* No more faults: everything is accepted, read, acknowledged, and arrives. */
static void settle(void)
{
	for (int turn = 0; turn < 4000 && !at_rest(); turn++) {
		for (int k = 0; k < 2; k++) {
			for (int i = 0; i < STREAMS; i++) {
				struct side *d = &models[i].side[k];

				if (d->s != NULL && d->s->state == STREAM_OFFERED)
					(void)svc_stream_accept(d->s, "a@b/c");
				if (d->s != NULL)
					svc_stream_pause(d->s, false);
				if (d->s != NULL && (d->s->state == STREAM_OPEN || d->s->state == STREAM_DRAINING))
					ack_some(d);
			}
			if (ends[k].which == SVC_SERVICE && ends[k].l->state == LINK_IDLE)
				MUST(svc_link_start(ends[k].l, now) == 0);
			svc_link_tick(ends[k].l, now);
			svc_link_flush(ends[k].l, now);
			while (ends[!k].head != ends[!k].tail)
				deliver(&ends[!k]);
		}
		now += turn < 200 ? 1 : 200;
	}
	if (!at_rest())
		for (int i = 0; i < STREAMS; i++)
			for (int k = 0; k < 2; k++) {
				struct side *d = &models[i].side[k];

				if (d->s != NULL && (d->told != d->sent || d->s->state != STREAM_OPEN))
					fprintf(stderr,
						"stream %u side %d state %u: sent %u told %u; far received %u row %u; credit %u unsent "
						"%" PRIu64 "\n",
						models[i].nr, k, d->s->state, d->sent, d->told, models[i].side[!k].received,
						models[i].side[!k].row, d->s->out.credit, d->s->out.unsent);
			}
	MUST(at_rest());
}

static void run(uint64_t seed, int steps)
{
	rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	now = 100000;
	memset(models, 0, sizeof(models));
	for (int k = 0; k < 2; k++) {
		memset(&ends[k], 0, sizeof(ends[k]));
		ends[k].which = (enum svc_side)k;
		new_link(&ends[k]);
	}
	for (int part = 0; part < 3 && check_bad_ == 0; part++) {
		faults = part != 1;
		for (int i = 0; i < steps && check_bad_ == 0; i++)
			step();
		faults = false;
		settle();
	}
	for (int k = 0; k < 2; k++) {
		MUST(ends[k].l->join_bytes == 0 || ends[k].l->doomed == NULL);
		svc_link_free(ends[k].l);
		lose(&ends[k], QUEUE);
	}
}

static uint64_t first_seed = 1, nr_seeds = 60;

static void anything_at_any_time(void)
{
	for (uint64_t seed = first_seed; seed < first_seed + nr_seeds; seed++) {
		run(seed, 6000);
		if (check_bad_ != 0) {
			fprintf(stderr, "test_svcproto_sim %" PRIu64 " 1 shows it\n", seed);
			return;
		}
	}
	fprintf(stderr, "seeds %" PRIu64 "..%" PRIu64 ": %" PRIu64 " stanzas, %" PRIu64 " epochs\n", first_seed, first_seed + nr_seeds - 1,
		delivered, epochs);
	CHECK(delivered > 100 * nr_seeds && epochs > 4 * nr_seeds); /* it did happen */
}

int main(int argc, char **argv)
{
	if (argc > 1)
		first_seed = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		nr_seeds = strtoull(argv[2], NULL, 10);
	RUN(anything_at_any_time);
	return check_done("svcproto/sim");
}
