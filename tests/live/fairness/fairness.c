/*
 * Promise 3 on a real link: the gateway's set of links (ROUTER) and the service library (DEALER) under CURVE, each in its thread, with a
 * relay between them that counts. One stream, or many, carry large stanzas, one after the other and both ways at once, while 50 others
 * exchange stanzas of 200 bytes, two on the way on each.
 *
 * Counted: the bytes that cross the relay in a small stanza's direction from when it is queued (svc_stream_send, svcproto_send) to when it
 * arrives (the receiver's callback). Nothing is taken off: the other small stanzas, headers, acknowledgements, credits, CURVE and
 * ZMTP count as if they were the large one's, so the promise holds with that to spare. Not timed: a slow machine changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "link/links.h"
#include "tests/live/fairness/relay.h"
#include "svcclient/cluster.h"
#include "tests/unit/check.h"

enum { SMALL = 50, SMALL_BYTES = 200, LARGE_MAX = 100 };
enum { PATIENCE_MS = 60000, TICK_MS = 10 };
#define DOMAIN "a.example"

struct load {
	unsigned nr, bytes;            /* streams with large stanzas, of how much */
	unsigned rounds, depth;        /* stanzas on each of them, each way; on the way at once */
	uint32_t pace;                 /* of the relay */
	uint64_t limit_bytes;
	unsigned least;                /* small stanzas each way meanwhile */
};

/* What one direction has seen. Written by the receiver's thread only, and read when both have ended. */
struct seen {
	enum relay_direction direction;
	uint64_t worst;
	unsigned small, large;
};

struct stage {
	struct cluster cluster;
	struct relay relay;
	const struct load *load;
	char *large;
	/* the gateway's thread */
	struct loop *loop;
	struct directory *directory;
	struct announcer *announcer;
	struct links *links;
	struct link_end ends[LARGE_MAX + SMALL]; /* the first load->nr are the large ones' */
	unsigned sent_large[LARGE_MAX], acked_large[LARGE_MAX], acked_all;
	bool opened, late;
	struct loop_timer tick, patience;
	struct seen at_gateway;
	/* the service's thread */
	struct svcproto *sp;
	struct svcproto_session *busy[LARGE_MAX];
	unsigned answered_large[LARGE_MAX];
	struct seen at_service;
};

static struct stage stage;

/* ---- stanzas ---- */

/* A small stanza says how much had crossed when it was queued. */
static void make_small(char b[SMALL_BYTES + 1], enum relay_direction d)
{
	char start[64];
	int n = snprintf(start, sizeof(start), "<message id='%020" PRIu64 "'>", atomic_load(&stage.relay.crossed[d]));

	memset(b, 's', SMALL_BYTES);
	memcpy(b, start, (size_t)n);
	memcpy(b + SMALL_BYTES - 10, "</message>", 11);
}

static void note(struct seen *seen, const char *xml, size_t n)
{
	uint64_t now = atomic_load(&stage.relay.crossed[seen->direction]), since;

	if (n == stage.load->bytes) {
		CHECK(memcmp(xml, stage.large, n) == 0);
		seen->large++;
		return;
	}
	CHECK_EQ(n, SMALL_BYTES);
	since = now - strtoull(xml + strlen("<message id='"), NULL, 10);
	seen->worst = since > seen->worst ? since : seen->worst;
	seen->small++;
}

/* ---- the service ---- */

static void service_send_large(unsigned i)
{
	if (stage.answered_large[i] == stage.load->rounds)
		return;
	stage.answered_large[i]++;
	CHECK_EQ(svcproto_send(stage.busy[i], stage.large, stage.load->bytes, i + 1), 0);
}

static void service_send_small(struct svcproto_session *s)
{
	char b[SMALL_BYTES + 1];

	make_small(b, RELAY_TO_SERVER); /* the gateway binds: it is the relay's server */
	CHECK_EQ(svcproto_send(s, b, SMALL_BYTES, 0), 0);
}

static void on_session_open(void *arg, struct svcproto_session *s, const struct svcproto_open *o)
{
	char jid[128];

	(void)arg;
	snprintf(jid, sizeof(jid), "%s/r", o->bare_jid);
	CHECK_EQ(svcproto_accept(s, jid), 0);
	if (strncmp(o->bare_jid, "large-", 6) == 0) {
		unsigned i = (unsigned)strtoul(o->bare_jid + 6, NULL, 10);

		stage.busy[i] = s;
		for (unsigned k = 0; k < stage.load->depth; k++)
			service_send_large(i);
	} else {
		service_send_small(s);
	}
}

static void on_service_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	(void)arg;
	note(&stage.at_service, st->xml, st->length);
	CHECK_EQ(svcproto_ack(stage.sp, st->ticket), 0);
	if (st->length == SMALL_BYTES)
		service_send_small(s);
}

static void on_delivered(void *arg, uint64_t cookie)
{
	(void)arg;
	service_send_large((unsigned)cookie - 1);
}

static void on_service_log(void *arg, enum svcproto_log level, const char *line)
{
	(void)arg;
	if (level < SVCPROTO_LOG_INFO)
		fprintf(stderr, "service: %s\n", line);
}

