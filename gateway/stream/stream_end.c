#include "stream/own.h"

/*
 * How streams end (RFC 6120 sections 4.4 and 4.9): the error, if there is one, the closing tag, and the wait for the peer's.
 */

void stream_finish(struct stream *s, enum close_reason r)
{
	if (s->state == STREAM_CLOSED)
		return;
	stream_enter(s, STREAM_CLOSED);
	s->reason = r;
	s->asked = false;
	s->unfinished = 0;
	if (!s->feeding)
		xml_parser_reset(s->parser);
	s->ops->closed(s->arg, r, s->detail);
}

/* During a handshake nothing of ours may be sent; an initiating stream without a header has nobody to tell; a plain end needs no new
 * header. */
static bool can_speak(const struct stream *s, bool error)
{
	if (s->state == STREAM_TLS)
		return false;
	return s->header_sent || (error && stream_accepting(s));
}

void stream_end(struct stream *s, enum close_reason r, const struct framing_error *e)
{
	bool error = e->condition[0] != '\0';

	if (s->state >= STREAM_CLOSING)
		return;
	if (!can_speak(s, error)) {
		stream_finish(s, r);
		return;
	}
	if (!s->header_sent) {
		if (s->id == NULL)
			stream_in_new_id(s);
		framing_send_header(s, s->local ? s->local : "", NULL);
	}
	if (error)
		framing_send_error(s, e);
	framing_send_footer(s);
	s->reason = r;
	s->asked = false;
	stream_enter(s, STREAM_CLOSING);
	if (s->dead_xml)
		stream_finish(s, r);
}

void stream_close(struct stream *s, enum close_reason r)
{
	stream_end(s, r, &(struct framing_error){.condition = close_condition(r), .text = close_text(r)});
}

void stream_give_up(struct stream *s, enum close_reason r)
{
	s->dead_xml = true;
	if (s->state == STREAM_CLOSING)
		stream_finish(s, s->reason);
	else
		stream_close(s, r);
}

enum gate_result stream_refuse(struct stream *s, enum close_reason r)
{
	stream_close(s, r);
	return GATE_CLOSE;
}

void stream_close_with(struct stream *s, const char *condition, const char *text)
{
	struct framing_error e = {.condition = condition ? close_stream_condition(condition) : "", .text = text};

	stream_end(s, CLOSE_SERVICE_CLOSED, &e);
}

/* RFC 6120 4.9.3.19: never in the clear, where anybody could send the client anywhere. */
void stream_close_see_other_host(struct stream *s, const char *host)
{
	if (s->secure)
		stream_end(s, CLOSE_MOVED, &(struct framing_error){.condition = close_condition(CLOSE_MOVED), .content = host});
	else
		stream_close(s, CLOSE_SHUTDOWN);
}

void stream_lost(struct stream *s, enum close_reason r)
{
	stream_finish(s, s->state == STREAM_CLOSING ? s->reason : r);
}
