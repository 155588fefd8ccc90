/*
 * Streams that outlive their link, told as stories: two gateways and a service, each with a hub, joined by queues of batches that the story
 * loses as it likes. Every event is a word in a log.
 */
/* lint: long file because all stories play on one stage */
#include <stdarg.h>
#include <stdlib.h>

#include "svcproto/engine.h"
#include "tests/unit/check.h"

enum { QUEUE = 256 };

struct member;

/* One end of a link, and what it has sent. */
struct tip {
	struct member *m;
	struct tip *far;
	struct svc_link *l;
	uint8_t *q[QUEUE];
	size_t n[QUEUE], head, tail;
};

struct member {
	const char *name;
	struct svc_hub *hub;
	char log[4096];
	size_t log_n;
	struct svc_stream *s; /* the one that a story is about */
	bool keep;            /* does not acknowledge */
};

static struct member a, b, service;
static struct tip a_tip, b_tip, service_a, service_b;
static uint64_t now;

__attribute__((format(printf, 2, 3))) static void say(struct member *m, const char *fmt, ...)
{
	va_list ap;

	if (m->log_n > 0 && m->log_n < sizeof(m->log) - 2)
		m->log[m->log_n++] = ' ';
	va_start(ap, fmt);
	m->log_n += (size_t)vsnprintf(m->log + m->log_n, sizeof(m->log) - m->log_n, fmt, ap);
	va_end(ap);
}

static const char *heard(struct member *m)
{
	m->log[m->log_n] = '\0';
	m->log_n = 0;
	return m->log;
}

/* ---- events ---- */

static int on_send(void *arg, const void *batch, size_t n)
{
	struct tip *t = arg;
	size_t i = t->tail % QUEUE;

	if (t->tail - t->head >= QUEUE)
		return SVCPROTO_E_FULL;
	t->q[i] = malloc(n);
	memcpy(t->q[i], batch, n);
	t->n[i] = n;
	t->tail++;
	return 0;
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	(void)arg;
	(void)peer;
}

static void on_down(void *arg, const char *why)
{
	(void)arg;
	(void)why;
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct member *m = ((struct tip *)arg)->m;

	say(m, "open");
	m->s = s;
	CHECK_EQ(svc_stream_accept(s, o->kind == SVC_KIND_CLIENT ? "juliet@b.example/balcony" : NULL), 0);
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	(void)arg;
	(void)s;
	(void)full_jid;
}

static void on_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	struct member *m = ((struct tip *)arg)->m;

	(void)s;
	say(m, "refused:%s", r->condition);
	if (r->counted)
		say(m, "h=%u,sent=%u", r->h, r->sent);
	m->s = NULL;
}

static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct member *m = ((struct tip *)arg)->m;

	say(m, "%u%s:%.*s", seq, (flags & SVC_REPEATED) != 0 ? "!" : "", (int)(n < 8 ? n : 8), xml);
	if (!m->keep)
		CHECK_EQ(svc_stream_ack(s, seq), 0);
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	(void)s;
	say(((struct tip *)arg)->m, "acked:%u", seq);
}

static void on_writable(void *arg, struct svc_stream *s)
{
	(void)s;
	say(((struct tip *)arg)->m, "writable");
}

static void count(void *arg, uint32_t seq, const char *xml, size_t n)
{
	(void)seq;
	(void)xml;
	(void)n;
	++*(unsigned *)arg;
}

static void ended(struct member *m, struct svc_stream *s, const char *condition)
{
	unsigned unacked = 0;

	svc_stream_unacked(s, count, &unacked);
	say(m, "closed:%s,%u", condition != NULL ? condition : "-", unacked);
	if (m->s == s)
		m->s = NULL;
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	(void)text;
	ended(((struct tip *)arg)->m, s, condition);
}

static void on_enabled(void *arg, struct svc_stream *s, uint32_t resume_s)
{
	(void)s;
	say(((struct tip *)arg)->m, "enabled:%u", resume_s);
}

static void on_resumed(void *arg, struct svc_stream *s, const char *full_jid)
{
	CHECK_STR(full_jid, "juliet@b.example/balcony");
	say(((struct tip *)arg)->m, "resumed:%u", svc_stream_h(s));
}

static const struct svc_link_ops link_ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed, .enabled = on_enabled, .resumed = on_resumed,
};

static void on_detached(void *arg, struct svc_stream *s)
{
	CHECK(svc_stream_link(s) == NULL);
	say(arg, "detached");
}

