/*
 * Streams from one instance to another: numbered stanzas to a user whom the other one has, over whatever gateway takes them. A gateway
 * passes on what comes, and what is acknowledged. Whatever dies between the two, what the far instance gets it gets once and in order, as
 * long as it lives itself; what it has handled is acknowledged, and nothing else.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "svcproto/peer_row.h"

enum { ROWS = 4, WRITTEN_MAX = 300, STANZA = 200, HANDLING = 64 };

/* The sender's side. An era ends when it gives up what is not acknowledged: with its process, or at a refusal. */
struct row {
	struct service *sv;
	struct svc_stream *s;
	uint32_t era, written, acked; /* positions in the present era */
	uint32_t start;               /* the first one of this stream is the one after it */
	/* In truth, at the far instance. */
	uint64_t life;
	uint32_t got;
	bool handled[WRITTEN_MAX + 1];
};

/* The far instance's side: the row of an era, and what its application has in hand. */
struct taken {
	struct peer_row row;
	struct svc_stream *s;
	uint32_t era;
	uint32_t hand[HANDLING], nr_hand;
};

/* A gateway between the two. */
struct relay {
	struct gateway *g;
	struct svc_stream *near, *far;
	uint32_t acked;
};

static struct row rows[ROWS];
static struct taken takens[SERVICES][ROWS];

static struct row *row_of(const struct svc_stream *s)
{
	return &rows[s->id.b[8] % ROWS];
}

static bool sends(const struct svc_stream *s)
{
	return s->id.b[9] == 0;
}

/* Of a stream: who it is of, and which side. What a part knows is in its origin and its data. */
static struct svc_id stream_id(uint32_t row, bool far)
{
	struct svc_id id = { { 0xff, 0xff, 0 } };
	static uint32_t nr;

	wire_put_u32(id.b + 4, ++nr);
	id.b[8] = (uint8_t)row;
	id.b[9] = far;
	return id;
}

static void new_era(struct row *r)
{
	*r = (struct row){ .sv = r->sv, .era = r->era + 1 };
}

void rows_start(void)
{
	memset(rows, 0, sizeof(rows));
	for (int i = 0; i < ROWS; i++)
		rows[i].sv = &services[i % SERVICES];
}

bool rows_are_done(void)
{
	for (int i = 0; i < ROWS; i++)
		if (rows[i].acked != rows[i].written)
			return false;
	return true;
}

void rows_lost_service(struct service *sv)
{
	for (int i = 0; i < ROWS; i++) {
		if (rows[i].sv == sv)
			new_era(&rows[i]);
		peer_row_clear(&takens[sv->nr][i].row);
	}
	memset(takens[sv->nr], 0, sizeof(takens[sv->nr]));
}

/* ---- the sender ---- */

static void open_row(struct row *r)
{
	struct svc_open o = { .kind = SVC_KIND_PEER, .from_domain = DOMAIN, .to_domain = DOMAIN, .bare_jid = "u@" DOMAIN,
			      .stream_id = stream_id((uint32_t)(r - rows), false), .last_acked = r->acked };
	struct wire *w = &wires[rnd(GATEWAYS)][r->sv->nr];

	if (w->l == NULL || !svc_link_is_up(w->l))
		return;
	wire_put_u32(o.origin.b, (uint32_t)(r - rows) + 1);
	wire_put_u32(o.origin.b + 4, r->era);
	r->s = svc_stream_open(w->l, &o, r);
	r->start = r->acked;
}

static bool send_next(struct row *r)
{
	char b[STANZA] = { 0 };

	wire_put_u32((uint8_t *)b, (uint32_t)(r - rows));
	wire_put_u32((uint8_t *)b + 4, r->era);
	wire_put_u32((uint8_t *)b + 8, r->start + r->s->out.seq + 1);
	return svc_stream_send(r->s, b, sizeof(b), 0, NULL) == 0;
}

