/*
 * Client sockets and their monitors. The monitor's events come through an inproc PAIR of the same context, so they cost a message each:
 * only those of the handshake and the end of a connection are asked for.
 */
#include "svcproto/zmon.h"

#include <ambrosia/svcproto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "svcproto/zlife.h"

#define RECONNECT_MS 100
#define RECONNECT_MAX_MS 2000
#define CONNECT_MS 3000    /* the kernel's tries come ever less often, and would find a healed network half a minute late */
#define HANDSHAKE_MS 10000
#define MONITORED (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | \
		   ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

static bool set(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

static bool set_key(void *socket, int option, const char *z85)
{
	return zmq_setsockopt(socket, option, z85, strlen(z85) + 1) == 0;
}

static bool set_options(void *s, const struct zmon_options *o)
{
	int64_t message_max = o->message_max;

	return set(s, ZMQ_LINGER, 0) && set(s, ZMQ_IPV6, 1) && set(s, ZMQ_IMMEDIATE, 1) && set(s, ZMQ_SNDHWM, o->high_water) &&
	       set(s, ZMQ_RCVHWM, o->high_water) && zlife_set(s) &&
	       set(s, ZMQ_RECONNECT_IVL, RECONNECT_MS) && set(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) &&
	       set(s, ZMQ_CONNECT_TIMEOUT, CONNECT_MS) && set(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
	       (o->kernel_bytes == 0 || (set(s, ZMQ_SNDBUF, o->kernel_bytes) && set(s, ZMQ_RCVBUF, o->kernel_bytes))) &&
	       zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &message_max, sizeof(message_max)) == 0 &&
	       set_key(s, ZMQ_CURVE_SERVERKEY, o->server_key) && set_key(s, ZMQ_CURVE_PUBLICKEY, o->public_key) &&
	       set_key(s, ZMQ_CURVE_SECRETKEY, o->secret_key) && (o->type != ZMQ_SUB || zmq_setsockopt(s, ZMQ_SUBSCRIBE, "", 0) == 0);
}

static bool set_monitor(struct zmon *z, void *context)
{
	static atomic_uint counter;
	char name[64];

	snprintf(name, sizeof(name), "inproc://ambrosia-zmon-%u", atomic_fetch_add(&counter, 1));
	if (zmq_socket_monitor(z->socket, name, MONITORED) != 0)
		return false;
	z->monitor = zmq_socket(context, ZMQ_PAIR);
	return z->monitor != NULL && set(z->monitor, ZMQ_LINGER, 0) && zmq_connect(z->monitor, name) == 0;
}

int zmon_open(struct zmon *z, const struct zmon_options *o)
{
	memset(z, 0, sizeof(*z));
	if ((size_t)snprintf(z->endpoint, sizeof(z->endpoint), "%s", o->endpoint) >= sizeof(z->endpoint))
		return SVCPROTO_E_CONNECT;
	z->socket = zmq_socket(o->zmq_context, o->type);
	if (z->socket != NULL && set_options(z->socket, o) && set_monitor(z, o->zmq_context) && zmq_connect(z->socket, z->endpoint) == 0)
		return 0;
	zmon_close(z, 0);
	return SVCPROTO_E_CONNECT;
}

void zmon_close(struct zmon *z, int linger_ms)
{
	if (z->socket != NULL) {
		(void)set(z->socket, ZMQ_LINGER, linger_ms);
		(void)zmq_socket_monitor(z->socket, NULL, 0);
		(void)zmq_close(z->socket);
	}
	if (z->monitor != NULL)
		(void)zmq_close(z->monitor);
	z->socket = z->monitor = NULL;
}

int zmon_reconnect(struct zmon *z)
{
	(void)zmq_disconnect(z->socket, z->endpoint); /* may have ended already */
	return zmq_connect(z->socket, z->endpoint) == 0 ? 0 : SVCPROTO_E_CONNECT;
}

/* An event is two parts: number and value, then the address, which we know. */
enum zmon_event zmon_next(struct zmon *z)
{
	uint8_t b[16];
	char address[256];
	uint16_t event;
	int n = zmq_recv(z->monitor, b, sizeof(b), ZMQ_DONTWAIT);

	if (n < 0)
		return ZMON_NONE;
	(void)zmq_recv(z->monitor, address, sizeof(address), ZMQ_DONTWAIT);
	memcpy(&event, b, sizeof(event));
	switch (event) {
	case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
		return ZMON_UP;
	case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
		return ZMON_REFUSED;
	case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
	case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		return ZMON_BROKEN;
	default:
		return ZMON_DOWN;
	}
}

int zmon_events(void *socket)
{
	int events = 0;
	size_t n = sizeof(events);

	return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &n) == 0 ? events : 0;
}
