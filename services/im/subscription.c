/*
 * Subscriptions by RFC 6121 section 3: the user's side of what a client sends, the contact's side of what arrives, the same for contacts of
 * ours and of other servers. States are in the store before anybody hears of them; so are our stanzas to other servers.
 */
#include "services/im/core.h"

#include <stdlib.h>

#include "services/im/subscription_table.h"

enum { REQUEST_MAX = 4096 }; /* of a stored request; a longer one is kept without what it says */

/* What the roster shows of a state. */
static unsigned visible(unsigned state)
{
	return state & (SUB_TO | SUB_FROM | SUB_PENDING_OUT);
}

static void contact_new(struct contact *c, const struct jid *jid)
{
	*c = (struct contact){.jid = mem_slicedup(jid->bare)};
}

/* Writes the new state, and pushes what the user sees of it. */
static void contact_change(struct im *im, int64_t user, struct im_user *u, struct contact *c, unsigned next, bool listed, struct im_work *w)
{
	bool shown = listed && (visible(next) != visible(c->state) || !c->listed);
	if (next == c->state && listed == c->listed)
		return;
	c->state = next;
	c->listed = listed;
	if (!(next & SUB_PENDING_IN)) {
		free(c->request);
		c->request = NULL;
		c->request_n = 0;
	}
	if (!listed && next == 0)
		store_contact_del(im->store, user, slice_str(c->jid));
	else
		store_contact_put(im->store, user, c);
	if (u && shown)
		roster_push(im, u, c, false, w);
}

static void receive(struct im *im, const struct jid *from, const struct jid *to, enum sub_type type, struct slice xml, struct im_work *w);

/* False: as passing_send. */
static bool route(struct im *im, const struct jid *from, const struct jid *to, enum sub_type type, struct slice xml, struct im_work *w)
{
	if (!im_is_here(im, to))
		return passing_send(im, from, to, xml);
	receive(im, from, to, type, xml, w);
	return true;
}

/* One that we make ourselves. */
static void route_new(struct im *im, const struct jid *from, const struct jid *to, enum sub_type type, struct im_work *w)
{
	struct buf out;
	buf_init(&out, 16384);
	if (presence_write(&out, sub_type_name(type), from->bare, to->bare) == 0)
		(void)route(im, from, to, type, buf_slice(&out), w);
	buf_clear(&out);
}

/* RFC 6121 sections 3.1.3, 3.1.6, 3.2.3, 3.3.3: requests to available sessions, answers to those that asked for the roster. */
static void deliver(struct im_user *u, enum sub_type type, struct slice xml, struct im_work *w)
{
	struct im_session *s;
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (type == SUB_SUBSCRIBE ? s->available : s->interested)
			send_state(s, xml, w);
	}
}

static void keep_request(struct contact *c, const struct jid *from, const struct jid *to, struct slice xml)
{
	struct buf plain;
	buf_init(&plain, 16384);
	if (xml.n > REQUEST_MAX && presence_write(&plain, "subscribe", from->bare, to->bare) == 0)
		xml = buf_slice(&plain);
	free(c->request);
	c->request = mem_slicedup(xml);
	c->request_n = xml.n;
	buf_clear(&plain);
}

/* The contact's side. xml has bare addresses. */
static void receive_for(struct im *im, int64_t id, const struct jid *from, const struct jid *to, enum sub_type type, struct slice xml,
			struct im_work *w)
{
	struct im_user *u = im_user_find(im, to->bare);
	struct contact c;
	if (!store_contact_get(im->store, id, from->bare, &c))
		contact_new(&c, from);
	struct sub_step step = sub_step(SUB_INBOUND, type, c.state);
	bool was_from = c.state & SUB_FROM;
	if (type == SUB_SUBSCRIBE && was_from)
		route_new(im, to, from, SUB_SUBSCRIBED, w); /* approved already: says so again (section 3.1.3) */
	bool room = step.next == 0 || c.state || c.listed || store_contact_count(im->store, id) < im->limits.contacts_max;
	if (step.pass && room) {
		if (type == SUB_SUBSCRIBE)
			keep_request(&c, from, to, xml);
		if (u && type == SUB_UNSUBSCRIBE && was_from)
			presence_tell(u, from, false, w);
		if (u)
			deliver(u, type, xml, w);
		contact_change(im, id, u, &c, step.next, c.listed, w);
	}
	contact_clear(&c);
}

