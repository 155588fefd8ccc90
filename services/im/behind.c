/*
 * What keeps a sender's messages in order when he goes on at another instance. The ones that were acknowledged to him may still be on
 * their way from the instance that he was at before, or be left in the store by it; what he says here must not overtake them. So a session
 * begins with a look for rows of its user's, and while there are any that others send, or that wait here, his messages to the same
 * recipient become rows as well, and rows go in order (passing.c). What was not acknowledged to him he sends again himself, in order.
 *
 * Such a message is acknowledged at once, so that nobody's window bounds them: each sender may have as many, and as many bytes, as anybody
 * may have in offline storage, all his sessions together. What is more goes back with `resource-constraint`. Not to acknowledge it instead
 * would keep everything else that he says waiting, to whomever, for one recipient whose way is not there.
 */
#include "services/im/core.h"

enum { WAIT_MAX_S = 120 }; /* longer than a stanza waits for a way to another instance: nobody is stuck behind one that is */

/* What others send; ours are on ways that keep their order. */
bool behind_others(const struct im *im, struct slice sender, struct slice recipient, int64_t row)
{
	return sender.n && store_shared(im->store) && store_passing_others(im->store, sender, recipient, row, im->wall_s - WAIT_MAX_S);
}

uint64_t behind_pair(struct slice sender, struct slice recipient)
{
	const uint64_t both[2] = {hash_bytes(sender), hash_bytes(recipient)};
	return hash_bytes((struct slice){(const char *)both, sizeof both});
}

static struct im_waits *waits_of(const struct im *im, uint64_t whose)
{
	return hash_get(im->resume.waits, hash_u64_key(&whose));
}

static void count(struct im *im, uint64_t whose, size_t bytes, int64_t at_s)
{
	struct im_waits *n = waits_of(im, whose);
	if (!n) {
		n = NEW(struct im_waits);
		hash_put(im->resume.waits, hash_u64_key(&whose), n);
	}
	n->nr++;
	n->bytes += bytes;
	if (n->newest_s < at_s)
		n->newest_s = at_s;
}

static void uncount(struct im *im, uint64_t whose, size_t bytes)
{
	struct im_waits *n = waits_of(im, whose);
	n->bytes -= bytes;
	if (--n->nr == 0)
		free(hash_del(im->resume.waits, hash_u64_key(&whose)));
}

void behind_count(struct im *im, const struct im_waiting *w, int64_t at_s)
{
	if (!w->sender)
		return;
	count(im, w->sender, w->bytes, at_s);
	count(im, w->pair, w->bytes, at_s);
}

void behind_uncount(struct im *im, const struct im_waiting *w)
{
	if (!w->sender)
		return;
	uncount(im, w->sender, w->bytes);
	uncount(im, w->pair, w->bytes);
}

static int free_waits(void *arg, struct slice key, void *value)
{
	(void)arg, (void)key;
	free(value);
	return 0;
}

void behind_clear(struct im *im)
{
	hash_each(im->resume.waits, free_waits, NULL);
	hash_free(im->resume.waits);
}

/* Behind what waits here, and behind what others have. An empty recipient: whoever it is. */
static bool is_behind(const struct im *im, struct slice sender, struct slice recipient)
{
	const struct im_waits *n = waits_of(im, slice_empty(recipient) ? hash_bytes(sender) : behind_pair(sender, recipient));
	return (n && n->newest_s >= im->wall_s - WAIT_MAX_S) || behind_others(im, sender, recipient, INT64_MAX);
}

bool behind_ours(const struct im *im, struct slice sender, struct slice recipient)
{
	return waits_of(im, behind_pair(sender, recipient)) != NULL;
}

bool behind_rows(const struct im *im, struct slice sender, struct slice recipient)
{
	return behind_ours(im, sender, recipient) || behind_others(im, sender, recipient, INT64_MAX);
}

bool behind_has_room(const struct im *im, struct slice sender, size_t bytes)
{
	const struct im_waits *n = waits_of(im, hash_bytes(sender));
	return im->resume.nr < im->limits.sends_max &&
	       (!n || (n->nr < im->limits.offline_max && n->bytes + bytes <= im->limits.offline_bytes_max));
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
		if (behind_has_room(st->im, s->user->jid.bare, st->xml.n))
			passing_wait(st->im, st->at_s, s->user->jid.bare, to->bare, st->xml);
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
