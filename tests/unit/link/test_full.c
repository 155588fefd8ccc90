/*
 * Two services on one ROUTER. One stops reading until its link is full: the gateway's loop goes on meanwhile, neither stuck in a turn nor
 * waiting busily, the other's stanzas pass, and when the first reads again it gets all of its own in order. Real sockets on loopback, all
 * in one loop; waits for events, not for times.
 */
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "check.h"
#include "common/log.h"
#include "common/zev.h"
#include "ground.h"
#include "svcproto/directory_feed.h"
#include "svcproto/zmon.h"

enum { STANZAS = 200, STANZA_BYTES = 50000, PINGS = 50 };
enum { TICK_MS = 10, QUIET_MS = 100, PATIENCE_MS = 30000 };

struct peer {
	const char *domain;
	struct svc_id id;
	struct svc_key key;
	struct zmon z;
	struct zev *zev;       /* NULL: it does not read */
	struct svc_link *engine;
	unsigned got;          /* stanzas */
	struct link_end end;   /* the gateway's, of its stream */
	bool accepted;
	unsigned sent, acked;
};

static struct stage {
	struct ground on;
	struct peer full, other;
	struct loop_timer tick, patience;
	enum { COMING_UP, OPENING, FILLING, OTHERS, QUIET, READING } phase;
	size_t queued;         /* at the last tick, on the full one's link */
	uint64_t quiet_at_ms, quiet_turn;
	bool late;
} stage;

/* ---- the services ---- */

static int on_send(void *arg, const void *batch, size_t n)
{
	struct peer *p = arg;

	if (zmq_send(p->z.socket, batch, n, ZMQ_DONTWAIT) < 0) {
		zev_want_write(p->zev);
		return SVCPROTO_E_FULL;
	}
	zev_sent(p->zev);
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
	fprintf(stderr, "down: %s\n", why);
	CHECK(false);
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	char jid[64];

	(void)arg;
	snprintf(jid, sizeof jid, "%s/r", o->bare_jid);
	CHECK_EQ(svc_stream_accept(s, jid), 0);
}

/* Each carries its number. */
static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct peer *p = arg;
	unsigned number;

	(void)flags;
	CHECK(n >= sizeof number);
	memcpy(&number, xml, sizeof number);
	CHECK_EQ(number, ++p->got);
	CHECK_EQ(seq, number);
	CHECK_EQ(svc_stream_ack(s, seq), 0);
}

static void on_service_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	(void)arg;
	(void)s;
	(void)text;
	fprintf(stderr, "closed by the gateway: %s\n", condition ? condition : "plain");
	CHECK(false);
}

static const struct svc_link_ops service_ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .stanza = on_stanza, .closed = on_service_closed,
};

static void peer_flush(struct peer *p)
{
	svc_link_hurry(p->engine);
	svc_link_flush(p->engine, loop_now_ms(stage.on.loop));
}

static bool on_readable(void *arg, void *zsock)
{
	static char batch[SVC_BATCH_MAX];
	struct peer *p = arg;
	int n;

	while ((n = zmq_recv(zsock, batch, sizeof batch, ZMQ_DONTWAIT)) >= 0)
		svc_link_input(p->engine, batch, (size_t)n, loop_now_ms(stage.on.loop));
	peer_flush(p);
	return false;
}

static void on_peer_writable(void *arg, void *zsock)
{
	(void)zsock;
	peer_flush(arg);
}

static const struct zev_ops dealer_ops = {.readable = on_readable, .writable = on_peer_writable};

static void peer_read(struct peer *p)
{
	p->zev = zev_new(stage.on.loop, p->z.socket, &dealer_ops, p);
	CHECK(p->zev != NULL);
}

static void peer_stall(struct peer *p)
{
	zev_free(p->zev);
	p->zev = NULL;
}

