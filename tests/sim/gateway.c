/* A gateway's side of its clients, as small as it can be: words to and from each client, the engine for everything else. */
#include "tests/sim/control.h"

#include <stdlib.h>
#include <string.h>

struct gateway gateways[GATEWAYS];

void talk_put(struct talk *t, const struct word *w)
{
	HOLDS(!talk_full(t));
	if (!talk_full(t))
		t->w[t->tail++ % TALK] = *w;
}

void conn_release(struct conn *c)
{
	if (!c->ended || !c->client_gone)
		return;
	TAILQ_REMOVE(&c->gw->conns, c, all);
	svc_rest_free(c->rest);
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
		talk_put(&c->down, &(struct word){ .say = say, .session = c->session, .a = a, .b = b });
}

/* The gateway is done with it. */
static void end(struct conn *c)
{
	tell(c, SAY_CLOSED, 0, 0);
	c->s = NULL;
	c->ended = true; /* released by gateway_step: this may be one of its callbacks */
}

/* As far as it knows: the connection may be gone. */
struct svc_link *gateway_link(const struct gateway *g, const struct svc_id *instance)
{
	struct tip *t;

	TAILQ_FOREACH(t, &g->tips, all)
		if (svc_link_is_up(t->l) && memcmp(&t->peer, instance, sizeof(*instance)) == 0)
			return t->l;
	return NULL;
}

/* Where the directory said. */
static void open_at(struct conn *c, const struct svc_id *instance, uint16_t session)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT };
	char jid[16] = "0@d";

	jid[0] = (char)('0' + c->client);
	o.bare_jid = jid;
	wire_put_u32(o.stream_id.b, session);
	c->s = svc_stream_open(gateway_link(c->gw, instance), &o, c);
	c->session = session;
	c->instance = sessions[session].instance = *instance;
}

/* ---- an instance has died, and the session goes on at another one ---- */

/* A stream of the client's, of which s is what went before: what nobody has acknowledged is the new one's. */
static uint16_t heir_of(const struct conn *c, const struct svc_stream *s)
{
	const struct session *before = &sessions[c->session];
	struct session *root = &sessions[before->root];
	uint16_t nr = (uint16_t)nr_sessions++;

	sessions[nr] = (struct session){ .client = c->client, .reopened = true, .root = before->root,
					 .offset = before->offset + s->out.acked };
	for (uint32_t i = 0; i < sessions[nr].offset; i++)
		HOLDS(root->handled[i] && letters[root->up[i]].stored);
	return nr;
}

static bool reopen(struct conn *c, struct svc_stream *s)
{
	bool known = gateway_knows(c->gw, &c->instance);
	struct svc_reopen r = { .allowed = c->reopens, .bound = c->bound && !c->asked && c->rest == NULL, .known = known };
	struct svc_id heir;

	if (c->cut || nr_sessions == SESSIONS || !svc_reopen_may(&r))
		return false;
	HOLDS(!known && c->reopens);
	if (!gateway_choose(c->gw, c->client, &heir, &c->reopens))
		return false;
	open_at(c, &heir, heir_of(c, s));
	if (c->s != NULL)
		c->rest = svc_stream_take_rest(s);
	return c->s != NULL;
}

static void reopened(struct conn *c, const char *full_jid)
{
	char mine[16] = "0@d/r";
	struct svc_rest *rest = c->rest;

	mine[0] = (char)('0' + c->client);
	HOLDS(svc_reopen_fits(mine, full_jid));
	c->rest = NULL;
	HOLDS(svc_stream_put_rest(c->s, rest) == 0);
	tally.reopened++;
}

/* ---- the engine's events ---- */

static int on_send(void *arg, const void *batch, size_t n)
{
	struct tip *t = arg;

	/* A dead connection swallows everything. */
	return t->wire == NULL || now < t->wire->mute_until_ms ? 0 : wire_send(&t->wire->to_sv, batch, n);
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	struct tip *t = arg;

	tally.epochs++;
	t->peer = peer->instance;
	directory_linked(t->gw, &t->peer);
}

static void on_down(void *arg, const char *why)
{
	struct tip *t = arg;

	HOLDS(why[0] != '\0');
	directory_linked(t->gw, &t->peer);
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	HOLDS(o->kind == SVC_KIND_SERVER_OUT || o->kind == SVC_KIND_PEER);
	if (o->kind == SVC_KIND_PEER)
		relay_opened(((struct tip *)arg)->gw, s, o);
	else
		far_opened(s);
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	if (svc_stream_kind(s) == SVC_KIND_PEER) {
		relay_accepted(s);
		return;
	}
	if (c->rest != NULL) {
		reopened(c, full_jid);
		return;
	}
	c->bound = true;
	tell(c, SAY_BOUND, 0, 0);
}

