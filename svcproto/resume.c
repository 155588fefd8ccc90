/*
 * The service's side of a stream that comes to a link again. It alone decides who has a stream: the last to resume, with the next
 * generation, which fences the gateway that had it before. A resumption is answered only when all that was ever received is handled,
 * because the client need not send again exactly what it sent before.
 */
#include "svcproto/engine.h"

#include <stdlib.h>
#include <string.h>

static void refuse(struct svc_link *l, uint32_t handle, const char *condition, const char *text)
{
	stream_refuse_handle(l, handle, &(struct svc_refusal){ .condition = condition, .text = text, .stream_error = true });
}

static const char *on_reattach(struct svc_link *l, const struct wire_frame *f)
{
	struct message_position at;
	struct svc_stream *s;
	struct svc_hub *h = l->hub;
	bool news = false;
	const char *wrong;
	struct svc_id id;
	int rc = message_get_reattach(f, &id, &at);

	if (rc != 0)
		return wire_strerror(rc);
	if (l->held == 0)
		return "more REATTACHes than WELCOME told";
	l->held--;
	s = h != NULL ? ids_find(&h->ids, &id) : NULL;
	if (s == NULL) {
		refuse(l, f->stream, SVC_LINK_LOST, "the stream has ended");
		return NULL;
	}
	if (MUTATED(NO_FENCE) && s->state == STREAM_OPEN)
		stream_leave_link(s);
	else if (s->state != STREAM_WAITING || (!MUTATED(NO_FENCE) && (s->peer != l->hub_peer || s->generation != at.generation))) {
		refuse(l, f->stream, "conflict", "the client went on elsewhere");
		return NULL;
	}
	hub_unwait(s);
	if (l->nr_theirs >= l->self.streams_max || stream_join_link(s, l, f->stream, false) != 0) {
		refuse(l, f->stream, "resource-constraint", NULL);
		svc_stream_finish(s, "resource-constraint", NULL);
		return NULL;
	}
	attach_start_credit(s);
	wrong = attach_take_position(s, &at, &news);
	s->state = STREAM_OPEN;
	if (wrong != NULL) {
		stream_violation(s, "policy-violation", wrong);
		return NULL;
	}
	attach_go_on(s);
	attach_queue(s);
	if (!s->close_wanted && h->ops->attached != NULL)
		h->ops->attached(h->arg, s, NULL);
	if (news && s->link == l)
		stream_tell_acked(s);
	if (s->link == l)
		attach_close_if_wanted(s);
	return NULL;
}

/* Whoever had the stream is told to close; what still comes from there is dropped. Without memory for that, that link ends. */
static void fence(struct svc_stream *s)
{
	struct svc_link *old = s->link;
	uint32_t handle = s->handle, row = s->in.row;
	bool ours = s->our_handle, ack_due = s->ack_due && !s->attach_due;
	struct svc_stream *stub;

	stream_leave_link(s);
	stub = calloc(1, sizeof(*stub));
	if (stub != NULL) {
		stub->hub = s->hub;
		stub->self = s->self;
		stub->kind = s->kind;
		stub->told = stub->nameless = stub->was_open = true;
	}
	if (stub == NULL || stream_join_link(stub, old, handle, ours) != 0) {
		free(stub);
		link_doom(old, "out of memory");
		return;
	}
	stub->state = STREAM_OPEN;
	stub->in.row = row;
	stub->ack_due = ack_due;
	stream_set_reason(stub, "conflict", "the client went on elsewhere");
	stream_queue_close(stub);
}

static bool is_whose(const struct svc_hub *h, const struct svc_stream *s, const char *bare_jid)
{
	const char *full = h->ops->full_jid(h->arg, s);
	size_t n = strlen(bare_jid);

	return full != NULL && strncmp(full, bare_jid, n) == 0 && (full[n] == '/' || full[n] == '\0');
}

static bool may_resume(const struct svc_hub *h, const struct svc_stream *s, const struct svc_resume *r)
{
	return s->kind == SVC_KIND_CLIENT && s->sm == SM_ON && s->resume_s > 0 && !s->close_wanted &&
	       (s->state == STREAM_OPEN || s->state == STREAM_WAITING || s->state == STREAM_ATTACHING) && is_whose(h, s, r->bare_jid);
}

/* The last stanza that the client has, by its h. false: it claims more than it was sent. It may say less than it said before, a little. */
static bool client_has(const struct svc_stream *s, uint32_t h, uint32_t *acked)
{
	uint32_t seq = s->out_base + h;

	*acked = s->out.acked;
	if (seq - s->out.acked <= s->out.reached - s->out.acked)
		*acked = seq;
	else if (s->out.acked - seq > 2 * MESSAGE_UNACKED_MAX)
		return false;
	return true;
}

