#ifndef GATEWAY_NET_IDLE_H
#define GATEWAY_NET_IDLE_H

#include <stdbool.h>
#include <stdint.h>

/* How long this thread had nothing to do: what of the time it neither ran nor waited for a processor, as the kernel counts it. Zeroed at
 * first; of one thread. */
struct idle {
	int fd_plus_1;
	uint64_t looked_at_us, busy_us, ran_us;
	uint64_t owed_us;            /* was told to be idle, and was not: the kernel counts a thread that runs by ticks */
};

/* Microseconds: since a thread began, that it ran, and that it ran or waited for a processor; both 0: not known. */
struct idle_busy {
	uint64_t ran_us, busy_us;
};

/* Microseconds of the time since the last look. */
struct idle_seen {
	uint64_t idle_us, ran_us;
};

void idle_close(struct idle *i);
/* What was since the last look, if that was max_us ago at most. False: not known, and nothing is seen. */
bool idle_since_look(struct idle *i, uint64_t now_us, uint64_t max_us, struct idle_seen *seen);
/* The same, by what the thread was busy so far. */
bool idle_count(struct idle *i, struct idle_busy busy, uint64_t now_us, uint64_t max_us, struct idle_seen *seen);
/* The kernel's line, "ran waited slices" in nanoseconds. */
struct idle_busy idle_parse(const char *line);

#endif
