/*
 * What arrives for a stream. A wrong move on one stream ends that stream with CLOSE; a frame that shows that the two ends disagree about
 * which streams there are ends the epoch. Nothing the peer sends is an assertion here. A callback may end the stream or the whole epoch:
 * the state is read again after each.
 */
#include "svcproto/engine.h"

#define POLICY_VIOLATION "policy-violation"

static const char handle_unknown[] = "a frame for a stream that is not there";

void stream_refuse_handle(struct svc_link *l, uint32_t handle, const struct svc_refusal *r)
{
	uint8_t body[512];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	int rc;

	message_put_refuse(&w, r);
	rc = link_put(l, WIRE_REFUSE, handle, body, (uint32_t)w.n);
	if (rc != 0)
		link_doom(l, rc == SVCPROTO_E_FULL ? "the peer does not read" : "out of memory");
}

static void refuse_open(struct svc_link *l, uint32_t handle, const char *type, const char *condition)
{
	stream_refuse_handle(l, handle, &(struct svc_refusal){ .type = type, .condition = condition });
}

static const char *on_open(struct svc_link *l, const struct wire_frame *f)
{
	bool odd = (f->stream & 1) != 0;
	struct message_text t;
	struct svc_stream *s;
	struct svc_open o;
	int rc;

	if (odd != (l->side == SVC_GATEWAY))
		return "OPEN with a handle of the other side";
	if (table_find(&l->table, f->stream) != NULL)
		return "OPEN with a handle in use";
	rc = message_get_open(f, &t, &o);
	if (rc < 0)
		return wire_strerror(rc);
	if (rc == 0 && !message_may_open(o.kind, link_peer_side(l)))
		return "OPEN of a kind that only the other side opens";
	if (rc > 0) {
		refuse_open(l, f->stream, "cancel", "feature-not-implemented");
		return NULL;
	}
	if (l->hub != NULL && ids_find(&l->hub->ids, &o.stream_id) != NULL) {
		refuse_open(l, f->stream, "cancel", "conflict");
		return NULL;
	}
	s = l->nr_theirs < l->self.streams_max ? svc_stream_make(l, f->stream, &o.stream_id, o.kind, false) : NULL;
	if (s == NULL)
		refuse_open(l, f->stream, "wait", "resource-constraint");
	else
		l->ops->open(l->arg, s, &o);
	return NULL;
}

static const char *on_accept(struct svc_link *l, struct svc_stream *s, const struct wire_frame *f)
{
	struct message_text t;
	const char *full_jid;
	uint32_t bytes_max;
	int rc = message_get_accept(f, &t, &full_jid, &bytes_max);

	if (rc != 0)
		return wire_strerror(rc);
	if (s->our_handle && s->state == STREAM_CLOSING && !s->was_open) { /* crossed our CLOSE */
		s->was_open = true;
		return NULL;
	}
	if (s->state != STREAM_OPENING)
		return "ACCEPT of a stream that was not offered";
	if (s->kind == SVC_KIND_CLIENT && full_jid == NULL) {
		stream_violation(s, POLICY_VIOLATION, "ACCEPT without a full JID");
		return NULL;
	}
	s->state = STREAM_OPEN;
	s->was_open = true;
	s->accepted_bytes_max = bytes_max;
	stream_narrow(s);
	stream_wake(s);
	l->ops->accepted(l->arg, s, full_jid);
	return NULL;
}

static const char *on_refuse(struct svc_link *l, struct svc_stream *s, const struct wire_frame *f)
{
	struct message_text t;
	struct svc_refusal r;
	int rc = message_get_refuse(f, &t, &r);

	if (rc != 0)
		return wire_strerror(rc);
	if (s->our_handle && s->state == STREAM_CLOSING && !s->was_open) { /* crossed our CLOSE, and answers it */
		svc_stream_finish(s, s->condition, s->text);
		return NULL;
	}
	if (s->state == STREAM_ATTACHING && l->side == SVC_GATEWAY) {
		attach_refused(s, &r);
		return NULL;
	}
	if (s->state != STREAM_OPENING)
		return "REFUSE of a stream that was not offered";
	stream_remove(s);
	s->told = true;
	l->ops->refused(l->arg, s, &r);
	return NULL;
}

static unsigned stanza_flags(uint8_t flags)
{
	return ((flags & WIRE_REPEATED) != 0 ? SVC_REPEATED : 0u) | ((flags & WIRE_REJECT) != 0 ? SVC_REJECT : 0u);
}

