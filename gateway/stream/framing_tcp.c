#include "stream/own.h"

#include <stdio.h>

/*
 * Streams over TCP (RFC 6120 section 4): the bytes of stream headers, stream errors and closing tags, and what makes a header one of ours.
 * Says nothing about addresses and states.
 */

void framing_send_header(struct stream *s, const char *from, const char *to)
{
	struct xml_writer w;
	struct buf out;

	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_raw(&w, SLICE("<?xml version='1.0'?>"));
	xml_start(&w, "stream:stream");
	xml_attr_str(&w, "xmlns", stream_content_ns(s));
	xml_attr_str(&w, "xmlns:stream", NS_STREAMS);
	/* Accepting, also where no dialback is done: ejabberd 23.01 does not see an answer whose prefix the header did not declare. */
	s->dialback_declared = s->role == STREAM_S2S_IN || dialback_allowed(s, s->local);
	if (s->dialback_declared)
		xml_attr_str(&w, "xmlns:db", NS_DIALBACK);
	if (stream_accepting(s))
		xml_attr_str(&w, "id", s->id);
	xml_attr_str(&w, "from", from);
	xml_attr_str(&w, "to", to);
	xml_attr_str(&w, "version", "1.0");
	xml_attr_str(&w, "xml:lang", "en");
	xml_leave_open(&w);
	s->header_sent = true;
	stream_send_buf(s, &out, &w);
}

void framing_write_text(struct xml_writer *w, const char *ns, const char *text)
{
	struct slice t = slice_str(text);

	if (slice_empty(t) || t.n > STREAM_TEXT_MAX)
		return;
	xml_start(w, "text");
	xml_attr_str(w, "xmlns", ns);
	xml_attr_str(w, "xml:lang", "en");
	xml_text(w, t);
	xml_end(w, "text");
}

void framing_send_error(struct stream *s, const struct framing_error *e)
{
	struct xml_writer w;
	struct buf out;

	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "stream:error");
	xml_start(&w, e->condition);
	xml_attr_str(&w, "xmlns", NS_STREAM_ERRORS);
	xml_text(&w, slice_str(e->content));
	xml_end(&w, e->condition);
	framing_write_text(&w, NS_STREAM_ERRORS, e->text);
	xml_raw(&w, e->own);
	xml_end(&w, "stream:error");
	stream_send_buf(s, &out, &w);
}

void framing_send_footer(struct stream *s)
{
	s->ops->send(s->arg, SLICE("</stream:stream>"));
}

/* RFC 6120 4.7.5: "major.minor", numbers, leading zeros ignored; absent means 0.0. Higher versions than ours are answered with ours. */
static bool version_is_1(struct slice v)
{
	size_t i = 0;
	bool some = false;

	for (; i < v.n && v.p[i] >= '0' && v.p[i] <= '9'; i++)
		some = some || v.p[i] != '0';
	if (!some || i + 1 >= v.n || v.p[i] != '.')
		return false;
	for (i++; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return false;
	}
	return true;
}

enum close_reason framing_check_header(const struct xml_head *h, struct slice default_ns, const char *content_ns)
{
	if (!slice_is(h->ns, NS_STREAMS))
		return CLOSE_INVALID_NAMESPACE;
	if (!slice_is(h->name, "stream"))
		return CLOSE_BAD_FORMAT;
	/* 4.8.5: other prefixes, or none, are allowed by the letter and understood by few: refused, as the RFC foresees. */
	if (!slice_is(h->prefix, "stream"))
		return CLOSE_BAD_PREFIX;
	if (!slice_is(default_ns, content_ns))
		return CLOSE_INVALID_NAMESPACE;
	if (!version_is_1(xml_attr_get(h, "version")))
		return CLOSE_UNSUPPORTED_VERSION;
	return CLOSE_MAX_;
}
