#include "svcclient/fake_gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <zmq.h>

#include "svcproto/announcer_int.h"
#include "svcproto/directory_feed.h"

static void copy(char *to, size_t size, const char *p, size_t n)
{
	snprintf(to, size, "%.*s", (int)(n < size ? n : size - 1), p != NULL ? p : "");
}

static int on_send(void *arg, const void *batch, size_t n)
{
	struct fake_peer *p = arg;

	if (zmq_send(p->g->router, p->id, p->id_n, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
		return zmq_errno() == EAGAIN ? SVCPROTO_E_FULL : SVCPROTO_E_CLOSED;
	return zmq_send(p->g->router, batch, n, ZMQ_DONTWAIT) < 0 ? SVCPROTO_E_CLOSED : 0;
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	struct fake_peer *p = arg;

	(void)peer;
	p->up = true;
}

static void on_down(void *arg, const char *why)
{
	struct fake_peer *p = arg;

	(void)why;
	p->up = false;
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct fake_gateway *g = ((struct fake_peer *)arg)->g;
	struct svc_refusal r = { .type = "cancel", .condition = g->refuse_out };

	g->outs++;
	copy(g->out_from, sizeof(g->out_from), o->from_domain, 120);
	copy(g->out_to, sizeof(g->out_to), o->to_domain, 120);
	copy(g->out_jid, sizeof(g->out_jid), o->bare_jid != NULL ? o->bare_jid : "", 120);
	g->out_id = o->origin;
	g->out_last_acked = o->last_acked;
	if (g->refuse_out != NULL) {
		(void)svc_stream_refuse(s, &r);
		return;
	}
	g->out = s;
	(void)svc_stream_accept_narrow(s, NULL, g->out_bytes_max);
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	struct fake_gateway *g = ((struct fake_peer *)arg)->g;

	(void)s;
	g->accepted++;
	copy(g->accepted_jid, sizeof(g->accepted_jid), full_jid, 250);
}

static void forget(struct fake_gateway *g, const struct svc_stream *s)
{
	if (g->stream == s)
		g->stream = NULL;
	if (g->out == s)
		g->out = NULL;
}

static void on_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	struct fake_gateway *g = ((struct fake_peer *)arg)->g;

	copy(g->refused, sizeof(g->refused), r->condition, 60);
	forget(g, s);
}

static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct fake_gateway *g = ((struct fake_peer *)arg)->g;

	g->flags[g->stanzas % NOTES] = flags;
	copy(g->xml[g->stanzas++ % NOTES], sizeof(g->xml[0]), xml, n);
	if (g->ack)
		(void)svc_stream_ack(s, seq);
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	struct fake_gateway *g = ((struct fake_peer *)arg)->g;

	(void)s;
	g->acked++;
	g->acked_seq = seq;
}

static void on_writable(void *arg, struct svc_stream *s)
{
	(void)arg;
	(void)s;
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct fake_gateway *g = ((struct fake_peer *)arg)->g;

	(void)text;
	g->closed++;
	copy(g->closed_condition, sizeof(g->closed_condition), condition, 60);
	forget(g, s);
}

static void on_enabled(void *arg, struct svc_stream *s, uint32_t resume_s)
{
	(void)s;
	(void)resume_s;
	((struct fake_peer *)arg)->g->enabled++;
}

static void on_resumed(void *arg, struct svc_stream *s, const char *full_jid)
{
	struct fake_gateway *g = ((struct fake_peer *)arg)->g;

	(void)s;
	g->resumed++;
	copy(g->accepted_jid, sizeof(g->accepted_jid), full_jid, 250);
}

/* Echoes the arguments in g->admin_rows rows and a summary, or says nothing. */
static void on_admin(void *arg, uint32_t request, const char *command, const struct svcproto_property *v, size_t nr)
{
	struct fake_peer *p = arg;

	p->g->asked++;
	copy(p->g->asked_command, sizeof(p->g->asked_command), command, 30);
	if (p->g->admin_silent)
		return;
	for (unsigned i = 0; i < p->g->admin_rows; i++)
		(void)svc_link_admin_reply(p->engine, request, true, NULL, v, nr);
	(void)svc_link_admin_reply(p->engine, request, false, p->g->admin_error, NULL, 0);
}