static void handle(struct taken *t, struct row *r)
{
	uint32_t i = rnd(t->nr_hand), position = t->hand[i], n;

	t->hand[i] = t->hand[--t->nr_hand];
	if (t->era == r->era)
		r->handled[position] = true;
	if (peer_row_ack(&t->row, position) && t->s != NULL && (n = peer_row_acked(&t->row)) > 0)
		(void)svc_stream_ack_through(t->s, n);
}

void rows_step(struct service *sv)
{
	for (int i = 0; i < ROWS; i++) {
		struct row *r = &rows[i];
		struct taken *t = &takens[sv->nr][i];

		while (t->nr_hand > 0 && rnd(3) != 0)
			handle(t, r);
		if (r->sv != sv || rnd(2) != 0)
			continue;
		if (faults && r->written < WRITTEN_MAX)
			r->written += rnd(2);
		if (r->s == NULL && r->acked < r->written)
			open_row(r);
		while (r->s != NULL && r->start + r->s->out.seq < r->written && rnd(4) != 0)
			if (!send_next(r))
				break;
		if (faults && r->s != NULL && rnd(300) == 0)
			(void)svc_stream_close(r->s, NULL, NULL);
	}
}

/* ---- events at the instances ---- */

void row_acked(struct svc_stream *s, uint32_t seq)
{
	struct row *r = row_of(s);

	HOLDS(sends(s) && r->s == s && r->start + seq <= r->written);
	for (; !is_broken() && r->acked < r->start + seq; r->acked++)
		HOLDS(r->handled[r->acked + 1]);
}

void row_refused(struct svc_stream *s)
{
	HOLDS(row_of(s)->s == s);
	new_era(row_of(s));
}

void row_ended(struct service *sv, struct svc_stream *s)
{
	struct taken *t = &takens[sv->nr][row_of(s) - rows];

	if (sends(s) && row_of(s)->s == s)
		row_of(s)->s = NULL;
	else if (!sends(s) && t->s == s)
		t->s = NULL;
}

void row_opened(struct service *sv, struct svc_stream *s, const struct svc_open *o)
{
	struct taken *t = &takens[sv->nr][row_of(s) - rows];
	uint32_t era = wire_get_u32(o->origin.b + 4);
	struct svc_refusal no = { .type = "wait", .condition = "resource-constraint" };

	HOLDS(o->kind == SVC_KIND_PEER);
	if (era < t->era) { /* of an era that is over; the application keeps one of each row here */
		(void)svc_stream_refuse(s, &no);
		return;
	}
	if (t->s != NULL)
		(void)svc_stream_close(t->s, "conflict", NULL);
	if (era > t->era) {
		peer_row_clear(&t->row);
		*t = (struct taken){ .era = era };
	}
	t->s = s;
	(void)peer_row_begin(&t->row, o->last_acked);
	HOLDS(svc_stream_accept(s, NULL) == 0);
}

/* To the application: the next one, and what the process before this one had may come again. */
static void arrives(struct service *sv, struct row *r, struct taken *t, uint32_t position)
{
	if (t->era == r->era) {
		HOLDS(position <= r->written);
		HOLDS(r->life == sv->life ? position == r->got + 1 : position <= r->got + 1 && position >= r->acked);
		r->life = sv->life;
		r->got = position;
		tally.across++;
	}
	HOLDS(t->nr_hand < HANDLING);
	if (!is_broken())
		t->hand[t->nr_hand++] = position;
}

void row_stanza(struct service *sv, struct svc_stream *s, uint32_t seq, const char *xml, size_t n)
{
	struct row *r = row_of(s);
	struct taken *t = &takens[sv->nr][r - rows];
	uint32_t position, n_acked;

	if (t->s != s) /* closed, and another one is there */
		return;
	HOLDS(n == STANZA && wire_get_u32((const uint8_t *)xml) == (uint32_t)(r - rows));
	HOLDS(wire_get_u32((const uint8_t *)xml + 4) == t->era);
	if (peer_row_take(&t->row, seq, &position)) {
		arrives(sv, r, t, position);
	} else {
		n_acked = peer_row_acked(&t->row);
		if (n_acked > 0)
			(void)svc_stream_ack_through(s, n_acked);
		tally.again++;
	}
	HOLDS(wire_get_u32((const uint8_t *)xml + 8) == position);
}

