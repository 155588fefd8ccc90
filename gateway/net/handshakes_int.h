#ifndef GATEWAY_NET_HANDSHAKES_INT_H
#define GATEWAY_NET_HANDSHAKES_INT_H

/* Private to handshakes.c and its test. */

#include "net/handshakes.h"
#include "net/idle.h"

struct handshakes {
	struct loop *loop;
	struct admission accept, login;
	struct loop_timer timer;
	struct idle idle;               /* while anybody waits */
	struct idle lately;             /* where room is asked for */
	uint64_t taken_us;              /* by newcomers, since the last look at `lately` */
	unsigned was_free[2];           /* percent of the time between two of these looks that nobody else took, the last first */
	struct loop_task look;
	uint64_t warned_ms, told_ms;
};

#endif