static void on_located(void *arg, const struct svc_located *m)
{
	struct fake_gateway *g = ((struct fake_peer *)arg)->g;

	g->located++;
	g->located_here = m->here;
	snprintf(g->located_host, sizeof(g->located_host), "%s", m->see_other_host != NULL ? m->see_other_host : "");
}

static const struct svc_link_ops engine_ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed,
	.enabled = on_enabled, .resumed = on_resumed,
	.admin = on_admin, .located = on_located,
};

static void on_hub_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct fake_gateway *g = arg;

	(void)text;
	g->closed++;
	copy(g->closed_condition, sizeof(g->closed_condition), condition, 60);
	forget(g, s);
}

static const struct svc_hub_ops hub_ops = { .closed = on_hub_closed };

static void on_registry_refused(void *arg, const char *what)
{
	struct fake_gateway *g = arg;

	g->registry_refusals++;
	copy(g->registry_refused, sizeof(g->registry_refused), what, 250);
}

static const struct announcer_ops announcer_ops = { .refused = on_registry_refused };

static void open_router(struct fake_gateway *g, const char *bind)
{
	int one = 1, none = 0, bound = -1;
	size_t n = sizeof(g->endpoint);

	g->router = zmq_socket(g->c->zmq, ZMQ_ROUTER);
	zmq_setsockopt(g->router, ZMQ_CURVE_SERVER, &one, sizeof(one));
	zmq_setsockopt(g->router, ZMQ_CURVE_SECRETKEY, g->c->gateway_key.secret_z85, 41);
	zmq_setsockopt(g->router, ZMQ_ZAP_DOMAIN, "link", 4);
	zmq_setsockopt(g->router, ZMQ_ZAP_ENFORCE_DOMAIN, &one, sizeof(one));
	zmq_setsockopt(g->router, ZMQ_ROUTER_MANDATORY, &one, sizeof(one));
	zmq_setsockopt(g->router, ZMQ_LINGER, &none, sizeof(none));
	for (int i = 0; i < 50 && (bound = zmq_bind(g->router, bind)) != 0; i++)
		usleep(20000); /* 0MQ frees a port a little later */
	if (bound != 0 || zmq_getsockopt(g->router, ZMQ_LAST_ENDPOINT, g->endpoint, &n) != 0)
		abort();
}

void fake_gateway_start(struct fake_gateway *g, struct cluster *c, const char *bind)
{
	struct announcer_options o = { .zmq_context = c->zmq, .registries = c->where, .public_key = c->gateway_key.public_z85,
				       .secret_key = c->gateway_key.secret_z85, .incarnation = test_now_ms(), .role = DIR_ROLE_GATEWAY };
	struct directory_gateway dg = { .key = c->gateway_key.public_z85, .public_host = "gw.example" };
	int rc;

	memset(g, 0, sizeof(*g));
	g->c = c;
	g->ack = true;
	open_router(g, bind);
	if (getrandom(&g->hello.instance, sizeof(g->hello.instance), 0) < 0)
		abort();
	g->hello.incarnation = o.incarnation;
	snprintf(g->hello.name, sizeof(g->hello.name), "fake");
	g->hub = svc_hub_new(SVC_GATEWAY, &g->hello, NULL, &hub_ops, g);
	o.owner = g->hello.instance;
	g->directory = directory_new(NULL, NULL);
	g->announcer = announcer_new(&o, g->directory, &announcer_ops, g, &rc);
	dg.endpoint = g->endpoint;
	if (g->announcer == NULL || announcer_set_gateway(g->announcer, &dg) != 0)
		abort();
}

/* To a registry that is not up nothing is withdrawn. */
void fake_gateway_kill(struct fake_gateway *g)
{
	for (unsigned i = 0; i < g->announcer->nr; i++)
		g->announcer->registries[i].up = false;
	fake_gateway_stop(g);
}

void fake_gateway_stop(struct fake_gateway *g)
{
	if (g->hub == NULL)
		return;
	for (unsigned i = 0; i < PEERS; i++)
		svc_link_free(g->peers[i].engine);
	svc_hub_free(g->hub);
	announcer_free(g->announcer);
	directory_free(g->directory);
	if (g->router != NULL)
		zmq_close(g->router);
	g->router = NULL;
	g->hub = NULL;
}

