/*
 * What arrives on a link. A batch is checked as a whole only for its header; its frames act one by one, so those before a broken one count.
 * A wrong move on one stream ends that stream, whatever makes the two ends disagree about the link ends the epoch. Nothing the peer sends
 * is an assertion here.
 */
#include "svcproto/engine.h"

#include <string.h>

#define POLICY_VIOLATION "policy-violation"
#define REFUSED_DELAY_MS 10000u

static const char handle_unknown[] = "a frame for a stream that is not there";

static enum svc_side other(enum svc_side side)
{
	return side == SVC_GATEWAY ? SVC_SERVICE : SVC_GATEWAY;
}

/* ---- frames of a stream: NULL, or why the link is broken ---- */

static void refuse_open(struct svc_link *l, uint32_t handle, const char *type, const char *condition)
{
	struct svc_refusal r = { .type = type, .condition = condition };
	uint8_t body[256];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	int rc;

	message_put_refuse(&w, &r);
	rc = link_put(l, WIRE_REFUSE, handle, body, (uint32_t)w.n);
	if (rc != 0)
		link_doom(l, rc == SVCPROTO_E_FULL ? "the peer does not read" : "out of memory");
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
	if (rc == 0 && !message_may_open(o.kind, other(l->side)))
		return "OPEN of a kind that only the other side opens";
	if (rc > 0) {
		refuse_open(l, f->stream, "cancel", "feature-not-implemented");
		return NULL;
	}
	s = l->nr_theirs < l->self.streams_max ? stream_new(l, f->stream, &o.stream_id, o.kind, false) : NULL;
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
	int rc = message_get_accept(f, &t, &full_jid);

	if (rc != 0)
		return wire_strerror(rc);
	if (s->ours && s->state == STREAM_CLOSING && !s->was_open) { /* crossed our CLOSE */
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
	if (s->ours && s->state == STREAM_CLOSING && !s->was_open) { /* crossed our CLOSE, and answers it */
		stream_finish(s, s->condition, s->text);
		return NULL;
	}
	if (s->state != STREAM_OPENING)
		return "REFUSE of a stream that was not offered";
	stream_detach(s);
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
	l->ops->stanza(l->arg, s, s->in.received, stanza_flags(flags), p + prefix, n - prefix);
	l->reject_type = l->reject_condition = NULL;
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
		stream_violation(s, "resource-constraint", rc == SVCPROTO_E_NOMEM ? "out of memory" : "too much is being put together on this link");
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
	if ((f->flags & (WIRE_FIRST | WIRE_LAST)) == (WIRE_FIRST | WIRE_LAST))
		deliver(l, s, f->flags, (const char *)f->body, f->length);
	else if (!join(l, s, f, max))
		return;
	if (s->state != STREAM_OPEN && s->state != STREAM_DRAINING)
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
	if (s->state == STREAM_CLOSING)
		return;
	if (!is_open(s))
		stream_violation(s, POLICY_VIOLATION, "CREDIT before ACCEPT");
	else if (window_out_credit(&s->out, f->sequence) != 0)
		stream_violation(s, POLICY_VIOLATION, "credit overflows");
	else
		stream_wake(s);
}

static void on_ack(struct svc_link *l, struct svc_stream *s, const struct wire_frame *f)
{
	const struct svc_hello *self = &l->self;
	int rc;

	if (!is_open(s) && s->state != STREAM_CLOSING) {
		stream_violation(s, POLICY_VIOLATION, "ACK before ACCEPT");
		return;
	}
	if (s->told)
		return;
	rc = window_out_ack(&s->out, f->sequence);
	if (rc < 0)
		stream_violation(s, POLICY_VIOLATION, "ACK of a stanza that was not sent");
	if (rc <= 0)
		return;
	l->ops->acked(l->arg, s, s->out.acked);
	if (s->was_full && s->state == STREAM_OPEN && s->out.nr <= self->unacked_stanzas_max / 2 &&
	    s->out.bytes <= self->unacked_bytes_max / 2) {
		s->was_full = false;
		l->ops->writable(l->arg, s);
	}
}

static const char *on_close(struct svc_stream *s, const struct wire_frame *f)
{
	const char *condition, *text;
	struct message_text t;
	int rc = message_get_close(f, &t, &condition, &text);

	if (rc != 0)
		return wire_strerror(rc);
	if (s->state == STREAM_CLOSING) {
		stream_finish(s, s->condition, s->text);
		return NULL;
	}
	if (s->state == STREAM_DRAINING) { /* we had begun it: ours is the reason */
		stream_queue_close(s);
		stream_finish(s, s->condition, s->text);
		return NULL;
	}
	stream_queue_close(s);
	stream_finish(s, condition, text);
	return NULL;
}

const char *stream_input(struct svc_link *l, const struct wire_frame *f)
{
	struct svc_stream *s;

	if (f->type == WIRE_OPEN)
		return on_open(l, f);
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
		on_ack(l, s, f);
		return NULL;
	case WIRE_ACCEPT:
		return on_accept(l, s, f);
	case WIRE_REFUSE:
		return on_refuse(l, s, f);
	default:
		return on_close(s, f);
	}
}

