/*
 * What keeps a sender's messages in order when he goes on at another instance. The ones that were acknowledged to him may still be on
 * their way from the instance that he was at before, or be left in the store by it; what he says here must not overtake them. So a session
 * begins with a look for rows of its user's, and while there are any that others send, or that wait here, his messages to the same
 * recipient become rows as well, and rows go in order (passing.c). What was not acknowledged to him he sends again himself, in order.
 */
#include "services/im/core.h"

enum { WAIT_MAX_S = 120 }; /* longer than a stanza waits for a way to another instance: nobody is stuck behind one that is */

/* What others send; ours are on ways that keep their order. */
bool behind_others(const struct im *im, struct slice sender, struct slice recipient, int64_t row)
{
	return sender.n && store_shared(im->store) && store_passing_others(im->store, sender, recipient, row, im->wall_s - WAIT_MAX_S);
}

static bool waits(void *arg, int64_t row)
{
	return passing_waits(arg, row);
}

static bool is_behind(struct im *im, struct slice sender, struct slice recipient)
{
	return behind_others(im, sender, recipient, INT64_MAX) ||
	       (im->resume.nr && store_passing_ours(im->store, sender, recipient, INT64_MAX, im->wall_s - WAIT_MAX_S, waits, im));
}

void behind_opened(struct im_session *s)
{
	s->behind = is_behind(s->im, s->user->jid.bare, SLICE(""));
}

bool behind_keeps(struct stanza *st, const struct jid *to)
{
	struct im_session *s = st->session;
	struct im_user *u;
	if (!s || !s->behind)
		return false;
	if (is_behind(st->im, s->user->jid.bare, to->bare)) {
		if (st->im->resume.nr < st->im->limits.sends_max)
			passing_wait(st->im, passing_store(st->im, st->at_s, st->xml));
		else
			error_reply(st, "resource-constraint");
		return true;
	}
	behind_opened(s);
	u = im_user_find(st->im, to->bare);
	if (u)
		im_user_backlog(st->im, u); /* another instance may have stored the last of them a moment ago */
	return false;
}