static void on_attached(void *arg, struct svc_stream *s, const struct svc_resume *r)
{
	CHECK(svc_stream_link(s) != NULL);
	say(arg, r != NULL ? "back" : "attached");
	((struct member *)arg)->s = s;
}

static void on_hub_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	(void)text;
	ended(arg, s, condition);
}

static const char *on_full_jid(void *arg, const struct svc_stream *s)
{
	(void)arg;
	(void)s;
	return "juliet@b.example/balcony";
}

static const struct svc_hub_ops hub_ops = {
	.detached = on_detached, .attached = on_attached, .closed = on_hub_closed, .full_jid = on_full_jid,
};

/* ---- the stage ---- */

static void flush_all(void)
{
	struct tip *tips[] = { &a_tip, &b_tip, &service_a, &service_b };

	for (size_t i = 0; i < 4; i++)
		if (tips[i]->l != NULL)
			svc_link_flush(tips[i]->l, now);
}

static void lose(struct tip *t)
{
	while (t->head != t->tail)
		free(t->q[t->head++ % QUEUE]);
}

/* Everything goes both ways until nothing moves. */
static void pump(void)
{
	struct tip *tips[] = { &a_tip, &b_tip, &service_a, &service_b };
	bool moved;

	do {
		flush_all();
		moved = false;
		for (size_t i = 0; i < 4; i++) {
			struct tip *t = tips[i];

			if (t->head == t->tail)
				continue;
			if (t->far->l != NULL)
				svc_link_input(t->far->l, t->q[t->head % QUEUE], t->n[t->head % QUEUE], now);
			free(t->q[t->head++ % QUEUE]);
			moved = true;
		}
	} while (moved);
}

/* The connection of a and the service dies with all that was on the way, and comes again. */
static void cut(struct tip *gw, struct tip *sv)
{
	flush_all();
	lose(gw);
	lose(sv);
	svc_link_break(gw->l, "cut");
	svc_link_break(sv->l, "cut");
}

static void reconnect(struct tip *sv)
{
	now += 10000; /* past any delay of HELLO */
	CHECK_EQ(svc_link_start(sv->l, now), 0);
	pump();
}

static void pass(uint64_t ms)
{
	for (; ms > 0; ms -= ms < 500 ? ms : 500) {
		now += ms < 500 ? ms : 500;
		svc_hub_tick(a.hub, now);
		svc_hub_tick(b.hub, now);
		svc_hub_tick(service.hub, now);
		for (size_t i = 0; i < 4; i++) {
			struct tip *tips[] = { &a_tip, &b_tip, &service_a, &service_b };

			if (tips[i]->l != NULL && svc_link_is_up(tips[i]->l))
				svc_link_tick(tips[i]->l, now);
		}
		pump();
	}
}

static void member_start(struct member *m, const char *name, enum svc_side side, uint8_t nr, const struct svc_hub_limits *limits)
{
	struct svc_hello h = { .incarnation = 1, .unacked_stanzas_max = 8 };

	memset(m, 0, sizeof(*m));
	m->name = name;
	h.instance.b[0] = nr;
	m->hub = svc_hub_new(side, &h, limits, &hub_ops, m);
}

static void join(struct tip *gw, struct member *gm, struct tip *sv)
{
	memset(gw, 0, sizeof(*gw));
	memset(sv, 0, sizeof(*sv));
	*gw = (struct tip){ .m = gm, .far = sv };
	*sv = (struct tip){ .m = &service, .far = gw };
	gw->l = svc_hub_link(gm->hub, "service key", &link_ops, gw);
	sv->l = svc_hub_link(service.hub, gm->name, &link_ops, sv);
	CHECK_EQ(svc_link_start(sv->l, now), 0);
}

static void set_up_with(const struct svc_hub_limits *limits)
{
	now = 100000;
	member_start(&a, "a", SVC_GATEWAY, 1, NULL);
	member_start(&b, "b", SVC_GATEWAY, 2, NULL);
	member_start(&service, "service", SVC_SERVICE, 3, limits);
	join(&a_tip, &a, &service_a);
	join(&b_tip, &b, &service_b);
	pump();
}

static void set_up(void)
{
	set_up_with(NULL);
}

