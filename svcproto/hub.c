/*
 * Streams without a link. A stream whose link broke waits with the peer that the link led to: fresh until its owner has heard of it, then
 * waiting. Nothing else than that same process may take it up again, but for a client that resumes. A service's stream whose client or
 * gateway has gone for good is detached: it belongs to no peer, and only a client may take it up. Each has its time; all are looked at when
 * the first one's is over, once a second at most. What lapses ends in svc_hub_tick, where no other event is on the stack. At a gateway that
 * time runs on until the stream is attached (attach.c).
 */
#include "svcproto/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define RESUME_S_MAX 600u
#define DETACHED_MAX 100000u
#define DETACHED_BYTES_MAX (UINT64_C(256) << 20)
#define SCAN_MS 1000u

struct svc_hub *svc_hub_new(enum svc_side side, const struct svc_hello *self, const struct svc_hub_limits *limits,
			    const struct svc_hub_ops *ops, void *arg)
{
	struct svc_hub *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->side = side;
	h->ops = ops;
	h->arg = arg;
	h->self = *self;
	link_set_limits(&h->self);
	if (limits != NULL)
		h->limits = *limits;
	h->limits.resume_s_max = h->limits.resume_s_max != 0 ? h->limits.resume_s_max : RESUME_S_MAX;
	h->limits.detached_max = h->limits.detached_max != 0 ? h->limits.detached_max : DETACHED_MAX;
	h->limits.detached_bytes_max = h->limits.detached_bytes_max != 0 ? h->limits.detached_bytes_max : DETACHED_BYTES_MAX;
	h->limits.held_bytes_max = h->limits.held_bytes_max != 0 ? h->limits.held_bytes_max : SVC_HELD_BYTES;
	h->scan_at_ms = UINT64_MAX;
	if (getrandom(&h->ids.seed, sizeof(h->ids.seed), GRND_NONBLOCK) != (ssize_t)sizeof(h->ids.seed))
		h->ids.seed = (uint64_t)(uintptr_t)h * UINT64_C(0x9e3779b97f4a7c15);
	TAILQ_INIT(&h->peers);
	TAILQ_INIT(&h->detached);
	TAILQ_INIT(&h->dead);
	TAILQ_INIT(&h->hungry);
	TAILQ_INIT(&h->empty);
	return h;
}

static void dispose_all(struct stream_list *list)
{
	struct svc_stream *s;

	while ((s = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, s, all);
		svc_stream_dispose(s);
	}
}

void svc_hub_free(struct svc_hub *h)
{
	struct hub_peer *p;

	if (h == NULL)
		return;
	while ((p = TAILQ_FIRST(&h->peers)) != NULL) {
		dispose_all(&p->fresh);
		dispose_all(&p->waiting);
		TAILQ_REMOVE(&h->peers, p, all);
		free(p);
	}
	dispose_all(&h->detached);
	dispose_all(&h->dead);
	ids_clear(&h->ids);
	free(h);
}

struct svc_link *svc_hub_link(struct svc_hub *h, const char *identity, const struct svc_link_ops *ops, void *arg)
{
	struct svc_link *l = svc_link_new(h->side, &h->self, ops, arg);

	if (l == NULL)
		return NULL;
	l->hub = h;
	snprintf(l->identity, sizeof(l->identity), "%s", identity);
	return l;
}

/* ---- peers ---- */

static bool is_same(const struct hub_peer *p, const struct svc_link *l)
{
	return p->incarnation == l->peer.incarnation && memcmp(&p->instance, &l->peer.instance, sizeof(p->instance)) == 0 &&
	       strcmp(p->identity, l->identity) == 0;
}

static struct hub_peer *find(const struct svc_link *l)
{
	struct hub_peer *p;

	TAILQ_FOREACH(p, &l->hub->peers, all)
		if (is_same(p, l))
			return p;
	return NULL;
}

static struct hub_peer *get(const struct svc_link *l)
{
	struct hub_peer *p = find(l);

	if (p == NULL)
		p = calloc(1, sizeof(*p));
	if (p == NULL || p->refs > 0 || p->nr > 0)
		return p;
	p->instance = l->peer.instance;
	p->incarnation = l->peer.incarnation;
	memcpy(p->identity, l->identity, sizeof(p->identity));
	TAILQ_INIT(&p->fresh);
	TAILQ_INIT(&p->waiting);
	TAILQ_INSERT_TAIL(&l->hub->peers, p, all);
	return p;
}

/* When nobody needs it. */
static void drop_unused(struct svc_hub *h, struct hub_peer *p)
{
	if (p->refs > 0 || p->nr > 0)
		return;
	TAILQ_REMOVE(&h->peers, p, all);
	free(p);
}

void hub_peer_drop(struct svc_hub *h, struct hub_peer *p)
{
	if (p == NULL)
		return;
	p->refs--;
	drop_unused(h, p);
}

