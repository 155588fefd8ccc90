/*
 * One stream's life, and the public functions on it. Nothing here gives an event to the caller of such a function but svc_stream_finish and
 * stream_violation, which only run under input, flush, tick and break. What lacks memory returns an error; what must not be lost dooms
 * the link instead.
 */
#include "svcproto/engine.h"

#include <stdlib.h>
#include <string.h>

struct svc_stream *svc_stream_make(struct svc_link *l, uint32_t handle, const struct svc_id *id, enum svc_kind kind, bool ours)
{
	struct svc_stream *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	if (table_add(&l->table, handle, s) != 0) {
		free(s);
		return NULL;
	}
	s->link = l;
	s->handle = handle;
	s->id = *id;
	s->kind = (uint8_t)kind;
	s->ours = ours;
	s->state = ours ? STREAM_OPENING : STREAM_OFFERED;
	s->out.credit = l->peer.stream_window_bytes;
	s->in.credit = l->self.stream_window_bytes;
	TAILQ_INSERT_TAIL(&l->all, s, all);
	if (ours)
		l->nr_ours++;
	else
		l->nr_theirs++;
	return s;
}

/* The memory that a stream needs only while it lives. */
static void drop_payload(struct svc_stream *s)
{
	s->link->unsent -= s->out.unsent;
	window_out_clear(&s->out);
	window_in_clear(&s->in);
	free(s->condition);
	free(s->text);
	s->condition = s->text = NULL;
}

