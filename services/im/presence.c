/*
 * Presence by RFC 6121 section 4: what a session says of itself goes to its subscribers, to the user's other sessions and back; new
 * sessions learn what the others said; a session that ends is unavailable to all who knew it. Subscriptions are subscription.c's.
 */
#include "services/im/core.h"

#include <stdlib.h>

#include "common/log.h"

struct fan {
	struct im_session *session;
	const struct xml_element *e;
	struct im_work *work;
	struct buf out;
};

/* A copy of the session's presence with a new `to`. */
static void copy_to(struct fan *f, const struct jid *to)
{
	buf_reset(&f->out);
	if (stanza_write(&f->out, f->e, NS_CLIENT, NS_CLIENT, SLICE_NONE, to->full) == 0)
		send_reply(f->session->im, &f->session->jid, to, buf_slice(&f->out), f->work);
}

/* Calls fn for a presence stanza that is at hand as bytes. */
static void with_presence(struct im_session *s, struct slice xml, struct im_work *w, void (*fn)(void *arg, const struct xml_element *e),
			  struct fan *f)
{
	*f = (struct fan){.session = s, .work = w};
	buf_init(&f->out, IM_STANZA_MAX);
	if (stanza_parse(xml, &im_xml_limits, fn, f) < 0)
		log_warn("im", 0, "bad-presence", "jid=%s", log_escape(s->jid.full));
	buf_clear(&f->out);
}

static void broadcast_element(void *arg, const struct xml_element *e)
{
	struct fan *f = arg;
	struct im_user *u = f->session->user;
	struct contact_list l;
	struct jid to;
	f->e = e;
	copy_to(f, &u->jid); /* the user's own sessions, this one too (RFC 6121 section 4.2.2) */
	store_contacts(f->session->im->store, u->id, SUB_FROM, &l);
	for (size_t i = 0; i < l.nr; i++) {
		if (jid_parse(&to, slice_str(l.v[i].jid)) < 0)
			continue;
		copy_to(f, &to);
		jid_clear(&to);
	}
	contact_list_clear(&l);
}

static void broadcast(struct im_session *s, struct slice xml, struct im_work *w)
{
	struct fan f;
	with_presence(s, xml, w, broadcast_element, &f);
}

struct tell_one {
	struct fan fan;
	const struct jid *to;
	struct im_session *only;  /* not to the address, but to this session of it */
};

static void tell_element(void *arg, const struct xml_element *e)
{
	struct tell_one *t = container_of((struct fan *)arg, struct tell_one, fan);
	t->fan.e = e;
	if (!t->only) {
		copy_to(&t->fan, t->to);
		return;
	}
	if (stanza_write(&t->fan.out, e, NS_CLIENT, NS_CLIENT, SLICE_NONE, t->to->full) == 0)
		send_state(t->only, buf_slice(&t->fan.out), t->fan.work);
}

static void tell(struct im_session *s, const struct jid *to, struct im_session *only, struct im_work *w)
{
	struct tell_one t = {.to = to, .only = only};
	with_presence(s, (struct slice){s->presence, s->presence_n}, w, tell_element, &t.fan);
}

/* What we say ourselves: type, from, to, no children. */
int presence_write(struct buf *out, const char *type, struct slice from, struct slice to)
{
	struct xml_writer w;
	xml_writer_init(&w, out);
	xml_start(&w, "presence");
	xml_attr_str(&w, "xmlns", NS_CLIENT);
	xml_attr_str(&w, "type", type);
	xml_attr(&w, "from", from);
	xml_attr(&w, "to", to);
	xml_end(&w, "presence");
	return xml_writer_done(&w);
}

static void send_plain(struct im *im, const char *type, const struct jid *from, const struct jid *to, struct im_work *w)
{
	struct buf out;
	buf_init(&out, 16384);
	if (presence_write(&out, type, from->full, to->full) == 0)
		send_reply(im, from, to, buf_slice(&out), w);
	buf_clear(&out);
}