static const struct svcproto_callbacks callbacks = {
	.session_open = on_session_open, .stanza = on_service_stanza, .delivered = on_delivered, .log = on_service_log,
};

static void *run_service(void *arg)
{
	(void)arg;
	CHECK_EQ(svcproto_run(stage.sp), 0);
	return NULL;
}

/* ---- the gateway ---- */

static void gateway_send_large(unsigned i)
{
	if (stage.sent_large[i] == stage.load->rounds)
		return;
	stage.sent_large[i]++;
	CHECK_EQ(svc_stream_send(stage.ends[i].stream, stage.large, stage.load->bytes, 0, NULL), 0);
	links_touch(stage.links);
}

static void gateway_send_small(struct link_end *e)
{
	char b[SMALL_BYTES + 1];

	make_small(b, RELAY_TO_CLIENT);
	CHECK_EQ(svc_stream_send(e->stream, b, SMALL_BYTES, 0, NULL), 0);
	links_touch(stage.links);
}

static void on_accepted(struct link_end *e, const char *full_jid)
{
	unsigned i = (unsigned)(e - stage.ends);

	(void)full_jid;
	if (i >= stage.load->nr)
		gateway_send_small(e);
	else
		for (unsigned k = 0; k < stage.load->depth; k++)
			gateway_send_large(i);
}

static void on_refused(struct link_end *e, const struct svc_refusal *r)
{
	(void)e;
	fprintf(stderr, "refused: %s\n", r->condition);
	CHECK(false);
}

/* Everything large has arrived: at the service too, as it acknowledged it. */
static void stop_when_done(void)
{
	unsigned all = stage.load->nr * stage.load->rounds;

	if (stage.at_gateway.large == all && stage.acked_all == all)
		loop_stop(stage.loop);
}

static void on_gateway_stanza(struct link_end *e, uint32_t seq, unsigned flags, struct slice xml)
{
	(void)flags;
	note(&stage.at_gateway, xml.p, xml.n);
	CHECK_EQ(svc_stream_ack(e->stream, seq), 0);
	if (xml.n == SMALL_BYTES)
		gateway_send_small(e);
	links_touch(stage.links);
	stop_when_done();
}

static void on_acked(struct link_end *e, uint32_t seq)
{
	unsigned i = (unsigned)(e - stage.ends);

	if (i >= stage.load->nr)
		return;
	for (; stage.acked_large[i] < seq; stage.acked_large[i]++, stage.acked_all++)
		gateway_send_large(i);
	stop_when_done();
}

static void on_writable(struct link_end *e)
{
	(void)e;
}

static void on_closed(struct link_end *e, const char *condition, const char *text, bool link_lost)
{
	(void)e;
	fprintf(stderr, "closed: %s, %s%s\n", condition ? condition : "plain", text ? text : "", link_lost ? ", link lost" : "");
	CHECK(false);
	loop_stop(stage.loop);
}

static const struct link_end_ops end_ops = {
	.accepted = on_accepted, .refused = on_refused, .stanza = on_gateway_stanza, .acked = on_acked, .writable = on_writable,
	.closed = on_closed,
};

static void open_streams(void)
{
	for (unsigned i = 0; i < stage.load->nr + SMALL; i++) {
		struct svc_open o = { .kind = SVC_KIND_CLIENT, .mechanism = "PLAIN", .address = "192.0.2.1", .secure = true };
		char jid[64];

		snprintf(jid, sizeof(jid), i < stage.load->nr ? "large-%u@" DOMAIN : "small-%u@" DOMAIN, i);
		o.bare_jid = jid;
		o.stream_id.b[0] = (uint8_t)(i + 1);
		stage.ends[i].ops = &end_ops;
		CHECK_EQ(links_open(stage.links, DOMAIN, SVCPROTO_CLIENT, jid, &o, &stage.ends[i]), 0);
	}
	stage.opened = true;
}

static void on_changed(void *arg)
{
	(void)arg;
}

static const struct links_ops links_ops = { .changed = on_changed };
static const struct announcer_ops announcer_ops = { .log = NULL };

static void on_tick(void *arg)
{
	uint64_t now = loop_now_ms(stage.loop);

	(void)arg;
	(void)announcer_dispatch(stage.announcer, now);
	(void)announcer_tick(stage.announcer, now);
	if (!stage.opened && links_nr_up(stage.links) == 1 && links_registered(stage.links, DOMAIN, SVCPROTO_CLIENT))
		open_streams();
	loop_timer_set(&stage.tick, TICK_MS);
}

static void on_patience(void *arg)
{
	(void)arg;
	stage.late = true;
	loop_stop(stage.loop);
}

