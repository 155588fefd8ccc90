/*
 * Streams that services open: numbered stanzas to other servers, in order, over whatever gateway takes them. A gateway acknowledges what
 * the other server has. What a stream that ended has not acknowledged goes over the next one, at another gateway perhaps, and is marked if
 * it was sent before. The gateway that had it has closed its connection by then: no two of them write to the other server at a time.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* SLACK_MS: how much later than the service the gateway may notice, and still be first to give up. */
enum { WRITTEN_MAX = 500, STANZA = 300, SLACK_MS = 3000 };

/* A service's side; all but the stream is durable. */
struct pair {
	struct service *sv;
	struct svc_stream *s;
	uint32_t written, sent, acked; /* numbers of stanzas */
	uint32_t start;                /* the first one of this stream is the one after it */
	uint32_t arrived;              /* in truth, at the other server */
	uint64_t lost_ms;              /* its stream has no link since then; 0: it has */
	bool moves;                    /* its last stream ended for want of a link */
};

/* A gateway's side, with the other server behind it. */
struct far {
	struct pair *p;
	uint32_t last; /* of this stream; 0: none yet */
	uint32_t seq;
	uint64_t life;                 /* of the service */
	uint64_t lost_ms;              /* as the pair's */
	uint64_t given_up_ms;          /* the service gave up its stream, whose link it had lost then */
	const struct svc_stream *s;
	struct far *next;
};

static struct pair pairs[PAIRS];
static struct far *fars;               /* each a connection to the other server */

void pairs_start(void)
{
	memset(pairs, 0, sizeof(pairs));
	fars = NULL;
	for (int i = 0; i < PAIRS; i++)
		pairs[i].sv = &services[i % SERVICES];
}

bool pairs_are_done(void)
{
	for (int i = 0; i < PAIRS; i++)
		if (pairs[i].acked != pairs[i].written)
			return false;
	return true;
}

void pairs_lost_service(struct service *sv)
{
	for (int i = 0; i < PAIRS; i++)
		if (pairs[i].sv == sv)
			pairs[i].s = NULL;
}

/* ---- the service ---- */

static void open_at_any(struct pair *p)
{
	struct svc_open o = { .kind = SVC_KIND_SERVER_OUT, .from_domain = "d", .to_domain = "e" };
	struct wire *w = &wires[rnd(GATEWAYS)][p->sv->nr];
	static uint32_t nr;

	if (w->l == NULL || !svc_link_is_up(w->l))
		return;
	wire_put_u32(o.stream_id.b, UINT32_MAX - (uint32_t)(p - pairs));
	wire_put_u32(o.stream_id.b + 4, ++nr);
	p->s = svc_stream_open(w->l, &o, p);
	p->start = p->acked;
	p->lost_ms = 0;
}

static bool send_next(struct pair *p, uint32_t n)
{
	char b[STANZA] = { 0 };

	wire_put_u32((uint8_t *)b, (uint32_t)(p - pairs));
	wire_put_u32((uint8_t *)b + 4, n);
	if (svc_stream_send(p->s, b, sizeof(b), n <= p->sent ? SVC_REPEATED : 0, NULL) != 0)
		return false;
	p->sent = n > p->sent ? n : p->sent;
	return true;
}

void pairs_step(struct service *sv)
{
	for (int i = 0; i < PAIRS; i++) {
		struct pair *p = &pairs[i];

		if (p->sv != sv || rnd(2) != 0)
			continue;
		if (faults && p->written < WRITTEN_MAX)
			p->written += rnd(2);
		if (p->s == NULL && p->acked < p->written)
			open_at_any(p);
		while (p->s != NULL && p->start + p->s->out.seq < p->written && rnd(4) != 0)
			if (!send_next(p, p->start + p->s->out.seq + 1))
				break;
		if (faults && p->s != NULL && rnd(200) == 0)
			(void)svc_stream_close(p->s, NULL, NULL);
	}
}

void pair_acked(struct svc_stream *s, uint32_t seq)
{
	struct pair *p = svc_stream_data(s);

	HOLDS(p->s == s && p->start + seq > p->acked && p->start + seq <= p->arrived);
	p->acked = p->start + seq;
}

