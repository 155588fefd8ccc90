/*
 * Bytes that are appended at the end and consumed from the front. Space before the front is won back by moving, and only when the
 * end is reached, so that draining costs nothing. The length never passes the maximum that the buf was born with.
 */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	CAP_MIN = 256,
	LARGE = 65536, /* what comes whole, and so large, gets no room to grow */
};

void buf_init(struct buf *b, size_t max)
{
	ASSERT(max <= BUF_MAX);
	*b = (struct buf){.max_ = (uint32_t)max};
}

void buf_clear(struct buf *b)
{
	free(b->p_);
	buf_init(b, b->max_);
}

void buf_wipe(struct buf *b)
{
	mem_wipe(b->p_, b->cap_);
	buf_clear(b);
}

static uint32_t cap_for(const struct buf *b, uint32_t need)
{
	uint32_t cap = CAP_MIN, max = b->max_;

	if (b->p_ == NULL && need >= LARGE)
		return need;
	while (cap < need && cap <= max / 2)
		cap *= 2;
	return cap < need || cap > max ? max : cap;
}

char *buf_grow_reserve_(struct buf *b, size_t n)
{
	if (n > buf_room(b))
		return NULL;
	uint32_t need = b->len_ + (uint32_t)n;

	if (b->off_ != 0 && (b->len_ == 0 || need > b->cap_ - b->off_)) {
		memmove(b->p_, b->p_ + b->off_, b->len_);
		b->off_ = 0;
	}
	if (need > b->cap_ || b->p_ == NULL) {
		b->cap_ = cap_for(b, need);
		b->p_ = mem_resize(b->p_, b->cap_);
	}
	return b->p_ + b->off_ + b->len_;
}

int buf_grow_add_(struct buf *b, const void *p, size_t n)
{
	char *to = buf_reserve(b, n);

	if (to == NULL)
		return -ERR_LIMIT;
	memcpy(to, p, n);
	buf_commit(b, n);
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	char small[512], *text = small;
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof small, fmt, ap);
	ASSERT(n >= 0);
	if ((size_t)n >= sizeof small) {
		/* not straight into the buf: vsnprintf wants a byte more than the maximum may leave */
		text = mem_alloc((size_t)n + 1);
		vsnprintf(text, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	va_end(ap);

	int err = buf_add(b, text, (size_t)n);
	if (text != small)
		free(text);
	return err;
}

void buf_drain(struct buf *b, size_t n)
{
	ASSERT(n <= b->len_);
	b->len_ -= (uint32_t)n;
	b->off_ = b->len_ ? b->off_ + (uint32_t)n : 0;
}

void buf_truncate(struct buf *b, size_t len)
{
	ASSERT(len <= b->len_);
	b->len_ = (uint32_t)len;
	if (len == 0)
		b->off_ = 0;
}

void buf_reset(struct buf *b)
{
	b->off_ = b->len_ = 0;
}

void buf_release_if_empty(struct buf *b)
{
	if (b->len_ == 0)
		buf_clear(b);
}
