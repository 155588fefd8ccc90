/* IQs by RFC 6120 section 8.2.3 and RFC 6121 section 8.5: to a client of ours, or to the server, or to an account that the server answers
 * for. */
#include "services/im/core.h"

enum { SERVER = 1, OWN = 2, OTHER = 4 }; /* whom it is addressed to: the domain, the sender's account, somebody else's */

static void session_established(struct stanza *st, struct xml_node *session)
{
	(void)session;
	iq_result_empty(st); /* RFC 3921 section 3: nothing left to do, but older clients wait for it */
}

static const struct handler {
	unsigned targets;
	const char *type, *ns, *name;
	void (*fn)(struct stanza *st, struct xml_node *payload);
} handlers[] = {
	{OWN, "get", "jabber:iq:roster", "query", roster_get},
	{OWN, "set", "jabber:iq:roster", "query", roster_set},
	{SERVER, "get", "http://jabber.org/protocol/disco#info", "query", disco_info_server},
	{SERVER, "get", "http://jabber.org/protocol/disco#items", "query", disco_items_server},
	{OWN | OTHER, "get", "http://jabber.org/protocol/disco#info", "query", disco_info_account},
	{OWN | OTHER, "get", "http://jabber.org/protocol/disco#items", "query", disco_items_account},
	{SERVER | OWN, "get", "urn:xmpp:ping", "ping", ping_answer},
	{SERVER | OWN, "set", NS_SESSION, "session", session_established},
};

void iq_result_start(struct stanza *st, struct xml_writer *w, struct buf *out)
{
	buf_init(out, IM_STANZA_MAX);
	xml_writer_init(w, out);
	xml_start(w, "iq");
	xml_attr_str(w, "xmlns", NS_CLIENT);
	xml_attr_str(w, "type", "result");
	xml_attr(w, "id", xml_attr_get(&st->e->head, "id"));
	if (!jid_empty(&st->to))
		xml_attr(w, "from", st->to.full);
	xml_attr(w, "to", st->from->full);
}

void iq_result_end(struct stanza *st, struct xml_writer *w)
{
	xml_end(w, "iq");
	if (xml_writer_done(w) == 0)
		send_answer(st->im, &st->to, st->from, buf_slice(w->out), st->work);
	else
		error_reply(st, "internal-server-error");
	buf_clear(w->out);
}

void iq_result_empty(struct stanza *st)
{
	struct xml_writer w;
	struct buf out;
	iq_result_start(st, &w, &out);
	iq_result_end(st, &w);
}

static unsigned target(const struct stanza *st)
{
	if (jid_empty(&st->to))
		return OWN;
	if (slice_empty(st->to.local))
		return SERVER;
	return st->session && slice_eq(st->to.bare, st->session->user->jid.bare) ? OWN : OTHER;
}

static void answer(struct stanza *st)
{
	struct xml_node *root = stanza_root(st), *payload = root ? root->child : NULL;
	unsigned to = target(st);
	if (!payload) {
		error_reply(st, "bad-request");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
		const struct handler *h = &handlers[i];
		if ((h->targets & to) && slice_is(st->type, h->type) && xml_node_is(payload, h->ns, h->name)) {
			h->fn(st, payload);
			return;
		}
	}
	error_reply(st, "service-unavailable");
}

void iq_handle(struct stanza *st)
{
	struct im_session *s;
	if (!jid_empty(&st->to) && !im_is_here(st->im, &st->to))
		route_remote(st);
	else if ((s = im_session_find(st->im, &st->to)))
		route_session(st, s);
	else if (!slice_empty(st->to.resource))
		error_reply(st, "service-unavailable");
	else if (slice_is(st->type, "get") || slice_is(st->type, "set"))
		answer(st); /* results and errors were for us: to pushes, and nobody waits for them */
}
