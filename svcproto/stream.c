/*
 * One stream's life: opened, on a link, off it again, closed. Nothing here gives an event to the caller of a public function but
 * svc_stream_finish and stream_violation, which only run under input, flush, tick and break. What lacks memory returns an error; what must
 * not be lost dooms the link instead.
 */
#include "svcproto/engine.h"

#include <stdlib.h>
#include <string.h>

/* What the far end's own peer takes may be less than what the far end does. */
void stream_narrow(struct svc_stream *s)
{
	if (s->accepted_bytes_max != 0 && s->accepted_bytes_max < s->stanza_bytes_max)
		s->stanza_bytes_max = s->accepted_bytes_max;
}

int stream_join_link(struct svc_stream *s, struct svc_link *l, uint32_t handle, bool ours)
{
	if (table_add(&l->table, handle, s) != 0)
		return SVCPROTO_E_NOMEM;
	s->link = l;
	s->handle = handle;
	s->our_handle = ours;
	s->stanza_bytes_max = l->peer.stanza_bytes_max;
	stream_narrow(s);
	s->out.credit = l->peer.stream_window_bytes;
	s->in.credit = l->self.stream_window_bytes;
	l->unsent += s->out.unsent;
	TAILQ_INSERT_TAIL(&l->all, s, all);
	if (ours)
		l->nr_ours++;
	else
		l->nr_theirs++;
	return 0;
}

void stream_leave_link(struct svc_stream *s)
{
	struct svc_link *l = s->link;

	stream_sleep(s);
	stream_leave_control(s);
	stream_leave_aside(s);
	s->in.due -= s->in.due < s->join.n ? s->in.due : s->join.n; /* half a stanza is dropped: its bytes come again */
	if (!MUTATED(HALF_KEPT))
		stream_join_end(s);
	table_remove(&l->table, s->handle);
	TAILQ_REMOVE(&l->all, s, all);
	l->unsent -= s->out.unsent;
	if (s->our_handle)
		l->nr_ours--;
	else
		l->nr_theirs--;
	s->link = NULL;
}

struct svc_stream *svc_stream_make(struct svc_link *l, uint32_t handle, const struct svc_id *id, enum svc_kind kind, bool ours)
{
	struct svc_hub *hub = l->hub;
	struct svc_stream *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->hub = hub;
	s->self = hub != NULL ? &hub->self : &l->self;
	s->out.total = hub != NULL ? &hub->held_bytes : NULL;
	s->id = *id;
	s->kind = (uint8_t)kind;
	s->state = ours ? STREAM_OPENING : STREAM_OFFERED;
	s->generation = 1;
	s->ours = ours;
	if (hub != NULL && hub->side == SVC_SERVICE && ids_add(&hub->ids, s) != 0) {
		free(s);
		return NULL;
	}
	if (stream_join_link(s, l, handle, ours) == 0)
		return s;
	if (hub != NULL && hub->side == SVC_SERVICE)
		ids_remove(&hub->ids, s);
	free(s);
	return NULL;
}

void stream_drop_payload(struct svc_stream *s)
{
	if (s->link != NULL)
		s->link->unsent -= s->out.unsent;
	window_out_clear(&s->out);
	window_in_clear(&s->in);
	free(s->condition);
	free(s->text);
	s->condition = s->text = NULL;
}

void svc_stream_dispose(struct svc_stream *s)
{
	stream_drop_payload(s);
	free(s);
}

uint32_t stream_floor(const struct svc_stream *s)
{
	uint32_t quarter = s->link->peer.stream_window_bytes / 4;

	return quarter < LINK_FLOOR_BYTES ? quarter : LINK_FLOOR_BYTES;
}

void stream_wake(struct svc_stream *s)
{
	if (s->in_ready || (s->state != STREAM_OPEN && s->state != STREAM_DRAINING) || !chunk_ready(&s->out, stream_floor(s)))
		return;
	s->in_ready = true;
	TAILQ_INSERT_TAIL(&s->link->ready, s, ready);
}

