#include "svcclient/moving.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one direction of a link ---- */

static int queue_put(struct queue *q, const void *p, size_t n)
{
	if (q->tail - q->head == QUEUE)
		return SVCPROTO_E_FULL;
	q->p[q->tail % QUEUE] = memcpy(malloc(n), p, n);
	q->n[q->tail++ % QUEUE] = n;
	return 0;
}

static void queue_drop(struct queue *q)
{
	while (q->head < q->tail)
		free(q->p[q->head++ % QUEUE]);
}

struct svcproto sp;
struct gateway g[GATEWAYS];
uint64_t now;
unsigned broken, sent, delivered, undeliverable, nr_repeated, nr_opened, nr_lost_in_death;
uint32_t arrived;

static uint32_t seed, nr_ids;
static bool told[STANZAS + 1];
static bool seen[STANZAS + 1];  /* by some gateway */

#define HOLDS(cond)                                                                        \
	do {                                                                               \
		if (!(cond)) {                                                             \
			broken++;                                                          \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
		}                                                                          \
	} while (0)

uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

static uint32_t number_of(const char *xml)
{
	return (uint32_t)strtoul(xml + strlen("<message id='"), NULL, 10);
}

/* ---- what the library would have around it ---- */

void client_kick(struct svcproto *unused)
{
	(void)unused;
}

void client_log(struct svcproto *unused, enum svcproto_log level, const char *fmt, ...)
{
	(void)unused;
	(void)level;
	(void)fmt;
}

bool client_has_domain(const struct svcproto *unused, const char *domain, unsigned type)
{
	(void)unused;
	(void)type;
	return strcmp(domain, "a.example") == 0;
}

bool client_certificates_only(const struct svcproto *unused, const char *domain)
{
	(void)unused;
	(void)domain;
	return false;
}

void client_publish_host(struct svcproto *unused, const char *bare_jid, const char *host, uint32_t seconds)
{
	(void)unused;
	(void)bare_jid;
	(void)host;
	(void)seconds;
}

static void on_delivered(void *arg, uint64_t number)
{
	(void)arg;
	HOLDS(number <= arrived);
	HOLDS(!told[number]);
	told[number] = true;
	delivered++;
}

static void on_undeliverable(void *arg, uint64_t number, const char *type, const char *condition, const char *xml, size_t n)
{
	(void)arg;
	(void)type;
	(void)condition;
	(void)xml;
	(void)n;
	HOLDS(!told[number]);
	told[number] = true;
	undeliverable++;
}

static const struct svcproto_callbacks callbacks = { .delivered = on_delivered, .undeliverable = on_undeliverable };

/* ---- the remote server ---- */

/* It takes what comes first from each connection; acknowledged is what it has taken. */
static void pass_on(struct gateway *q, unsigned most)
{
	struct far *f = &q->far;

	for (; most > 0 && f->head < f->tail; most--) {
		struct waiting *w = &f->v[f->head++ % 1024];

		HOLDS(w->number <= arrived + 1); /* first arrivals: in order, no gap */
		arrived = w->number > arrived ? w->number : arrived;
		if (f->s != NULL)
			(void)svc_stream_ack(f->s, w->seq);
	}
}

/* ---- the gateway's events ---- */

static int gw_send(void *arg, const void *batch, size_t n)
{
	struct gateway *q = arg;

	return q->cut ? 0 : queue_put(&q->out, batch, n);
}

static void gw_up(void *arg, const struct svc_hello *peer)
{
	(void)arg;
	(void)peer;
}

static void gw_down(void *arg, const char *why)
{
	(void)arg;
	(void)why;
}

static void gw_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct gateway *q = arg;

	HOLDS(strcmp(o->to_domain, "b.example") == 0);
	nr_opened++;
	for (unsigned i = 0; i < GATEWAYS; i++)
		HOLDS(!g[i].alive || (g[i].far.s == NULL && g[i].far.head == g[i].far.tail));
	q->far = (struct far){ .s = s, .used = true };
	(void)svc_stream_accept(s, NULL);
}

static void gw_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct gateway *q = arg;
	uint32_t number = number_of(xml);

	(void)s;
	(void)n;
	HOLDS(!seen[number] || (flags & SVC_REPEATED) != 0);
	if (q->far.leaving)
		return; /* dropped, and so not acknowledged */
	seen[number] = true;
	nr_repeated += (flags & SVC_REPEATED) != 0;
	HOLDS(q->far.tail - q->far.head < 1024);
	q->far.v[q->far.tail++ % 1024] = (struct waiting){ number, seq };
}

