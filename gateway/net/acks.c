/*
 * Which plaintext the peer's TCP has acknowledged. The kernel tells how many bytes of the wire are not (SIOCOUTQ); TLS makes wire bytes of
 * plaintext as it likes, so after each flush a mark joins a position in the one with a position in the other. Nothing tells when an
 * acknowledgement comes, so it is asked for after a flush, when the peer's own bytes come (they carry it), and by a timer that
 * doubles. To ask is a system call, as dear as to send: a connection that is busy is asked every few milliseconds, for several stanzas
 * at once. One timer serves a loop: connections wait in lists, one for each interval, which are therefore in the order of their times.
 * Idle connections are in none and cost nothing.
 */
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "net/conn_int.h"

enum {
	MARKS = 8,
	STEPS = 7,             /* 1, 2, 4 … 64 ms */
	PATIENT_POLLS = 24,    /* after about a second of 64 ms polls without progress … */
	SLOW_MS = 512,         /* … a dead peer is not worth more */
	EAGER_MS = 16,         /* not asked for so long: asked at once */
	BUSY_STEP = 2,         /* else in 4 ms */
};

struct ack_mark {
	uint64_t plain, wire;
};

struct ack_watch {
	struct conn *conn;
	uint64_t wanted;                      /* plaintext position */
	struct ack_mark marks[MARKS];         /* oldest first */
	unsigned char nr_marks, step, polls;
	bool listed;
	uint32_t moved_at_ms;                 /* the clock's lower half */
	uint64_t due_at;
	struct ack_watch *next, **prev;
};

struct waiters {
	struct ack_watch *first, **end;
};

struct net_shared {
	struct loop *loop;
	unsigned refs;
	struct waiters waiters[STEPS + 1];    /* the last one: SLOW_MS */
	struct loop_timer timer;
	uint64_t queued;
	char scratch[CONN_READ_MAX];
};

static void on_poll(void *arg);

struct net_shared *net_shared_get(struct loop *l)
{
	void **place = loop_shared(l);
	struct net_shared *s = *place;

	if (s == NULL) {
		*place = s = NEW(struct net_shared);
		s->loop = l;
		for (size_t i = 0; i < ARRAY_LEN(s->waiters); i++)
			s->waiters[i].end = &s->waiters[i].first;
		loop_timer_init(l, &s->timer, on_poll, s);
	}
	s->refs++;
	return s;
}

void net_shared_put(struct net_shared *s)
{
	if (--s->refs != 0)
		return;
	*loop_shared(s->loop) = NULL;
	loop_timer_cancel(&s->timer);
	free(s);
}

uint64_t *net_shared_queued(struct net_shared *s)
{
	return &s->queued;
}

char *net_shared_scratch(struct net_shared *s)
{
	return s->scratch;
}

static void unlist(struct ack_watch *w)
{
	struct waiters *list = &w->conn->shared->waiters[w->step];

	if (!w->listed)
		return;
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		list->end = w->prev;
	w->listed = false;
}

static void arm(struct net_shared *s)
{
	uint64_t now = loop_now_ms(s->loop), at = UINT64_MAX;

	for (size_t i = 0; i < ARRAY_LEN(s->waiters); i++) {
		struct ack_watch *w = s->waiters[i].first;

		if (w && w->due_at < at)
			at = w->due_at;
	}
	if (at == UINT64_MAX || (loop_timer_pending(&s->timer) && s->timer.due_at_ <= at))
		return; /* a timer that comes too early does no harm */
	loop_timer_set(&s->timer, at > now ? at - now : 0);
}

static void list(struct ack_watch *w, unsigned step)
{
	struct net_shared *s = w->conn->shared;
	struct waiters *to = &s->waiters[step];

	unlist(w);
	w->step = (unsigned char)step;
	w->due_at = loop_now_ms(s->loop) + (step < STEPS ? 1u << step : SLOW_MS);
	w->next = NULL;
	w->prev = to->end;
	*to->end = w;
	to->end = &w->next;
	w->listed = true;
	arm(s);
}

void acks_drop(struct conn *c)
{
	if (c->watch == NULL)
		return;
	unlist(c->watch);
	free(c->watch);
	c->watch = NULL;
}