void svc_stream_dispose(struct svc_stream *s)
{
	drop_payload(s);
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

void stream_want_control(struct svc_stream *s)
{
	if (!s->in_control)
		TAILQ_INSERT_TAIL(&s->link->control, s, control);
	s->in_control = true;
}

static void leave_control(struct svc_stream *s)
{
	if (s->in_control)
		TAILQ_REMOVE(&s->link->control, s, control);
	s->in_control = s->ack_due = s->credit_due = false;
}

static void leave_aside(struct svc_stream *s)
{
	if (s->in_aside && s->state == STREAM_DRAINING)
		TAILQ_REMOVE(&s->link->draining, s, aside);
	else if (s->in_aside)
		TAILQ_REMOVE(&s->link->starved, s, aside);
	s->in_aside = false;
}

/* CREDIT for what was taken off the link, in worthwhile steps; withheld while the link as a whole puts too much together, but for one. */
void stream_give_credit(struct svc_stream *s)
{
	struct svc_link *l = s->link;

	if (s->paused || s->in_aside || s->in.due < l->self.stream_window_bytes / 4)
		return;
	if (s->join.active && l->join_bytes > l->join_soft) {
		if (l->favoured == NULL)
			l->favoured = s;
		if (l->favoured != s) {
			s->in_aside = true;
			TAILQ_INSERT_TAIL(&l->starved, s, aside);
			return;
		}
	}
	s->credit_due = true;
	stream_want_control(s);
}

/* The favour is free, or memory is: whoever waited longest goes on. */
static void feed_starved(struct svc_link *l)
{
	struct svc_stream *s;

	while ((l->favoured == NULL || l->join_bytes <= l->join_soft) && (s = TAILQ_FIRST(&l->starved)) != NULL) {
		leave_aside(s);
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
	feed_starved(l);
}

void stream_detach(struct svc_stream *s)
{
	struct svc_link *l = s->link;

	stream_sleep(s);
	leave_control(s);
	leave_aside(s);
	s->state = STREAM_GONE;
	stream_join_end(s);
	table_remove(&l->table, s->handle);
	TAILQ_REMOVE(&l->all, s, all);
	TAILQ_INSERT_TAIL(&l->dead, s, all);
	if (s->ours)
		l->nr_ours--;
	else
		l->nr_theirs--;
}

void svc_stream_finish(struct svc_stream *s, const char *condition, const char *text)
{
	bool told = s->told;

	stream_detach(s);
	s->told = true;
	if (!told)
		s->link->ops->closed(s->link->arg, s, condition, text);
}

/* Our CLOSE, after what is already acknowledged. Nothing but the answer concerns us from here. */
void stream_queue_close(struct svc_stream *s)
{
	struct svc_link *l = s->link;
	uint8_t body[2048];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	int rc = 0;

	if (s->ack_due)
		rc = link_put_ack(l, s->handle, s->in.row);
	message_put_close(&w, s->condition, s->text);
	if (rc == 0)
		rc = link_put(l, WIRE_CLOSE, s->handle, body, (uint32_t)w.n);
	if (rc != 0)
		link_doom(l, rc == SVCPROTO_E_FULL ? "the peer does not read" : "out of memory");
	stream_sleep(s);
	leave_control(s);
	leave_aside(s);
	s->state = STREAM_CLOSING;
	l->unsent -= s->out.unsent; /* what is not sent by now never will be */
	s->out.unsent = 0;
	stream_join_end(s);
}

static void set_reason(struct svc_stream *s, const char *condition, const char *text)
{
	/* Without memory the close goes without its reason. */
	s->condition = condition != NULL ? strdup(condition) : NULL;
	s->text = text != NULL ? strdup(text) : NULL;
}

/* The peer broke the rules of this stream, or we lack the memory for it: the owner hears of it now, the handle waits for the answer. */
void stream_violation(struct svc_stream *s, const char *condition, const char *text)
{
	uint64_t era = s->link->era;

	if (s->state == STREAM_CLOSING || s->state == STREAM_GONE)
		return;
	if (s->condition == NULL && s->text == NULL)
		set_reason(s, condition, text);
	stream_queue_close(s);
	s->told = true;
	s->link->ops->closed(s->link->arg, s, condition, text);
	if (s->link->era == era)
		drop_payload(s);
}

static uint32_t new_handle(struct svc_link *l)
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
	message_put_open(&w, o);
	if (w.overflow)
		return NULL;
	s = svc_stream_make(l, new_handle(l), &o->stream_id, o->kind, true);
	if (s == NULL)
		return NULL;
	s->data = data;
	link_enter(l);
	if (link_put(l, WIRE_OPEN, s->handle, body, (uint32_t)w.n) != 0) {
		stream_detach(s);
		s = NULL;
	}
	link_leave(l);
	return s;
}

/* Closed by somebody, or its epoch is just ending. */
static bool is_over(const struct svc_stream *s)
{
	return s->state >= STREAM_DRAINING || s->link->state != LINK_UP;
}

int svc_stream_accept(struct svc_stream *s, const char *full_jid)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	int rc;

	if (is_over(s) || s->state != STREAM_OFFERED)
		return is_over(s) ? SVCPROTO_E_CLOSED : SVCPROTO_E_INVALID;
	if (!props_text_fits(PROP_FULL_JID, full_jid) || (s->kind == SVC_KIND_CLIENT && full_jid == NULL))
		return SVCPROTO_E_INVALID;
	message_put_accept(&w, full_jid);
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

	if (is_over(s) || s->state != STREAM_OFFERED)
		return is_over(s) ? SVCPROTO_E_CLOSED : SVCPROTO_E_INVALID;
	if (!message_refuse_fits(r))
		return SVCPROTO_E_INVALID;
	message_put_refuse(&w, r);
	rc = link_put(l, WIRE_REFUSE, s->handle, body, (uint32_t)w.n);
	if (rc != 0)
		return rc;
	link_enter(l);
	stream_detach(s);
	link_leave(l);
	return 0;
}

static bool has_room(const struct svc_stream *s, uint64_t n)
{
	const struct svc_hello *self = &s->link->self;

	return s->out.nr == 0 || (s->out.nr < self->unacked_stanzas_max && s->out.bytes + n <= self->unacked_bytes_max);
}

static int send_check(struct svc_stream *s, size_t n)
{
	if (is_over(s))
		return SVCPROTO_E_CLOSED;
	if (s->state == STREAM_OFFERED)
		return SVCPROTO_E_INVALID;
	if (n == 0 || n > s->link->peer.stanza_bytes_max)
		return SVCPROTO_E_INVALID;
	if (has_room(s, n))
		return 0;
	s->was_full = true;
	return SVCPROTO_E_FULL;
}

static int push(struct svc_stream *s, const void *prefix, size_t prefix_n, const char *xml, size_t n, uint8_t flags, uint32_t *seq_out)
{
	int rc = send_check(s, n);

	if (rc == 0)
		rc = window_out_push(&s->out, prefix, prefix_n, xml, n, flags);
	if (rc != 0)
		return rc;
	s->link->unsent += prefix_n + n;
	if (seq_out != NULL)
		*seq_out = s->out.seq;
	stream_wake(s);
	return 0;
}

