/* The test bench of the engine: see pair.h. */
#include "pair.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void say(struct end *e, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (e->log_n > 0 && e->log_n + 2 < sizeof(e->log)) {
		memcpy(e->log + e->log_n, "; ", 3);
		e->log_n += 2;
	}
	va_start(ap, fmt);
	n = vsnprintf(e->log + e->log_n, sizeof(e->log) - e->log_n, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < sizeof(e->log) - e->log_n)
		e->log_n += (size_t)n;
}

const char *pair_log(struct end *e)
{
	e->log[e->log_n] = '\0';
	e->log_n = 0;
	return e->log;
}

static void hook(struct end *e, const char *event, struct svc_stream *s, uint32_t seq)
{
	if (e->hook != NULL)
		e->hook(e, event, s, seq);
}

static int on_send(void *arg, const void *batch, size_t n)
{
	struct end *e = arg;
	size_t i = e->out.tail;

	hook(e, "send", NULL, 0);
	if (e->send_rc != 0)
		return e->send_rc;
	if (e->room == 0 || i - e->out.head >= WIRE_BATCHES)
		return SVCPROTO_E_FULL;
	if (e->room != SIZE_MAX)
		e->room--;
	e->out.p[i % WIRE_BATCHES] = malloc(n);
	if (e->out.p[i % WIRE_BATCHES] == NULL)
		return SVCPROTO_E_FULL;
	memcpy(e->out.p[i % WIRE_BATCHES], batch, n);
	e->out.n[i % WIRE_BATCHES] = n;
	e->out.tail++;
	e->nr_batches++;
	return 0;
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	struct end *e = arg;

	say(e, "up %s", peer->name);
	hook(e, "up", NULL, 0);
}

static void on_down(void *arg, const char *why)
{
	struct end *e = arg;

	say(e, "down %s", why);
	hook(e, "down", NULL, 0);
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct end *e = arg;
	char jid[128];

	e->last = s;
	if (o->kind == SVC_KIND_CLIENT)
		say(e, "open %u %s/%s %s %s%s", s->handle, o->bare_jid, o->resource ? o->resource : "", o->mechanism ? o->mechanism : "",
		    o->address ? o->address : "", o->secure ? " secure" : "");
	else
		say(e, "open %u kind %d %s %s", s->handle, (int)o->kind, o->from_domain, o->to_domain);
	hook(e, "open", s, 0);
	if (e->auto_accept && s->state == STREAM_OFFERED) {
		snprintf(jid, sizeof(jid), "%s/r", o->bare_jid ? o->bare_jid : "");
		(void)svc_stream_accept(s, o->kind == SVC_KIND_CLIENT ? jid : NULL);
	}
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	struct end *e = arg;

	e->last = s;
	say(e, "accepted %s", full_jid ? full_jid : "-");
	hook(e, "accepted", s, 0);
}

static void on_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	struct end *e = arg;

	say(e, "refused %s %s %s %s%s", r->type ? r->type : "-", r->condition, r->text ? r->text : "-",
	    r->see_other_host ? r->see_other_host : "-", r->stream_error ? " stream" : "");
	hook(e, "refused", s, 0);
	e->last = NULL;
}

static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct end *e = arg;
	const char *type = NULL, *condition = NULL;

	e->last = s;
	e->stanza_bytes += n;
	e->nr_stanzas++;
	svc_stream_rejection(s, &type, &condition);
	if (!e->quiet && (flags & SVC_REJECT) != 0)
		say(e, "stanza %u reject %s %s %.*s:%zu", seq, type, condition, (int)(n < 12 ? n : 12), xml, n);
	else if (!e->quiet)
		say(e, "stanza %u%s %.*s:%zu", seq, (flags & SVC_REPEATED) != 0 ? " repeated" : "", (int)(n < 12 ? n : 12), xml, n);
	hook(e, "stanza", s, seq);
	if (e->auto_ack && (s->state == STREAM_OPEN || s->state == STREAM_DRAINING))
		(void)svc_stream_ack(s, seq);
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	struct end *e = arg;

	e->last = s;
	if (!e->quiet)
		say(e, "acked %u", seq);
	hook(e, "acked", s, seq);
}

static void on_writable(void *arg, struct svc_stream *s)
{
	struct end *e = arg;

	say(e, "writable");
	hook(e, "writable", s, 0);
}

static void count_unacked(void *arg, uint32_t seq, const char *xml, size_t n)
{
	struct end *e = arg;

	(void)seq;
	(void)xml;
	(void)n;
	e->unacked_seen++;
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct end *e = arg;

	e->unacked_seen = 0;
	svc_stream_unacked(s, count_unacked, e);
	say(e, "closed %s %s %u", condition ? condition : "-", text ? text : "-", e->unacked_seen);
	hook(e, "closed", s, 0);
	e->last = NULL;
}

static void say_properties(struct end *e, const char *what, const char *word, const struct svcproto_property *v, size_t nr)
{
	char line[512];
	size_t n = (size_t)snprintf(line, sizeof(line), "%s%s%s", what, word != NULL ? " " : "", word != NULL ? word : "");

	for (size_t i = 0; i < nr && n < sizeof(line); i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, " %s=%.40s", v[i].name, v[i].value);
	say(e, "%s", line);
}

static void on_admin(void *arg, uint32_t request, const char *command, const struct svcproto_property *v, size_t nr)
{
	say_properties(arg, "admin", command, v, nr);
	hook(arg, "admin", NULL, request);
}

