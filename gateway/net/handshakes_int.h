#ifndef GATEWAY_NET_HANDSHAKES_INT_H
#define GATEWAY_NET_HANDSHAKES_INT_H

/* Private to handshakes.c and its test. */

#include "net/handshakes.h"
#include "net/idle.h"

struct handshakes {
	struct loop *loop;
	struct admission accept, login;
	struct loop_timer timer;
	struct idle idle;
	uint64_t warned_ms, told_ms;
};

#endif
