/* A gateway that ends in the very turn in which it handled a stanza of a service still says so. A ROUTER and a DEALER on loopback; waits
 * for events, not for times. */
#include <stdlib.h>
#include <zmq.h>

#include "check.h"
#include "common/log.h"
#include "common/zev.h"
#include "ground.h"
#include "svcproto/zmon.h"

enum { PATIENCE_MS = 30000 };

static struct stage {
	struct ground on;
	struct svc_key service_key;
	struct loop_timer patience;
	struct link_end end;
	unsigned handled;      /* by the gateway */
	struct zmon dealer;    /* the service's */
	struct zev *zev;
	struct svc_link *engine;
	struct svc_stream *stream;
	unsigned acked;
} stage;

/* ---- the service ---- */

static int on_send(void *arg, const void *batch, size_t n)
{
	(void)arg;
	if (zmq_send(stage.dealer.socket, batch, n, ZMQ_DONTWAIT) < 0) { /* not connected yet */
		zev_want_write(stage.zev);
		return SVCPROTO_E_FULL;
	}
	zev_sent(stage.zev);
	return 0;
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	struct svc_open o = {.kind = SVC_KIND_SERVER_OUT, .stream_id = {{7}}, .from_domain = "a.example", .to_domain = "b.example"};

	(void)arg;
	(void)peer;
	stage.stream = svc_stream_open(stage.engine, &o, NULL);
	CHECK(stage.stream != NULL);
}

static void on_down(void *arg, const char *why)
{
	(void)arg;
	fprintf(stderr, "down: %s\n", why);
	CHECK(false);
}

static void on_stream_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	(void)arg;
	(void)full_jid;
	CHECK_EQ(svc_stream_send(s, "<message/>", 10, 0, NULL), 0);
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	(void)arg;
	(void)s;
	stage.acked = seq;
}

static const struct svc_link_ops service_ops = {
	.send = on_send, .up = on_up, .down = on_down, .accepted = on_stream_accepted, .acked = on_acked};

/* All that has come. */
static void service_read(void)
{
	static char batch[SVC_BATCH_MAX];
	int n;

	while ((n = zmq_recv(stage.dealer.socket, batch, sizeof batch, ZMQ_DONTWAIT)) >= 0)
		svc_link_input(stage.engine, batch, (size_t)n, loop_now_ms(stage.on.loop));
}

static bool on_readable(void *arg, void *zsock)
{
	(void)arg;
	(void)zsock;
	service_read();
	svc_link_flush(stage.engine, loop_now_ms(stage.on.loop));
	return false;
}

static void on_writable(void *arg, void *zsock)
{
	(void)arg;
	(void)zsock;
	svc_link_flush(stage.engine, loop_now_ms(stage.on.loop));
}

static const struct zev_ops dealer_ops = {.readable = on_readable, .writable = on_writable};

static void service_start(void)
{
	struct zmon_options o = {.zmq_context = stage.on.zmq, .type = ZMQ_DEALER, .endpoint = links_endpoint(stage.on.links),
				 .server_key = stage.on.key.public_z85, .public_key = stage.service_key.public_z85,
				 .secret_key = stage.service_key.secret_z85, .high_water = SVC_QUEUED_BATCHES,
				 .message_max = SVC_MESSAGE_MAX};
	struct svc_hello hello = {.instance = {{2}}, .incarnation = 1, .name = "service"};

	CHECK_EQ(zmon_open(&stage.dealer, &o), 0);
	stage.engine = svc_link_new(SVC_SERVICE, &hello, &service_ops, NULL);
	stage.zev = zev_new(stage.on.loop, stage.dealer.socket, &dealer_ops, NULL);
	CHECK_EQ(svc_link_start(stage.engine, loop_now_ms(stage.on.loop)), 0);
	svc_link_flush(stage.engine, loop_now_ms(stage.on.loop));
}

/* ---- the gateway ---- */

static void on_stanza(struct link_end *e, uint32_t seq, unsigned flags, struct slice xml)
{
	(void)flags;
	(void)xml;
	CHECK_EQ(svc_stream_ack(e->stream, seq), 0);
	stage.handled = seq;
	links_touch(stage.on.links);
	loop_stop(stage.on.loop);
}

static const struct link_end_ops end_ops = {.stanza = on_stanza};

static void on_open_out(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	(void)arg;
	(void)o;
	stage.end.ops = &end_ops;
	links_attach(s, &stage.end);
	CHECK_EQ(svc_stream_accept(s, NULL), 0);
	links_touch(stage.on.links);
}

static void on_changed(void *arg)
{
	(void)arg;
}

static const struct links_ops links_ops = {.open_out = on_open_out, .changed = on_changed};

static void on_patience(void *arg)
{
	(void)arg;
	loop_stop(stage.on.loop);
}

static void start(void)
{
	struct links_options o = {.hello = {.instance = {{1}}, .incarnation = 1, .name = "gateway"}};
	char services[128];

	CHECK_EQ(svc_key_make(&stage.service_key), 0);
	snprintf(services, sizeof services, "%s service a.example:server\n", stage.service_key.public_z85);
	ground_start(&stage.on, &o, &links_ops, services);
	service_start();
	loop_timer_init(stage.on.loop, &stage.patience, on_patience, NULL);
	loop_timer_set(&stage.patience, PATIENCE_MS);
}

static void stop(void)
{
	loop_timer_cancel(&stage.patience);
	zev_free(stage.zev);
	svc_link_free(stage.engine);
	zmon_close(&stage.dealer, 0);
	ground_stop(&stage.on);
	svc_key_wipe(&stage.service_key);
}

static void what_is_handled_is_said(void)
{
	zmq_pollitem_t in = {.events = ZMQ_POLLIN};

	start();
	loop_run(stage.on.loop);
	CHECK_EQ(stage.handled, 1);
	links_hurry(stage.on.links);
	in.socket = stage.dealer.socket;
	while (stage.acked == 0 && zmq_poll(&in, 1, PATIENCE_MS) == 1)
		service_read();
	CHECK_EQ(stage.acked, 1);
	links_hurry(NULL);
	stop();
}

int main(void)
{
	log_set_level(LOG_ERROR);
	RUN(what_is_handled_is_said);
	return check_done("unit.link.last");
}
