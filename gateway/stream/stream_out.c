#include "stream/own.h"

/*
 * The initiating side (S2S_OUT): our header, the peer's, its features, and the one next step that they allow. The peer's `from` is not
 * believed nor needed: who it is, its certificate or DNS says, and nothing but answers is taken from it.
 */

/* In the order that RFC 6120 wants: TLS, then the certificate, then dialback; bidirectionality before either of these. */
static const struct feature *const wanted[] = {&feature_tls, &feature_bidi, &feature_sasl, &feature_dialback};

void stream_out_begin(struct stream *s)
{
	if (s->secure && !s->sasl_done && s->ops->peer_acceptable != NULL && !s->ops->peer_acceptable(s->arg)) {
		stream_finish(s, CLOSE_NOT_AUTHORIZED);
		return;
	}
	framing_send_header(s, s->local, s->peer);
}

void stream_out_header(struct stream *s, const struct xml_head *h, struct slice default_ns)
{
	enum close_reason r = framing_check_header(h, default_ns, stream_content_ns(s));
	struct slice id = xml_attr_get(h, "id");

	if (r != CLOSE_MAX_) {
		stream_close(s, r);
		return;
	}
	/* Missing ids are found out when one is needed, so that an error behind a meagre header can be told. */
	stream_set(&s->id, id.n > 0 ? mem_slicedup(id) : NULL);
	stream_enter(s, STREAM_WAIT_FEATURES);
}

/* Dialback's old announcement: its namespace is declared in the stream header (XEP-0220 2.3.1). */
static bool declares_dialback(const struct xml_element *e)
{
	for (size_t i = 0; i < e->nr_decls; i++) {
		if (slice_is(e->decls[i].uri, NS_DIALBACK))
			return true;
	}
	return false;
}

enum gate_result stream_out_features(struct stream *s, const struct xml_element *e)
{
	struct xml_tree *t = stream_tree(s, e);
	bool taken = false;

	if (t == NULL)
		return stream_refuse(s, CLOSE_POLICY);
	(void)feature_limits.consume(s, xml_tree_root(t));
	s->dialback_feature = xml_node_child(xml_tree_root(t), NS_DIALBACK_FEATURE, "dialback") != NULL;
	s->dialback_offered = s->dialback_feature || declares_dialback(e);
	if (s->secure && (s->sasl_done || s->verify_only)) {
		(void)feature_sm.consume(s, xml_tree_root(t));
		xml_tree_free(t);
		if (s->sasl_done)
			stream_pair_taken(s);
		stream_establish(s);
		return GATE_NEXT;
	}
	for (size_t i = 0; i < ARRAY_LEN(wanted) && !taken; i++)
		taken = wanted[i]->consume(s, xml_tree_root(t));
	xml_tree_free(t);
	return taken ? GATE_NEXT : stream_refuse(s, CLOSE_UNSUPPORTED_FEATURE);
}
