/*
 * What all streams of a hub hold together. Each has a share of what is left, so that whoever holds much stops first. Who finds no room
 * stands in one of two lines, and hears within svc_hub_tick: those that have nothing outstanding of any room at all, since no
 * acknowledgement of their own will come to tell them; the others once there is some more of it. Neither line delays the other.
 */
#include "svcproto/engine.h"

#define SHARE 8u     /* a stream may take this part of what is left */
#define FEED_MAX 64u /* streams of either line that hear of room, or are asked, in one turn */

static uint64_t left(const struct svc_hub *h)
{
	return h->held_bytes < h->limits.held_bytes_max ? h->limits.held_bytes_max - h->held_bytes : 0;
}

bool hub_has_share(const struct svc_stream *s)
{
	return s->out.nr == 0 ? left(s->hub) > 0 : s->out.bytes < left(s->hub) / SHARE;
}

static void join_hungry(struct svc_stream *s)
{
	struct svc_hub *h = s->hub;

	s->hungry = true;
	s->in_empty = s->out.nr == 0;
	TAILQ_INSERT_TAIL(s->in_empty ? &h->empty : &h->hungry, s, in_hungry);
}

bool hub_has_room(struct svc_stream *s)
{
	if (hub_has_share(s))
		return true;
	if (s->hub->ops->writable != NULL && !s->hungry)
		join_hungry(s);
	return false;
}

void hub_leave_hungry(struct svc_stream *s)
{
	struct svc_hub *h = s->hub;

	if (!s->hungry)
		return;
	TAILQ_REMOVE(s->in_empty ? &h->empty : &h->hungry, s, in_hungry);
	s->hungry = s->in_empty = false;
}

void hub_acked(struct svc_stream *s)
{
	if (!s->hungry || s->in_empty || s->out.nr > 0)
		return;
	hub_leave_hungry(s);
	join_hungry(s);
}

static bool some_more(const struct svc_hub *h)
{
	return left(h) > h->limits.held_bytes_max / SHARE;
}

/* Whoever waited longest asks first; those whose share it is not go to the end. While there is some more, they are fewer than a turn looks
 * at: each holds a sixty-fourth of all or above, and together they hold less than seven eighths. So who can be told soon is. */
void hub_feed_hungry(struct svc_hub *h)
{
	struct svc_stream *s, *last = TAILQ_LAST(&h->hungry, stream_list);
	unsigned more;

	for (more = FEED_MAX; more > 0 && left(h) > 0 && (s = TAILQ_FIRST(&h->empty)) != NULL; more--) {
		hub_leave_hungry(s);
		h->ops->writable(h->arg, s);
	}
	h->fed = false;
	for (more = FEED_MAX, s = NULL; more > 0 && s != last && some_more(h) && (s = TAILQ_FIRST(&h->hungry)) != NULL; more--) {
		hub_leave_hungry(s);
		if (!hub_has_share(s)) {
			join_hungry(s);
			continue;
		}
		h->fed = true;
		h->ops->writable(h->arg, s);
	}
}

bool hub_feeds_on(const struct svc_hub *h)
{
	return (left(h) > 0 && !TAILQ_EMPTY(&h->empty)) || (h->fed && !TAILQ_EMPTY(&h->hungry) && some_more(h));
}
