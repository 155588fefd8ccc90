#include "link/links_socket.h"

#include <zmq.h>

#include "svcproto/link.h"
#include "svcproto/zlife.h"

/* How the ROUTER for services is set up: what 0MQ may hold, what it must notice, and who may come in. */

#define HIGH_WATER 2       /* batches in 0MQ, each way and peer */
#define KERNEL_BYTES 32768 /* of the socket, each way */

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
	bad |= set_int(z, ZMQ_SNDHWM, HIGH_WATER);
	bad |= set_int(z, ZMQ_RCVHWM, HIGH_WATER);
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
