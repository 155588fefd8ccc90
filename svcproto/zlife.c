/*
 * How a dead connection is noticed: by the kernel. 0MQ's own heartbeats abort the process (libzmq 4.3.4, issues 3596, 3937 and 4364) when
 * one falls due on a connection whose input waits for room, as it does with our low high-water marks whenever a link is busy. A process
 * that is there but does not answer is noticed by PING.
 */
#include "svcproto/zlife.h"

#include <stddef.h>
#include <zmq.h>

#define SILENCE_MS 5000   /* of what was sent, or of probes */
#define PROBE_S 2         /* after so much of nothing at all, then every second */

bool zlife_set(void *zmq_socket)
{
	static const struct { int option, value; } v[] = {
		{ZMQ_TCP_KEEPALIVE, 1}, {ZMQ_TCP_KEEPALIVE_IDLE, PROBE_S}, {ZMQ_TCP_KEEPALIVE_INTVL, 1},
		{ZMQ_TCP_KEEPALIVE_CNT, 3}, {ZMQ_TCP_MAXRT, SILENCE_MS},
	};
	bool ok = true;

	for (size_t i = 0; i < sizeof v / sizeof *v; i++)
		ok &= zmq_setsockopt(zmq_socket, v[i].option, &v[i].value, sizeof v[i].value) == 0;
	return ok;
}
