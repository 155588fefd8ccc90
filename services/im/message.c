/*
 * Messages by RFC 6121 sections 5 and 8.5: to a full JID's session, to the sessions of the highest priority, or to offline storage. A user
 * with a backlog gets new messages behind it, so that they arrive in order.
 */
#include "services/im/core.h"

static bool is_chat(const struct stanza *st)
{
	/* RFC 6121 section 5.2.2: an absent or unknown type counts as normal */
	return !slice_is(st->type, "groupchat") && !slice_is(st->type, "headline") && !slice_is(st->type, "error");
}

static void store(struct stanza *st, struct im_user *u, int64_t id, const struct jid *bare)
{
	if (!offline_wants(st->xml))
		return;
	if (!offline_has_room(st->im, id, st->xml.n)) {
		error_reply(st, "service-unavailable");
		return;
	}
	if (u)
		works_store(u);
	int64_t row = offline_store(st->im, id, bare, st->at_s, st->xml);
	if (!row)
		error_reply(st, "not-acceptable");
	offline_tell(st->im, bare, row);
	if (u)
		im_user_backlog(st->im, u);
}

/* Earlier ones are in storage, or may come back to it. Of a user whom the policy gives to another instance, that one may have put them
 * there. */
static bool has_backlog(struct im *im, struct im_user *u)
{
	if (u->nr_limbo)
		return true;
	if (!u->backlog && moving_is_elsewhere(im, u) && offline_waits(u))
		im_user_backlog(im, u);
	return u->backlog;
}

static bool may_go(const struct stanza *st, struct im_user *u)
{
	return !st->stored && !has_backlog(st->im, u) && offline_may_send(st->im, u, st->xml.n);
}

/* To all available sessions of the highest priority that is not negative; how many took it. */
static size_t send_best(struct stanza *st, struct im_user *u)
{
	struct im_session *s, *best = im_user_best(u);
	size_t nr = 0;
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (best && s->available && s->priority == best->priority && STAILQ_EMPTY(&s->queue) &&
		    send_session(s, st->xml, st->work) == 0)
			nr++;
	}
	return nr;
}

static void headline(struct stanza *st, struct im_user *u)
{
	struct im_session *s;
	if (!u)
		return;
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (s->available && s->priority >= 0 && STAILQ_EMPTY(&s->queue) && send_session(s, st->xml, st->work) == 0)
			work_keep(st->work, IM_PASSING, NULL, st->xml);
	}
}

/* RFC 6121 section 8.5.2; also for a full JID that is gone (8.5.3.2.1). */
static void to_account(struct stanza *st, const struct jid *bare)
{
	struct im_user *u = im_user_find(st->im, bare->bare);
	int64_t id = u ? u->id : store_user_find(st->im->store, bare->bare);
	if (!id)
		error_reply(st, "service-unavailable");
	else if (slice_is(st->type, "groupchat"))
		error_reply(st, "service-unavailable");
	else if (slice_is(st->type, "headline"))
		headline(st, u);
	else if (!is_chat(st))
		return; /* an error: silently ignored */
	else if (u && may_go(st, u) && send_best(st, u))
		work_keep(st->work, IM_OFFLINE, u, st->xml);
	else
		store(st, u, id, bare);
}

static void to_session(struct stanza *st, struct im_session *s)
{
	if (!is_chat(st))
		route_session(st, s);
	else if (may_go(st, s->user) && STAILQ_EMPTY(&s->queue) && send_session(s, st->xml, st->work) == 0)
		work_keep(st->work, IM_OFFLINE, s->user, st->xml);
	else
		store(st, s->user, s->user->id, &s->user->jid);
}

/* Earlier ones are on their way to another instance. */
static bool goes_behind(const struct stanza *st)
{
	return hash_get(st->im->peers, st->to.bare) && !slice_eq(st->to.bare, st->im->taken);
}

void message_handle(struct stanza *st)
{
	const struct jid *to = jid_empty(&st->to) ? &st->session->user->jid : &st->to;
	struct im_session *s;
	if (behind_keeps(st, to))
		return;
	if (!im_is_here(st->im, to) || goes_behind(st))
		route_remote(st);
	else if (slice_empty(to->local))
		error_reply(st, "service-unavailable"); /* nobody reads the server's mail */
	else if ((s = im_session_find(st->im, to)))
		to_session(st, s);
	else if (!slice_empty(to->resource) && slice_is(st->type, "headline"))
		return;
	else
		to_account(st, to);
}