void fake_gateway_cut(struct fake_gateway *g)
{
	for (unsigned i = 0; i < PEERS && g->peers[i].engine != NULL; i++)
		svc_link_break(g->peers[i].engine, "cut", test_now_ms());
	zmq_close(g->router);
	g->router = NULL;
}

void fake_gateway_heal(struct fake_gateway *g)
{
	char endpoint[sizeof(g->endpoint)];

	memcpy(endpoint, g->endpoint, sizeof(endpoint));
	open_router(g, endpoint);
}

static struct fake_peer *peer_of(struct fake_gateway *g, const void *id, size_t n, const char *key)
{
	for (unsigned i = 0; i < PEERS; i++) {
		struct fake_peer *p = &g->peers[i];

		if (p->engine != NULL && p->id_n == n && memcmp(p->id, id, n) == 0)
			return p;
		if (p->engine == NULL) {
			p->g = g;
			memcpy(p->id, id, n);
			p->id_n = n;
			snprintf(p->key, sizeof(p->key), "%s", key);
			p->engine = svc_hub_link(g->hub, key, &engine_ops, p);
			return p;
		}
	}
	abort();
}

static bool receive(struct fake_gateway *g)
{
	zmq_msg_t id, batch;

	zmq_msg_init(&id);
	if (zmq_msg_recv(&id, g->router, ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&id);
		return false;
	}
	zmq_msg_init(&batch);
	if (zmq_msg_recv(&batch, g->router, 0) >= 0) {
		struct fake_peer *p = peer_of(g, zmq_msg_data(&id), zmq_msg_size(&id), zmq_msg_gets(&batch, "User-Id"));

		svc_link_input(p->engine, zmq_msg_data(&batch), zmq_msg_size(&batch), test_now_ms());
	}
	zmq_msg_close(&batch);
	zmq_msg_close(&id);
	return true;
}

void fake_gateway_turn(void *arg)
{
	struct fake_gateway *g = arg;
	uint64_t now = test_now_ms();

	if (g->router == NULL)
		return;
	while (receive(g))
		;
	announcer_dispatch(g->announcer, now);
	announcer_tick(g->announcer, now);
	for (unsigned i = 0; i < PEERS && g->peers[i].engine != NULL; i++) {
		svc_link_tick(g->peers[i].engine, now);
		svc_link_flush(g->peers[i].engine, now);
	}
}

unsigned fake_gateway_nr_up(const struct fake_gateway *g)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < PEERS; i++)
		nr += g->peers[i].up;
	return nr;
}

struct fake_peer *fake_gateway_peer(struct fake_gateway *g)
{
	for (unsigned i = 0; i < PEERS; i++)
		if (g->peers[i].up)
			return &g->peers[i];
	return NULL;
}

static struct svc_stream *open_stream(struct fake_gateway *g, struct svc_open *o)
{
	struct fake_peer *p = fake_gateway_peer(g);

	if (p == NULL || getrandom(&o->stream_id, sizeof(o->stream_id), 0) < 0)
		return NULL;
	g->stream = svc_stream_open(p->engine, o, NULL);
	return g->stream;
}

struct svc_stream *fake_gateway_open_client(struct fake_gateway *g, const char *bare_jid, const char *resource)
{
	struct svc_open o = {.kind = SVC_KIND_CLIENT,
			     .bare_jid = bare_jid,
			     .resource = resource,
			     .mechanism = "PLAIN",
			     .address = "192.0.2.1",
			     .secure = true};

	return open_stream(g, &o);
}

struct svc_stream *fake_gateway_open_server(struct fake_gateway *g, const char *from, const char *to)
{
	struct svc_open o = { .kind = SVC_KIND_SERVER_IN, .from_domain = from, .to_domain = to, .secure = true };

	return open_stream(g, &o);
}

struct svc_stream *fake_gateway_open_peer(struct fake_gateway *g, const struct svc_id *id, const char *bare_jid, uint32_t last_acked)
{
	const char *domain = strchr(bare_jid, '@') + 1;
	struct svc_open o = { .kind = SVC_KIND_PEER, .origin = *id, .bare_jid = bare_jid, .from_domain = domain, .to_domain = domain,
			      .last_acked = last_acked };
	return open_stream(g, &o);
}
