/*
 * Promise 1 in one place: a received stanza is acknowledged when every next hop has answered, or, once that took too long, when a copy is
 * in the store. Acknowledgements are collected and leave after the turn's commit. A copy is deleted when the next hop answers after all.
 */
#include <stdlib.h>

#include "services/im/core.h"

struct im_work *work_new(struct im *im, const uint64_t *ticket)
{
	struct im_work *w = NEW(struct im_work);
	w->im = im;
	w->nr_open = 1;
	w->at_s = im->wall_s;
	if (ticket) {
		w->ticket = *ticket;
		w->waiting = true;
		w->deadline_ms = im->now_ms + im->limits.wait_ms;
		TAILQ_INSERT_TAIL(&im->waiting, w, link);
		im->nr_waiting++;
	}
	return w;
}

static void count(struct im_work *w)
{
	w->unstored = true;
	TAILQ_INSERT_TAIL(&w->user->unstored, w, link_unstored);
	w->user->nr_unstored++;
	w->user->unstored_bytes += w->xml_n;
}

static void uncount(struct im_work *w)
{
	if (!w->unstored)
		return;
	w->unstored = false;
	TAILQ_REMOVE(&w->user->unstored, w, link_unstored);
	w->user->nr_unstored--;
	w->user->unstored_bytes -= w->xml_n;
}

void work_keep(struct im_work *w, enum im_fallback f, struct im_user *user, struct slice xml)
{
	if (w->fallback != IM_DROP)
		return;
	w->fallback = f;
	if (user) {
		w->user = user;
		user->nr_refs++;
	}
	if (!w->row) {
		free(w->xml); /* a message that became its own error */
		w->xml = mem_slicedup(xml);
		w->xml_n = xml.n;
		if (f == IM_OFFLINE)
			count(w);
	}
}

void work_unkeep(struct im_work *w)
{
	if (w->row && w->fallback == IM_PASSING)
		store_passing_del(w->im->store, w->row);
	w->row = 0;
	uncount(w);
	w->fallback = IM_DROP;
	free(w->xml);
	w->xml = NULL;
}

/* The ticket is due: after the commit of this turn. */
static void acknowledge(struct im_work *w)
{
	struct im *im = w->im;
	if (!w->waiting)
		return;
	w->waiting = false;
	TAILQ_REMOVE(&im->waiting, w, link);
	im->nr_waiting--;
	if (im->nr_acks == im->acks_cap) {
		im->acks_cap = im->acks_cap ? im->acks_cap * 2 : 64;
		im->acks = mem_resize(im->acks, im->acks_cap * sizeof *im->acks);
	}
	im->acks[im->nr_acks++] = w->ticket;
}

static void work_free(struct im_work *w)
{
	uncount(w);
	if (w->row && w->fallback == IM_OFFLINE)
		hash_del(w->im->inflight, (struct slice){(const char *)&w->row, sizeof w->row});
	if (w->user)
		im_user_unref(w->im, w->user);
	free(w->xml);
	free(w);
}

/* The message goes to offline storage, however full that is, unless it is not worth it. Other instances would send it at once: they are
 * told when no client here may have it. */
static void store_one(struct im_work *w)
{
	struct slice xml = {w->xml, w->xml_n};
	uncount(w);
	if (w->delivered)
		return;
	if (!offline_wants(xml)) {
		w->fallback = IM_DROP;
		return;
	}
	w->row = offline_store(w->im, w->user->id, &w->user->jid, w->at_s, xml);
	if (w->row)
		hash_put(w->im->inflight, (struct slice){(const char *)&w->row, sizeof w->row}, w);
}

/* Those first that came before it: rows are sent in their order. */
static void store_message(struct im_work *w)
{
	struct im_work *earlier;
	while (w->unstored && (earlier = TAILQ_FIRST(&w->user->unstored)) != w)
		store_one(earlier);
	store_one(w);
}

