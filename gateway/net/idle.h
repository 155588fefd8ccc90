#ifndef GATEWAY_NET_IDLE_H
#define GATEWAY_NET_IDLE_H

#include <stdint.h>

/* How long this thread had nothing to do: what of the time it neither ran nor waited for a processor, as the kernel counts it. Zeroed at
 * first; of one thread. */
struct idle {
	int fd_plus_1;
	uint64_t looked_at_us, busy_us;
	uint64_t owed_us;            /* was told to be idle, and was not: the kernel counts a thread that runs by ticks */
};

void idle_close(struct idle *i);
/* Microseconds since the last look, if that was max_us ago at most; 0: not known. */
uint64_t idle_since_look(struct idle *i, uint64_t now_us, uint64_t max_us);
/* The same, by what the thread was busy so far; 0: not known. */
uint64_t idle_count(struct idle *i, uint64_t busy_us, uint64_t now_us, uint64_t max_us);
/* The kernel's line, "ran waited slices" in nanoseconds: the sum of the first two in microseconds. 0: it makes no sense. */
uint64_t idle_parse(const char *line);

#endif
