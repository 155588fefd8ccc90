#ifndef GATEWAY_NET_HANDSHAKES_INT_H
#define GATEWAY_NET_HANDSHAKES_INT_H

/* Private to handshakes.c and its test. */

#include "net/handshakes.h"
#include "net/idle.h"

/* Of late: for how long this thread ran, how much of it was newcomers', and of how much time. */
struct handshakes_late {
	uint64_t ran_us, taken_us, passed_us;
};

struct handshakes {
	struct loop *loop;
	struct jobs *jobs;              /* or NULL */
	struct admission accept, login;
	struct loop_timer timer;
	struct idle idle;               /* while anybody waits, or steps of handshakes come */
	uint64_t theirs_us;             /* taken by newcomers since the last look at it */
	uint64_t around_us;             /* and, by calculation, by what is not charged around those of them who came in */
	struct handshakes_late late;
	struct idle lately;             /* where room is asked for */
	uint64_t taken_us;              /* by newcomers, since the last look at `lately` */
	unsigned was_left[2];           /* percent of the time between two of these looks that others left, the last first */
	struct loop_task look;
	uint64_t warned_ms, told_ms;
};

#endif
