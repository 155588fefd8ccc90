#include "stream/own.h"

/*
 * What is held of a stanza that has begun and not ended, and how long it may stand still. Progress is told by bytes, so that one byte a
 * second is none. While the stream is not read, the peer cannot help it: no time runs.
 */

void unfinished_fed(struct stream *s, size_t n)
{
	size_t held = s->state == STREAM_CLOSED ? 0 : xml_parser_unfinished(s->parser);

	s->step_bytes += (uint32_t)n;
	s->moved = held > 0 && (s->unfinished == 0 || s->nr_fed > 0 || s->step_bytes >= STREAM_STEP_BYTES);
	s->unfinished = (uint32_t)held; /* the stanza's limit and expat's are far below */
	if (!s->moved)
		return;
	s->step_bytes = 0;
	s->moved_at_ms = s->now_ms;
}

uint64_t unfinished_tick(struct stream *s, uint64_t now_ms)
{
	if (s->unfinished == 0 || s->limits->unfinished_ms == 0)
		return UINT64_MAX;
	if (!stream_wants_input(s)) {
		s->moved_at_ms = UINT64_MAX;
		return UINT64_MAX;
	}
	if (s->moved_at_ms == UINT64_MAX)
		s->moved_at_ms = now_ms;
	if (now_ms < s->moved_at_ms + s->limits->unfinished_ms)
		return s->moved_at_ms + s->limits->unfinished_ms;
	stream_give_up(s, CLOSE_TIMEOUT_STANZA);
	return UINT64_MAX;
}

size_t stream_unfinished(const struct stream *s, bool *moved)
{
	*moved = s->moved;
	return s->unfinished;
}
