/*
 * Allocation that returns memory or ends the process, and the two things about secrets that the C library makes hard: wiping them
 * for certain, and drawing them whole. Sizes that a peer chose never come here unchecked.
 */
#include "common/mem.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/obj.h"

enum {
	KEPT_MIN = 128 << 10,   /* what malloc() keeps by itself: less would cost more than not to ask */
	MAPPED_MAX = 32 << 20,  /* the most that it allows for one piece */
};

void *mem_alloc(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	if (p == NULL)
		obj_bug(__FILE__, __LINE__, "out of memory");
	return p;
}

void *mem_resize(void *p, size_t n)
{
	p = realloc(p, n ? n : 1);
	if (p == NULL)
		obj_bug(__FILE__, __LINE__, "out of memory");
	return p;
}

char *mem_strdup(const char *s)
{
	return s ? mem_slicedup(slice_str(s)) : NULL;
}

char *mem_slicedup(struct slice s)
{
	ASSERT(s.n < SIZE_MAX);
	char *copy = mem_resize(NULL, s.n + 1); /* it may be large: not zeroed first */

	if (s.n != 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return copy;
}

void mem_wipe(void *p, size_t n)
{
	if (n != 0)
		explicit_bzero(p, n);
}

void mem_random(void *p, size_t n)
{
	char *at = p;

	while (n != 0) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			obj_bug(__FILE__, __LINE__, "getrandom failed");
		at += got;
		n -= (size_t)got;
	}
}

void mem_keep_freed(size_t bytes)
{
	int kept = bytes < KEPT_MIN ? KEPT_MIN : bytes < INT_MAX ? (int)bytes : INT_MAX;

	/* A sanitizer's malloc has no such options, and says so: nothing depends on them. */
	(void)mallopt(M_MMAP_THRESHOLD, kept < MAPPED_MAX ? kept : MAPPED_MAX);
	(void)mallopt(M_TRIM_THRESHOLD, kept);
}
