/* A received stanza from its bytes to its handler, and the two ways in which one is passed on unchanged. */
#include "services/im/core.h"

#include "common/log.h"
#include "xml/restrict.h"

struct xml_node *stanza_root(struct stanza *st)
{
	if (!st->tree_)
		st->tree_ = xml_tree_parse(st->xml, &im_xml_limits, NULL, 0);
	return st->tree_ ? xml_tree_root(st->tree_) : NULL;
}

struct slice stanza_to(const struct xml_element *e, const struct jid *from)
{
	struct slice to = xml_attr_get(&e->head, "to");
	return to.n ? to : from->bare;
}

void route_handle(struct stanza *st)
{
	switch (st->kind) {
	case STANZA_MESSAGE:
		message_handle(st);
		break;
	case STANZA_PRESENCE:
		presence_handle(st);
		break;
	case STANZA_IQ:
		iq_handle(st);
		break;
	case STANZA_NONE:
		break;
	}
}

static const char *send_condition(int err, const char *gone)
{
	if (err == SVCPROTO_E_INVALID)
		return "not-acceptable"; /* larger than the gateway takes */
	return err == SVCPROTO_E_FULL ? "resource-constraint" : gone;
}

void route_remote(struct stanza *st)
{
	if (!st->session && !im_is_local(st->im, st->to.domain)) /* we are no relay between others */
		return;
	int err = send_remote(st->im, st->from, &st->to, st->xml, st->work);
	if (err < 0)
		error_reply(st, send_condition(err, "remote-server-not-found"));
	else
		work_keep(st->work, IM_PASSING, NULL, st->xml);
}

void route_session(struct stanza *st, struct im_session *s)
{
	int err = STAILQ_EMPTY(&s->queue) ? send_session(s, st->xml, st->work) : SVCPROTO_E_FULL;
	if (err == SVCPROTO_E_FULL && (slice_is(st->type, "result") || slice_is(st->type, "error")))
		send_state(s, st->xml, st->work); /* somebody waits for it, and nobody could be told that it was lost */
	else if (err < 0)
		error_reply(st, send_condition(err, "service-unavailable"));
	else
		work_keep(st->work, IM_PASSING, NULL, st->xml);
}

struct arrival {
	struct im *im;
	struct im_session *session;
	struct im_work *work;
	struct slice xml;
	bool taken;          /* by another instance first, or here: it has its id */
	bool stored;
	int64_t at_s;
};

static void handle_from(struct arrival *a, const struct xml_element *e, const struct jid *from)
{
	struct stanza st = {.im = a->im, .session = a->session, .e = e, .xml = a->xml, .from = from, .work = a->work,
			    .stored = a->stored, .at_s = a->at_s};
	st.kind = stanza_kind(e, NS_CLIENT);
	st.type = xml_attr_get(&e->head, "type");
	struct slice to = a->session ? xml_attr_get(&e->head, "to") : stanza_to(e, from);
	if (to.n && jid_parse(&st.to, to) < 0) {
		jid_init(&st.to);
		error_reply(&st, "jid-malformed");
		return;
	}
	if (a->taken)
		a->im->taken = st.to.bare;
	/* The instance that a pair of servers falls to need not be the user's. */
	if (!a->taken && !sid_stamp(&st))
		error_reply(&st, "not-acceptable");
	else if (!st.session && !im_is_here(st.im, &st.to))
		route_remote(&st);
	else
		route_handle(&st);
	a->im->taken = SLICE_NONE;
	xml_tree_free(st.tree_);
	jid_clear(&st.to);
}

static void arrived(void *arg, const struct xml_element *e)
{
	struct arrival *a = arg;
	struct jid from;
	if (a->session) {
		handle_from(a, e, &a->session->jid);
	} else if (jid_parse(&from, xml_attr_get(&e->head, "from")) == 0) {
		handle_from(a, e, &from);
		jid_clear(&from);
	}
}

/* White space around it is none of it, and would hide from what adds a child where it begins and ends. */
static struct slice trim(struct slice xml)
{
	size_t before = xml_space_prefix(xml);
	xml = (struct slice){xml.p + before, xml.n - before};
	while (xml.n && xml_is_space((struct slice){xml.p + xml.n - 1, 1}))
		xml.n--;
	return xml;
}

void im_stanza(struct im *im, struct im_session *s, const struct svcproto_stanza *stanza)
{
	if (s && !s->user) /* being closed: what is not handled is not acknowledged */
		return;
	struct arrival a = {.im = im, .session = s, .work = work_new(im, &stanza->ticket),
			    .xml = trim((struct slice){stanza->xml, stanza->length}), .taken = stanza->peer, .at_s = im->wall_s};
	if (stanza_parse(a.xml, &im_xml_limits, arrived, &a) < 0)
		log_warn("im", 0, "bad-stanza", "bytes=%zu", stanza->length);
	work_release(a.work);
}

static void take(struct im *im, struct slice xml, struct im_work *w, bool stored, int64_t at_s)
{
	struct arrival a = {.im = im, .work = w ? w : work_new(im, NULL), .xml = xml, .taken = true, .stored = stored, .at_s = at_s};
	if (w)
		work_unkeep(w); /* it was kept for the other instance; the handler keeps it for the next hop here */
	if (stanza_parse(xml, &im_xml_limits, arrived, &a) < 0)
		log_warn("im", 0, "bad-stanza", "bytes=%zu", xml.n);
	if (!w)
		work_release(a.work);
}

void route_taken(struct im *im, struct slice xml, struct im_work *w)
{
	take(im, xml, w, false, im->wall_s);
}

void route_stored(struct im *im, struct slice xml, int64_t at_s, struct im_work *w)
{
	take(im, xml, w, true, at_s);
}
