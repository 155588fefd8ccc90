#ifndef TESTS_BENCH_CONTROL_PHASE_H
#define TESTS_BENCH_CONTROL_PHASE_H

/* What is measured, one after the other: each begins with a line of input and ends with a line of JSON. */

#include "tests/bench/control/member.h"
#include "tests/bench/control/whole.h"

struct control {
	struct world w;
	struct member *members;       /* services, then gateways */
	struct whole **wholes;        /* in place of the member of the same index; NULL: a checksum */
	unsigned nr;
	uint64_t patience_ms;         /* of each phase */
	bool (*step)(struct control *c, uint64_t now_ms); /* the phase under way: true when it is over; NULL: none */
	const char *name;
	uint64_t started_ms, looked_ms;
	uint32_t old_epoch;
	unsigned todo, done;          /* probes or snapshots */
	bool gone;                    /* the probe under way is being withdrawn */
	uint64_t *last_us;            /* of each probe or snapshot: when the last gateway, or the member, had it */
};

/* One line of input, without its end. False: it is no command. */
bool phase_begin(struct control *c, char *line);
/* False: the phase took too long, and a line says so. */
bool phase_advance(struct control *c, uint64_t now_ms);

#endif
