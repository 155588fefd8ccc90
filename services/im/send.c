/*
 * Everything that leaves the core. Each stanza in flight has a cookie, by which its answer finds the work that waits for it. A full stream
 * is the caller's matter for messages; presence and pushes wait here, bounded, since a client that missed one would show a wrong state for
 * ever.
 */
#include <stdlib.h>

#include "common/log.h"
#include "services/im/core.h"

enum { ANSWERS_MAX = 1000 }; /* that wait for room while what they answer is acknowledged */

static struct im_send *send_new(struct im *im, struct im_session *s, struct im_work *w)
{
	if (hash_count(im->sends) >= im->limits.sends_max)
		return NULL;
	struct im_send *snd = NEW(struct im_send);
	snd->cookie = ++im->cookie_last;
	snd->work = w;
	snd->session = s;
	hash_put(im->sends, hash_u64_key(&snd->cookie), snd);
	if (s) {
		s->nr_sends++;
		TAILQ_INSERT_TAIL(&s->sends, snd, link);
	}
	if (w)
		work_hold(w);
	return snd;
}

static struct im_peer *peer_ref(struct im *im, const struct jid *to)
{
	struct im_peer *p = hash_get(im->peers, to->bare);
	if (!p) {
		p = NEW(struct im_peer);
		int err = jid_parse(&p->jid, to->bare);
		ASSERT(err == 0); /* it came out of a JID */
		hash_put(im->peers, p->jid.bare, p);
	}
	p->nr++;
	return p;
}

static void peer_unref(struct im *im, struct im_peer *p)
{
	if (--p->nr)
		return;
	hash_del(im->peers, p->jid.bare);
	jid_clear(&p->jid);
	free(p);
}

/* Takes it out of the books. The caller releases the work. */
static void send_end(struct im *im, struct im_send *snd)
{
	hash_del(im->sends, hash_u64_key(&snd->cookie));
	if (snd->session) {
		snd->session->nr_sends--;
		TAILQ_REMOVE(&snd->session->sends, snd, link);
	}
	if (snd->limbo && --snd->work->user->nr_limbo == 0)
		im_user_backlog(im, snd->work->user);
	if (snd->peer)
		peer_unref(im, snd->peer);
	free(snd);
}

int send_session(struct im_session *s, struct slice xml, struct im_work *w)
{
	struct im *im = s->im;
	if (s->closed || !s->user)
		return SVCPROTO_E_CLOSED;
	struct im_send *snd = send_new(im, s, w);
	if (!snd)
		return SVCPROTO_E_FULL;
	int err = im->ops->send(im->arg, s->link, xml.p, xml.n, snd->cookie);
	if (err < 0) {
		send_end(im, snd);
		if (w)
			w->nr_open--; /* never the last: the handler holds it */
	} else {
		sid_log("client", xml, s->jid.full, w ? w->row : 0);
	}
	return err == SVCPROTO_E_NOMEM ? SVCPROTO_E_FULL : err;
}

static int hand_over(struct im *im, struct im_send *snd, const struct jid *from, const struct jid *to, struct slice xml)
{
	struct slice to_whom = snd->peer ? to->bare : to->domain;
	char *target = mem_slicedup(to_whom), *source = mem_slicedup(from->domain);
	int err = snd->peer ? im->ops->send_peer(im->arg, target, xml.p, xml.n, snd->cookie)
			    : im->ops->send_server(im->arg, source, target, xml.p, xml.n, snd->cookie);
	free(source);
	free(target);
	return err;
}

int send_remote(struct im *im, const struct jid *from, const struct jid *to, struct slice xml, struct im_work *w)
{
	struct im_send *snd = send_new(im, NULL, w);
	if (!snd)
		return SVCPROTO_E_FULL;
	if (im_is_local(im, to->domain))
		snd->peer = peer_ref(im, to);
	int err = hand_over(im, snd, from, to, xml);
	if (err < 0) {
		send_end(im, snd);
		if (w)
			w->nr_open--;
	} else {
		sid_log("remote", xml, to->full, w ? w->row : 0);
	}
	return err == SVCPROTO_E_NOMEM ? SVCPROTO_E_FULL : err;
}

static void enqueue(struct im_session *s, struct slice xml)
{
	if (s->queue_bytes + xml.n > s->im->limits.overflow_bytes_max) {
		log_info("im", 0, "overflow", "session=%s bytes=%zu", log_escape(s->jid.full), s->queue_bytes);
		s->overflowed = true;
		im_user_mark(s->im, s->user);
		return;
	}
	struct im_queued *q = mem_alloc(sizeof *q + xml.n);
	q->n = xml.n;
	memcpy(q->xml, xml.p, xml.n);
	STAILQ_INSERT_TAIL(&s->queue, q, link);
	s->queue_bytes += sizeof *q + xml.n;
	im_user_mark(s->im, s->user);
}