void stream_sleep(struct svc_stream *s)
{
	if (s->in_ready)
		TAILQ_REMOVE(&s->link->ready, s, ready);
	s->in_ready = false;
}

static void leave_line(struct svc_stream *s)
{
	if (s->in_control)
		TAILQ_REMOVE(s->in_lazy ? &s->link->lazy : &s->link->control, s, control);
	s->in_control = s->in_lazy = false;
}

void stream_want_control(struct svc_stream *s)
{
	if (s->in_control && !s->in_lazy)
		return;
	leave_line(s);
	TAILQ_INSERT_TAIL(&s->link->control, s, control);
	s->in_control = true;
}

void stream_want_company(struct svc_stream *s)
{
	struct svc_link *l = s->link;

	if (s->in_control)
		return;
	if (TAILQ_EMPTY(&l->lazy))
		l->lazy_at_ms = LINK_UNTIMED;
	TAILQ_INSERT_TAIL(&l->lazy, s, control);
	s->in_control = s->in_lazy = true;
}

/* The peer may come to its bound before this ACK would leave, or waits for the last one to end the stream. Of several chunks: what counts
 * there are bytes, and one more batch costs little beside them. What else keeps the peer from sending only the peer can know, and says. */
bool stream_ack_hurries(const struct svc_stream *s)
{
	const struct svc_hello *peer = &s->link->peer;
	uint32_t by_bytes = peer->unacked_bytes_max / SVC_CHUNK_MAX;
	uint32_t bound = by_bytes < peer->unacked_stanzas_max ? by_bytes : peer->unacked_stanzas_max;

	return s->state != STREAM_OPEN || s->in_hurry > 0 || s->in.received - s->in_said >= bound / 2;
}

void stream_hurry_next(struct svc_stream *s)
{
	uint32_t nr = s->in.received + 1 - s->in_said;

	s->in_hurry = nr < UINT16_MAX ? (uint16_t)nr : UINT16_MAX;
}

void stream_said(struct svc_stream *s)
{
	uint32_t nr = s->in.row - s->in_said;

	s->in_hurry = nr < s->in_hurry ? (uint16_t)(s->in_hurry - nr) : 0;
	s->in_said = s->in.row;
}

void stream_want_ack(struct svc_stream *s)
{
	if (stream_ack_hurries(s))
		stream_want_control(s);
	else
		stream_want_company(s);
}

void stream_leave_control(struct svc_stream *s)
{
	leave_line(s);
	s->ack_due = s->credit_due = s->attach_due = false;
}

void stream_leave_aside(struct svc_stream *s)
{
	if (s->aside != NULL)
		TAILQ_REMOVE(s->aside, s, in_aside);
	s->aside = NULL;
}

void stream_go_aside(struct svc_stream *s, struct stream_list *list)
{
	stream_leave_aside(s);
	s->aside = list;
	TAILQ_INSERT_TAIL(list, s, in_aside);
}

/* CREDIT for what was taken off the link, in worthwhile steps; withheld while the link as a whole puts too much together, but for one. */
void stream_give_credit(struct svc_stream *s)
{
	struct svc_link *l = s->link;

	if (s->paused || s->aside == &l->starved || s->in.due < l->self.stream_window_bytes / 4)
		return;
	if (s->join.active && l->join_bytes > l->join_soft) {
		if (l->favoured == NULL)
			l->favoured = s;
		if (l->favoured != s) {
			s->credit_due = false; /* also what was to leave with company */
			stream_go_aside(s, &l->starved);
			return;
		}
	}
	s->credit_due = true;
	/* Until half of the window is due the peer has as much left, so that nothing it sends has to wait. */
	if (s->join.active || s->in.due >= l->self.stream_window_bytes / 2 || s->state != STREAM_OPEN)
		stream_want_control(s);
	else
		stream_want_company(s);
}