int hub_link_up(struct svc_link *l)
{
	struct hub_peer *p, *before = l->hub_peer;

	if (l->hub == NULL)
		return 0;
	p = get(l);
	if (p == NULL)
		return SVCPROTO_E_NOMEM;
	p->refs++;
	l->hub_peer = p;
	hub_peer_drop(l->hub, before);
	if (p->link != NULL && p->link != l)
		svc_link_break(p->link, "the peer came by another connection", l->now_ms);
	p->link = l;
	return 0;
}

uint32_t hub_nr_waiting_for(const struct svc_link *l)
{
	return l->hub_peer != NULL ? l->hub_peer->nr : 0;
}

bool svc_link_is_awaited(const struct svc_link *l)
{
	return hub_nr_waiting_for(l) > 0;
}

/* ---- off the link ---- */

static bool can_resume(const struct svc_stream *s)
{
	return s->sm == SM_ON && s->resume_s > 0 && !s->close_wanted;
}

bool hub_keeps(const struct svc_stream *s)
{
	if (s->hub == NULL || s->nameless || (s->told && !s->detach_wanted))
		return false;
	switch (s->state) {
	case STREAM_ATTACHING: /* at a gateway it is asked for again, unless its owner has gone and its time is over */
		return s->link->side == SVC_SERVICE || (!s->resumed && !(s->told && s->until_ms <= s->hub->now_ms));
	case STREAM_DETACHING:
	case STREAM_OPEN:
	case STREAM_DRAINING:
		return true;
	case STREAM_CLOSING:
		return s->was_open;
	default:
		return false;
	}
}

static uint64_t patience(const struct svc_stream *s)
{
	bool server = s->kind == SVC_KIND_SERVER_IN || s->kind == SVC_KIND_SERVER_OUT;

	if (s->hub->side == SVC_SERVICE)
		return server ? MUTATED(T2_SHORT) ? SVC_WAIT_SERVER_GATEWAY_MS / 2 : SVC_WAIT_SERVER_SERVICE_MS : SVC_WAIT_SERVICE_MS;
	if (server)
		return SVC_WAIT_SERVER_GATEWAY_MS;
	if (can_resume(s) && s->resume_s < SVC_WAIT_GATEWAY_MS / 750)
		return (uint64_t)s->resume_s * 750;
	return SVC_WAIT_GATEWAY_MS;
}

void hub_soon(struct svc_hub *h)
{
	h->scan_at_ms = 0;
}

/* Somebody's time is over then; others may be waiting for longer. */
static void scan_by(struct svc_hub *h, uint64_t at_ms)
{
	at_ms = at_ms > h->now_ms + SCAN_MS ? at_ms : h->now_ms + SCAN_MS;
	h->scan_at_ms = at_ms < h->scan_at_ms ? at_ms : h->scan_at_ms;
}

void hub_wait(struct svc_stream *s)
{
	struct hub_peer *p = s->link->hub_peer;
	struct svc_hub *h = s->hub;
	bool asked = s->state == STREAM_ATTACHING && h->side == SVC_GATEWAY; /* it has not been answered: its time goes on running */

	s->close_wanted = s->close_wanted || s->state == STREAM_DRAINING || s->state == STREAM_CLOSING;
	stream_leave_link(s);
	if (h->side == SVC_SERVICE && s->sm == SM_PENDING)
		s->sm = SM_OFF; /* the gateway asks again */
	s->state = STREAM_WAITING;
	s->place = PLACE_FRESH;
	s->peer = p;
	if (!asked)
		s->until_ms = h->now_ms + patience(s);
	s->expires_ms = h->now_ms + (uint64_t)s->resume_s * 1000;
	TAILQ_INSERT_TAIL(&p->fresh, s, all);
	p->nr++;
	scan_by(h, s->until_ms);
}

void hub_tell_fresh(struct hub_peer *p)
{
	struct svc_stream *s;

	while ((s = TAILQ_FIRST(&p->fresh)) != NULL) {
		struct svc_hub *h = s->hub;

		TAILQ_REMOVE(&p->fresh, s, all);
		TAILQ_INSERT_TAIL(&p->waiting, s, all);
		s->place = PLACE_WAITING;
		if (!s->told && !s->close_wanted && h->ops->detached != NULL)
			h->ops->detached(h->arg, s);
	}
}

void hub_unwait(struct svc_stream *s)
{
	struct svc_hub *h = s->hub;
	struct hub_peer *p = s->peer;

	switch (s->place) {
	case PLACE_FRESH:
		TAILQ_REMOVE(&p->fresh, s, all);
		p->nr--;
		break;
	case PLACE_WAITING:
		TAILQ_REMOVE(&p->waiting, s, all);
		p->nr--;
		break;
	case PLACE_DETACHED:
		TAILQ_REMOVE(&h->detached, s, all);
		h->nr_detached--;
		h->detached_bytes -= s->out.bytes;
		break;
	default:
		break;
	}
	s->place = PLACE_LINK;
	s->peer = NULL;
}