void works_store(struct im_user *u)
{
	struct im_work *w;
	while ((w = TAILQ_FIRST(&u->unstored)))
		store_one(w);
}

/* It goes back to its sender. `as`: whose outcome the error is from here on, NULL: its own. The bytes are read until the error is on its
 * way, and the work may keep that in their place. */
static void bounce(struct im_work *w, const char *condition, struct im_work *as)
{
	char *xml = w->xml;
	uncount(w);
	w->xml = NULL;
	w->fallback = IM_DROP;
	error_bounce(w->im, (struct slice){xml, w->xml_n}, condition, as);
	free(xml);
}

/* One that came back is stored, or goes back to its sender when storage is full. False: it is not stored. */
static bool store_or_bounce(struct im_work *w)
{
	struct slice xml = {w->xml, w->xml_n};
	if (offline_has_room(w->im, w->user->id, xml.n) || !offline_wants(xml))
		store_message(w);
	if (w->row || w->fallback == IM_DROP)
		return w->row != 0;
	bounce(w, "service-unavailable", w);
	return false;
}

/* Nobody has it: it waits in the store for the user's next chance, which may be now. */
static void message_failed(struct im_work *w)
{
	if (!w->row && !store_or_bounce(w))
		return;
	offline_tell(w->im, &w->user->jid, w->row);
	if (w->user->pumped >= w->row)
		w->user->pumped = w->row - 1;
	im_user_backlog(w->im, w->user);
}

static void settle_copy(struct im_work *w)
{
	if (w->fallback == IM_OFFLINE && w->delivered)
		offline_del(w->im, w->user->id, w->row);
	else if (w->fallback == IM_PASSING)
		store_passing_del(w->im->store, w->row);
}

void work_hold(struct im_work *w)
{
	w->nr_open++;
}

void work_release(struct im_work *w)
{
	if (--w->nr_open)
		return;
	if (w->failed && !w->delivered && w->fallback == IM_OFFLINE) {
		w->failed = false;
		work_hold(w); /* a bounce may take part, and must not end it twice */
		message_failed(w);
		if (--w->nr_open)
			return;
	}
	if (w->row)
		settle_copy(w);
	acknowledge(w);
	work_free(w);
}

void work_abandon(struct im_work *w)
{
	if (--w->nr_open)
		return;
	if (w->waiting)
		TAILQ_REMOVE(&w->im->waiting, w, link);
	work_free(w);
}

void work_store(struct im_work *w)
{
	if (w->fallback != IM_OFFLINE || w->delivered)
		return;
	if (!w->row && offline_has_room(w->im, w->user->id, w->xml_n))
		store_message(w);
	offline_tell(w->im, &w->user->jid, w->row);
}

/* A message is stored though storage be full: its send is open, and with an error for the sender the recipient might have it all the same.
 * One that can't be stored at all is acknowledged by that error. */
static void store_late(struct im_work *w)
{
	store_message(w);
	if (!w->row && w->fallback == IM_OFFLINE)
		bounce(w, "not-acceptable", NULL);
}

/* Waited long enough: the copy in the store is what is acknowledged. */
static void expire(struct im_work *w)
{
	work_hold(w);
	if (w->fallback == IM_OFFLINE && !w->delivered && !w->row)
		store_late(w);
	if (w->fallback == IM_PASSING && !w->row) /* its error, if it went back to another server */
		w->row = passing_store(w->im, w->at_s, (struct slice){w->xml, w->xml_n});
	free(w->xml);
	w->xml = NULL;
	acknowledge(w);
	work_release(w);
}

void works_expire(struct im *im)
{
	struct im_work *w;
	while ((w = TAILQ_FIRST(&im->waiting)) && w->deadline_ms <= im->now_ms)
		expire(w);
}

uint64_t works_next_ms(const struct im *im)
{
	const struct im_work *w = TAILQ_FIRST(&im->waiting);
	return w ? w->deadline_ms : UINT64_MAX;
}
