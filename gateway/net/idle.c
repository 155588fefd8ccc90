/*
 * A thread's idle time from its schedstat. A thread that sleeps in its loop is idle; one that is ready and has no processor is not, and
 * that is what its own clocks don't tell. Where the kernel keeps no such figures nothing is idle.
 */
#include "net/idle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define NONE (-1)     /* there is no such file */

struct idle_busy idle_parse(const char *line)
{
	unsigned long long ran, waited;

	if (sscanf(line, "%llu %llu", &ran, &waited) != 2)
		return (struct idle_busy){0};
	return (struct idle_busy){ran / 1000, (ran + waited) / 1000};
}

static struct idle_busy look(struct idle *i)
{
	char line[80];
	ssize_t n;

	if (i->fd_plus_1 == 0) {
		int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);

		i->fd_plus_1 = fd >= 0 ? fd + 1 : errno == ENOENT || errno == EACCES ? NONE : 0;
	}
	if (i->fd_plus_1 <= 0)
		return (struct idle_busy){0};
	n = pread(i->fd_plus_1 - 1, line, sizeof line - 1, 0);
	if (n <= 0)
		return (struct idle_busy){0};
	line[n] = '\0';
	return idle_parse(line);
}

bool idle_count(struct idle *i, struct idle_busy busy, uint64_t now_us, uint64_t max_us, struct idle_seen *seen)
{
	uint64_t passed = now_us - i->looked_at_us, used = busy.busy_us - i->busy_us + i->owed_us, ran = busy.ran_us - i->ran_us;
	bool known = busy.busy_us != 0 && i->busy_us != 0 && passed <= max_us;

	i->looked_at_us = now_us;
	i->busy_us = busy.busy_us;
	i->ran_us = busy.ran_us;
	i->owed_us = 0;
	*seen = (struct idle_seen){0};
	if (!known)
		return false;
	if (used > passed)
		i->owed_us = used - passed < max_us ? used - passed : max_us;
	else
		seen->idle_us = passed - used;
	seen->ran_us = ran;
	return true;
}

bool idle_since_look(struct idle *i, uint64_t now_us, uint64_t max_us, struct idle_seen *seen)
{
	return idle_count(i, look(i), now_us, max_us, seen);
}

void idle_close(struct idle *i)
{
	if (i->fd_plus_1 > 0)
		close(i->fd_plus_1 - 1);
	*i = (struct idle){0};
}