/* The favour is free, or memory is: whoever waited longest goes on. */
void stream_feed_starved(struct svc_link *l)
{
	struct svc_stream *s;

	while ((l->favoured == NULL || l->join_bytes <= l->join_soft) && (s = TAILQ_FIRST(&l->starved)) != NULL) {
		stream_leave_aside(s);
		stream_give_credit(s);
	}
}

void stream_join_end(struct svc_stream *s)
{
	struct svc_link *l = s->link;

	l->join_bytes -= s->join.cap;
	chunk_join_clear(&s->join);
	if (l->favoured == s)
		l->favoured = NULL;
	stream_feed_starved(l);
}

void stream_remove(struct svc_stream *s)
{
	struct stream_list *dead = s->link != NULL ? &s->link->dead : &s->hub->dead;

	if (s->link != NULL)
		stream_leave_link(s);
	else
		hub_unwait(s);
	if (s->hub != NULL && s->hub->side == SVC_SERVICE && !s->nameless)
		ids_remove(&s->hub->ids, s);
	hub_leave_hungry(s);
	s->state = STREAM_GONE;
	TAILQ_INSERT_TAIL(dead, s, all);
}

void svc_stream_finish(struct svc_stream *s, const char *condition, const char *text)
{
	struct svc_link *l = s->link;
	struct svc_hub *h = s->hub;
	bool told = s->told;

	stream_remove(s);
	s->told = true;
	if (!told && l != NULL)
		l->ops->closed(l->arg, s, condition, text);
	else if (!told)
		h->ops->closed(h->arg, s, condition, text);
}

/* Our CLOSE, after what is already acknowledged. Nothing but the answer concerns us from here. */
void stream_queue_close(struct svc_stream *s)
{
	struct svc_link *l = s->link;
	uint8_t body[2048];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	int rc = 0;

	if (s->ack_due && !s->attach_due) /* ATTACHED would have said it, and has not left */
		rc = link_put_ack(l, s->handle, s->in.row);
	message_put_close(&w, s->condition, s->text);
	if (rc == 0)
		rc = link_put(l, WIRE_CLOSE, s->handle, body, (uint32_t)w.n);
	if (rc != 0)
		link_doom(l, rc == SVCPROTO_E_FULL ? "the peer does not read" : "out of memory");
	stream_sleep(s);
	stream_leave_control(s);
	stream_leave_aside(s);
	s->state = STREAM_CLOSING;
	l->unsent -= s->out.unsent; /* what is not sent by now never will be */
	s->out.unsent = 0;
	stream_join_end(s);
}

void stream_set_reason(struct svc_stream *s, const char *condition, const char *text)
{
	/* Without memory the close goes without its reason. */
	s->condition = condition != NULL ? strdup(condition) : NULL;
	s->text = text != NULL ? strdup(text) : NULL;
}

/* The peer broke the rules of this stream, or we lack the memory for it: the owner hears of it now, the handle waits for the answer. */
void stream_violation(struct svc_stream *s, const char *condition, const char *text)
{
	uint64_t era = s->link->era;
	bool told = s->told;

	if (s->state == STREAM_CLOSING || s->state == STREAM_GONE)
		return;
	if (s->condition == NULL && s->text == NULL)
		stream_set_reason(s, condition, text);
	stream_queue_close(s);
	hub_leave_hungry(s);
	s->told = true;
	if (!told)
		s->link->ops->closed(s->link->arg, s, condition, text);
	if (s->link->era == era)
		stream_drop_payload(s);
}

uint32_t stream_new_handle(struct svc_link *l)
{
	uint32_t handle;

	do {
		handle = l->next_handle;
		l->next_handle += 2;
		if (l->next_handle == 0)
			l->next_handle = 2;
	} while (table_find(&l->table, handle) != NULL);
	return handle;
}

