/* Raw bytes by position. Nothing is copied of what begins and ends in one input. */
#include "xml/window.h"

/* The buffer is not kept for the next element when larger. */
#define KEPT_MAX ((size_t)16 << 10)

void xml_window_init(struct xml_window *w)
{
	*w = (struct xml_window){.in = SLICE_NONE};
	buf_init(&w->pending, BUF_MAX);
}

void xml_window_clear(struct xml_window *w)
{
	buf_clear(&w->pending);
}

static void keep(struct xml_window *w, int64_t from, int64_t end)
{
	int err = buf_add(&w->pending, w->in.p + (from - w->origin), (size_t)(end - from));
	ASSERT(err == 0);
}

struct slice xml_window_bytes(struct xml_window *w, int64_t at, int64_t end)
{
	if (at >= w->origin)
		return (struct slice){w->in.p + (at - w->origin), (size_t)(end - at)};
	int64_t have = w->pending_at + (int64_t)buf_len(&w->pending);
	ASSERT(at >= w->pending_at && have >= w->origin);
	if (end > have)
		keep(w, have, end);
	return (struct slice){buf_slice(&w->pending).p + (at - w->pending_at), (size_t)(end - at)};
}

void xml_window_done(struct xml_window *w, int64_t end)
{
	size_t n = buf_len(&w->pending);
	if (n == 0 || end <= w->pending_at)
		return;
	if (w->pending_at + (int64_t)n > end) {
		buf_drain(&w->pending, (size_t)(end - w->pending_at));
		w->pending_at = end;
	} else if (n > KEPT_MAX) {
		buf_clear(&w->pending);
	} else {
		buf_reset(&w->pending);
	}
}

void xml_window_save(struct xml_window *w, int64_t from, int64_t end)
{
	xml_window_done(w, from);
	if (from < w->origin)
		from = w->origin;
	if (buf_len(&w->pending) == 0)
		w->pending_at = from;
	if (end > from)
		keep(w, from, end);
}