void presence_tell(struct im_user *u, const struct jid *to, bool available, struct im_work *w)
{
	struct im_session *s;
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (s->available && available)
			tell(s, to, NULL, w);
		else if (s->available)
			send_plain(s->im, "unavailable", &s->jid, to, w);
	}
}

void presence_inbound(struct im *im, const struct jid *to, struct slice xml, struct im_work *w)
{
	struct im_user *u = im_user_find(im, to->bare);
	struct im_session *s;
	if (!u)
		return;
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (slice_empty(to->resource) ? s->available : slice_eq(s->jid.resource, to->resource))
			send_state(s, xml, w);
	}
}

static void presence_refuse(struct stanza *st)
{
	struct buf out;
	buf_init(&out, 16384);
	if (presence_write(&out, "unsubscribed", st->to.bare, st->from->bare) == 0)
		send_reply(st->im, &st->to, st->from, buf_slice(&out), st->work);
	buf_clear(&out);
}

/* RFC 6121 section 4.3.2. A user who does not exist looks like one who has not approved. */
static void probed(struct stanza *st)
{
	struct im *im = st->im;
	int64_t id = store_user_find(im->store, st->to.bare);
	bool own = slice_eq(st->to.bare, st->from->bare);
	if (!id || !(own || (store_contact_state(im->store, id, st->from->bare) & SUB_FROM))) {
		presence_refuse(st);
		return;
	}
	struct im_user *u = im_user_find(im, st->to.bare);
	struct im_session *s;
	bool told = false;
	if (u) {
		TAILQ_FOREACH(s, &u->sessions, link_user) {
			if (!s->available || (st->to.resource.n && !slice_eq(s->jid.resource, st->to.resource)))
				continue;
			tell(s, st->from, NULL, st->work);
			told = true;
		}
	}
	if (!told)
		send_plain(im, "unavailable", &st->to, st->from, st->work);
}

/* A contact of ours to whom the user subscribed: a local one is looked up at once, a remote server is asked (RFC 6121 section 4.3.1). */
static void probe(struct im_session *s, const struct jid *contact, struct im_work *w)
{
	struct im *im = s->im;
	struct im_user *u = im_user_find(im, contact->bare);
	struct im_session *other;
	if (!im_is_here(im, contact)) {
		send_plain(im, "probe", &s->user->jid, contact, w);
		return;
	}
	if (!u || !u->nr_sessions || !(store_contact_state(im->store, u->id, s->user->jid.bare) & SUB_FROM))
		return;
	TAILQ_FOREACH(other, &u->sessions, link_user) {
		if (other->available)
			tell(other, &s->user->jid, s, w);
	}
}

static void became_available(struct im_session *s, struct im_work *w)
{
	struct im_session *other;
	struct contact_list l;
	struct jid jid;
	TAILQ_FOREACH(other, &s->user->sessions, link_user) {
		if (other != s && other->available)
			tell(other, &s->user->jid, s, w);
	}
	store_contacts(s->im->store, s->user->id, SUB_TO, &l);
	for (size_t i = 0; i < l.nr; i++) {
		if (jid_parse(&jid, slice_str(l.v[i].jid)) < 0)
			continue;
		probe(s, &jid, w);
		jid_clear(&jid);
	}
	contact_list_clear(&l);
	subscription_pending(s, w);
}

/* RFC 6121 section 4.7.2.3: -128..127, 0 when absent. False: something else. */
static bool read_priority(struct stanza *st, int *priority)
{
	struct xml_node *root = stanza_root(st), *n = root ? xml_node_child(root, NS_CLIENT, "priority") : NULL;
	*priority = 0;
	if (!n)
		return root != NULL;
	char *end;
	long value = strtol(n->text, &end, 10);
	*priority = (int)value;
	return end != n->text && *end == 0 && value >= -128 && value <= 127;
}

