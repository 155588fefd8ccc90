#include "stream/own.h"

#include <stdlib.h>

/*
 * Resource binding (RFC 6120 section 7): asked by the client, answered by the owner. The legacy <session/> is not offered: clients that
 * know it only ask when it is, and after bind every iq belongs to the service. So does a second bind: it is an ordinary stanza then, and
 * keeps its place in the count.
 */

#define REFUSALS_MAX 10   /* 7.7.2.2 wants 5 to 10 attempts */

static void offer(struct stream *s, struct xml_writer *w)
{
	if (s->state != STREAM_WAIT_BIND)
		return;
	xml_start(w, "bind");
	xml_attr_str(w, "xmlns", NS_BIND);
	xml_start(w, "required");
	xml_end(w, "required");
	xml_end(w, "bind");
}

const struct feature feature_bind = {.offer = offer};

enum gate_result stream_count_refusal(struct stream *s)
{
	if (++s->nr_refusals >= REFUSALS_MAX)
		return stream_refuse(s, CLOSE_POLICY);
	return GATE_NEXT;
}

static enum gate_result refuse(struct stream *s, const char *type, const char *condition, const char *text)
{
	struct xml_writer w;
	struct buf out;

	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "iq");
	xml_attr_str(&w, "type", "error");
	xml_attr_str(&w, "id", s->bind_id);
	xml_start(&w, "error");
	xml_attr_str(&w, "type", type);
	xml_start(&w, condition);
	xml_attr_str(&w, "xmlns", NS_STANZA_ERRORS);
	xml_end(&w, condition);
	framing_write_text(&w, NS_STANZA_ERRORS, text);
	xml_end(&w, "error");
	xml_end(&w, "iq");
	stream_send_buf(s, &out, &w);
	stream_set(&s->bind_id, NULL);
	return stream_count_refusal(s);
}

static enum gate_result ask(struct stream *s, struct slice resource)
{
	s->asked = true;
	s->ops->bind(s->arg, resource);
	return GATE_WAIT;
}

static enum gate_result take(struct stream *s, const struct xml_node *iq)
{
	const struct xml_node *bind = xml_node_child(iq, NS_BIND, "bind");
	const char *type = xml_node_attr(iq, "type"), *id = xml_node_attr(iq, "id");
	const struct xml_node *resource;
	enum gate_result r;
	char *prepared;

	/* 7.1: whatever else comes before the resource is bound ends the stream. */
	if (bind == NULL)
		return stream_refuse(s, CLOSE_NOT_AUTHORIZED);
	stream_set(&s->bind_id, mem_strdup(id));
	if (type == NULL || strcmp(type, "set") != 0 || id == NULL || id[0] == '\0' || iq->child->next != NULL)
		return refuse(s, "modify", "bad-request", NULL);
	resource = xml_node_child(bind, NS_BIND, "resource");
	if (resource == NULL || resource->text_n == 0)
		return ask(s, (struct slice){"", 0});
	prepared = jid_prep_resource((struct slice){resource->text, resource->text_n});
	if (prepared == NULL)
		return refuse(s, "modify", "bad-request", "not a resource (RFC 6122)");
	r = ask(s, slice_str(prepared));
	free(prepared);
	return r;
}

enum gate_result bind_iq(struct stream *s, const struct xml_element *e)
{
	struct xml_tree *t = stream_tree(s, e);
	enum gate_result r;

	if (t == NULL)
		return stream_refuse(s, CLOSE_POLICY);
	r = take(s, xml_tree_root(t));
	xml_tree_free(t);
	return r;
}

/* Promise 6: a session of another account would be stamped with its name from now on. */
bool bind_take_jid(struct stream *s, const char *full_jid)
{
	struct jid jid;
	bool ours = jid_parse(&jid, slice_str(full_jid)) == 0;

	if (!ours || !slice_eq(jid.bare, s->jid.bare) || slice_empty(jid.resource)) {
		if (ours)
			jid_clear(&jid);
		stream_close(s, CLOSE_INTERNAL);
		return false;
	}
	jid_clear(&s->jid);
	s->jid = jid;
	return true;
}

void stream_bound(struct stream *s, const char *full_jid)
{
	struct xml_writer w;
	struct buf out;

	if (s->state != STREAM_WAIT_BIND || !s->asked)
		return;
	s->asked = false;
	if (!bind_take_jid(s, full_jid))
		return;
	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "iq");
	xml_attr_str(&w, "type", "result");
	xml_attr_str(&w, "id", s->bind_id);
	xml_start(&w, "bind");
	xml_attr_str(&w, "xmlns", NS_BIND);
	xml_start(&w, "jid");
	xml_text(&w, s->jid.full);
	xml_end(&w, "jid");
	xml_end(&w, "bind");
	xml_end(&w, "iq");
	stream_send_buf(s, &out, &w);
	stream_set(&s->bind_id, NULL);
	stream_establish(s);
}

void stream_bind_refused(struct stream *s, const char *type, const char *condition, const char *text)
{
	static const char *const types[] = {"auth", "cancel", "continue", "modify", "wait"};
	const char *known = "cancel";

	if (s->state != STREAM_WAIT_BIND || !s->asked)
		return;
	s->asked = false;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (type != NULL && strcmp(type, types[i]) == 0)
			known = types[i];
	}
	(void)refuse(s, known, close_stanza_condition(condition), text);
}