static void take_down(void)
{
	struct tip *tips[] = { &a_tip, &b_tip, &service_a, &service_b };

	for (size_t i = 0; i < 4; i++) {
		svc_link_free(tips[i]->l);
		lose(tips[i]);
	}
	svc_hub_free(a.hub);
	svc_hub_free(b.hub);
	svc_hub_free(service.hub);
}

static const struct svc_id id = { { 0xa0, 1 } };

static void open_client(void)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = id, .bare_jid = "juliet@b.example" };

	a.s = svc_stream_open(a_tip.l, &o, NULL);
	pump();
	CHECK(a.s != NULL && service.s != NULL);
	heard(&service);
}

static void send(struct member *m, const char *xml)
{
	CHECK_EQ(svc_stream_send(m->s, xml, strlen(xml), 0, NULL), 0);
}

/* A client of gateway a, one stanza each way before stream management, and 300 s to resume. */
static void open_enabled(void)
{
	open_client();
	send(&a, "before");
	send(&service, "before");
	pump();
	CHECK_EQ(svc_stream_enable(a.s, 300), 0);
	pump();
	heard(&a);
	heard(&service);
}

static void resume_at(struct tip *t, uint32_t h)
{
	struct svc_resume r = { .stream_id = id, .bare_jid = "juliet@b.example", .h = h };

	t->m->s = svc_stream_resume(t->l, &r, NULL);
	CHECK(t->m->s != NULL);
	pump();
}

/* ---- a broken link ---- */

static void what_was_on_the_way_is_repeated(void)
{
	set_up();
	open_client();
	send(&a, "1");
	send(&service, "1");
	pump();
	CHECK_STR(heard(&a), "1:1 acked:1");
	CHECK_STR(heard(&service), "1:1 acked:1");
	send(&a, "2");
	send(&service, "2");
	send(&service, "3");
	cut(&a_tip, &service_a);
	CHECK_STR(heard(&a), "detached");
	CHECK_STR(heard(&service), "detached");
	send(&a, "3"); /* meanwhile */
	reconnect(&service_a);
	CHECK_STR(heard(&a), "attached 2:2 3:3 acked:3");
	CHECK_STR(heard(&service), "attached acked:3 2:2 3:3");
	take_down();
}

/* Received, and the acknowledgement lost: nothing is repeated, the position acknowledges. */
static void what_arrived_is_not_repeated(void)
{
	set_up();
	open_client();
	send(&a, "1");
	send(&a, "2");
	flush_all();
	service.keep = true;
	svc_link_input(service_a.l, a_tip.q[a_tip.head % QUEUE], a_tip.n[a_tip.head % QUEUE], now);
	free(a_tip.q[a_tip.head++ % QUEUE]);
	CHECK_STR(heard(&service), "1:1 2:2");
	CHECK_EQ(svc_stream_ack(service.s, 1), 0);
	cut(&a_tip, &service_a);
	reconnect(&service_a);
	CHECK_STR(heard(&service), "detached attached");
	CHECK_STR(heard(&a), "detached attached acked:1");
	CHECK_EQ(svc_stream_ack(service.s, 2), 0);
	pump();
	CHECK_STR(heard(&a), "acked:2");
	take_down();
}

static void a_large_stanza_begins_again(void)
{
	size_t n = 300000;
	char *xml = malloc(n);

	memset(xml, 'x', n);
	set_up();
	open_client();
	CHECK_EQ(svc_stream_send(a.s, xml, n, 0, NULL), 0);
	flush_all();
	svc_link_input(service_a.l, a_tip.q[a_tip.head % QUEUE], a_tip.n[a_tip.head % QUEUE], now);
	free(a_tip.q[a_tip.head++ % QUEUE]);
	CHECK(service.s->join.active);
	cut(&a_tip, &service_a);
	CHECK(!service.s->join.active);
	reconnect(&service_a);
	CHECK_STR(heard(&service), "detached attached 1:xxxxxxxx");
	CHECK_STR(heard(&a), "detached attached acked:1");
	take_down();
	free(xml);
}

/* Credit that an owner withholds stays withheld. */
static void a_paused_stream_stays_paused(void)
{
	char xml[9000];
	uint32_t seen;

	memset(xml, 'p', sizeof(xml));
	set_up();
	open_client();
	service.keep = true;
	svc_stream_pause(service.s, true);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(svc_stream_send(a.s, xml, sizeof(xml), 0, NULL), 0);
	pump();
	seen = service.s->in.received;
	CHECK(seen < 4);
	for (int i = 0; i < 3; i++) {
		cut(&a_tip, &service_a);
		reconnect(&service_a);
	}
	CHECK_EQ(service.s->in.received, seen);
	CHECK(service.s->in.credit + service.s->in.due <= SVC_WINDOW_BYTES);
	svc_stream_pause(service.s, false);
	pump();
	CHECK_EQ(service.s->in.received, 8);
	take_down();
}

