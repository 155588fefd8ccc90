/* The registry's ROUTER and a member's DEALER take the longest message of the protocol from each other. */
#include <zmq.h>

#include "check.h"
#include "registry/sockets.h"
#include "svcproto/link.h"
#include "svcproto/zap.h"
#include "svcproto/zmon.h"

#define PATIENCE_MS 30000

static struct {
	void *context;
	struct zap *zap;
	struct registry_sockets server;
	struct svc_key server_key, member_key;
	struct zmon member;
} world;

static uint8_t bytes[SVC_BATCH_MAX + 1];

static void set_patience(void *socket)
{
	int ms = PATIENCE_MS;

	CHECK_EQ(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &ms, sizeof(ms)), 0);
	CHECK_EQ(zmq_setsockopt(socket, ZMQ_SNDTIMEO, &ms, sizeof(ms)), 0);
}

static void start(void)
{
	struct zap_entry entry = { .domains = ZAP_REGISTRY };
	struct zmon_options o = { .type = ZMQ_DEALER, .high_water = 100, .message_max = SVC_MESSAGE_MAX };
	char why[256];

	CHECK_EQ(svc_key_make(&world.server_key), 0);
	CHECK_EQ(svc_key_make(&world.member_key), 0);
	memcpy(entry.key, world.member_key.public_z85, sizeof(entry.key));
	world.server.context = o.zmq_context = world.context = zmq_ctx_new();
	world.zap = zap_start(world.context);
	CHECK_EQ(zap_set(world.zap, &entry, 1), 0);
	CHECK_EQ(registry_sockets_open(&world.server, "tcp://127.0.0.1:0", &world.server_key, why, sizeof(why)), 0);
	o.endpoint = world.server.endpoint;
	o.server_key = world.server_key.public_z85;
	o.public_key = world.member_key.public_z85;
	o.secret_key = world.member_key.secret_z85;
	CHECK_EQ(zmon_open(&world.member, &o), 0);
	set_patience(world.member.socket);
	set_patience(world.server.router);
}

static void stop(void)
{
	zmon_close(&world.member, 0);
	registry_sockets_close(&world.server, 0);
	zap_stop(world.zap);
	zmq_ctx_term(world.context);
}

/* CURVE makes it longer on the wire: were that not allowed for, 0MQ would end the connection for good. */
static void test_longest_message(void)
{
	static uint8_t route[256], got[SVC_BATCH_MAX + 1];
	int n;

	start();
	CHECK_EQ(zmq_send(world.member.socket, bytes, SVC_BATCH_MAX, 0), SVC_BATCH_MAX);
	n = zmq_recv(world.server.router, route, sizeof(route), 0);
	CHECK(n > 0);
	CHECK_EQ(zmq_recv(world.server.router, got, sizeof(got), 0), SVC_BATCH_MAX);
	if (n > 0) {
		CHECK_EQ(zmq_send(world.server.router, route, (size_t)n, ZMQ_SNDMORE), n);
		CHECK_EQ(zmq_send(world.server.router, bytes, SVC_BATCH_MAX, 0), SVC_BATCH_MAX);
		CHECK_EQ(zmq_recv(world.member.socket, got, sizeof(got), 0), SVC_BATCH_MAX);
	}
	stop();
}

/* What is longer ends the connection, and never arrives. */
static void test_longer_message(void)
{
	enum zmon_event ev = ZMON_NONE;
	zmq_pollitem_t item;

	start();
	item = (zmq_pollitem_t){ .socket = world.member.monitor, .events = ZMQ_POLLIN };
	CHECK_EQ(zmq_send(world.member.socket, bytes, sizeof(bytes), 0), sizeof(bytes));
	while (ev != ZMON_DOWN && zmq_poll(&item, 1, PATIENCE_MS) > 0)
		ev = zmon_next(&world.member);
	CHECK_EQ(ev, ZMON_DOWN);
	CHECK_EQ(zmq_recv(world.server.router, bytes, sizeof(bytes), ZMQ_DONTWAIT), -1);
	stop();
}

int main(void)
{
	RUN(test_longest_message);
	RUN(test_longer_message);
	return check_done("registry.sockets");
}