/* ---- the link's own frames ---- */

static const char *on_ping(struct svc_link *l, const struct wire_frame *f)
{
	struct message_ping m;
	int rc = message_get_ping(f, &m);

	if (rc != 0)
		return wire_strerror(rc);
	if (m.sent != l->in_number)
		return "PING names another batch";
	if (m.received > l->out_number || m.received < l->peer_received)
		return "PING confirms what was not sent";
	l->peer_received = m.received;
	if ((f->flags & WIRE_ANSWER) == 0)
		l->pong_due = true;
	return NULL;
}

static const char *one_frame(struct svc_link *l, const struct wire_frame *f)
{
	int rc = wire_check_frame(f, other(l->side));

	if (rc != 0)
		return rc > 0 ? NULL : wire_strerror(rc);
	if (f->stream != 0)
		return stream_input(l, f);
	if (f->type == WIRE_PING)
		return on_ping(l, f);
	return "HELLO, WELCOME or RESET within an epoch";
}

/* The frames of a numbered batch, until one ends the epoch. */
static void frames(struct svc_link *l, const uint8_t *p, size_t n)
{
	uint64_t era = l->era;
	struct wire_frame f;
	const char *wrong;
	size_t used;

	while (n > 0) {
		int rc = wire_get_frame(p, n, &f, &used);

		wrong = rc == 0 ? one_frame(l, &f) : wire_strerror(rc);
		if (l->era != era)
			return;
		if (wrong == NULL && l->doomed != NULL && l->depth == 1)
			wrong = l->doomed;
		if (wrong != NULL) {
			link_fail(l, wrong);
			return;
		}
		p += used;
		n -= used;
	}
}

/* The next batch of the epoch, complete with its header. */
static void in_epoch(struct svc_link *l, const struct wire_batch *h, const uint8_t *p, size_t n)
{
	if (h->number != l->in_number + 1) {
		link_fail(l, "a gap in the batch numbers");
		return;
	}
	if (h->version != l->version) {
		link_fail(l, wire_strerror(WIRE_E_VERSION));
		return;
	}
	l->in_number = h->number;
	l->heard_at_ms = l->now_ms;
	l->unheard_pings = 0;
	frames(l, p + WIRE_BATCH_HEADER, n - WIRE_BATCH_HEADER);
}

static bool first_frame(const uint8_t *p, size_t n, enum svc_side sender, uint8_t type, struct wire_frame *f, size_t *used)
{
	return wire_get_frame(p + WIRE_BATCH_HEADER, n - WIRE_BATCH_HEADER, f, used) == 0 && f->type == type && wire_check_frame(f, sender) == 0;
}

/* ---- the gateway's side ---- */

static void welcome(struct svc_link *l, const struct message_hello *hello, uint32_t epoch)
{
	struct message_welcome m = { .who = l->self };
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	l->epoch = l->reset_epoch = epoch;
	l->peer = hello->who; /* whose epochs these are, also when it is refused */
	l->reset_due = false;
	if (hello->version_min > WIRE_VERSION_MAX || hello->version_max < WIRE_VERSION_MIN) {
		memcpy(l->answer, "no common version", sizeof("no common version"));
		l->refuse_due = true;
		return;
	}
	m.version = hello->version_max < WIRE_VERSION_MAX ? hello->version_max : WIRE_VERSION_MAX;
	message_put_welcome(&w, &m);
	link_drop_output(l);
	if (link_put(l, WIRE_WELCOME, 0, body, (uint32_t)w.n) != 0)
		return; /* unanswered: the service says HELLO again */
	l->refuse_due = false;
	l->version = m.version;
	l->out_number = l->out_matter = l->peer_received = 0;
	l->in_number = 1;
	link_came_up(l, &hello->who);
}

static bool same_instance(const struct svc_hello *a, const struct svc_hello *b)
{
	return memcmp(a->instance.b, b->instance.b, sizeof(a->instance.b)) == 0 && a->incarnation == b->incarnation;
}