/* The oldest end before their time, so that what is kept for clients that may never come stays bounded. */
static void evict(struct svc_hub *h)
{
	uint64_t bytes = h->detached_bytes;
	uint32_t nr = h->nr_detached;
	struct svc_stream *s;

	TAILQ_FOREACH(s, &h->detached, all) {
		if (nr <= h->limits.detached_max && bytes <= h->limits.detached_bytes_max)
			return;
		nr--;
		bytes -= s->out.bytes;
		s->until_ms = 0;
		hub_soon(h);
	}
}

void hub_detach(struct svc_stream *s)
{
	struct svc_hub *h = s->hub;

	s->state = STREAM_WAITING;
	s->place = PLACE_DETACHED;
	s->until_ms = s->expires_ms;
	TAILQ_INSERT_TAIL(&h->detached, s, all);
	h->nr_detached++;
	h->detached_bytes += s->out.bytes;
	evict(h);
	scan_by(h, s->until_ms);
}

uint64_t svc_hub_held_bytes(const struct svc_hub *h)
{
	return h->held_bytes;
}

/* ---- the end of waiting ---- */

static void lapse(struct svc_stream *s)
{
	struct svc_hub *h = s->hub;
	bool detached = s->place == PLACE_DETACHED;

	if (!detached && h->side == SVC_SERVICE && can_resume(s) && s->expires_ms > h->now_ms) {
		hub_unwait(s);
		hub_detach(s);
	} else if (MUTATED(UNDELIVERED_LOST) && detached) {
		window_out_clear(&s->out);
		svc_stream_finish(s, NULL, NULL);
	} else if (s->close_wanted) {
		svc_stream_finish(s, s->condition, s->text);
	} else if (detached || (h->side == SVC_SERVICE && can_resume(s))) {
		svc_stream_finish(s, "connection-timeout", "the client did not come back");
	} else {
		svc_stream_finish(s, SVC_LINK_LOST, "the link did not come back");
	}
}

/* Ends what is due in a list that callbacks may change: whoever was looked at goes to its end. */
static uint64_t scan(struct svc_hub *h, struct stream_list *list, uint64_t next)
{
	struct svc_stream *s, *last = TAILQ_LAST(list, stream_list);
	bool more = last != NULL;

	while (more && (s = TAILQ_FIRST(list)) != NULL) {
		more = s != last;
		if (s->until_ms <= h->now_ms) {
			lapse(s);
			continue;
		}
		TAILQ_REMOVE(list, s, all);
		TAILQ_INSERT_TAIL(list, s, all);
		next = s->until_ms < next ? s->until_ms : next;
	}
	return next;
}

void hub_unclaimed(struct svc_link *l)
{
	struct svc_stream *s;

	if (l->hub_peer == NULL)
		return;
	TAILQ_FOREACH(s, &l->hub_peer->waiting, all)
		s->until_ms = 0;
	if (l->hub_peer->nr > 0)
		hub_soon(l->hub);
}

void svc_hub_forget(struct svc_hub *h, const char *identity, const struct svc_id *instance)
{
	struct svc_stream *s;
	struct hub_peer *p;

	TAILQ_FOREACH(p, &h->peers, all) {
		if (memcmp(&p->instance, instance, sizeof(*instance)) != 0 || strcmp(p->identity, identity) != 0)
			continue;
		TAILQ_FOREACH(s, &p->waiting, all)
			s->until_ms = 0;
		TAILQ_FOREACH(s, &p->fresh, all) /* the link's end may be what lets it be known */
			s->until_ms = 0;
		if (p->nr > 0)
			hub_soon(h);
	}
}

/* At once while there is room for some who have not heard of it. */
static uint64_t next_tick(const struct svc_hub *h)
{
	return hub_feeds_on(h) ? h->now_ms : h->scan_at_ms;
}

uint64_t svc_hub_tick(struct svc_hub *h, uint64_t now_ms)
{
	struct hub_peer *p, *after;
	uint64_t next = UINT64_MAX;

	h->now_ms = now_ms;
	dispose_all(&h->dead);
	hub_feed_hungry(h);
	if (now_ms < h->scan_at_ms)
		return next_tick(h);
	h->scan_at_ms = UINT64_MAX;
	for (p = TAILQ_FIRST(&h->peers); p != NULL; p = after) {
		p->refs++; /* callbacks may break links */
		next = scan(h, &p->waiting, next);
		if (p->link != NULL)
			next = attach_expire(p->link, next);
		after = TAILQ_NEXT(p, all);
		p->refs--;
		drop_unused(h, p);
	}
	next = scan(h, &h->detached, next);
	dispose_all(&h->dead);
	scan_by(h, next);
	return next_tick(h);
}

size_t svc_hub_nr_waiting(const struct svc_hub *h)
{
	const struct hub_peer *p;
	size_t nr = h->nr_detached;

	TAILQ_FOREACH(p, &h->peers, all)
		nr += p->nr;
	return nr;
}