static void available(struct stanza *st)
{
	struct im_session *s = st->session;
	int priority;
	if (!read_priority(st, &priority) || st->xml.n > st->im->limits.presence_bytes_max) {
		error_reply(st, st->xml.n > st->im->limits.presence_bytes_max ? "policy-violation" : "bad-request");
		return;
	}
	bool initial = !s->available, took_messages = s->available && s->priority >= 0;
	free(s->presence);
	s->presence = mem_slicedup(st->xml);
	s->presence_n = st->xml.n;
	s->available = true;
	s->priority = priority;
	broadcast(s, st->xml, st->work);
	if (initial)
		became_available(s, st->work);
	if (priority >= 0 && !took_messages)
		im_user_backlog(s->im, s->user); /* XEP-0160: now its offline messages come */
	offline_left(s->im, s->user);
}

/* Those who got directed presence and no broadcast (RFC 6121 section 4.6.3). */
static void directed_gone(struct im_session *s, struct im_work *w)
{
	struct jid to;
	for (size_t i = 0; i < s->nr_directed; i++) {
		if (jid_parse(&to, slice_str(s->directed[i])) == 0) {
			if (!s->available || !(store_contact_state(s->im->store, s->user->id, to.bare) & SUB_FROM))
				send_plain(s->im, "unavailable", &s->jid, &to, w);
			jid_clear(&to);
		}
		free(s->directed[i]);
	}
	free(s->directed);
	s->directed = NULL;
	s->nr_directed = 0;
}

static void unavailable(struct im_session *s, struct slice xml, struct im_work *w)
{
	directed_gone(s, w);
	if (s->available)
		broadcast(s, xml, w);
	s->available = false;
	offline_left(s->im, s->user);
	free(s->presence);
	s->presence = NULL;
	s->presence_n = 0;
}

void presence_gone(struct im_session *s, struct im_work *w)
{
	struct buf out;
	buf_init(&out, 16384);
	if (presence_write(&out, "unavailable", s->jid.full, SLICE_NONE) == 0)
		unavailable(s, buf_slice(&out), w);
	buf_clear(&out);
}

static bool directed_remember(struct im_session *s, struct slice to)
{
	for (size_t i = 0; i < s->nr_directed; i++) {
		if (slice_is(to, s->directed[i]))
			return true;
	}
	if (s->nr_directed >= s->im->limits.directed_max)
		return false;
	s->directed = mem_resize(s->directed, (s->nr_directed + 1) * sizeof *s->directed);
	s->directed[s->nr_directed++] = mem_slicedup(to);
	return true;
}

static void directed_forget(struct im_session *s, struct slice to)
{
	for (size_t i = 0; i < s->nr_directed; i++) {
		if (!slice_is(to, s->directed[i]))
			continue;
		free(s->directed[i]);
		s->directed[i] = s->directed[--s->nr_directed];
		return;
	}
}

/* From a client to somebody: passed on as it is, and remembered (RFC 6121 section 4.6). */
static void directed(struct stanza *st)
{
	if (slice_is(st->type, "unavailable")) {
		directed_forget(st->session, st->to.full);
	} else if (slice_empty(st->type) && !directed_remember(st->session, st->to.full)) {
		error_reply(st, "resource-constraint");
		return;
	}
	if (im_is_here(st->im, &st->to))
		presence_inbound(st->im, &st->to, st->xml, st->work);
	else
		route_remote(st);
}

bool presence_is_subscription(struct slice type)
{
	return slice_is(type, "subscribe") || slice_is(type, "subscribed") || slice_is(type, "unsubscribe") ||
	       slice_is(type, "unsubscribed");
}

static void from_client(struct stanza *st)
{
	if (!jid_empty(&st->to) && presence_is_subscription(st->type))
		subscription_outbound(st);
	else if (!jid_empty(&st->to) && slice_is(st->type, "probe") && im_is_here(st->im, &st->to))
		probed(st);
	else if (!jid_empty(&st->to))
		directed(st);
	else if (slice_empty(st->type))
		available(st);
	else if (slice_is(st->type, "unavailable"))
		unavailable(st->session, st->xml, st->work);
	else
		error_reply(st, "bad-request");
}

void presence_handle(struct stanza *st)
{
	if (st->session)
		from_client(st);
	else if (presence_is_subscription(st->type))
		subscription_inbound(st);
	else if (slice_is(st->type, "probe"))
		probed(st);
	else
		presence_inbound(st->im, &st->to, st->xml, st->work);
}
