#include "stream/own.h"

/*
 * Bidirectional server streams (XEP-0288): one connection, stanzas both ways. Agreed behind TLS and before anybody is authenticated, by the
 * initiating side; what it changes is which rows of the gate hold for that side, and what an answered dialback question proves to it
 * (feat_dialback.c). Who may say what is a matter of pairs, as on any server stream.
 */

/* XEP-0288 2.1 would have it before TLS, too; where it must not be used, it need not be shown. */
static void offer(struct stream *s, struct xml_writer *w)
{
	if (s->role != STREAM_S2S_IN || s->state != STREAM_WAIT_SASL || !s->may_bidi)
		return;
	xml_start(w, "bidi");
	xml_attr_str(w, "xmlns", NS_BIDI_FEATURE);
	xml_end(w, "bidi");
}

/* Only asks; the next step is another feature's. What we take comes with it, since no features of ours do (XEP-0478 3.2). */
static bool consume(struct stream *s, const struct xml_node *features)
{
	struct xml_writer w;
	struct buf out;

	if (!s->may_bidi || !s->secure || s->bidi || xml_node_child(features, NS_BIDI_FEATURE, "bidi") == NULL)
		return false;
	s->bidi = true;
	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "bidi");
	xml_attr_str(&w, "xmlns", NS_BIDI);
	limits_write(s, &w, false);
	xml_end(&w, "bidi");
	stream_send_buf(s, &out, &w);
	return false;
}

const struct feature feature_bidi = {.offer = offer, .consume = consume};

enum gate_result bidi_enable(struct stream *s, const struct xml_element *e)
{
	struct xml_tree *t;

	if (!s->may_bidi)
		return stream_refuse(s, CLOSE_UNSUPPORTED_STANZA);
	t = stream_tree(s, e);
	if (t == NULL)
		return stream_refuse(s, CLOSE_POLICY);
	s->bidi = true;
	limits_read(s, xml_tree_root(t));
	xml_tree_free(t);
	return GATE_NEXT;
}

/* We need the stream no more and said so; what the peer had sent before it heard that still counts. With stream management it is not
 * acknowledged any more, so that the peer will see to it again. */
bool bidi_takes_last(const struct stream *s)
{
	return s->bidi && (s->reason == CLOSE_DONE || s->reason == CLOSE_LEAVING) && !stream_managed(s);
}

enum gate_result bidi_last(struct stream *s, const struct xml_element *e)
{
	return bidi_takes_last(s) ? stream_take_stanza(s, e) : stream_ignore(s, e);
}

bool stream_bidi(const struct stream *s)
{
	return s->bidi;
}

/* What authenticated us to the peer stands for the peer as well: it is the server that was found for that domain (XEP-0288 2.2). */
bool bidi_pair(struct stream *s, const char *from, const char *to)
{
	return !s->bidi || pairs_put(&s->pairs, to, from, PAIR_OK) == 0;
}
