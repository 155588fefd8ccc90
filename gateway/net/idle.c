/*
 * A thread's idle time from its schedstat. A thread that sleeps in its loop is idle; one that is ready and has no processor is not, and
 * that is what its own clocks don't tell. Where the kernel keeps no such figures nothing is idle.
 */
#include "net/idle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#define NONE (-1)     /* there is no such file */

uint64_t idle_parse(const char *line)
{
	unsigned long long ran, waited;

	return sscanf(line, "%llu %llu", &ran, &waited) == 2 ? (ran + waited) / 1000 : 0;
}

static uint64_t busy_us(struct idle *i)
{
	char line[80];
	ssize_t n;

	if (i->fd_plus_1 == 0) {
		int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);

		i->fd_plus_1 = fd >= 0 ? fd + 1 : errno == ENOENT || errno == EACCES ? NONE : 0;
	}
	if (i->fd_plus_1 <= 0)
		return 0;
	n = pread(i->fd_plus_1 - 1, line, sizeof line - 1, 0);
	if (n <= 0)
		return 0;
	line[n] = '\0';
	return idle_parse(line);
}

uint64_t idle_count(struct idle *i, uint64_t busy, uint64_t now_us, uint64_t max_us)
{
	uint64_t passed = now_us - i->looked_at_us, used = busy - i->busy_us + i->owed_us;
	bool known = busy != 0 && passed <= max_us;

	i->looked_at_us = now_us;
	i->busy_us = busy;
	i->owed_us = 0;
	if (known && used > passed)
		i->owed_us = used - passed < max_us ? used - passed : max_us;
	return known && used < passed ? passed - used : 0;
}

uint64_t idle_since_look(struct idle *i, uint64_t now_us, uint64_t max_us)
{
	return idle_count(i, busy_us(i), now_us, max_us);
}

void idle_close(struct idle *i)
{
	if (i->fd_plus_1 > 0)
		close(i->fd_plus_1 - 1);
	*i = (struct idle){0};
}
