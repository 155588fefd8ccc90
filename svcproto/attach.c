/*
 * How a stream comes to a link again: what both sides share, and the gateway, which asks. REATTACH: the same two processes after a broken
 * link; both say where they are, acknowledge what that tells them, and go on from there, so that nothing is lost or repeated. RESUME: a
 * client over whatever gateway. The service decides: resume.c.
 */
#include "svcproto/engine.h"

static bool is_service(const struct svc_stream *s)
{
	return stream_side(s) == SVC_SERVICE;
}

/* What the other end may send from now on: a window, less what our owner has not taken. */
void attach_start_credit(struct svc_stream *s)
{
	s->in.due = s->paused ? s->in.due : 0;
	s->in.credit = s->self->stream_window_bytes - s->in.due;
}

static void position(const struct svc_stream *s, struct message_position *p)
{
	p->generation = s->generation;
	p->received = s->in.received;
	p->handled = s->in.row;
	p->credit = s->in.credit;
}

/* The outgoing side from where the other end says it is. NULL, or what is wrong with that. *news: something is acknowledged by it. */
const char *attach_take_position(struct svc_stream *s, const struct message_position *p, bool *news)
{
	uint32_t sent = window_out_sent(&s->out);
	int rc;

	if (seq_after(p->received, sent) || seq_after(s->out.acked, p->received))
		return "received what was not sent";
	if (seq_after(p->handled, p->received))
		return "handled what was not received";
	rc = window_out_ack(&s->out, p->handled);
	if (rc < 0)
		return "handled what was not sent";
	*news = rc > 0;
	if (*news)
		hub_acked(s);
	s->link->unsent -= s->out.unsent;
	window_out_rewind(&s->out, MUTATED(REATTACH_DROPS) ? sent : MUTATED(REATTACH_REPEATS) ? s->out.acked : p->received);
	s->link->unsent += s->out.unsent;
	s->out.credit = p->credit + (MUTATED(CREDIT_TWICE) ? s->self->stream_window_bytes : 0);
	return NULL;
}

void attach_queue(struct svc_stream *s)
{
	s->attach_due = true;
	stream_want_control(s);
}

/* Open on its link again, and everything that waited for that. */
void attach_go_on(struct svc_stream *s)
{
	stream_leave_aside(s);
	s->state = STREAM_OPEN;
	s->was_open = true;
	s->resumed = false;
	stream_wake(s);
	stream_give_credit(s); /* what its owner took meanwhile */
	if (s->ack_due)
		stream_want_control(s);
}

void attach_close_if_wanted(struct svc_stream *s)
{
	if (!s->close_wanted || s->state != STREAM_OPEN)
		return;
	s->close_wanted = false;
	stream_start_close(s);
}

uint8_t attach_body(struct svc_stream *s, struct props_writer *w)
{
	struct message_attached a = { .enabled = s->sm == SM_ON };
	struct svc_hub *h = s->hub;

	position(s, &a.at);
	stream_said(s);
	if (!is_service(s)) {
		message_put_reattach(w, &s->id, &a.at);
		return WIRE_REATTACH;
	}
	if (s->resume_due) {
		a.full_jid = h->ops->full_jid(h->arg, s);
		a.acked = s->out.acked;
		s->resume_due = false;
	}
	a.base_to_service = s->in_base;
	a.base_to_gateway = s->out_base;
	a.resume_s = s->resume_s;
	message_put_attached(w, &a);
	return WIRE_ATTACHED;
}

/* ---- REATTACH, at the gateway ---- */

/* A handle for it and a place in the line; without memory it waits on, and the service ends it or waits too. */
void attach_all(struct svc_link *l)
{
	struct svc_stream *s, *next;

	if (l->hub_peer == NULL)
		return;
	for (s = TAILQ_FIRST(&l->hub_peer->waiting); s != NULL; s = next) {
		next = TAILQ_NEXT(s, all);
		hub_unwait(s);
		if (stream_join_link(s, l, stream_new_handle(l), true) != 0) {
			link_doom(l, "out of memory");
			svc_stream_finish(s, SVC_LINK_LOST, "out of memory");
			continue;
		}
		s->state = STREAM_ATTACHING;
		s->was_open = false;
		stream_go_aside(s, &l->attaching);
		attach_start_credit(s);
		attach_queue(s);
	}
}

/* Its owner hears of the end, as of a link that did not come back. The service does when it has answered, by which it knows the handle:
 * DETACH, if the client can resume the stream, else CLOSE. */
static void give_up(struct svc_stream *s)
{
	struct svc_link *l = s->link;
	struct svc_hub *h = s->hub;
	const char *condition = s->close_wanted ? s->condition : SVC_LINK_LOST;
	const char *text = s->close_wanted ? s->text : "the service did not answer in time";
	uint64_t era = l->era;

	stream_leave_aside(s);
	if (s->told)
		return;
	if (!s->close_wanted)
		stream_set_reason(s, condition, text);
	s->detach_wanted = !s->close_wanted && svc_stream_resume_s(s) > 0;
	s->close_wanted = !s->detach_wanted;
	s->told = true;
	h->ops->closed(h->arg, s, condition, text);
	if (l->era != era)
		return;
	s->data = NULL;
	hub_leave_hungry(s);
	l->unsent -= s->out.unsent;
	window_out_clear(&s->out);
}

