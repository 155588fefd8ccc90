#ifndef AMBROSIA_BENCH_SCAN_H
#define AMBROSIA_BENCH_SCAN_H

#include "common/obj.h"
#include "common/slice.h"

/* Where the elements of a stream begin and end, in what a server under test sends: well-formed XML without CDATA or comments. Not for
 * hostile input. */
struct scan {
	size_t at, begin;   /* next byte to look at; where the element began */
	unsigned depth;     /* open elements, the stream among them */
	char quote;
	bool in_tag, closing, odd;   /* odd: a declaration */
};

/* A new stream begins. */
void scan_reset(struct scan *s);
/* The next element of buf[0..n), which must still hold what was looked at before: 1 and the element; 0: more bytes are needed; -1: the
 * stream was closed. A stream's own start tag counts as an element. */
int scan_next(struct scan *s, const char *buf, size_t n, struct slice *element);
/* The first `n` bytes of the buffer were removed. */
void scan_consumed(struct scan *s, size_t n);

/* What stands between `before` and the next `after`; an empty slice with p NULL where it doesn't. */
struct slice scan_between(struct slice in, const char *before, const char *after);
bool scan_has(struct slice in, const char *text);
bool scan_begins(struct slice in, const char *text);

#endif
