#include "link/links_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <zmq.h>

#include "common/log.h"
#include "svcproto/link.h"
#include "svcproto/zlife.h"

/* How the ROUTER for services is set up: what 0MQ may hold, what it must notice, and who may come in. */

#define KERNEL_BYTES 32768 /* of the socket, each way */
/* Loopback's own segments are as large as such a buffer: one that is larger than what the receiver's window has left waits for the persist
 * timer, 200 ms, since the receiver tells of room when it has twice as much only (RFC 9293, 3.8.6.2). Small ones always fit soon. */
#define SEGMENT_BYTES 8192

static int set_int(void *zsock, int option, int value)
{
	return zmq_setsockopt(zsock, option, &value, sizeof value);
}

/* Small buffers: a stanza never waits behind more than a few batches of others (promise 3; tests/live/fairness counts). */
static int configure(void *z, const struct svc_key *key)
{
	int64_t max = SVC_MESSAGE_MAX;
	int bad = 0;

	bad |= set_int(z, ZMQ_LINGER, 200);
	bad |= set_int(z, ZMQ_ROUTER_MANDATORY, 1);
	bad |= set_int(z, ZMQ_ROUTER_HANDOVER, 0);
	bad |= set_int(z, ZMQ_SNDHWM, SVC_QUEUED_BATCHES);
	bad |= set_int(z, ZMQ_RCVHWM, SVC_QUEUED_BATCHES);
	bad |= set_int(z, ZMQ_SNDBUF, KERNEL_BYTES);
	bad |= set_int(z, ZMQ_RCVBUF, KERNEL_BYTES);
	bad |= set_int(z, ZMQ_IPV6, 1);
	bad |= !zlife_set(z);
	bad |= zmq_setsockopt(z, ZMQ_MAXMSGSIZE, &max, sizeof max);
	bad |= set_int(z, ZMQ_CURVE_SERVER, 1);
	bad |= zmq_setsockopt(z, ZMQ_CURVE_SECRETKEY, key->secret_z85, 40);
	bad |= zmq_setsockopt(z, ZMQ_ZAP_DOMAIN, "link", 4);
#ifdef ZMQ_ZAP_ENFORCE_DOMAIN /* a draft option in some builds; without it, that the ZAP thread runs before anything binds is what         \
				 protects us */
	bad |= set_int(z, ZMQ_ZAP_ENFORCE_DOMAIN, 1);
#endif
	return bad;
}

void *links_socket_new(void *zmq_context, const struct svc_key *key)
{
	void *z = zmq_socket(zmq_context, ZMQ_ROUTER);

	if (z != NULL && configure(z, key) == 0)
		return z;
	if (z != NULL)
		zmq_close(z);
	return NULL;
}

void *links_socket_watch(void *zmq_context, void *zsock)
{
	char name[64];
	void *monitor;

	/* The pair runs inside the process: its name must be unique there. */
	snprintf(name, sizeof name, "inproc://links-%p", zsock);
	if (zmq_socket_monitor(zsock, name, ZMQ_EVENT_LISTENING | ZMQ_EVENT_DISCONNECTED) != 0)
		return NULL;
	monitor = zmq_socket(zmq_context, ZMQ_PAIR);
	if (monitor != NULL && set_int(monitor, ZMQ_LINGER, 0) == 0 && zmq_connect(monitor, name) == 0)
		return monitor;
	if (monitor != NULL)
		zmq_close(monitor);
	return NULL;
}

/* The descriptor that listens, of which only the monitor tells: event and value in the first part, the address in the second. */
static int listening(void *monitor)
{
	struct {
		uint16_t event;
		uint32_t value;
	} __attribute__((packed)) first = {0};
	char address[8];
	int n;

	do
		n = zmq_recv(monitor, &first, sizeof first, ZMQ_DONTWAIT); /* bind told it before it returned */
	while (n < 0 && zmq_errno() == EINTR);
	if (n != (int)sizeof first || first.event != ZMQ_EVENT_LISTENING)
		return -1;
	(void)zmq_recv(monitor, address, sizeof address, ZMQ_DONTWAIT);
	return (int)first.value;
}

int links_socket_bind(void *zsock, void *monitor, const char *endpoint)
{
	int fd, bytes = SEGMENT_BYTES;

	if (zmq_bind(zsock, endpoint) != 0)
		return -1;
	fd = listening(monitor);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &bytes, sizeof bytes) != 0)
		log_warn("link", 0, "segments", "endpoint=%s why=\"their size can't be set: busy links on loopback may stand still\"",
			 log_escape(slice_str(endpoint)));
	return 0;
}