static void a_lost_link_has_its_time(void)
{
	set_up();
	open_client();
	send(&a, "1");
	send(&service, "1");
	cut(&a_tip, &service_a);
	heard(&a);
	heard(&service);
	pass(SVC_WAIT_GATEWAY_MS - 1000);
	CHECK_STR(heard(&a), "");
	pass(2500);
	CHECK_STR(heard(&a), "closed:" SVC_LINK_LOST ",1");
	CHECK_STR(heard(&service), "");
	pass(SVC_WAIT_SERVICE_MS - SVC_WAIT_GATEWAY_MS);
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",1");
	CHECK_EQ(svc_hub_nr_waiting(service.hub), 0);
	reconnect(&service_a);
	CHECK_STR(heard(&a), "");
	take_down();
}

/* The gateway had given it up: the service hears of that when the link is back, not by its clock. */
static void an_unclaimed_stream_ends(void)
{
	set_up();
	open_client();
	cut(&a_tip, &service_a);
	svc_hub_forget(a.hub, &service_a.l->self.instance);
	svc_hub_tick(a.hub, now);
	CHECK_STR(heard(&a), "detached closed:" SVC_LINK_LOST ",0");
	heard(&service);
	reconnect(&service_a);
	svc_hub_tick(service.hub, now);
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",0");
	take_down();
}

/* Closed by its owner while there was no link: what was sent before still arrives, then the CLOSE. */
static void a_close_waits_for_the_link(void)
{
	set_up();
	open_client();
	send(&a, "last");
	cut(&a_tip, &service_a);
	CHECK_EQ(svc_stream_close(a.s, NULL, NULL), 0);
	CHECK_EQ(svc_stream_send(a.s, "x", 1, 0, NULL), SVCPROTO_E_CLOSED);
	heard(&service);
	reconnect(&service_a);
	CHECK_STR(heard(&service), "attached 1:last closed:-,0");
	CHECK_STR(heard(&a), "detached acked:1 closed:-,0");
	take_down();
}

static void a_close_that_crossed_the_end(void)
{
	set_up();
	open_client();
	CHECK_EQ(svc_stream_close(service.s, "conflict", NULL), 0);
	cut(&a_tip, &service_a); /* the CLOSE is lost */
	reconnect(&service_a);
	CHECK_STR(heard(&a), "detached closed:conflict,0");
	CHECK_STR(heard(&service), "closed:conflict,0");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	take_down();
}

/* Another process under the same key and name is another peer. */
static void nobody_else_takes_it_up(void)
{
	struct svc_hello other = { .incarnation = 2 };

	set_up();
	open_client();
	cut(&a_tip, &service_a);
	heard(&a);
	other.instance.b[0] = 3;
	svc_link_free(a_tip.l);
	svc_link_free(service_a.l);
	svc_link_free(b_tip.l);
	svc_link_free(service_b.l);
	svc_hub_free(service.hub);
	service.hub = svc_hub_new(SVC_SERVICE, &other, NULL, &hub_ops, &service);
	join(&a_tip, &a, &service_a);
	join(&b_tip, &b, &service_b);
	pump();
	CHECK_STR(heard(&a), "");
	CHECK_EQ(svc_hub_nr_waiting(a.hub), 1);
	take_down();
}

/* ---- stream management ---- */

static void counts_begin_at_enable(void)
{
	set_up();
	open_client();
	send(&a, "1");
	send(&a, "2");
	send(&service, "1");
	pump();
	CHECK_EQ(svc_stream_enable(a.s, 1000), 0);
	CHECK_EQ(svc_stream_enable(a.s, 1000), SVCPROTO_E_INVALID);
	send(&a, "3");
	pump();
	CHECK_STR(heard(&a), "1:1 acked:2 enabled:600 acked:3"); /* the service grants ten minutes */
	CHECK_EQ(svc_stream_h(a.s), 1);
	CHECK_EQ(svc_stream_sent_h(a.s), 0);
	send(&service, "2");
	a.keep = true;
	pump();
	CHECK_EQ(svc_stream_sent_h(a.s), 1);
	CHECK_EQ(svc_stream_nr_unhandled(a.s), 1);
	CHECK_EQ(svc_stream_client_h(a.s, 2), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_client_h(a.s, 0), 0);
	CHECK_EQ(svc_stream_nr_unhandled(a.s), 1);
	CHECK_EQ(svc_stream_client_h(a.s, 1), 0);
	CHECK_EQ(svc_stream_client_h(a.s, 1), 0);
	pump();
	CHECK_STR(heard(&service), "1:1 2:2 acked:1 3:3 acked:2");
	take_down();
}