static void receive(struct im *im, const struct jid *from, const struct jid *to, enum sub_type type, struct slice xml, struct im_work *w)
{
	int64_t id = store_user_find(im->store, to->bare);
	if (id) /* else: silently ignored (section 8.5.1) */
		receive_for(im, id, from, to, type, xml, w);
}

/* The stanza with bare addresses. */
static int write_bare(struct buf *out, const struct stanza *st)
{
	return stanza_write(out, st->e, NS_CLIENT, NS_CLIENT, st->from->bare, st->to.bare);
}

void subscription_inbound(struct stanza *st)
{
	struct buf out;
	enum sub_type type;
	buf_init(&out, IM_STANZA_MAX);
	if (sub_type_parse(st->type, &type) && write_bare(&out, st) == 0)
		receive(st->im, st->from, &st->to, type, buf_slice(&out), st->work);
	buf_clear(&out);
}

/* The user's side, with the contact at hand. */
static void send_for(struct stanza *st, struct contact *c, enum sub_type type, struct slice xml)
{
	struct im *im = st->im;
	struct im_user *u = st->session->user;
	struct sub_step step = sub_step(SUB_OUTBOUND, type, c->state);
	bool listed = c->listed || type == SUB_SUBSCRIBE || (type == SUB_SUBSCRIBED && step.pass);
	if (listed && !c->listed && c->state == 0 && store_contact_count(im->store, u->id) >= im->limits.contacts_max) {
		error_reply(st, "resource-constraint");
		return;
	}
	if (type == SUB_UNSUBSCRIBED && (c->state & SUB_FROM))
		presence_tell(u, &st->to, false, st->work);
	contact_change(im, u->id, u, c, step.next, listed, st->work);
	if (!step.pass)
		return;
	bool went = route(im, &u->jid, &st->to, type, xml, st->work);
	if (went && type == SUB_SUBSCRIBED)
		presence_tell(u, &st->to, true, st->work);
}

/* RFC 6121 section 3.1.5: presence follows `subscribed`. Before it, it would have gone to somebody who is not subscribed. */
void subscription_went(struct im *im, const struct jid *from, const struct jid *to, struct slice type)
{
	struct im_user *u = slice_is(type, "subscribed") ? im_user_find(im, from->bare) : NULL;
	if (u && (store_contact_state(im->store, u->id, to->bare) & SUB_FROM))
		presence_tell(u, to, true, NULL);
}

void subscription_outbound(struct stanza *st)
{
	struct contact c;
	struct jid bare;
	enum sub_type type;
	if (!sub_type_parse(st->type, &type) || slice_eq(st->to.bare, st->session->user->jid.bare))
		return; /* one's own presence needs no permission */
	if (jid_make(&bare, st->to.local, st->to.domain, SLICE_NONE) < 0)
		return;
	jid_clear(&st->to); /* whatever resource was written: the account is meant (section 3.1.2) */
	st->to = bare;
	struct buf out;
	buf_init(&out, IM_STANZA_MAX);
	if (!store_contact_get(st->im->store, st->session->user->id, st->to.bare, &c))
		contact_new(&c, &st->to);
	if (write_bare(&out, st) == 0)
		send_for(st, &c, type, buf_slice(&out));
	contact_clear(&c);
	buf_clear(&out);
}

void subscription_pending(struct im_session *s, struct im_work *w)
{
	struct contact_list l;
	store_contacts(s->im->store, s->user->id, SUB_PENDING_IN, &l);
	for (size_t i = 0; i < l.nr; i++) {
		if (l.v[i].request)
			send_state(s, (struct slice){l.v[i].request, l.v[i].request_n}, w);
	}
	contact_list_clear(&l);
}

void subscription_cancel(struct im *im, struct im_user *u, const struct contact *c, struct im_work *w)
{
	struct jid to;
	if (jid_parse(&to, slice_str(c->jid)) < 0)
		return;
	if (c->state & (SUB_TO | SUB_PENDING_OUT))
		route_new(im, &u->jid, &to, SUB_UNSUBSCRIBE, w);
	if (c->state & SUB_FROM)
		presence_tell(u, &to, false, w);
	if (c->state & (SUB_FROM | SUB_PENDING_IN))
		route_new(im, &u->jid, &to, SUB_UNSUBSCRIBED, w);
	jid_clear(&to);
}
