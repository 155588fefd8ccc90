/* A gateway that ends in the very turn in which it handled a stanza of a service still says so. A ROUTER and a DEALER on loopback; waits
 * for events, not for times. */
#include <stdlib.h>
#include <zmq.h>

#include "check.h"
#include "common/log.h"
#include "common/zev.h"
#include "link/links.h"
#include "svcproto/directory_feed.h"
#include "svcproto/keyset.h"
#include "svcproto/zap.h"
#include "svcproto/zmon.h"

enum { PATIENCE_MS = 30000 };

static struct stage {
	void *zmq;
	struct zap *zap;
	struct svc_key key, service_key;
	struct loop *loop;
	struct loop_timer patience;
	struct directory *directory;
	struct links *links;
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
		svc_link_input(stage.engine, batch, (size_t)n, loop_now_ms(stage.loop));
}

static bool on_readable(void *arg, void *zsock)
{
	(void)arg;
	(void)zsock;
	service_read();
	svc_link_flush(stage.engine, loop_now_ms(stage.loop));
	return false;
}

static void on_writable(void *arg, void *zsock)
{
	(void)arg;
	(void)zsock;
	svc_link_flush(stage.engine, loop_now_ms(stage.loop));
}

static const struct zev_ops dealer_ops = {.readable = on_readable, .writable = on_writable};

static void service_start(void)
{
	struct zmon_options o = {.zmq_context = stage.zmq, .type = ZMQ_DEALER, .endpoint = links_endpoint(stage.links),
				 .server_key = stage.key.public_z85, .public_key = stage.service_key.public_z85,
				 .secret_key = stage.service_key.secret_z85, .high_water = SVC_QUEUED_BATCHES,
				 .message_max = SVC_MESSAGE_MAX};
	struct svc_hello hello = {.instance = {{2}}, .incarnation = 1, .name = "service"};

	CHECK_EQ(zmon_open(&stage.dealer, &o), 0);
	stage.engine = svc_link_new(SVC_SERVICE, &hello, &service_ops, NULL);
	stage.zev = zev_new(stage.loop, stage.dealer.socket, &dealer_ops, NULL);
	CHECK_EQ(svc_link_start(stage.engine, loop_now_ms(stage.loop)), 0);
	svc_link_flush(stage.engine, loop_now_ms(stage.loop));
}

/* ---- the gateway ---- */

static void on_stanza(struct link_end *e, uint32_t seq, unsigned flags, struct slice xml)
{
	(void)flags;
	(void)xml;
	CHECK_EQ(svc_stream_ack(e->stream, seq), 0);
	stage.handled = seq;
	links_touch(stage.links);
	loop_stop(stage.loop);
}

static const struct link_end_ops end_ops = {.stanza = on_stanza};

static void on_open_out(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	(void)arg;
	(void)o;
	stage.end.ops = &end_ops;
	links_attach(s, &stage.end);
	CHECK_EQ(svc_stream_accept(s, NULL), 0);
	links_touch(stage.links);
}

static void on_changed(void *arg)
{
	(void)arg;
}

static const struct links_ops links_ops = {.open_out = on_open_out, .changed = on_changed};

static void on_patience(void *arg)
{
	(void)arg;
	loop_stop(stage.loop);
}

/* authorized_keys */
static void feed_keys(void)
{
	static struct reg_frame f;
	char text[256], why[128] = "";
	int n = snprintf(text, sizeof text, "# serial 1\n%s gateway\n%s service a.example:server\n", stage.key.public_z85,
			 stage.service_key.public_z85);
	struct keyset *k = keyset_parse(text, (size_t)n, why, sizeof why);

	CHECK_STR(why, "");
	CHECK_EQ(zap_set_keys(stage.zap, k), 0);
	keyset_free(k);
	f = (struct reg_frame){.serial = 1, .parts = 1, .keys = text, .keys_n = (size_t)n};
	CHECK_EQ(directory_feed_keys(stage.directory, 0, &f), 0);
}

static void start(void)
{
	struct links_options o = {.bind = "tcp://127.0.0.1:*", .key = &stage.key,
				  .hello = {.instance = {{1}}, .incarnation = 1, .name = "gateway"}};
	char why[256];

	CHECK_EQ(svc_key_make(&stage.key), 0);
	CHECK_EQ(svc_key_make(&stage.service_key), 0);
	stage.zmq = o.zmq_context = zmq_ctx_new();
	stage.zap = zap_start(stage.zmq);
	stage.loop = o.loop = loop_new();
	stage.directory = o.directory = directory_new(NULL, NULL);
	feed_keys();
	stage.links = links_new(&o, &links_ops, NULL, why, sizeof why);
	if (stage.links == NULL)
		abort();
	service_start();
	loop_timer_init(stage.loop, &stage.patience, on_patience, NULL);
	loop_timer_set(&stage.patience, PATIENCE_MS);
}

static void stop(void)
{
	loop_timer_cancel(&stage.patience);
	links_free(stage.links);
	zev_free(stage.zev);
	svc_link_free(stage.engine);
	zmon_close(&stage.dealer, 0);
	directory_free(stage.directory);
	loop_free(stage.loop);
	zap_stop(stage.zap);
	zmq_ctx_term(stage.zmq);
	svc_key_wipe(&stage.key);
	svc_key_wipe(&stage.service_key);
}

static void what_is_handled_is_said(void)
{
	zmq_pollitem_t in = {.events = ZMQ_POLLIN};

	start();
	loop_run(stage.loop);
	CHECK_EQ(stage.handled, 1);
	links_hurry(stage.links);
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