static void refuse_too_high(struct svc_link *l, const struct svc_stream *s, uint32_t handle)
{
	struct svc_refusal r = { .condition = "undefined-condition",
				 .text = "handled-count-too-high",
				 .stream_error = true,
				 .counted = true,
				 .h = seq_count_from(s->in_base, s->in.row, s->in.received),
				 .sent = seq_count_from(s->out_base, s->out.reached, s->out.seq) };

	stream_refuse_handle(l, handle, &r);
}

static void not_there(struct svc_link *l, uint32_t handle)
{
	stream_refuse_handle(l, handle, &(struct svc_refusal){ .type = "cancel", .condition = "item-not-found" });
}

/* Off wherever it was, its owner knowing. false: the owner did something about it. */
static bool take_up(struct svc_stream *s)
{
	struct svc_hub *h = s->hub;
	bool on_link = s->link != NULL;
	uint32_t generation = ++s->generation;

	if (on_link)
		fence(s);
	else
		hub_unwait(s);
	s->expires_ms = h->now_ms + (uint64_t)s->resume_s * 1000;
	hub_detach(s);
	if (on_link && h->ops->detached != NULL)
		h->ops->detached(h->arg, s);
	if (s->place != PLACE_DETACHED || s->generation != generation || s->close_wanted)
		return false;
	hub_unwait(s);
	return true;
}

static void resume(struct svc_link *l, struct svc_stream *s, uint32_t handle, uint32_t acked, const struct svc_resume *r)
{
	struct svc_hub *h = s->hub;
	int rc;

	if (!take_up(s)) {
		not_there(l, handle);
		return;
	}
	if (stream_join_link(s, l, handle, false) != 0) {
		refuse(l, handle, "resource-constraint", NULL);
		hub_detach(s);
		return;
	}
	s->state = STREAM_ATTACHING;
	s->resumed = true;
	s->was_open = true;
	attach_start_credit(s);
	s->until_ms = l->now_ms + SVC_DRAIN_MS;
	stream_go_aside(s, &l->draining);
	l->unsent -= s->out.unsent;
	rc = window_out_resume(&s->out, acked);
	if (MUTATED(RESUME_SKIPS))
		window_out_rewind(&s->out, s->out.reached);
	l->unsent += s->out.unsent;
	if (h->ops->attached != NULL)
		h->ops->attached(h->arg, s, r);
	if (rc > 0 && s->link == l)
		stream_tell_acked(s);
	if (s->link == l && s->state == STREAM_ATTACHING)
		resume_handled(s);
}

void resume_handled(struct svc_stream *s)
{
	if (MUTATED(RESUME_UNHANDLED) && s->in.row != s->in.received)
		s->in.received = s->in.row;
	if (s->in.row != s->in.received)
		return;
	stream_leave_aside(s);
	s->resume_due = true;
	attach_go_on(s);
	attach_queue(s);
}

void resume_expired(struct svc_stream *s)
{
	struct svc_refusal r = { .type = "wait", .condition = "resource-constraint", .text = "what the client sent is not handled yet" };
	struct svc_link *l = s->link;
	struct svc_hub *h = s->hub;

	stream_refuse_handle(l, s->handle, &r);
	stream_leave_link(s);
	hub_detach(s);
	if (h->ops->detached != NULL)
		h->ops->detached(h->arg, s);
}

static const char *on_resume(struct svc_link *l, const struct wire_frame *f)
{
	struct message_text t;
	struct svc_stream *s;
	struct svc_resume r;
	uint32_t acked;
	int rc = message_get_resume(f, &t, &r);

	if (rc != 0)
		return wire_strerror(rc);
	s = l->hub != NULL ? ids_find(&l->hub->ids, &r.stream_id) : NULL;
	if (s == NULL || !may_resume(l->hub, s, &r))
		not_there(l, f->stream);
	else if (!client_has(s, r.h, &acked))
		refuse_too_high(l, s, f->stream);
	else if (l->nr_theirs >= l->self.streams_max)
		refuse(l, f->stream, "resource-constraint", NULL);
	else
		resume(l, s, f->stream, acked, &r);
	return NULL;
}

const char *resume_input(struct svc_link *l, const struct wire_frame *f)
{
	const char *wrong;

	if ((f->stream & 1) != 0)
		return "REATTACH or RESUME with a handle of the service";
	if (table_find(&l->table, f->stream) != NULL)
		return "REATTACH or RESUME with a handle in use";
	if (f->type == WIRE_RESUME)
		return on_resume(l, f);
	wrong = on_reattach(l, f);
	if (wrong == NULL && l->held == 0)
		hub_unclaimed(l);
	return wrong;
}