/* A stanza of which a part has gone stands before <enabled/>, one that has not stands after it. */
static void enabled_keeps_its_place(void)
{
	size_t n = 200000;
	char *xml = malloc(n);

	memset(xml, 'l', n);
	set_up();
	open_client();
	CHECK_EQ(svc_stream_send(service.s, xml, n, 0, NULL), 0);
	send(&service, "after");
	svc_link_flush(service_a.l, now);
	CHECK_EQ(svc_stream_enable(a.s, 60), 0);
	pump();
	CHECK_STR(heard(&a), "1:llllllll enabled:60 2:after");
	CHECK_EQ(svc_stream_sent_h(a.s), 1);
	take_down();
	free(xml);
}

static void a_lost_enable_is_asked_again(void)
{
	set_up();
	open_client();
	CHECK_EQ(svc_stream_enable(a.s, 60), 0);
	cut(&a_tip, &service_a);
	send(&a, "1");
	reconnect(&service_a);
	CHECK_STR(heard(&a), "detached attached enabled:60 acked:1");
	CHECK_EQ(svc_stream_h(a.s), 1);
	take_down();
}

static void a_lost_enabled_comes_with_attached(void)
{
	set_up();
	open_client();
	CHECK_EQ(svc_stream_enable(a.s, 60), 0);
	svc_link_flush(a_tip.l, now);
	svc_link_input(service_a.l, a_tip.q[a_tip.head % QUEUE], a_tip.n[a_tip.head % QUEUE], now);
	free(a_tip.q[a_tip.head++ % QUEUE]);
	CHECK_EQ(service.s->sm, SM_ON);
	send(&service, "1");
	cut(&a_tip, &service_a);
	reconnect(&service_a);
	CHECK_STR(heard(&a), "detached attached enabled:60 1:1");
	CHECK_EQ(svc_stream_sent_h(a.s), 1);
	take_down();
}

/* ---- resumption ---- */

static void detached_and_resumed_elsewhere(void)
{
	set_up();
	open_enabled();
	a.keep = true;
	send(&service, "1");
	send(&service, "2");
	send(&a, "1");
	pump();
	CHECK_EQ(svc_stream_client_h(a.s, 1), 0);
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	CHECK_STR(heard(&a), "2:1 3:2 acked:2"); /* no end of it is told */
	CHECK_STR(heard(&service), "2:1 acked:2 detached");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	send(&service, "3");
	resume_at(&b_tip, 1);
	CHECK_STR(heard(&b), "resumed:1 3:2 4:3");
	CHECK_STR(heard(&service), "back acked:4");
	CHECK_EQ(svc_stream_sent_h(b.s), 3);
	send(&b, "2");
	pump();
	CHECK_EQ(svc_stream_h(b.s), 2);
	CHECK_STR(heard(&service), "3:2");
	take_down();
}

/* The first gateway is alive and does not know yet: it is told, and what it still sends is dropped. */
static void the_last_to_resume_wins(void)
{
	set_up();
	open_enabled();
	send(&a, "late"); /* in the gateway when the client is already elsewhere */
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:1");
	CHECK_STR(heard(&service), "2:late detached back");
	CHECK_STR(heard(&a), "acked:2 closed:conflict,0");
	send(&b, "2");
	cut(&b_tip, &service_b);
	resume_at(&a_tip, 0);
	CHECK_STR(heard(&a), "resumed:1");
	reconnect(&service_b);
	CHECK_STR(heard(&b), "detached closed:conflict,1"); /* an older generation is let go */
	take_down();
}