/* A whole stanza; a rejected one has its prefix in front, which was checked with the first chunk. */
static void deliver(struct svc_link *l, struct svc_stream *s, uint8_t flags, const char *p, uint32_t n)
{
	struct message_text t;
	size_t prefix = 0;

	if ((flags & WIRE_REJECT) != 0 &&
	    message_get_reject((const uint8_t *)p, n, &t, &l->reject_type, &l->reject_condition, &prefix) != 0)
		return;
	s->in.received++;
	if (s->in_lazy && s->ack_due && stream_ack_hurries(s))
		stream_want_control(s);
	if (MUTATED(ACK_EARLY) && l->side == SVC_SERVICE) {
		s->in.row = s->in.received;
		s->ack_due = true;
		stream_want_control(s);
	}
	l->ops->stanza(l->arg, s, s->in.received, stanza_flags(flags), p + prefix, n - prefix);
	l->reject_type = l->reject_condition = NULL;
	sm_received(s);
}

/* NULL when a chunk may be taken, else what is wrong with it. */
static const char *data_wrong(const struct svc_link *l, const struct svc_stream *s, const struct wire_frame *f)
{
	bool first = (f->flags & WIRE_FIRST) != 0;

	if (f->length > s->in.credit)
		return "more than the credit";
	if (f->sequence != s->in.received + 1)
		return "a stanza out of turn";
	if (first == s->join.active)
		return first ? "a stanza begins within another" : "a chunk without a beginning";
	if (!first && (f->flags & (WIRE_REJECT | WIRE_REPEATED)) != 0)
		return "a flag on a later chunk";
	if ((f->flags & WIRE_REJECT) != 0 && l->side == SVC_GATEWAY)
		return "only a gateway rejects";
	if (first && s->in.received - s->in.row >= l->peer.unacked_stanzas_max)
		return "too many stanzas unacknowledged";
	return NULL;
}

/* The room a stanza may take with its prefix; 0 with a bad prefix. */
static uint32_t stanza_max(const struct svc_link *l, const struct svc_stream *s, const struct wire_frame *f)
{
	const uint8_t *p = s->join.active ? (const uint8_t *)s->join.p : f->body;
	uint8_t flags = s->join.active ? s->join.flags : f->flags;
	uint32_t n = s->join.active ? s->join.n : f->length;
	const char *type, *condition;
	struct message_text t;
	size_t prefix = 0;

	if ((flags & WIRE_REJECT) != 0 && message_get_reject(p, n, &t, &type, &condition, &prefix) != 0)
		return 0;
	return l->self.stanza_bytes_max + (uint32_t)prefix;
}

/* Puts a stanza of several chunks together. false: the stream is over. */
static bool join(struct svc_link *l, struct svc_stream *s, const struct wire_frame *f, uint32_t max)
{
	uint64_t hard = l->join_soft * 2;
	struct chunk_join whole;
	uint32_t grown;
	int rc = chunk_join_reserve(&s->join, f->length, max, hard > l->join_bytes ? hard - l->join_bytes : 0, &grown);

	if (rc != 0) {
		stream_violation(s, "resource-constraint",
				 rc == SVCPROTO_E_NOMEM ? "out of memory" : "too much is being put together on this link");
		return false;
	}
	l->join_bytes += grown;
	if (!s->join.active)
		s->join.flags = f->flags;
	s->join.active = true;
	chunk_join_add(&s->join, f->body, f->length);
	if ((f->flags & WIRE_LAST) == 0)
		return true;
	whole = s->join; /* the callback may end the stream */
	s->join = (struct chunk_join){ 0 };
	l->join_bytes -= whole.cap;
	stream_join_end(s);
	deliver(l, s, whole.flags, whole.p, whole.n);
	chunk_join_clear(&whole);
	return true;
}

static void on_stanza_chunk(struct svc_link *l, struct svc_stream *s, const struct wire_frame *f)
{
	const char *wrong = data_wrong(l, s, f);
	uint32_t max = wrong == NULL ? stanza_max(l, s, f) : 0;

	if (wrong == NULL && max == 0)
		wrong = "a malformed rejection";
	else if (wrong == NULL && (uint64_t)s->join.n + f->length > max)
		wrong = "a stanza larger than was agreed";
	if (wrong == NULL && (f->flags & WIRE_LAST) != 0 && s->join.n + f->length == max - l->self.stanza_bytes_max)
		wrong = "an empty stanza";
	if (wrong != NULL) {
		stream_violation(s, POLICY_VIOLATION, wrong);
		return;
	}
	s->in.credit -= f->length;
	if ((f->flags & WIRE_LAST) != 0 && (s->join.active || (f->flags & WIRE_AWAITED) != 0))
		stream_hurry_next(s);
	if ((f->flags & (WIRE_FIRST | WIRE_LAST)) == (WIRE_FIRST | WIRE_LAST))
		deliver(l, s, f->flags, (const char *)f->body, f->length);
	else if (!join(l, s, f, max))
		return;
	if (s->link != l || (s->state != STREAM_OPEN && s->state != STREAM_DRAINING))
		return;
	s->in.due += f->length;
	stream_give_credit(s);
}