static void on_admin_reply(void *arg, uint32_t request, bool more, const char *error, const struct svcproto_property *v,
			   size_t nr)
{
	char what[32];

	snprintf(what, sizeof(what), "reply %u%s", request, more ? " more" : "");
	say_properties(arg, what, error, v, nr);
}

static void on_locate(void *arg, uint32_t request, const char *bare_jid)
{
	struct end *e = arg;

	say(e, "locate %u %s", request, bare_jid);
	hook(e, "locate", NULL, request);
}

static void on_located(void *arg, const struct svc_located *m)
{
	say(arg, "located %u %s%s", m->request, m->see_other_host ? m->see_other_host : "-", m->here ? " here" : "");
}

static const struct svc_link_ops ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed,
	.admin = on_admin, .admin_reply = on_admin_reply, .locate = on_locate, .located = on_located,
};

static void end_init(struct end *e, const char *name, enum svc_side side, const struct svc_hello *h)
{
	struct svc_hello self = h != NULL ? *h : (struct svc_hello){ 0 };

	memset(e, 0, sizeof(*e));
	e->name = name;
	e->room = SIZE_MAX;
	e->auto_accept = e->auto_ack = true;
	if (self.name[0] == '\0')
		snprintf(self.name, sizeof(self.name), "%s", name);
	if (self.incarnation == 0)
		self.incarnation = 7;
	self.instance.b[0] = (uint8_t)(side + 1);
	e->l = svc_link_new(side, &self, &ops, e);
}

void pair_init(struct pair *p, const struct svc_hello *gw, const struct svc_hello *sv)
{
	end_init(&p->gw, "gateway", SVC_GATEWAY, gw);
	end_init(&p->sv, "service", SVC_SERVICE, sv);
	p->now = 1000;
}

void pair_up(struct pair *p)
{
	if (svc_link_start(p->sv.l, p->now) == 0)
		pair_pump(p);
	pair_log(&p->gw);
	pair_log(&p->sv);
}

void pair_clear(struct pair *p)
{
	svc_link_free(p->gw.l);
	svc_link_free(p->sv.l);
	pair_drop(&p->gw, SIZE_MAX);
	pair_drop(&p->sv, SIZE_MAX);
	p->gw.l = p->sv.l = NULL;
}

void pair_flush(struct pair *p)
{
	svc_link_flush(p->gw.l, p->now);
	svc_link_flush(p->sv.l, p->now);
}

bool pair_deliver_one(struct pair *p, struct end *from)
{
	struct end *to = from == &p->gw ? &p->sv : &p->gw;
	size_t i = from->out.head;
	uint8_t *batch;

	if (i == from->out.tail)
		return false;
	batch = from->out.p[i % WIRE_BATCHES];
	from->out.head++;
	svc_link_input(to->l, batch, from->out.n[i % WIRE_BATCHES], p->now);
	free(batch);
	return true;
}

void pair_drop(struct end *from, size_t nr)
{
	for (; nr > 0 && from->out.head != from->out.tail; nr--)
		free(from->out.p[from->out.head++ % WIRE_BATCHES]);
}

/* Until what waits for company has left; what a full transport keeps back is not waited for. */
static bool let_wait(struct pair *p)
{
	const struct svc_link *gw = p->gw.l, *sv = p->sv.l;
	bool waits = (!TAILQ_EMPTY(&gw->lazy) && !link_lazy_due(gw)) || (!TAILQ_EMPTY(&sv->lazy) && !link_lazy_due(sv));

	p->now += waits ? SVC_ACK_WAIT_MS : 0;
	return waits;
}

void pair_pump(struct pair *p)
{
	bool moved;

	do {
		pair_flush(p);
		moved = pair_deliver_one(p, &p->gw);
		moved = pair_deliver_one(p, &p->sv) || moved;
	} while (moved || let_wait(p));
}

void pair_tick(struct pair *p, uint64_t ms)
{
	p->now += ms;
	svc_link_tick(p->gw.l, p->now);
	svc_link_tick(p->sv.l, p->now);
	pair_flush(p);
}

struct svc_stream *pair_open(struct pair *p, const char *bare_jid)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .bare_jid = bare_jid };
	struct svc_stream *s = svc_stream_open(p->gw.l, &o, NULL);

	pair_pump(p);
	return s;
}

void frame_put(uint8_t *batch, size_t *n, uint8_t type, uint8_t flags, uint32_t stream, uint32_t seq, const void *body, uint32_t body_n)
{
	struct wire_frame f = { .type = type, .flags = flags, .stream = stream, .sequence = seq, .length = body_n };

	wire_put_frame(batch + *n, &f);
	if (body_n > 0)
		memcpy(batch + *n + WIRE_FRAME_HEADER, body, body_n);
	*n += WIRE_FRAME_HEADER + body_n;
}

void pair_inject(struct pair *p, struct end *to, uint8_t type, uint8_t flags, uint32_t stream, uint32_t seq, const void *body, uint32_t n)
{
	static uint8_t batch[SVC_BATCH_MAX];
	struct end *from = to == &p->gw ? &p->sv : &p->gw;
	struct wire_batch h = { .version = (uint8_t)to->l->version, .epoch = to->l->epoch, .number = to->l->in_number + 1 };
	size_t len = WIRE_BATCH_HEADER;

	wire_put_batch(batch, &h);
	frame_put(batch, &len, type, flags, stream, seq, body, n);
	from->l->out_number = h.number; /* as if it had sent it */
	svc_link_input(to->l, batch, len, p->now);
}