static void what_crosses_the_fence_is_dropped(void)
{
	struct svc_resume r = { .stream_id = id, .bare_jid = "juliet@b.example" };

	set_up();
	open_enabled();
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	send(&a, "late");
	svc_link_flush(a_tip.l, now);
	svc_link_flush(b_tip.l, now);
	svc_link_input(service_b.l, b_tip.q[b_tip.head % QUEUE], b_tip.n[b_tip.head % QUEUE], now);
	free(b_tip.q[b_tip.head++ % QUEUE]);
	pump();
	CHECK_STR(heard(&service), "detached back");
	CHECK_STR(heard(&a), "closed:conflict,1");
	CHECK_STR(heard(&b), "resumed:0");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	take_down();
}

/* The client may leave out what it sent before, so the count must be final. */
static void resumed_only_when_all_is_handled(void)
{
	set_up();
	open_enabled();
	service.keep = true;
	send(&a, "1");
	send(&a, "2");
	pump();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	CHECK_EQ(svc_stream_ack(service.s, 3), 0);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "");
	CHECK_EQ(svc_stream_send(b.s, "x", 1, 0, NULL), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_ack(service.s, 2), 0);
	pump();
	CHECK_STR(heard(&b), "resumed:2");
	take_down();
}

static void a_service_that_never_handles_it(void)
{
	set_up();
	open_enabled();
	service.keep = true;
	send(&a, "1");
	pump();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	heard(&service);
	resume_at(&b_tip, 0);
	pass(SVC_DRAIN_MS + 1000);
	CHECK_STR(heard(&b), "refused:resource-constraint");
	CHECK_STR(heard(&service), "back detached");
	CHECK_EQ(svc_stream_ack(service.s, 2), 0);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:1");
	take_down();
}

static void who_may_not_resume(void)
{
	struct svc_resume r = { .stream_id = id, .bare_jid = "romeo@b.example" };

	set_up();
	open_enabled();
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	pump();
	CHECK_STR(heard(&b), "refused:item-not-found"); /* another user */
	r.bare_jid = "juliet@b.exampl";
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	pump();
	CHECK_STR(heard(&b), "refused:item-not-found");
	r.bare_jid = "juliet@b.example";
	r.stream_id.b[5] = 1;
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	pump();
	CHECK_STR(heard(&b), "refused:item-not-found"); /* no such stream */
	send(&service, "1");
	pump();
	resume_at(&b_tip, 2);
	CHECK_STR(heard(&b), "refused:undefined-condition h=0,sent=1"); /* more than was sent */
	resume_at(&b_tip, UINT32_MAX - 400000);
	CHECK_STR(heard(&b), "refused:undefined-condition h=0,sent=1");
	CHECK_STR(heard(&service), "acked:2"); /* none of that has touched the session */
	CHECK(a.s != NULL && svc_stream_link(service.s) == service_a.l);
	take_down();
}

static void nobody_resumes_what_was_not_enabled(void)
{
	set_up();
	open_client();
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "refused:item-not-found");
	CHECK_EQ(svc_stream_detach(a.s), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_enable(a.s, 0), 0); /* acknowledgements, but no resumption */
	pump();
	CHECK_STR(heard(&a), "enabled:0");
	CHECK_EQ(svc_stream_detach(a.s), SVCPROTO_E_INVALID);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "refused:item-not-found");
	take_down();
}

static void too_late(void)
{
	set_up();
	open_enabled();
	a.keep = true;
	send(&service, "1");
	pump();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	send(&service, "2");
	heard(&service);
	pass(299000);
	CHECK_STR(heard(&service), "");
	pass(3000);
	CHECK_STR(heard(&service), "closed:connection-timeout,2"); /* both are the owner's again */
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "refused:item-not-found");
	take_down();
}

/* A gateway that dies without a word: its link goes, and a client resumes elsewhere or, much later, nobody does. */
static void a_gateway_dies(void)
{
	set_up();
	open_enabled();
	send(&service, "1");
	cut(&a_tip, &service_a);
	b.keep = true;
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:0 2:1");
	heard(&service);
	cut(&b_tip, &service_b);
	pass(SVC_WAIT_SERVICE_MS + 2000);
	CHECK_STR(heard(&service), "detached"); /* still to be resumed */
	CHECK_EQ(service.s->place, PLACE_DETACHED);
	pass(300000);
	CHECK_STR(heard(&service), "closed:connection-timeout,1");
	take_down();
}