static void on_hello(struct svc_link *l, const struct wire_batch *h, const struct wire_frame *f, bool alone)
{
	struct message_hello m;
	int rc = message_get_hello(f, &m);

	if (rc != 0 || !alone) {
		if (l->state == LINK_UP)
			link_end_epoch(l, "a broken HELLO");
		link_queue_reset(l, h->epoch, rc != 0 ? wire_strerror(rc) : "HELLO is not alone");
		return;
	}
	if (same_instance(&l->peer, &m.who) && !seq_after(h->epoch, l->epoch))
		return; /* overtaken by a later epoch */
	if (l->state == LINK_UP)
		link_end_epoch(l, m.reason[0] != '\0' ? m.reason : "the service began again");
	if (l->state == LINK_IDLE)
		welcome(l, &m, h->epoch);
}

static void gateway_input(struct svc_link *l, const uint8_t *p, size_t n)
{
	struct wire_batch h;
	struct wire_frame f;
	size_t used;
	int rc = wire_get_batch(p, n, &h);

	if (rc != 0 && l->state == LINK_UP)
		link_fail(l, wire_strerror(rc));
	if (rc != 0)
		return;
	if (h.number == 1 && first_frame(p, n, SVC_SERVICE, WIRE_HELLO, &f, &used)) {
		on_hello(l, &h, &f, WIRE_BATCH_HEADER + used == n);
	} else if (l->state == LINK_UP && h.epoch == l->epoch) {
		in_epoch(l, &h, p, n);
	} else if (l->state != LINK_UP || seq_after(h.epoch, l->epoch)) {
		if (l->state == LINK_UP)
			link_end_epoch(l, "an unknown epoch");
		link_queue_reset(l, h.epoch, "an unknown epoch");
	}
}

/* ---- the service's side ---- */

static void on_reset(struct svc_link *l, const struct wire_frame *f)
{
	struct message_text t;
	const char *reason;

	if (message_get_reset(f, &t, &reason) != 0 || reason == NULL || reason[0] == '\0')
		reason = "the gateway said RESET";
	link_fail(l, reason);
}

static void on_welcome(struct svc_link *l, const struct wire_batch *h, const struct wire_frame *f, const uint8_t *rest, size_t n)
{
	struct message_welcome m;
	uint64_t era = l->era;
	int rc = message_get_welcome(f, &m);

	if (rc != 0) {
		link_fail(l, wire_strerror(rc));
		return;
	}
	if (m.refused[0] != '\0') {
		link_end_epoch(l, m.refused);
		link_hello_later(l, REFUSED_DELAY_MS);
		l->ops->down(l->arg, l->why);
		return;
	}
	if (m.version != h->version || m.version < WIRE_VERSION_MIN || m.version > WIRE_VERSION_MAX) {
		link_fail(l, wire_strerror(WIRE_E_VERSION));
		return;
	}
	l->version = m.version;
	l->in_number = 1;
	link_came_up(l, &m.who);
	if (l->era == era)
		frames(l, rest, n);
}

static void service_input(struct svc_link *l, const uint8_t *p, size_t n)
{
	struct wire_batch h;
	struct wire_frame f;
	size_t used;
	int rc = wire_get_batch(p, n, &h);

	if (l->state == LINK_IDLE || (l->state == LINK_HELLO && !l->hello_sent))
		return; /* no epoch of ours is going on */
	if (rc != 0) {
		link_fail(l, wire_strerror(rc));
		return;
	}
	if (h.epoch != l->epoch)
		return; /* of an epoch that we ended */
	if (h.number == 0) {
		if (first_frame(p, n, SVC_GATEWAY, WIRE_RESET, &f, &used))
			on_reset(l, &f);
		else
			link_fail(l, "batch 0 is not a RESET");
	} else if (l->state == LINK_UP) {
		in_epoch(l, &h, p, n);
	} else if (h.number == 1 && first_frame(p, n, SVC_GATEWAY, WIRE_WELCOME, &f, &used)) {
		on_welcome(l, &h, &f, p + WIRE_BATCH_HEADER + used, n - WIRE_BATCH_HEADER - used);
	} else {
		link_fail(l, "no WELCOME came first");
	}
}

void svc_link_input(struct svc_link *l, const void *batch, size_t n, uint64_t now_ms)
{
	l->now_ms = now_ms;
	link_enter(l);
	if (l->doomed != NULL)
		link_fail(l, l->doomed);
	if (l->side == SVC_GATEWAY)
		gateway_input(l, batch, n);
	else
		service_input(l, batch, n);
	if (l->doomed != NULL)
		link_fail(l, l->doomed);
	link_leave(l);
}
