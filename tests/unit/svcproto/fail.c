/* Allocations that fail: see fail.h. */
#include "fail.h"

#include <stdlib.h>

long fail_countdown = -1;
bool fail_for_good, fail_happened;

static bool fails(void)
{
	if (fail_countdown < 0)
		return false;
	if (fail_countdown > 0) {
		fail_countdown--;
		return false;
	}
	if (!fail_for_good)
		fail_countdown = -1;
	fail_happened = true;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t nr, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t nr, size_t n);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t nr, size_t n)
{
	return fails() ? NULL : __real_calloc(nr, n);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}
