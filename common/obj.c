/* The end of a process that found a bug of its own: one line, written without allocating or locking, then abort. */
#include "common/obj.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void obj_bug(const char *file, int line, const char *what)
{
	char text[512];
	int n = snprintf(text, sizeof text, "bug: %s:%d: %s\n", file, line, what);

	if (n > 0) {
		size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
		ssize_t ignored = write(STDERR_FILENO, text, len);
		(void)ignored;
	}
	abort();
}