struct svc_stream *svc_stream_open(struct svc_link *l, const struct svc_open *o, void *data)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	struct svc_stream *s;

	if (l->state != LINK_UP || l->nr_ours >= l->peer.streams_max || !message_open_fits(o) ||
	    l->outbox.n - l->outbox.head > LINK_CONTROL_MAX / 2)
		return NULL;
	if (!message_may_open(o->kind, l->side))
		return NULL;
	if (l->hub != NULL && ids_find(&l->hub->ids, &o->stream_id) != NULL)
		return NULL;
	message_put_open(&w, o);
	if (w.overflow)
		return NULL;
	s = svc_stream_make(l, stream_new_handle(l), &o->stream_id, o->kind, true);
	if (s == NULL)
		return NULL;
	s->data = data;
	link_enter(l);
	if (link_put(l, WIRE_OPEN, s->handle, body, (uint32_t)w.n) != 0) {
		stream_remove(s);
		s = NULL;
	}
	link_leave(l);
	return s;
}

bool stream_is_over(const struct svc_stream *s)
{
	return s->state >= STREAM_DRAINING || s->close_wanted || s->detach_wanted || (s->link != NULL && s->link->state != LINK_UP);
}

int svc_stream_accept(struct svc_stream *s, const char *full_jid)
{
	return svc_stream_accept_narrow(s, full_jid, 0);
}

int svc_stream_accept_narrow(struct svc_stream *s, const char *full_jid, uint32_t stanza_bytes_max)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	int rc;

	if (stream_is_over(s) || s->state != STREAM_OFFERED)
		return stream_is_over(s) ? SVCPROTO_E_CLOSED : SVCPROTO_E_INVALID;
	if (!props_text_fits(PROP_FULL_JID, full_jid) || (s->kind == SVC_KIND_CLIENT && full_jid == NULL))
		return SVCPROTO_E_INVALID;
	message_put_accept(&w, full_jid, stanza_bytes_max);
	rc = link_put(s->link, WIRE_ACCEPT, s->handle, body, (uint32_t)w.n);
	if (rc != 0)
		return rc;
	s->state = STREAM_OPEN;
	s->was_open = true;
	return 0;
}

int svc_stream_refuse(struct svc_stream *s, const struct svc_refusal *r)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	struct svc_link *l = s->link;
	int rc;

	if (stream_is_over(s) || s->state != STREAM_OFFERED)
		return stream_is_over(s) ? SVCPROTO_E_CLOSED : SVCPROTO_E_INVALID;
	if (!message_refuse_fits(r))
		return SVCPROTO_E_INVALID;
	message_put_refuse(&w, r);
	rc = link_put(l, WIRE_REFUSE, s->handle, body, (uint32_t)w.n);
	if (rc != 0)
		return rc;
	link_enter(l);
	stream_remove(s);
	link_leave(l);
	return 0;
}

/* What must wait for the other end: until there is a link, or until it has answered. */
static bool must_wait(const struct svc_stream *s)
{
	return s->state == STREAM_WAITING || (s->state == STREAM_ATTACHING && s->link->side == SVC_GATEWAY);
}

void stream_start_close(struct svc_stream *s)
{
	struct svc_link *l = s->link;

	if (s->out.unsent == 0) {
		stream_queue_close(s);
		return;
	}
	stream_leave_aside(s);
	stream_join_end(s);
	s->state = STREAM_DRAINING;
	s->paused = false;
	s->until_ms = l->now_ms + SVC_DRAIN_MS;
	if (s->in_lazy)
		stream_want_control(s);
	stream_go_aside(s, &l->draining);
	stream_wake(s);
}

int svc_stream_close(struct svc_stream *s, const char *condition, const char *text)
{
	if (stream_is_over(s))
		return SVCPROTO_E_CLOSED;
	if (!props_text_fits(PROP_CONDITION, condition) || !props_text_fits(PROP_TEXT, text))
		return SVCPROTO_E_INVALID;
	stream_set_reason(s, condition, text);
	hub_leave_hungry(s);
	if (must_wait(s)) {
		s->close_wanted = true;
		if (s->place == PLACE_DETACHED) { /* for nobody: it ends with the next tick */
			s->until_ms = 0;
			hub_soon(s->hub);
		}
	} else if (s->state == STREAM_OPEN) {
		stream_start_close(s);
	} else {
		stream_queue_close(s);
	}
	return 0;
}