static void peer_start(struct peer *p)
{
	struct zmon_options o = {.zmq_context = stage.on.zmq, .type = ZMQ_DEALER, .endpoint = links_endpoint(stage.on.links),
				 .server_key = stage.on.key.public_z85, .public_key = p->key.public_z85, .secret_key = p->key.secret_z85,
				 .high_water = SVC_QUEUED_BATCHES, .kernel_bytes = 32768, .message_max = SVC_MESSAGE_MAX};
	struct svc_hello hello = {.instance = p->id, .incarnation = 1, .name = "service", .stream_window_bytes = STANZAS * STANZA_BYTES};

	CHECK_EQ(zmon_open(&p->z, &o), 0);
	p->engine = svc_link_new(SVC_SERVICE, &hello, &service_ops, p);
	peer_read(p);
	CHECK_EQ(svc_link_start(p->engine, loop_now_ms(stage.on.loop)), 0);
	peer_flush(p);
}

static void peer_stop(struct peer *p)
{
	peer_stall(p);
	svc_link_free(p->engine);
	zmon_close(&p->z, 0);
	svc_key_wipe(&p->key);
}

/* ---- the gateway ---- */

static void send_next(struct peer *p)
{
	static char xml[STANZA_BYTES];
	unsigned number = ++p->sent;

	memcpy(xml, &number, sizeof number);
	CHECK_EQ(links_send(stage.on.links, &p->end, (struct slice){xml, p == &stage.full ? STANZA_BYTES : 200}), 0);
}

static struct peer *peer_of(struct link_end *e)
{
	return e == &stage.full.end ? &stage.full : &stage.other;
}

static void on_accepted(struct link_end *e, const char *full_jid)
{
	(void)full_jid;
	peer_of(e)->accepted = true;
}

static void on_refused(struct link_end *e, const struct svc_refusal *r)
{
	(void)e;
	fprintf(stderr, "refused: %s\n", r->condition);
	CHECK(false);
}

static void on_gateway_stanza(struct link_end *e, uint32_t seq, unsigned flags, struct slice xml)
{
	(void)e;
	(void)seq;
	(void)flags;
	(void)xml;
	CHECK(false); /* nothing is sent back */
}

static void begin_quiet(void)
{
	stage.phase = QUIET;
	stage.quiet_at_ms = loop_now_ms(stage.on.loop);
	stage.quiet_turn = loop_turn_nr(stage.on.loop);
}

static void on_acked(struct link_end *e, uint32_t seq)
{
	struct peer *p = peer_of(e);

	p->acked = seq;
	if (p == &stage.full && seq == STANZAS)
		loop_stop(stage.on.loop);
	else if (p == &stage.other && seq < PINGS)
		send_next(p);
	else if (p == &stage.other)
		begin_quiet();
}

static void on_stream_writable(struct link_end *e)
{
	(void)e;
}

static void on_closed(struct link_end *e, const char *condition, const char *text, bool link_lost)
{
	(void)e;
	(void)text;
	fprintf(stderr, "closed: %s%s\n", condition ? condition : "plain", link_lost ? ", link lost" : "");
	CHECK(false);
}

static const struct link_end_ops end_ops = {
	.accepted = on_accepted, .refused = on_refused, .stanza = on_gateway_stanza, .acked = on_acked,
	.writable = on_stream_writable, .closed = on_closed,
};

static void on_changed(void *arg)
{
	(void)arg;
}

static const struct links_ops links_ops = {.changed = on_changed};

static void open_stream(struct peer *p)
{
	struct svc_open o = {.kind = SVC_KIND_CLIENT, .mechanism = "PLAIN", .address = "192.0.2.1", .secure = true, .stream_id = p->id};
	char jid[64];

	snprintf(jid, sizeof jid, "user@%s", p->domain);
	o.bare_jid = jid;
	p->end.ops = &end_ops;
	CHECK_EQ(links_open(stage.on.links, p->domain, SVCPROTO_CLIENT, jid, &o, &p->end), 0);
	links_touch(stage.on.links);
}

static void add_queued(void *arg, const struct links_info *i)
{
	size_t *queued = arg;

	if (strcmp(i->key, stage.full.key.public_z85) == 0)
		*queued = i->queued_bytes;
}

/* What is queued for it stays as it is from one tick to the next: the other service has time for all that it reads. */
static bool is_full(void)
{
	size_t before = stage.queued;

	links_each(stage.on.links, add_queued, &stage.queued);
	return stage.queued > 0 && stage.queued == before;
}