static void kept_streams_are_bounded(void)
{
	const struct svc_hub_limits limits = { .detached_max = 1, .detached_bytes_max = 1000 };
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = { { 0xb0 } }, .bare_jid = "juliet@b.example" };
	char xml[600] = { 0 };

	set_up_with(&limits);
	open_enabled();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	CHECK_EQ(svc_stream_send(service.s, xml, sizeof(xml), 0, NULL), 0);
	CHECK_EQ(svc_stream_send(service.s, xml, sizeof(xml), 0, NULL), SVCPROTO_E_FULL);
	a.s = svc_stream_open(a_tip.l, &o, NULL);
	pump();
	CHECK_EQ(svc_stream_enable(a.s, 300), 0);
	pump();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	heard(&service);
	svc_hub_tick(service.hub, now);
	CHECK_STR(heard(&service), "closed:connection-timeout,1"); /* the older one */
	CHECK_EQ(svc_hub_nr_waiting(service.hub), 1);
	take_down();
}

/* The client leaves while the link is down, or while it resumes: the service hears of it as soon as it can. */
static void detach_waits_for_the_link(void)
{
	set_up();
	open_enabled();
	send(&a, "lost with the gateway's buffer");
	cut(&a_tip, &service_a);
	CHECK_EQ(svc_stream_detach(a.s), 0);
	heard(&a);
	heard(&service);
	reconnect(&service_a);
	CHECK_STR(heard(&a), "");
	CHECK_STR(heard(&service), "attached detached");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	CHECK_EQ(svc_hub_nr_waiting(a.hub), 0);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:0");
	take_down();
}

static void a_resumption_ends_with_its_link(void)
{
	struct svc_resume r = { .stream_id = id, .bare_jid = "juliet@b.example" };

	set_up();
	open_enabled();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	svc_link_flush(b_tip.l, now);
	svc_link_input(service_b.l, b_tip.q[b_tip.head % QUEUE], b_tip.n[b_tip.head % QUEUE], now);
	free(b_tip.q[b_tip.head++ % QUEUE]);
	cut(&b_tip, &service_b);
	CHECK_STR(heard(&b), "closed:" SVC_LINK_LOST ",0");
	reconnect(&service_b);
	svc_hub_tick(service.hub, now);
	heard(&service);
	resume_at(&a_tip, 0);
	CHECK_STR(heard(&a), "resumed:0");
	take_down();
}

/* The numbers wrap at 2^32, before and after. */
static void over_the_wrap(void)
{
	set_up();
	open_client();
	a.s->out.seq = a.s->out.acked = service.s->in.received = service.s->in.row = UINT32_MAX - 1;
	service.s->out.seq = service.s->out.acked = a.s->in.received = a.s->in.row = UINT32_MAX - 1;
	CHECK_EQ(svc_stream_enable(a.s, 300), 0);
	pump();
	heard(&a);
	for (int i = 0; i < 4; i++) {
		send(&a, "x");
		send(&service, "y");
	}
	a.keep = true;
	pump();
	CHECK_EQ(svc_stream_h(a.s), 4);
	CHECK_EQ(svc_stream_sent_h(a.s), 4);
	cut(&a_tip, &service_a);
	resume_at(&b_tip, 3);
	CHECK_EQ(svc_stream_h(b.s), 4);
	CHECK_STR(heard(&b), "resumed:4 2:y");
	take_down();
}

int main(void)
{
	RUN(what_was_on_the_way_is_repeated);
	RUN(what_arrived_is_not_repeated);
	RUN(a_large_stanza_begins_again);
	RUN(a_paused_stream_stays_paused);
	RUN(a_lost_link_has_its_time);
	RUN(an_unclaimed_stream_ends);
	RUN(a_close_waits_for_the_link);
	RUN(a_close_that_crossed_the_end);
	RUN(nobody_else_takes_it_up);
	RUN(counts_begin_at_enable);
	RUN(enabled_keeps_its_place);
	RUN(a_lost_enable_is_asked_again);
	RUN(a_lost_enabled_comes_with_attached);
	RUN(detached_and_resumed_elsewhere);
	RUN(the_last_to_resume_wins);
	RUN(what_crosses_the_fence_is_dropped);
	RUN(resumed_only_when_all_is_handled);
	RUN(a_service_that_never_handles_it);
	RUN(who_may_not_resume);
	RUN(nobody_resumes_what_was_not_enabled);
	RUN(too_late);
	RUN(a_gateway_dies);
	RUN(kept_streams_are_bounded);
	RUN(detach_waits_for_the_link);
	RUN(a_resumption_ends_with_its_link);
	RUN(over_the_wrap);
	return check_done("svcproto/resume");
}
