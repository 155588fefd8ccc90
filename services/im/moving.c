/*
 * When another instance joins, the policy gives it users who have sessions here: their stanzas from elsewhere go there and would wait until
 * they log in anew. So their sessions are ended with `reset`, some at a time, and their clients come back where they belong. An instance
 * that the registries know may not be reached by the gateways yet: a user must have been its for a while; and one whom a gateway gave to us
 * all the same is left alone for long, so that nobody goes round and round. Who is away with his connection may have got what he has not
 * acknowledged, and may not have heard what we have: he has time to come back and say it, since it would come twice otherwise.
 */
#include "services/im/core.h"

#include "common/log.h"

enum {
	LOOK_EVERY_MS = 1000,
	LOOK_MAX = 2000,      /* sessions at a time */
	END_MAX = 50,         /* that many log in anew in that time */
	SETTLED_MS = 5000,
	BUSY_MS = 10000,      /* after that, with stanzas in flight too */
	DETACHED_MS = 60000,  /* and that long for who is away: his messages from here wait for it, wherever he is by then */
	GIVEN_MS = 300000,
};

static uint64_t patience_ms(const struct im_session *s)
{
	if (s->given)
		return GIVEN_MS;
	if (s->detached)
		return DETACHED_MS;
	return s->nr_sends > 0 || !STAILQ_EMPTY(&s->queue) ? BUSY_MS : SETTLED_MS;
}

static bool is_due(struct im_session *s, uint64_t now_ms)
{
	unsigned char instance[16];
	if (im_whose(s->im, s->user->jid.bare, instance)) {
		if (s->away_at_ms)
			im_user_backlog(s->im, s->user); /* the other one may have stored something, and then died */
		s->given = false;
		s->away_at_ms = 0;
		return false;
	}
	if (s->given && memcmp(instance, s->given_not_to, sizeof instance) != 0) {
		s->given = false; /* the other one has gone, and this is a third */
		s->away_at_ms = 0;
	}
	if (s->away_at_ms == 0)
		s->away_at_ms = now_ms;
	return now_ms - s->away_at_ms >= patience_ms(s);
}

void im_session_detached(struct im_session *s, bool detached)
{
	s->detached = detached;
	if (!detached && s->away_at_ms != 0)
		s->away_at_ms = s->im->now_ms;
}

bool moving_is_elsewhere(const struct im *im, const struct im_user *u)
{
	const struct im_session *s;
	if (!im->ops->is_here || !u->nr_sessions)
		return false;
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (s->away_at_ms)
			return true;
	}
	return !im_owns(im, u->jid.bare);
}

void moving_opened(struct im_session *s)
{
	s->given = !im_whose(s->im, s->user->jid.bare, s->given_not_to);
	if (s->im->move_at_ms <= s->im->now_ms)
		s->im->move_at_ms = s->im->now_ms + LOOK_EVERY_MS;
}

void moving_run(struct im *im)
{
	struct im_session *s, *first = NULL;
	size_t nr_ended = 0;
	if (im->now_ms < moving_next_ms(im))
		return;
	im->move_at_ms = im->now_ms + LOOK_EVERY_MS;
	for (size_t n = 0; n < LOOK_MAX && nr_ended < END_MAX && (s = TAILQ_FIRST(&im->sessions)) != first; n++) {
		if (!first)
			first = s;
		TAILQ_REMOVE(&im->sessions, s, link_all); /* looked at last */
		TAILQ_INSERT_TAIL(&im->sessions, s, link_all);
		if (!s->user || !is_due(s, im->now_ms))
			continue;
		log_info("im", 0, "moved", "jid=%s", log_escape(s->jid.full));
		session_kill(s, "reset", "this account is served elsewhere now: come back");
		nr_ended++;
	}
}

uint64_t moving_next_ms(const struct im *im)
{
	return im->ops->is_here && im->nr_sessions ? im->move_at_ms : UINT64_MAX;
}