static void on_data(struct svc_link *l, struct svc_stream *s, const struct wire_frame *f)
{
	switch (s->state) {
	case STREAM_OPEN:
		on_stanza_chunk(l, s, f);
		break;
	case STREAM_DRAINING: /* nobody wants it any more, but the peer needs credit to come to its own end */
		if (f->length > s->in.credit) {
			stream_violation(s, POLICY_VIOLATION, "more than the credit");
			break;
		}
		s->in.credit -= f->length;
		s->in.due += f->length;
		stream_give_credit(s);
		break;
	case STREAM_CLOSING: /* crossed our CLOSE */
	case STREAM_DETACHING:
		break;
	default:
		stream_violation(s, POLICY_VIOLATION, "DATA before ACCEPT");
	}
}

static bool is_open(const struct svc_stream *s)
{
	return s->state == STREAM_OPEN || s->state == STREAM_DRAINING;
}

static void on_credit(struct svc_stream *s, const struct wire_frame *f)
{
	if (s->state == STREAM_CLOSING || s->state == STREAM_DETACHING)
		return;
	if (!is_open(s))
		stream_violation(s, POLICY_VIOLATION, "CREDIT before ACCEPT");
	else if (window_out_credit(&s->out, f->sequence) != 0)
		stream_violation(s, POLICY_VIOLATION, "credit overflows");
	else
		stream_wake(s);
}

void stream_tell_acked(struct svc_stream *s)
{
	const struct svc_hello *self = s->self;
	struct svc_link *l = s->link;

	sm_acked(s);
	hub_acked(s);
	l->ops->acked(l->arg, s, s->out.acked);
	if (s->was_full && s->link == l && s->state == STREAM_OPEN && s->out.nr <= self->unacked_stanzas_max / 2 &&
	    s->out.bytes <= self->unacked_bytes_max / 2) {
		s->was_full = false;
		l->ops->writable(l->arg, s);
	}
}

static void on_ack(struct svc_stream *s, const struct wire_frame *f)
{
	int rc;

	if (!is_open(s) && s->state != STREAM_CLOSING && s->state != STREAM_DETACHING) {
		stream_violation(s, POLICY_VIOLATION, "ACK before ACCEPT");
		return;
	}
	if (s->told)
		return;
	rc = window_out_ack(&s->out, f->sequence);
	if (rc < 0)
		stream_violation(s, POLICY_VIOLATION, "ACK of a stanza that was not sent");
	else if (rc > 0)
		stream_tell_acked(s);
}

static const char *on_close(struct svc_stream *s, const struct wire_frame *f)
{
	const char *condition, *text;
	struct message_text t;
	int rc = message_get_close(f, &t, &condition, &text);

	if (rc != 0)
		return wire_strerror(rc);
	if (s->state == STREAM_CLOSING || s->state == STREAM_DETACHING) {
		svc_stream_finish(s, s->condition, s->text);
		return NULL;
	}
	if (s->state == STREAM_DRAINING) { /* we had begun it: ours is the reason */
		stream_queue_close(s);
		svc_stream_finish(s, s->condition, s->text);
		return NULL;
	}
	stream_queue_close(s);
	svc_stream_finish(s, condition, text);
	return NULL;
}

const char *stream_input(struct svc_link *l, const struct wire_frame *f)
{
	struct svc_stream *s;

	if (f->type == WIRE_OPEN)
		return on_open(l, f);
	if (f->type == WIRE_REATTACH || f->type == WIRE_RESUME)
		return resume_input(l, f);
	s = table_find(&l->table, f->stream);
	if (s == NULL)
		return f->type == WIRE_CLOSE ? NULL : handle_unknown; /* a CLOSE may cross our REFUSE */
	switch (f->type) {
	case WIRE_DATA:
		on_data(l, s, f);
		return NULL;
	case WIRE_CREDIT:
		on_credit(s, f);
		return NULL;
	case WIRE_ACK:
		on_ack(s, f);
		return NULL;
	case WIRE_ACCEPT:
		return on_accept(l, s, f);
	case WIRE_REFUSE:
		return on_refuse(l, s, f);
	case WIRE_CLOSE:
		return on_close(s, f);
	case WIRE_ATTACHED:
		return attach_attached(s, f);
	default:
		return sm_input(s, f);
	}
}