static void fill(void)
{
	stage.phase = FILLING;
	peer_stall(&stage.full);
	for (unsigned i = 0; i < STANZAS; i++)
		send_next(&stage.full);
}

/* Or another one, if something moved in this. */
static void end_quiet(uint64_t now)
{
	if (!is_full()) {
		begin_quiet();
		return;
	}
	CHECK_EQ(stage.full.got, 0);
	CHECK(loop_turn_nr(stage.on.loop) - stage.quiet_turn <= 2 * (now - stage.quiet_at_ms));
	stage.phase = READING;
	peer_read(&stage.full);
}

static void on_tick(void *arg)
{
	uint64_t now = loop_now_ms(stage.on.loop);

	(void)arg;
	if (stage.phase == COMING_UP && links_nr_up(stage.on.links) == 2) {
		stage.phase = OPENING;
		open_stream(&stage.full);
		open_stream(&stage.other);
	} else if (stage.phase == OPENING && stage.full.accepted && stage.other.accepted) {
		fill();
	} else if (stage.phase == FILLING && is_full()) {
		stage.phase = OTHERS;
		send_next(&stage.other);
	} else if (stage.phase == QUIET && now >= stage.quiet_at_ms + QUIET_MS) {
		end_quiet(now);
	}
	loop_timer_set(&stage.tick, TICK_MS);
}

static void on_patience(void *arg)
{
	(void)arg;
	stage.late = true;
	loop_stop(stage.on.loop);
}

/* ---- the two together ---- */

static void feed_registration(const struct peer *p)
{
	struct entry e = {.kind = DIR_REGISTRATION, .owner = p->id, .incarnation = 1, .version = 1, .name = p->domain,
			  .types = SVCPROTO_CLIENT, .weight = 1, .lease_ms = REG_LEASE_MS, .policy = entry_policy("round-robin", 11)};

	memcpy(e.key, p->key.public_z85, sizeof e.key);
	CHECK_EQ(directory_feed_entry(stage.on.directory, 0, &e, 0), 0);
}

static void start(void)
{
	struct links_options o = {.hello = {.instance = {{1}}, .incarnation = 1, .name = "gateway", .unacked_stanzas_max = 2 * STANZAS,
					    .unacked_bytes_max = 2 * STANZAS * STANZA_BYTES}};
	char services[256];

	stage = (struct stage){.full = {.domain = "full.example", .id = {{2}}}, .other = {.domain = "other.example", .id = {{3}}}};
	CHECK_EQ(svc_key_make(&stage.full.key) | svc_key_make(&stage.other.key), 0);
	snprintf(services, sizeof services, "%s service %s:client\n%s service %s:client\n", stage.full.key.public_z85, stage.full.domain,
		 stage.other.key.public_z85, stage.other.domain);
	ground_start(&stage.on, &o, &links_ops, services);
	directory_feed_begin(stage.on.directory, 0);
	feed_registration(&stage.full);
	feed_registration(&stage.other);
	directory_feed_end(stage.on.directory, 0, 60000, 0);
	peer_start(&stage.full);
	peer_start(&stage.other);
	loop_timer_init(stage.on.loop, &stage.tick, on_tick, NULL);
	loop_timer_init(stage.on.loop, &stage.patience, on_patience, NULL);
	loop_timer_set(&stage.tick, TICK_MS);
	loop_timer_set(&stage.patience, PATIENCE_MS);
}

static void stop(void)
{
	loop_timer_cancel(&stage.tick);
	loop_timer_cancel(&stage.patience);
	peer_stop(&stage.full);
	peer_stop(&stage.other);
	ground_stop(&stage.on);
}

static void a_full_link_holds_up_itself_only(void)
{
	start();
	loop_run(stage.on.loop);
	CHECK(!stage.late);
	CHECK_EQ(stage.phase, READING);
	CHECK_EQ(stage.other.got, PINGS);
	CHECK_EQ(stage.full.got, STANZAS);
	CHECK_EQ(stage.full.acked, STANZAS);
	stop();
}

int main(void)
{
	log_set_level(LOG_ERROR);
	RUN(a_full_link_holds_up_itself_only);
	return check_done("unit.link.full");
}