void send_state(struct im_session *s, struct slice xml, struct im_work *w)
{
	if (s->closed || !s->user || s->overflowed)
		return;
	if (!STAILQ_EMPTY(&s->queue) || send_session(s, xml, w) == SVCPROTO_E_FULL)
		enqueue(s, xml);
}

bool send_drain(struct im_session *s)
{
	struct im_queued *q;
	while ((q = STAILQ_FIRST(&s->queue))) {
		if (send_session(s, (struct slice){q->xml, q->n}, NULL) == SVCPROTO_E_FULL)
			return false;
		STAILQ_REMOVE_HEAD(&s->queue, link);
		s->queue_bytes -= sizeof *q + q->n;
		free(q);
	}
	return true;
}

void send_queue_clear(struct im_session *s)
{
	struct im_queued *q;
	while ((q = STAILQ_FIRST(&s->queue))) {
		STAILQ_REMOVE_HEAD(&s->queue, link);
		free(q);
	}
	s->queue_bytes = 0;
}

static void reply_lost(const struct jid *to)
{
	log_info("im", 0, "reply-lost", "to=%s", log_escape(to->domain));
}

void send_reply(struct im *im, const struct jid *from, const struct jid *to, struct slice xml, struct im_work *w)
{
	struct im_session *s;
	if (!im_is_here(im, to)) {
		if (send_remote(im, from, to, xml, w) < 0)
			reply_lost(to);
	} else if (slice_empty(to->resource)) {
		presence_inbound(im, to, xml, w);
	} else if ((s = im_session_find(im, to))) {
		send_state(s, xml, w);
	}
}

/* What is answered is about to be acknowledged, and its sender's server takes nothing, or earlier answers wait for that: this one is
 * stored, as long as few are. */
static bool may_wait(const struct im *im, const struct jid *from, size_t bytes)
{
	return im->resume.nr < ANSWERS_MAX && behind_has_room(im, from->bare, bytes);
}

void send_answer(struct im *im, const struct jid *from, const struct jid *to, struct slice xml, struct im_work *w)
{
	if (im_is_here(im, to)) {
		send_reply(im, from, to, xml, w);
		return;
	}
	if (!(w && (w->waiting || w->row))) {
		passing_answer(im, from, to, xml); /* what it answers was acknowledged, and is in the store no more */
		return;
	}
	int err = behind_ours(im, from->bare, to->bare) ? SVCPROTO_E_FULL : send_remote(im, from, to, xml, w);
	if (err == 0)
		work_keep(w, IM_PASSING, NULL, xml);
	else if (err == SVCPROTO_E_FULL && (w->row || may_wait(im, from, xml.n))) /* a row in whose place it is stored makes them no more */
		passing_wait(im, im->wall_s, from->bare, to->bare, xml);
	else
		reply_lost(to);
}

/* The session may have been kept for this answer alone; otherwise there may be room now. */
static void session_answered(struct im_session *s)
{
	if (s->closed)
		session_free(s);
	else if (s->user && (s->user->backlog || !STAILQ_EMPTY(&s->queue)))
		im_user_mark(s->im, s->user);
}

void im_delivered(struct im *im, uint64_t cookie)
{
	struct im_send *snd = hash_get(im->sends, hash_u64_key(&cookie));
	if (!snd)
		return;
	struct im_work *w = snd->work;
	struct im_session *s = snd->session;
	send_end(im, snd);
	if (w) {
		w->delivered = true;
		work_release(w);
	}
	if (s)
		session_answered(s);
}

void im_undeliverable(struct im *im, uint64_t cookie, const char *type, const char *condition, const char *xml, size_t n)
{
	struct im_send *snd = hash_get(im->sends, hash_u64_key(&cookie));
	if (!snd)
		return;
	struct im_work *w = snd->work;
	struct im_session *s = snd->session;
	bool peer = snd->peer != NULL;
	sid_log("back", (struct slice){xml, n}, s ? s->jid.full : SLICE_NONE, w ? w->row : 0);
	send_end(im, snd);
	if (peer) {
		/* The other instance has gone, or the policy gives the user to us by now. */
		if (w && w->row)
			route_stored(im, (struct slice){xml, n}, w->at_s, w);
		else
			route_taken(im, (struct slice){xml, n}, w);
		if (w)
			work_release(w);
		return;
	}
	if (w) {
		if (w->fallback == IM_PASSING)
			error_bounce_as(im, (struct slice){xml, n}, s ? NULL : type, s ? "service-unavailable" : condition, w);
		w->failed = true;
		work_release(w);
	}
	if (s)
		session_answered(s);
}

static int forget_one(void *arg, struct slice key, void *value)
{
	struct im *im = arg;
	struct im_send *snd = value;
	struct im_work *w = snd->work;
	struct im_session *s = snd->session;
	(void)key;
	send_end(im, snd);
	if (w)
		work_abandon(w);
	if (s && s->closed)
		session_free(s);
	return 0;
}

void send_forget(struct im *im)
{
	hash_each(im->sends, forget_one, im);
}