/* A callback may end the epoch, and with it the list; it changes nothing else of it. */
uint64_t attach_expire(struct svc_link *l, uint64_t next)
{
	struct svc_stream *s, *after;
	uint64_t era = l->era;

	link_enter(l);
	for (s = TAILQ_FIRST(&l->attaching); s != NULL && l->era == era; s = after) {
		after = TAILQ_NEXT(s, in_aside);
		if (s->until_ms <= l->hub->now_ms && !MUTATED(ASKS_FOR_EVER))
			give_up(s);
		else
			next = s->until_ms < next ? s->until_ms : next;
	}
	link_leave(l);
	return next;
}

/* ---- RESUME, at the gateway ---- */

struct svc_stream *svc_stream_resume(struct svc_link *l, const struct svc_resume *r, void *data)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	struct svc_stream *s;

	if (l->side != SVC_GATEWAY || l->state != LINK_UP || l->nr_ours >= l->peer.streams_max || !message_resume_fits(r) ||
	    l->outbox.n - l->outbox.head > LINK_CONTROL_MAX / 2)
		return NULL;
	message_put_resume(&w, r);
	if (w.overflow)
		return NULL;
	s = svc_stream_make(l, stream_new_handle(l), &r->stream_id, SVC_KIND_CLIENT, true);
	if (s == NULL)
		return NULL;
	s->data = data;
	s->state = STREAM_ATTACHING;
	s->resumed = true;
	link_enter(l);
	if (link_put(l, WIRE_RESUME, s->handle, body, (uint32_t)w.n) != 0) {
		stream_remove(s);
		s = NULL;
	}
	link_leave(l);
	return s;
}

void attach_refused(struct svc_stream *s, const struct svc_refusal *r)
{
	struct svc_link *l = s->link;

	if (!s->resumed || s->close_wanted || s->told) {
		svc_stream_finish(s, s->close_wanted ? s->condition : r->condition, s->close_wanted ? s->text : r->text);
		return;
	}
	stream_remove(s);
	s->told = true;
	l->ops->refused(l->arg, s, r);
}

/* ---- ATTACHED, at the gateway ---- */

static const char *take_numbers(struct svc_stream *s, const struct message_attached *a)
{
	if (a->full_jid == NULL || !a->enabled)
		return "ATTACHED without what a resumption needs";
	if (a->at.handled != a->at.received)
		return "ATTACHED before all is handled";
	s->out.seq = s->out.acked = s->out.reached = a->at.received;
	s->out.credit = a->at.credit;
	s->in.received = s->in.row = s->in_said = a->acked;
	s->in_hurry = 0;
	s->out_base = a->base_to_service;
	s->in_base = a->base_to_gateway;
	s->resume_s = a->resume_s;
	s->generation = a->at.generation;
	s->sm = SM_ON;
	s->counted = true;
	return NULL;
}

static void resumed(struct svc_stream *s, const struct message_attached *a)
{
	struct svc_link *l = s->link;

	attach_go_on(s);
	if (s->detach_wanted)
		sm_start_detach(s);
	else if (s->close_wanted)
		attach_close_if_wanted(s);
	else
		l->ops->resumed(l->arg, s, a->full_jid);
}

static void reattached(struct svc_stream *s, const struct message_attached *a, bool news)
{
	struct svc_link *l = s->link;
	struct svc_hub *h = s->hub;

	if (a->enabled && s->sm == SM_ASKED) { /* ENABLED went down with the link */
		s->in_base = a->base_to_gateway;
		s->resume_s = a->resume_s;
		s->sm = SM_PENDING;
	}
	attach_go_on(s);
	if (s->detach_wanted) {
		sm_start_detach(s);
		return;
	}
	if (s->told) {
		attach_close_if_wanted(s);
		return;
	}
	sm_ask_again(s);
	if (!s->close_wanted && h->ops->attached != NULL)
		h->ops->attached(h->arg, s, NULL);
	if (news && s->link == l)
		stream_tell_acked(s);
	sm_received(s);
	if (s->link == l)
		attach_close_if_wanted(s);
}

const char *attach_attached(struct svc_stream *s, const struct wire_frame *f)
{
	struct message_attached a;
	struct message_text t;
	const char *wrong;
	bool news = false, again = !s->resumed;
	int rc = message_get_attached(f, &t, &a);

	if (rc != 0)
		return wire_strerror(rc);
	if (s->state == STREAM_CLOSING && !s->was_open) { /* crossed our CLOSE */
		s->was_open = true;
		return NULL;
	}
	if (s->state != STREAM_ATTACHING)
		return "ATTACHED of a stream that was not to be";
	if (!again)
		wrong = take_numbers(s, &a);
	else if (a.at.generation != s->generation)
		wrong = "ATTACHED with another generation";
	else
		wrong = attach_take_position(s, &a.at, &news);
	if (wrong != NULL)
		stream_violation(s, "policy-violation", wrong);
	else if (again)
		reattached(s, &a, news);
	else
		resumed(s, &a);
	return NULL;
}