void pair_ended(struct svc_stream *s)
{
	struct pair *p = svc_stream_data(s);

	HOLDS(p->s == s);
	p->s = NULL;
	p->moves = p->lost_ms != 0;
	if (p->lost_ms == 0 && s->close_wanted && s->until_ms != 0) /* it was closing when its link went: nobody was told */
		p->lost_ms = s->until_ms - SVC_WAIT_SERVER_SERVICE_MS;
	for (struct far *f = fars; f != NULL; f = f->next)
		if (memcmp(&f->s->id, &s->id, sizeof(s->id)) == 0)
			f->given_up_ms = p->lost_ms;
}

void pair_lost(struct svc_stream *s, bool lost)
{
	((struct pair *)svc_stream_data(s))->lost_ms = lost ? now : 0;
}

/* ---- the gateway ---- */

/* Late: it noticed the loss of its link long after the service did. These times are made for networks that deliver, or break, within a few
 * seconds. However long its question whether the stream goes on is on its way, is no excuse. */
static bool is_late(const struct far *f)
{
	return f->lost_ms == 0 || f->lost_ms > f->given_up_ms + SLACK_MS;
}

/* The gateway that had the pair gave up first (T1 < T2), unless it was late. One whose service has died, with all that it knew of its
 * streams, is no matter of these times; nor is one over which nothing was sent: its service never heard that it is open. */
static void check_alone(const struct far *new)
{
	const struct pair *p = new->p;

	if (p->s == NULL || memcmp(&p->s->id, &new->s->id, sizeof(new->s->id)) != 0)
		return; /* it has been given up before it came here */
	for (const struct far *f = fars; f != NULL; f = f->next) {
		if (f->p != p || f->life != new->life || f->last == 0)
			continue;
		HOLDS(f->given_up_ms != 0 && is_late(f));
		tally.late++;
	}
	tally.moved += p->moves;
}

void far_opened(struct svc_stream *s)
{
	struct far *f = calloc(1, sizeof(*f));

	if (f == NULL)
		abort();
	f->p = &pairs[UINT32_MAX - wire_get_u32(svc_stream_id(s)->b)];
	f->life = f->p->sv->life;
	f->s = s;
	check_alone(f);
	f->next = fars;
	fars = f;
	svc_stream_set_data(s, f);
	(void)svc_stream_accept(s, NULL);
}

/* In order on its stream; what came before, on another one, says so; and nothing between is missing. */
void far_stanza(struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct far *f = svc_stream_data(s);
	uint32_t number = wire_get_u32((const uint8_t *)xml + 4);

	HOLDS(n == STANZA && wire_get_u32((const uint8_t *)xml) == (uint32_t)(f->p - pairs));
	HOLDS(f->last == 0 || number == f->last + 1);
	HOLDS(number <= f->p->arrived + 1 && (number > f->p->arrived || (flags & SVC_REPEATED) != 0));
	f->p->arrived = number > f->p->arrived ? number : f->p->arrived;
	f->last = number;
	tally.outwards++;
	f->seq = seq;
	if (rnd(3) != 0)
		(void)svc_stream_ack_through(s, seq);
}

void far_lost(struct svc_stream *s, bool lost)
{
	struct far *f = svc_stream_data(s);

	/* Its time runs from the first loss on, however often a link came and went again without an answer. */
	f->lost_ms = !lost ? 0 : f->lost_ms != 0 ? f->lost_ms : now;
}

void far_ended(struct svc_stream *s)
{
	struct far *f = svc_stream_data(s), **p = &fars;

	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	free(f);
	svc_stream_set_data(s, NULL);
}

static void step_list(const struct stream_list *list)
{
	struct svc_stream *s;

	TAILQ_FOREACH(s, list, all)
		if (s->kind == SVC_KIND_SERVER_OUT && s->data != NULL && rnd(3) == 0)
			(void)svc_stream_ack_through(s, ((struct far *)s->data)->seq);
}

void fars_step(struct gateway *g)
{
	struct tip *t;

	TAILQ_FOREACH(t, &g->tips, all)
		step_list(&t->l->all);
}

static void free_list(const struct stream_list *list)
{
	struct svc_stream *s;

	TAILQ_FOREACH(s, list, all)
		if (s->kind == SVC_KIND_SERVER_OUT && s->data != NULL) /* one that was refused may still wait for the answer to its CLOSE */
			far_ended(s);
}

void fars_free(struct gateway *g)
{
	struct hub_peer *p;
	struct tip *t;

	TAILQ_FOREACH(t, &g->tips, all)
		free_list(&t->l->all);
	TAILQ_FOREACH(p, &g->hub->peers, all) {
		free_list(&p->fresh);
		free_list(&p->waiting);
	}
}
