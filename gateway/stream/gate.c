#include "stream/gate.h"

#include "stream/own.h"
#include "xml/head.h"

/* The gate: every element is looked up in the table (gate_table.c), and what has no row ends the stream. */

/* The default. Before authentication all is "not authorized" (RFC 6120 4.9.3.12); after it, stanzas still are where none may come. */
static enum close_reason refusal(const struct stream *s, const struct xml_element *e)
{
	if (stanza_kind(e, stream_content_ns(s)) != STANZA_NONE)
		return CLOSE_NOT_AUTHORIZED;
	return stream_accepting(s) && !s->authed ? CLOSE_NOT_AUTHORIZED : CLOSE_UNSUPPORTED_STANZA;
}

enum gate_result gate_pass(struct stream *s, const struct xml_element *e)
{
	const struct gate_rule *r;

	/* RFC 6120 4.8.5: nobody writes prefixes for the content namespace. */
	if (s->state != STREAM_CLOSING && !slice_empty(e->head.prefix) && slice_is(e->head.ns, stream_content_ns(s)))
		return stream_refuse(s, CLOSE_BAD_PREFIX);
	r = gate_find(s, e);
	if (r == NULL)
		return stream_refuse(s, refusal(s, e));
	return r->fn(s, e);
}
