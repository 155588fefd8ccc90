/* A gateway's side of its clients, as small as it can be: words to and from each client, the engine for everything else. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

struct gateway gateways[GATEWAYS];

void talk_put(struct talk *t, enum say say, uint32_t a, uint32_t b)
{
	HOLDS(!talk_full(t));
	if (!talk_full(t))
		t->w[t->tail++ % TALK] = (struct word){ (uint8_t)say, a, b };
}

void conn_release(struct conn *c)
{
	if (!c->ended || !c->client_gone)
		return;
	TAILQ_REMOVE(&c->gw->conns, c, all);
	free(c);
}

/* Towards the client, if there is one; what does not fit ends the connection, as a client that never reads does. */
static void tell(struct conn *c, enum say say, uint32_t a, uint32_t b)
{
	if (c->cut)
		return;
	if (talk_full(&c->down))
		c->cut = true;
	else
		talk_put(&c->down, say, a, b);
}

/* The gateway is done with it. */
static void end(struct conn *c)
{
	tell(c, SAY_CLOSED, 0, 0);
	c->s = NULL;
	c->ended = true; /* released by gateway_step: this may be one of its callbacks */
}

/* ---- the engine's events ---- */

static int on_send(void *arg, const void *batch, size_t n)
{
	struct tip *t = arg;

	return t->wire == NULL ? 0 : wire_send(&t->wire->to_sv, batch, n); /* a dead connection swallows everything */
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	(void)arg;
	(void)peer;
	tally.epochs++;
}

static void on_down(void *arg, const char *why)
{
	(void)arg;
	HOLDS(why[0] != '\0');
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	(void)arg;
	HOLDS(o->kind == SVC_KIND_SERVER_OUT);
	far_opened(s);
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	(void)full_jid;
	c->bound = true;
	tell(c, SAY_BOUND, 0, 0);
}

static void on_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	HOLDS(strcmp(r->condition, "undefined-condition") != 0); /* our clients count right */
	if (c == NULL)
		return;
	if (!c->bound && strcmp(r->condition, "item-not-found") == 0)
		tell(c, SAY_FAILED, 0, 0);
	end(c);
}

static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	if (svc_stream_kind(s) == SVC_KIND_SERVER_OUT) {
		far_stanza(s, seq, flags, xml, n);
		return;
	}
	HOLDS(flags == 0);
	if (c != NULL)
		tell(c, SAY_STANZA, letter_of(xml, n), seq);
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	(void)arg;
	(void)s;
	(void)seq;
}

static void on_writable(void *arg, struct svc_stream *s)
{
	(void)arg;
	(void)s;
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	(void)text;
	HOLDS(condition == NULL || strcmp(condition, "policy-violation") != 0);
	if (svc_stream_kind(s) == SVC_KIND_SERVER_OUT)
		far_ended(s);
	else if (c != NULL)
		end(c);
}

static void on_enabled(void *arg, struct svc_stream *s, uint32_t resume_s)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	if (c == NULL)
		return;
	c->enabled = true;
	tell(c, SAY_ENABLED, resume_s, 0);
}

static void on_resumed(void *arg, struct svc_stream *s, const char *full_jid)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	(void)full_jid;
	c->bound = c->enabled = true;
	c->told = svc_stream_h(s);
	tell(c, SAY_RESUMED, c->told, 0);
}

static const struct svc_link_ops link_ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed, .enabled = on_enabled, .resumed = on_resumed,
};

static const struct svc_hub_ops hub_ops = { .closed = on_closed };

/* ---- life ---- */

void gateway_start(struct gateway *g)
{
	struct svc_hello h = { .stream_window_bytes = 1u << (12 + rnd(3)), .unacked_stanzas_max = 8 + rnd(40),
			       .unacked_bytes_max = 20000 + rnd(100000) };

	g->life++;
	h.incarnation = g->life;
	h.instance.b[0] = (uint8_t)(g->nr + 1);
	h.instance.b[1] = (uint8_t)g->life;
	TAILQ_INIT(&g->tips);
	TAILQ_INIT(&g->conns);
	g->hub = svc_hub_new(SVC_GATEWAY, &h, NULL, &hub_ops, g);
}

void gateway_crash(struct gateway *g)
{
	struct svc_hub *hub = g->hub;
	struct tip *t;
	struct conn *c;

	fars_free(g);
	g->hub = NULL;
	for (int s = 0; s < SERVICES; s++)
		wire_cut(&wires[g->nr][s]);
	clients_lost_gateway(g);
	while ((t = TAILQ_FIRST(&g->tips)) != NULL) {
		TAILQ_REMOVE(&g->tips, t, all);
		svc_link_free(t->l);
		free(t);
	}
	while ((c = TAILQ_FIRST(&g->conns)) != NULL) {
		TAILQ_REMOVE(&g->conns, c, all);
		free(c);
	}
	svc_hub_free(hub);
}

struct tip *gateway_connected(struct gateway *g, struct wire *w)
{
	struct tip *t = calloc(1, sizeof(*t));