static void on_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	if (svc_stream_kind(s) == SVC_KIND_PEER) {
		relay_refused(s);
		return;
	}
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
	if (svc_stream_kind(s) == SVC_KIND_PEER) {
		relay_stanza(s, flags, xml, n);
		return;
	}
	HOLDS(flags == 0);
	if (c != NULL)
		tell(c, SAY_STANZA, letter_of(xml, n), seq);
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	(void)arg;
	if (svc_stream_kind(s) == SVC_KIND_PEER)
		relay_acked(s, seq);
}

static void on_writable(void *arg, struct svc_stream *s)
{
	(void)arg;
	if (svc_stream_kind(s) == SVC_KIND_PEER)
		relay_writable(s);
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct conn *c = svc_stream_data(s);

	(void)arg;
	(void)text;
	HOLDS(condition == NULL || strcmp(condition, "policy-violation") != 0);
	if (svc_stream_kind(s) == SVC_KIND_SERVER_OUT)
		far_ended(s);
	else if (svc_stream_kind(s) == SVC_KIND_PEER)
		relay_ended(s);
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
	c->bound = c->asked = c->enabled = true;
	c->told = svc_stream_h(s);
	tell(c, SAY_RESUMED, c->told, 0);
}

static const struct svc_link_ops link_ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed, .enabled = on_enabled, .resumed = on_resumed,
};

static void on_hub_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	if (svc_stream_kind(s) != SVC_KIND_CLIENT || svc_stream_data(s) == NULL || !reopen(svc_stream_data(s), s))
		on_closed(arg, s, condition, text);
}

static void on_detached(void *arg, struct svc_stream *s)
{
	(void)arg;
	if (svc_stream_kind(s) == SVC_KIND_SERVER_OUT)
		far_lost(s, true);
}

static void on_attached(void *arg, struct svc_stream *s, const struct svc_resume *r)
{
	(void)arg;
	HOLDS(r == NULL);
	if (svc_stream_kind(s) == SVC_KIND_SERVER_OUT)
		far_lost(s, false);
}

static const struct svc_hub_ops hub_ops = { .detached = on_detached, .attached = on_attached, .closed = on_hub_closed };

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
	directory_start(g);
}

void gateway_crash(struct gateway *g)
{
	struct svc_hub *hub = g->hub;
	struct tip *t;
	struct conn *c;

	fars_free(g);
	relays_free(g);
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
		svc_rest_free(c->rest);
		free(c);
	}
	svc_hub_free(hub);
	directory_crash(g);
}

const char *gateway_key(const struct gateway *g)
{
	static const char *const keys[GATEWAYS] = { "gateway 0", "gateway 1", "gateway 2" };

	return keys[g->nr];
}

struct tip *gateway_connected(struct gateway *g, struct wire *w)
{
	struct tip *t = calloc(1, sizeof(*t));

	if (t == NULL)
		abort();
	t->gw = g;
	t->wire = w;
	t->l = svc_hub_link(g->hub, SERVICE_KEY, &link_ops, t);
	TAILQ_INSERT_TAIL(&g->tips, t, all);
	return t;
}

void gateway_lost_tip(struct gateway *g, struct tip *t)
{
	svc_link_break(t->l, "the connection is gone", now);
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

static void on_bind(struct conn *c, uint32_t session)
{
	struct svc_id instance;

	if (gateway_choose(c->gw, c->client, &instance, &c->reopens))
		open_at(c, &instance, (uint16_t)session);
	if (c->s == NULL)
		end(c);
}

/* The instance is named by what the client remembers; the simulator's clients remember the stream, and it says where it is. */
static void on_resume(struct conn *c, uint32_t session, uint32_t h)
{
	struct svc_resume r = { .h = h };
	char jid[16] = "0@d";
	struct svc_link *l = gateway_link(c->gw, &sessions[session].instance);

	jid[0] = (char)('0' + c->client);
	r.bare_jid = jid;
	wire_put_u32(r.stream_id.b, session);
	c->session = (uint16_t)session;
	c->instance = sessions[session].instance;
	if (!gateway_knows(c->gw, &c->instance)) {
		HOLDS(gateway_link(c->gw, &c->instance) == NULL);
		tell(c, SAY_FAILED, 0, 0);
	}
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
		on_resume(c, w->a, w->b);
		return true;
	case SAY_ENABLE:
		c->asked = true;
		HOLDS(c->s == NULL || svc_stream_enable(c->s, w->a) != SVCPROTO_E_INVALID);
		return true;
	case SAY_ACK:
		HOLDS(c->s == NULL || svc_stream_client_h(c->s, w->a) != SVCPROTO_E_INVALID);
		return true;
	case SAY_TCP: /* before <enabled/>: what its TCP acknowledged, on the stream that there is now */
		HOLDS(c->s == NULL || w->session != c->session || svc_stream_ack_through(c->s, w->a) != SVCPROTO_E_INVALID);
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

			if (before != c->up.tail && c->rest == NULL && one_word(c, &c->up.w[before % TALK]) && c->up.head == before)
				c->up.head++;
			if (!c->ended && c->s != NULL) {
				svc_stream_pause(c->s, talk_nr(&c->down) > TALK / 4);
				tell_h(c);
			}
		}
	}
}