static void gateway_start(void)
{
	struct svc_id id = { { 1 } };
	struct links_options lo = { .zmq_context = stage.cluster.zmq, .bind = "tcp://127.0.0.1:*", .key = &stage.cluster.gateway_key,
				    .hello = { .instance = id, .incarnation = 1, .name = "gateway" } };
	struct announcer_options ao = { .zmq_context = stage.cluster.zmq, .registries = stage.cluster.where,
					.public_key = stage.cluster.gateway_key.public_z85,
					.secret_key = stage.cluster.gateway_key.secret_z85, .owner = id, .incarnation = 1,
					.role = DIR_ROLE_GATEWAY };
	struct directory_gateway g = { .owner = id, .incarnation = 1, .key = ao.public_key, .public_host = "gw.example" };
	char why[512], endpoint[64];
	unsigned long port;
	int rc;

	stage.loop = lo.loop = loop_new();
	stage.directory = lo.directory = directory_new(NULL, NULL);
	stage.links = links_new(&lo, &links_ops, NULL, why, sizeof(why));
	stage.announcer = announcer_new(&ao, stage.directory, &announcer_ops, NULL, &rc);
	if (stage.links == NULL || stage.announcer == NULL)
		abort();
	port = strtoul(strrchr(links_endpoint(stage.links), ':') + 1, NULL, 10);
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", relay_start(&stage.relay, (uint16_t)port, stage.load->pace));
	g.endpoint = endpoint;
	CHECK_EQ(announcer_set_gateway(stage.announcer, &g), 0);
	loop_timer_init(stage.loop, &stage.tick, on_tick, NULL);
	loop_timer_init(stage.loop, &stage.patience, on_patience, NULL);
	loop_timer_set(&stage.tick, 0);
	loop_timer_set(&stage.patience, PATIENCE_MS);
}

static void gateway_stop(void)
{
	loop_timer_cancel(&stage.tick);
	loop_timer_cancel(&stage.patience);
	links_free(stage.links);
	announcer_free(stage.announcer);
	directory_free(stage.directory);
	loop_free(stage.loop);
}

/* ---- the two together ---- */

static void check_direction(const char *name, const struct seen *s)
{
	fprintf(stderr, "%s: %u small ones beside %u large ones; at most %" PRIu64 " bytes crossed between queueing and arrival\n", name,
		s->small, s->large, s->worst);
	CHECK(!stage.late);
	CHECK(s->worst <= stage.load->limit_bytes);
	CHECK(s->small >= stage.load->least); /* beside the large ones, not after them */
	CHECK_EQ(s->large, stage.load->nr * stage.load->rounds);
	CHECK(atomic_load(&stage.relay.crossed[s->direction]) > (uint64_t)s->large * stage.load->bytes); /* by this relay, all of it */
}

static void play(const struct load *load)
{
	struct svcproto_registration r = { .domain = DOMAIN, .types = SVCPROTO_CLIENT };
	struct svcproto_options o = { 0 };
	pthread_t service;
	int rc;

	stage = (struct stage){ .load = load, .at_gateway.direction = RELAY_TO_SERVER, .at_service.direction = RELAY_TO_CLIENT };
	stage.large = malloc(load->bytes);
	memset(stage.large, 'L', load->bytes);
	cluster_start(&stage.cluster);
	gateway_start();
	o.state_dir = stage.cluster.dir;
	stage.sp = svcproto_new(&o, &callbacks, NULL, &rc);
	if (stage.sp == NULL || svcproto_register(stage.sp, &r) != 0 || pthread_create(&service, NULL, run_service, NULL) != 0)
		abort();
	loop_run(stage.loop);
	svcproto_stop(stage.sp);
	pthread_join(service, NULL);
	check_direction("to the service", &stage.at_service);
	check_direction("to the gateway", &stage.at_gateway);
	svcproto_free(stage.sp);
	gateway_stop();
	relay_stop(&stage.relay);
	cluster_stop(&stage.cluster);
	free(stage.large);
}

static void as_fast_as_it_goes(void)
{
	play(&(struct load){ .nr = 1, .bytes = 4 << 20, .rounds = 3, .depth = 1, .limit_bytes = 128 << 10, .least = 20 * SMALL });
}

static void throttled(void)
{
	play(&(struct load){
	    .nr = 1, .bytes = 4 << 20, .rounds = 1, .depth = 1, .pace = 4096, .limit_bytes = 128 << 10, .least = 20 * SMALL});
}

/* Two windows of each. */
static void sixteen_large_ones(void)
{
	play(&(struct load){
	    .nr = 16, .bytes = 1 << 20, .rounds = 1, .depth = 1, .pace = 8192, .limit_bytes = 1 << 20, .least = 20 * SMALL});
}

/* Chunks of 4 KiB are not large ones and fill whole batches: twelve of those, 4 KiB of each for the turn, and the kernels' buffers. */
static void a_hundred_with_4_kib(void)
{
	play(&(struct load){
	    .nr = LARGE_MAX, .bytes = 4096, .rounds = 40, .depth = 8, .pace = 8192, .limit_bytes = 1536 << 10, .least = 4 * SMALL});
}

int main(void)
{
	log_set_level(LOG_ERROR);
	RUN(as_fast_as_it_goes);
	RUN(throttled);
	RUN(sixteen_large_ones);
	RUN(a_hundred_with_4_kib);
	return check_done("live/fairness");
}