	if (t == NULL)
		abort();
	t->gw = g;
	t->wire = w;
	t->l = svc_hub_link(g->hub, w->sv->nr == 0 ? "key 0" : "key 1", &link_ops, t);
	TAILQ_INSERT_TAIL(&g->tips, t, all);
	return t;
}

void gateway_lost_tip(struct gateway *g, struct tip *t)
{
	svc_link_break(t->l, "the connection is gone");
	TAILQ_REMOVE(&g->tips, t, all);
	svc_link_free(t->l);
	free(t);
}

struct conn *gateway_dial(struct gateway *g, uint8_t client)
{
	struct conn *c;

	if (g->hub == NULL)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		abort();
	c->gw = g;
	c->client = client;
	TAILQ_INSERT_TAIL(&g->conns, c, all);
	return c;
}

void gateway_notice(struct conn *c)
{
	struct svc_stream *s = c->s;

	c->s = NULL;
	c->ended = true;
	if (s != NULL && svc_stream_detach(s) != 0) {
		svc_stream_set_data(s, NULL);
		(void)svc_stream_close(s, NULL, NULL);
	}
	conn_release(c);
}

/* ---- clients' words ---- */

static struct svc_link *link_to(struct gateway *g, uint32_t service)
{
	struct tip *t = wires[g->nr][service].tip;

	return t != NULL && svc_link_is_up(t->l) ? t->l : NULL;
}

static void stream_id(struct svc_id *id, uint32_t session)
{
	memset(id, 0, sizeof(*id));
	wire_put_u32(id->b, session);
}

/* Each user has an instance; without a link to it, another one will do. */
static void on_bind(struct conn *c, uint32_t session)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT };
	char jid[16] = "0@d";
	struct svc_link *l;

	jid[0] = (char)('0' + c->client);
	o.bare_jid = jid;
	stream_id(&o.stream_id, session);
	l = link_to(c->gw, c->client % SERVICES);
	if (l == NULL)
		l = link_to(c->gw, (c->client + 1u) % SERVICES);
	c->session = (uint16_t)session;
	c->s = l != NULL ? svc_stream_open(l, &o, c) : NULL;
	if (c->s == NULL)
		end(c);
}

/* The instance is named by what the client remembers; the simulator's clients remember the session, and we know where it was. */
static void on_resume(struct conn *c, uint32_t session, uint32_t h, uint32_t service)
{
	struct svc_resume r = { .h = h };
	char jid[16] = "0@d";
	struct svc_link *l = link_to(c->gw, service);

	jid[0] = (char)('0' + c->client);
	r.bare_jid = jid;
	stream_id(&r.stream_id, session);
	c->session = (uint16_t)session;
	c->s = l != NULL ? svc_stream_resume(l, &r, c) : NULL;
	if (c->s == NULL)
		end(c);
}

/* false: not now, the stream is full. */
static bool on_client_stanza(struct conn *c, uint32_t letter)
{
	struct body b = stanza_of(letter);
	int rc = svc_stream_send(c->s, b.p, b.n, 0, NULL);

	HOLDS(rc == 0 || rc == SVCPROTO_E_FULL || rc == SVCPROTO_E_CLOSED);
	return rc != SVCPROTO_E_FULL;
}

static bool one_word(struct conn *c, const struct word *w)
{
	switch (w->say) {
	case SAY_BIND:
		on_bind(c, w->a);
		return true;
	case SAY_RESUME:
		on_resume(c, w->a >> 8, w->b, w->a & 0xff);
		return true;
	case SAY_ENABLE:
		HOLDS(c->s == NULL || svc_stream_enable(c->s, w->a) != SVCPROTO_E_INVALID);
		return true;
	case SAY_ACK:
		HOLDS(c->s == NULL || svc_stream_client_h(c->s, w->a) != SVCPROTO_E_INVALID);
		return true;
	case SAY_TCP: /* before <enabled/>: what its TCP acknowledged */
		HOLDS(c->s == NULL || svc_stream_ack_through(c->s, w->a) != SVCPROTO_E_INVALID);
		return true;
	default:
		return c->s == NULL || on_client_stanza(c, w->a);
	}
}

static void tell_h(struct conn *c)
{
	uint32_t h = svc_stream_h(c->s);

	if (!c->enabled || h == c->told || talk_nr(&c->down) > TALK / 2)
		return;
	c->told = h;
	tell(c, SAY_ACK, h, 0);
}

void gateway_step(struct gateway *g)
{
	struct conn *c, *next;

	fars_step(g);
	for (c = TAILQ_FIRST(&g->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->ended) {
			conn_release(c);
		} else if (c->cut) {
			if (rnd(4) == 0)
				gateway_notice(c);
		} else if (rnd(2) == 0) {
			uint32_t before = c->up.head;

			if (before != c->up.tail && one_word(c, &c->up.w[before % TALK]) && c->up.head == before)
				c->up.head++;
			if (!c->ended && c->s != NULL) {
				svc_stream_pause(c->s, talk_nr(&c->down) > TALK / 4);
				tell_h(c);
			}
		}
	}
}
