#ifndef AMBROSIA_COMMON_BUF_H
#define AMBROSIA_COMMON_BUF_H

#include "common/err.h"
#include "common/obj.h"

/* Owned bytes with a hard maximum, consumed from the front. An empty buf holds no memory after buf_release_if_empty(). */
struct buf {
	char *p_;
	uint32_t off_, len_, cap_, max_; /* there are two for each connection */
};

#define BUF_MAX UINT32_MAX
void buf_init(struct buf *b, size_t max);                 /* at most BUF_MAX; allocates nothing */
void buf_clear(struct buf *b);                            /* frees the memory, keeps the maximum */
void buf_wipe(struct buf *b);                             /* overwrites, then clears: for secrets */
MUST_CHECK int buf_grow_add_(struct buf *b, const void *p, size_t n);
char *buf_grow_reserve_(struct buf *b, size_t n);
MUST_CHECK int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_drain(struct buf *b, size_t n);                  /* drop n bytes from the front */
void buf_truncate(struct buf *b, size_t len);             /* keep the first len bytes */
void buf_reset(struct buf *b);                            /* length 0, memory kept */
void buf_release_if_empty(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->len_;
}

/* Bytes until the maximum. */
static inline size_t buf_room(const struct buf *b)
{
	return b->max_ - b->len_;
}

/* Borrowed until the next change. */
static inline struct slice buf_slice(const struct buf *b)
{
	return b->len_ ? (struct slice){b->p_ + b->off_, b->len_} : SLICE_NONE;
}

/* n writable bytes at the end, or NULL past the maximum. What there is room for already, as for most of the pieces that a stanza is made
 * of, takes no call. */
static inline char *buf_reserve(struct buf *b, size_t n)
{
	if (b->p_ == NULL || n > b->cap_ - b->off_ - b->len_)
		return buf_grow_reserve_(b, n);
	return b->p_ + b->off_ + b->len_;
}

/* n of the reserved bytes were written. */
static inline void buf_commit(struct buf *b, size_t n)
{
	ASSERT(n <= b->cap_ - b->off_ - b->len_);
	b->len_ += (uint32_t)n;
}

/* All or nothing: 0 or -ERR_LIMIT. No call either where there is room. */
MUST_CHECK static inline int buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return 0;
	if (n > b->cap_ - b->off_ - b->len_)
		return buf_grow_add_(b, p, n);
	memcpy(b->p_ + b->off_ + b->len_, p, n);
	b->len_ += (uint32_t)n;
	return 0;
}

MUST_CHECK static inline int buf_add_slice(struct buf *b, struct slice s)
{
	return buf_add(b, s.p, s.n);
}

MUST_CHECK static inline int buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

#endif
