/* The stage: see stage.h. */
#include "stage.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct member a, b, service;
struct tip a_tip, b_tip, service_a, service_b;
uint64_t now;
const struct svc_id juliet = { { 0xa0, 1 } };

/* What a story has no business with going wrong. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

__attribute__((format(printf, 2, 3))) static void say(struct member *m, const char *fmt, ...)
{
	va_list ap;

	if (m->log_n > 0 && m->log_n < sizeof(m->log) - 2)
		m->log[m->log_n++] = ' ';
	va_start(ap, fmt);
	m->log_n += (size_t)vsnprintf(m->log + m->log_n, sizeof(m->log) - m->log_n, fmt, ap);
	va_end(ap);
}

const char *heard(struct member *m)
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
	if (t->q[i] == NULL)
		return SVCPROTO_E_FULL;
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
	struct member *m = ((struct tip *)arg)->m;

	(void)why;
	if (m->forgets != NULL)
		svc_hub_forget(m->hub, "service key", m->forgets);
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct member *m = ((struct tip *)arg)->m;

	say(m, "open");
	m->s = s;
	(void)svc_stream_accept(s, o->kind == SVC_KIND_CLIENT ? "juliet@b.example/balcony" : NULL); /* fails without memory */
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
		must(svc_stream_ack(s, seq) == 0);
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
	if (m->takes)
		m->rest = svc_stream_take_rest(s);
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
	must(strcmp(full_jid, "juliet@b.example/balcony") == 0);
	say(((struct tip *)arg)->m, "resumed:%u", svc_stream_h(s));
}

static const struct svc_link_ops link_ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed, .enabled = on_enabled, .resumed = on_resumed,
};

static void on_detached(void *arg, struct svc_stream *s)
{
	must(svc_stream_link(s) == NULL);
	say(arg, "detached");
}

static void on_attached(void *arg, struct svc_stream *s, const struct svc_resume *r)
{
	must(svc_stream_link(s) != NULL);
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

const struct svc_hub_ops stage_hub_ops = {
	.detached = on_detached, .attached = on_attached, .closed = on_hub_closed, .full_jid = on_full_jid,
};

/* ---- the stage ---- */

void flush_all(void)
{
	struct tip *tips[] = { &a_tip, &b_tip, &service_a, &service_b };

	for (size_t i = 0; i < 4; i++)
		if (tips[i]->l != NULL)
			svc_link_flush(tips[i]->l, now);
}

void lose(struct tip *t)
{
	while (t->head != t->tail)
		free(t->q[t->head++ % QUEUE]);
}

void deliver_one(struct tip *from)
{
	size_t i = from->head++ % QUEUE;

	svc_link_input(from->far->l, from->q[i], from->n[i], now);
	free(from->q[i]);
}

/* Until what waits for company has left. */
static bool let_wait(void)
{
	struct tip *tips[] = { &a_tip, &b_tip, &service_a, &service_b };

	for (size_t i = 0; i < 4; i++) {
		if (tips[i]->l == NULL || TAILQ_EMPTY(&tips[i]->l->lazy) || link_lazy_due(tips[i]->l))
			continue;
		now += SVC_ACK_WAIT_MS;
		return true;
	}
	return false;
}

void exchange(void)
{
	struct tip *tips[] = { &a_tip, &b_tip, &service_a, &service_b };
	bool moved;

	do {
		flush_all();
		moved = false;
		for (size_t i = 0; i < 4; i++) {
			if (tips[i]->head == tips[i]->tail)
				continue;
			deliver_one(tips[i]);
			moved = true;
		}
	} while (moved);
}

void pump(void)
{
	do
		exchange();
	while (let_wait());
}

void cut(struct tip *gw, struct tip *sv)
{
	flush_all();
	lose(gw);
	lose(sv);
	svc_link_break(gw->l, "cut", now);
	svc_link_break(sv->l, "cut", now);
}

void reconnect(struct tip *sv)
{
	now += 10000; /* past any delay of HELLO */
	must(svc_link_start(sv->l, now) == 0);
	pump();
}

void pass(uint64_t ms)
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
	m->hub = svc_hub_new(side, &h, limits, &stage_hub_ops, m);
}

void join(struct tip *gw, struct member *gm, struct tip *sv)
{
	memset(gw, 0, sizeof(*gw));
	memset(sv, 0, sizeof(*sv));
	*gw = (struct tip){ .m = gm, .far = sv, .ops = &link_ops };
	*sv = (struct tip){ .m = &service, .far = gw, .ops = &link_ops };
	gw->l = svc_hub_link(gm->hub, "service key", &link_ops, gw);
	sv->l = svc_hub_link(service.hub, gm->name, &link_ops, sv);
	must(svc_link_start(sv->l, now) == 0);
}

void set_up_with(const struct svc_hub_limits *limits)
{
	now = 100000;
	member_start(&a, "a", SVC_GATEWAY, 1, NULL);
	member_start(&b, "b", SVC_GATEWAY, 2, NULL);
	member_start(&service, "service", SVC_SERVICE, 3, limits);
	join(&a_tip, &a, &service_a);
	join(&b_tip, &b, &service_b);
	pump();
}

void set_up(void)
{
	set_up_with(NULL);
}

void take_down(void)
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

void open_client(void)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = juliet, .bare_jid = "juliet@b.example" };

	a.s = svc_stream_open(a_tip.l, &o, NULL);
	pump();
	must(a.s != NULL && service.s != NULL);
	heard(&service);
}

void send(struct member *m, const char *xml)
{
	must(svc_stream_send(m->s, xml, strlen(xml), 0, NULL) == 0);
}

void open_enabled(void)
{
	open_client();
	send(&a, "before");
	send(&service, "before");
	pump();
	must(svc_stream_enable(a.s, 300) == 0);
	pump();
	heard(&a);
	heard(&service);
}

void resume_at(struct tip *t, uint32_t h)
{
	struct svc_resume r = { .stream_id = juliet, .bare_jid = "juliet@b.example", .h = h };

	t->m->s = svc_stream_resume(t->l, &r, NULL);
	must(t->m->s != NULL);
	pump();
}