static void gw_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	(void)arg;
	(void)condition;
	(void)text;
	for (unsigned i = 0; i < GATEWAYS; i++) {
		if (g[i].far.s != s)
			continue;
		g[i].far.s = NULL;
		g[i].far.head = g[i].far.tail; /* its socket is closed */
	}
}

static void gw_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	(void)arg;
	(void)s;
	(void)seq;
}

static void gw_writable(void *arg, struct svc_stream *s)
{
	(void)arg;
	(void)s;
}

static const struct svc_link_ops gw_ops = { .send = gw_send, .up = gw_up, .down = gw_down, .open = gw_open, .stanza = gw_stanza,
					    .acked = gw_acked, .writable = gw_writable, .closed = gw_closed };
static const struct svc_hub_ops gw_hub_ops = { .closed = gw_closed };

/* ---- the service's events: what client_link.c and client_hub.c do with them ---- */

static int sv_send(void *arg, const void *batch, size_t n)
{
	struct gateway *q = arg;

	return q->cut ? 0 : queue_put(&q->in, batch, n);
}

static void sv_up(void *arg, const struct svc_hello *peer)
{
	struct gateway *q = arg;

	q->cl->up = true;
	q->cl->instance = peer->instance;
	client_pairs_linked(&sp);
}

static void sv_down(void *arg, const char *why)
{
	struct gateway *q = arg;

	(void)why;
	q->cl->up = false;
}

static void sv_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	(void)arg;
	(void)s;
	(void)o;
}

static void sv_accepted(void *arg, struct svc_stream *s, const char *jid)
{
	(void)arg;
	(void)jid;
	client_pair_accepted(&sp, s);
}

static void sv_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	(void)arg;
	client_pair_refused(&sp, s, r);
}

static void sv_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	(void)arg;
	client_pair_acked(&sp, s, seq);
}

static void sv_writable(void *arg, struct svc_stream *s)
{
	(void)arg;
	client_pair_writable(&sp, s);
}

static void sv_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct gateway *q = arg;

	(void)text;
	client_pair_closed(&sp, s, condition, !svc_link_is_up(q->cl->engine));
}

static void sv_lapsed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	(void)arg;
	(void)text;
	client_pair_closed(&sp, s, condition, true);
}

static void sv_attached(void *arg, struct svc_stream *s, const struct svc_resume *r)
{
	(void)arg;
	(void)r;
	client_pair_writable(&sp, s);
}

static const struct svc_link_ops sv_ops = { .send = sv_send, .up = sv_up, .down = sv_down, .open = sv_open, .accepted = sv_accepted,
					    .refused = sv_refused, .acked = sv_acked, .writable = sv_writable, .closed = sv_closed };
static const struct svc_hub_ops sv_hub_ops = { .closed = sv_lapsed, .attached = sv_attached };

/* ---- gateways come and go ---- */

void come(struct gateway *q)
{
	struct svc_hello hello = { .incarnation = ++nr_ids, .name = "gateway" };

	memset(q, 0, sizeof(*q));
	for (unsigned i = 0; i < sizeof(q->id.b); i++)
		q->id.b[i] = (uint8_t)rnd(256);
	hello.instance = q->id;
	q->alive = true;
	q->pace = 1 + rnd(40);
	q->redial_at_ms = q->notice_at_ms = UINT64_MAX;
	q->hub = svc_hub_new(SVC_GATEWAY, &hello, NULL, &gw_hub_ops, NULL);
	q->engine = svc_hub_link(q->hub, "service", &gw_ops, q);
	q->cl = calloc(1, sizeof(*q->cl));
	q->cl->sp = &sp;
	q->cl->engine = svc_hub_link(sp.hub, "gateway", &sv_ops, q);
	TAILQ_INSERT_TAIL(&sp.links, q->cl, all);
	HOLDS(svc_link_start(q->cl->engine, now) == 0);
}

void die(struct gateway *q)
{
	unsigned left = q->far.tail - q->far.head, more = left > 0 ? rnd(left + 1) : 0;

	nr_lost_in_death += left - more;
	q->far.s = NULL;
	pass_on(q, more);   /* what its kernel has still leaves */
	q->alive = false;
	q->far.head = q->far.tail = 0;
	svc_link_break(q->engine, "dead", now);
	svc_link_free(q->engine);
	svc_hub_free(q->hub);
	queue_drop(&q->out);
	queue_drop(&q->in);
	q->cut = true;
	svc_link_break(q->cl->engine, "dead", now);
}

void bury(struct gateway *q)
{
	svc_link_break(q->cl->engine, "the gateway left the directory", now);
	svc_link_free(q->cl->engine);
	svc_hub_forget(sp.hub, "gateway", &q->id);
	TAILQ_REMOVE(&sp.links, q->cl, all);
	free(q->cl);
	q->cl = NULL;
}