int svc_stream_send(struct svc_stream *s, const char *xml, size_t n, unsigned flags, uint32_t *seq_out)
{
	if ((flags & ~SVC_REPEATED) != 0)
		return SVCPROTO_E_INVALID;
	return push(s, NULL, 0, xml, n, (flags & SVC_REPEATED) != 0 ? WIRE_REPEATED : 0, seq_out);
}

int svc_stream_send_reject(struct svc_stream *s, const char *xml, size_t n, const char *type, const char *condition, uint32_t *seq_out)
{
	uint8_t prefix[WIRE_REJECT_MAX];
	size_t prefix_n = s->link->side == SVC_GATEWAY ? message_put_reject(prefix, type, condition) : 0;

	if (prefix_n == 0)
		return SVCPROTO_E_INVALID;
	return push(s, prefix, prefix_n, xml, n, WIRE_REJECT, seq_out);
}

void svc_stream_rejection(const struct svc_stream *s, const char **type, const char **condition)
{
	*type = s->link->reject_type;
	*condition = s->link->reject_condition;
}

/* rc of a window: the row grew, or nothing to say, or an error. */
static int acked(struct svc_stream *s, int rc)
{
	if (rc <= 0)
		return rc;
	s->ack_due = true;
	stream_want_control(s);
	return 0;
}

int svc_stream_ack(struct svc_stream *s, uint32_t seq)
{
	if (s->link->state != LINK_UP || s->state > STREAM_DRAINING)
		return SVCPROTO_E_CLOSED;
	return acked(s, window_in_ack(&s->in, seq));
}

int svc_stream_ack_through(struct svc_stream *s, uint32_t seq)
{
	if (s->link->state != LINK_UP || s->state > STREAM_DRAINING)
		return SVCPROTO_E_CLOSED;
	return acked(s, window_in_ack_through(&s->in, seq));
}

void svc_stream_pause(struct svc_stream *s, bool paused)
{
	s->paused = paused;
	if (is_over(s))
		return;
	if (!paused) {
		stream_give_credit(s);
		return;
	}
	s->credit_due = false;
	if (s->in_aside)
		leave_aside(s);
	if (s->link->favoured == s) { /* it will not go on: somebody else may */
		s->link->favoured = NULL;
		feed_starved(s->link);
	}
}

int svc_stream_close(struct svc_stream *s, const char *condition, const char *text)
{
	struct svc_link *l = s->link;

	if (is_over(s))
		return SVCPROTO_E_CLOSED;
	if (!props_text_fits(PROP_CONDITION, condition) || !props_text_fits(PROP_TEXT, text))
		return SVCPROTO_E_INVALID;
	set_reason(s, condition, text);
	if (s->state != STREAM_OPEN || s->out.unsent == 0) {
		stream_queue_close(s);
		return 0;
	}
	leave_aside(s);
	stream_join_end(s);
	s->state = STREAM_DRAINING;
	s->paused = false;
	s->in_aside = true;
	s->drain_until_ms = l->now_ms + SVC_DRAIN_MS;
	TAILQ_INSERT_TAIL(&l->draining, s, aside);
	return 0;
}

void svc_stream_unacked(struct svc_stream *s, void (*fn)(void *arg, uint32_t seq, const char *xml, size_t n), void *arg)
{
	for (const struct window_stanza *st = s->out.head; st != NULL; st = st->next)
		fn(arg, st->seq, st->bytes + st->prefix, st->n - st->prefix);
}

bool svc_stream_can_send(const struct svc_stream *s)
{
	return !is_over(s) && s->state != STREAM_OFFERED && has_room(s, 1);
}

void svc_stream_set_data(struct svc_stream *s, void *data)
{
	s->data = data;
}

void *svc_stream_data(const struct svc_stream *s)
{
	return s->data;
}

enum svc_kind svc_stream_kind(const struct svc_stream *s)
{
	return (enum svc_kind)s->kind;
}

struct svc_link *svc_stream_link(const struct svc_stream *s)
{
	return s->link;
}

const struct svc_id *svc_stream_id(const struct svc_stream *s)
{
	return &s->id;
}