/* ---- the gateway ---- */

static struct relay *relay_of(struct svc_stream *s)
{
	return svc_stream_data(s);
}

static void let_go(struct svc_stream **s)
{
	if (*s == NULL)
		return;
	svc_stream_set_data(*s, NULL);
	(void)svc_stream_close(*s, NULL, NULL);
	*s = NULL;
}

static void finish(struct relay *r)
{
	let_go(&r->near);
	let_go(&r->far);
	free(r);
}

static void refuse(struct relay *r)
{
	struct svc_refusal no = { .type = "cancel", .condition = "remote-server-not-found" };

	if (r->near != NULL) {
		svc_stream_set_data(r->near, NULL);
		if (svc_stream_refuse(r->near, &no) != 0)
			(void)svc_stream_close(r->near, NULL, NULL);
		r->near = NULL;
	}
	finish(r);
}

/* To the other instance, whichever life of it is linked. */
void relay_opened(struct gateway *g, struct svc_stream *s, const struct svc_open *o)
{
	struct relay *r = calloc(1, sizeof(*r));
	struct svc_open far = *o;
	uint32_t to = (uint32_t)(row_of(s)->sv->nr + 1) % SERVICES;
	struct svc_id instance = { { (uint8_t)(to + 101), (uint8_t)services[to].life } };
	struct svc_link *l = gateway_link(g, &instance);

	if (r == NULL)
		abort();
	r->g = g;
	r->near = s;
	svc_stream_set_data(s, r);
	far.stream_id = stream_id(s->id.b[8], true);
	r->far = l != NULL ? svc_stream_open(l, &far, r) : NULL;
	if (r->far == NULL)
		refuse(r);
}

void relay_accepted(struct svc_stream *s)
{
	struct relay *r = relay_of(s);

	if (r != NULL && r->near != NULL)
		(void)svc_stream_accept(r->near, NULL);
}

void relay_refused(struct svc_stream *s)
{
	struct relay *r = relay_of(s);

	if (r == NULL)
		return;
	svc_stream_set_data(s, NULL);
	r->far = NULL;
	refuse(r);
}

void relay_stanza(struct svc_stream *s, unsigned flags, const char *xml, size_t n)
{
	struct relay *r = relay_of(s);

	HOLDS(flags == 0);
	if (r == NULL)
		return;
	if (r->far == NULL || svc_stream_send(r->far, xml, n, 0, NULL) != 0)
		finish(r);
	else if (!svc_stream_can_send(r->far))
		svc_stream_pause(s, true);
}

void relay_acked(struct svc_stream *s, uint32_t seq)
{
	struct relay *r = relay_of(s);

	if (r == NULL || s != r->far)
		return;
	while (r->acked != seq && r->near != NULL)
		(void)svc_stream_ack(r->near, ++r->acked);
	relay_writable(s);
}

void relay_writable(struct svc_stream *s)
{
	struct relay *r = relay_of(s);

	if (r != NULL && r->near != NULL && r->far != NULL && svc_stream_can_send(r->far))
		svc_stream_pause(r->near, false);
}

void relay_ended(struct svc_stream *s)
{
	struct relay *r = relay_of(s);

	if (r == NULL)
		return;
	svc_stream_set_data(s, NULL); /* one that broke the rules waits for the answer to its CLOSE */
	if (r->near == s)
		r->near = NULL;
	else
		r->far = NULL;
	finish(r);
}

static void free_list(const struct stream_list *list)
{
	struct svc_stream *s;

	TAILQ_FOREACH(s, list, all) {
		struct relay *r = s->kind == SVC_KIND_PEER ? s->data : NULL;

		if (r == NULL)
			continue;
		if (r->near != NULL)
			r->near->data = NULL;
		if (r->far != NULL)
			r->far->data = NULL;
		free(r);
	}
}

/* It crashes. */
void relays_free(struct gateway *g)
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