void cut(struct gateway *q, uint64_t for_ms)
{
	queue_drop(&q->out);
	queue_drop(&q->in);
	q->cut = true;
	q->redial_at_ms = now + for_ms;
	q->notice_at_ms = now + rnd(LAG_MS);
	svc_link_break(q->cl->engine, "cut", now);
}

void drain(struct gateway *q)
{
	q->draining = q->cl->draining = true;
	q->leave_at_ms = now + TOLD_MS;
	client_pairs_draining(&sp, q->cl);
}

/* ---- time ---- */

static void gateway_leaves(struct gateway *q)
{
	q->far.leaving = q->far.leaving || now >= q->leave_at_ms;
	if (q->far.leaving && q->far.s != NULL && q->far.head == q->far.tail && svc_stream_link(q->far.s) != NULL) {
		(void)svc_stream_close(q->far.s, "system-shutdown", NULL);
		q->far.s = NULL;
	}
}

static void deliver(struct queue *q, struct svc_link *to)
{
	while (q->head < q->tail) {
		size_t i = q->head++ % QUEUE;

		svc_link_input(to, q->p[i], q->n[i], now);
		free(q->p[i]);
	}
}

static void gateway_step(struct gateway *q)
{
	if (!q->alive)
		return;
	if (now >= q->notice_at_ms) {
		q->notice_at_ms = UINT64_MAX;
		svc_link_break(q->engine, "cut", now);
	}
	if (now >= q->redial_at_ms) {
		q->cut = false;
		q->redial_at_ms = q->notice_at_ms = UINT64_MAX;
		(void)svc_link_start(q->cl->engine, now);
	}
	pass_on(q, q->pace);
	if (q->draining)
		gateway_leaves(q);
	if (!q->cut) {
		(void)svc_link_tick(q->cl->engine, now);
		svc_link_flush(q->cl->engine, now);
		deliver(&q->in, q->engine);
		(void)svc_link_tick(q->engine, now);
		svc_link_flush(q->engine, now);
		deliver(&q->out, q->cl->engine);
	}
	(void)svc_hub_tick(q->hub, now);
}

void step(void)
{
	now += STEP_MS;
	sp.now_ms = now;
	for (unsigned i = 0; i < GATEWAYS; i++)
		gateway_step(&g[i]);
	(void)svc_hub_tick(sp.hub, now);
	client_pairs_run(&sp);
}

void pass(uint64_t ms)
{
	for (uint64_t end = now + ms; now < end;)
		step();
}

void write_some(unsigned most)
{
	for (; most > 0 && sent < STANZAS; most--) {
		char xml[64];
		int n = snprintf(xml, sizeof(xml), "<message id='%u'/>", sent + 1);

		if (svcproto_send_server(&sp, "a.example", "b.example", xml, (size_t)n, sent + 1) != 0)
			return;
		sent++;
	}
}

void start(uint32_t with_seed, unsigned gateways)
{
	struct svc_hello hello = { .incarnation = 1, .name = "service", .unacked_stanzas_max = 256, .unacked_bytes_max = 1u << 20 };

	memset(&sp, 0, sizeof(sp));
	memset(g, 0, sizeof(g));
	memset(told, 0, sizeof(told));
	memset(seen, 0, sizeof(seen));
	broken = 0;
	seed = with_seed;
	now = 1000000;
	sent = delivered = undeliverable = nr_repeated = nr_opened = nr_lost_in_death = 0;
	arrived = 0;
	memset(hello.instance.b, 7, sizeof(hello.instance.b));
	sp.cb = &callbacks;
	sp.hello = hello;
	sp.pair_bytes_max = SVC_HELD_BYTES;
	sp.now_ms = now;
	sp.hub = svc_hub_new(SVC_SERVICE, &hello, NULL, &sv_hub_ops, &sp);
	sp.directory = directory_new(&(struct directory_ops){ 0 }, NULL);
	TAILQ_INIT(&sp.links);
	TAILQ_INIT(&sp.all_pairs);
	TAILQ_INIT(&sp.work_pairs);
	for (unsigned i = 0; i < gateways; i++)
		come(&g[i]);
	pass(200);
}

void stop(void)
{
	for (unsigned i = 0; i < GATEWAYS; i++) {
		if (g[i].alive)
			die(&g[i]);
		if (g[i].cl != NULL)
			bury(&g[i]);
	}
	(void)svc_hub_tick(sp.hub, now + 3600000);
	client_pairs_free(&sp);
	svc_hub_free(sp.hub);
	directory_free(sp.directory);
}

struct gateway *holder(void)
{
	for (unsigned i = 0; i < GATEWAYS; i++)
		if (g[i].alive && g[i].far.s != NULL)
			return &g[i];
	return NULL;
}