/* The newest plaintext position that the peer's TCP has passed; its marks are let go. 0: none of them. */
static uint64_t take_acked(struct ack_watch *w)
{
	const struct channel *ch = &w->conn->ch;
	int unacked = 0;
	uint64_t pos = 0;
	size_t nr = 0;

	w->conn->looked_at_ms = (uint32_t)loop_now_ms(w->conn->loop);
	if (ioctl(ch->fd, SIOCOUTQ, &unacked) != 0)
		return 0;
	uint64_t acked = ch->ops->wire_out(ch) - (uint64_t)unacked;
	while (nr < w->nr_marks && w->marks[nr].wire <= acked)
		pos = w->marks[nr++].plain;
	w->nr_marks = (unsigned char)(w->nr_marks - nr);
	memmove(w->marks, w->marks + nr, w->nr_marks * sizeof w->marks[0]);
	return pos;
}

static void look(struct conn *c)
{
	struct ack_watch *w = c->watch;

	if (w == NULL || w->nr_marks == 0 || c->away) /* then another thread writes, and how much is not known here */
		return;
	uint64_t pos = take_acked(w);
	if (pos == 0)
		return;
	w->polls = 0;
	w->moved_at_ms = (uint32_t)loop_now_ms(c->loop);
	if (w->nr_marks != 0)
		list(w, BUSY_STEP);
	else if (pos >= w->wanted)
		acks_drop(c);
	else
		unlist(w); /* more is to be flushed first */
	c->ops->acked(c->arg, pos);
}

void conn_look_acks(struct conn *c)
{
	look(c);
}

static uint32_t since_look_ms(const struct conn *c)
{
	return (uint32_t)loop_now_ms(c->loop) - c->looked_at_ms;
}

void acks_came(struct conn *c)
{
	if (c->watch && since_look_ms(c) >= 1u << BUSY_STEP)
		look(c);
}

/* Its TCP answers nothing, or its owner reads nothing. The connection lives to the turn's end, its watch need not. */
static void give_up(struct conn *c)
{
	struct ack_watch *w = c->watch;
	uint32_t now = (uint32_t)loop_now_ms(c->loop);

	if (w == NULL || w->step != STEPS || c->limits->stall_ms == 0 || c->ops->stalled == NULL || c->state != CONN_OPEN ||
	    now - w->moved_at_ms < c->limits->stall_ms)
		return;
	w->moved_at_ms = now;
	c->ops->stalled(c->arg);
}

static void on_poll(void *arg)
{
	struct net_shared *s = arg;
	uint64_t now = loop_now_ms(s->loop);

	s->refs++; /* acked() may end the last connection */
	for (size_t i = 0; i < ARRAY_LEN(s->waiters); i++) {
		struct ack_watch *w;

		while ((w = s->waiters[i].first) != NULL && w->due_at <= now) {
			unsigned step = w->step < STEPS - 1 ? w->step + 1u : w->step;
			struct conn *c = w->conn;

			if (++w->polls == PATIENT_POLLS) {
				w->polls--;
				step = STEPS;
			}
			list(w, step);
			look(c);
			give_up(c);
		}
	}
	arm(s);
	net_shared_put(s);
}

/* All marks are in use: lets go of the one between whose neighbours the least lies. The oldest stays, so that there is always progress to
 * see. */
static void thin_out(struct ack_watch *w)
{
	uint64_t least = UINT64_MAX;
	size_t victim = 1;

	for (size_t i = 1; i + 1 < MARKS; i++) {
		uint64_t gap = w->marks[i + 1].wire - w->marks[i - 1].wire;

		if (gap <= least) {
			least = gap;
			victim = i;
		}
	}
	memmove(&w->marks[victim], &w->marks[victim + 1], (MARKS - 1 - victim) * sizeof w->marks[0]);
	w->nr_marks--;
}

void acks_flushed(struct conn *c)
{
	struct ack_watch *w = c->watch;

	if (w == NULL || (w->nr_marks != 0 && w->marks[w->nr_marks - 1].plain >= c->sent))
		return;
	if (w->nr_marks == MARKS)
		thin_out(w);
	w->marks[w->nr_marks++] = (struct ack_mark){.plain = c->sent, .wire = c->ch.ops->wire_out(&c->ch)};
	if (since_look_ms(c) < EAGER_MS) {
		if (!w->listed)
			list(w, BUSY_STEP);
		return;
	}
	look(c); /* near peers answer before the timer is worth its setting */
	w = c->watch;
	if (w && w->nr_marks != 0 && !w->listed)
		list(w, 0);
}

void conn_watch_acks(struct conn *c)
{
	if (c->state == CONN_ENDED || conn_position(c) == 0)
		return;
	if (c->watch == NULL) {
		c->watch = NEW(struct ack_watch);
		c->watch->conn = c;
		c->watch->moved_at_ms = (uint32_t)loop_now_ms(c->loop);
	}
	c->watch->wanted = conn_position(c);
	/* also when nothing is queued: the present position may be acknowledged already, and must be told */
	loop_task_queue(c->loop, &c->turn);
}
