/*
 * What a stream's owner does with it while it lives: sends, acknowledges, pauses, looks. A stream without a link takes all of that; what it
 * takes leaves once there is one.
 */
#include "svcproto/engine.h"

/* Until a bound is reached: the stanza that reaches it may be of any size, so that who could send still can, whatever comes. */
static bool has_room(struct svc_stream *s)
{
	const struct svc_hello *self = s->self;

	if (s->out.nr > 0 && (s->out.nr >= self->unacked_stanzas_max || s->out.bytes >= self->unacked_bytes_max))
		return false;
	return s->hub == NULL || hub_has_room(s);
}

/* A gateway's RESUME that is not answered: nobody knows the numbers yet. */
static bool is_resuming(const struct svc_stream *s)
{
	return s->state == STREAM_ATTACHING && s->resumed && s->link->side == SVC_GATEWAY;
}

static int send_check(struct svc_stream *s, size_t n)
{
	if (stream_is_over(s))
		return SVCPROTO_E_CLOSED;
	if (s->state == STREAM_OFFERED || is_resuming(s))
		return SVCPROTO_E_INVALID;
	if (n == 0 || n > s->stanza_bytes_max)
		return SVCPROTO_E_INVALID;
	if (has_room(s) && (s->place != PLACE_DETACHED || s->hub->detached_bytes + n <= s->hub->limits.detached_bytes_max))
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
	if (s->link != NULL)
		s->link->unsent += prefix_n + n;
	else if (s->place == PLACE_DETACHED)
		s->hub->detached_bytes += prefix_n + n;
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
	size_t prefix_n = stream_side(s) == SVC_GATEWAY ? message_put_reject(prefix, type, condition) : 0;

	if (prefix_n == 0)
		return SVCPROTO_E_INVALID;
	return push(s, prefix, prefix_n, xml, n, WIRE_REJECT, seq_out);
}

void svc_stream_rejection(const struct svc_stream *s, const char **type, const char **condition)
{
	*type = s->link != NULL ? s->link->reject_type : NULL;
	*condition = s->link != NULL ? s->link->reject_condition : NULL;
}

/* rc of a window: the row grew, or nothing to say, or an error. */
static int acked(struct svc_stream *s, int rc)
{
	if (rc <= 0)
		return rc;
	if (s->state == STREAM_OPEN || s->state == STREAM_DRAINING) {
		s->ack_due = true;
		stream_want_ack(s);
	} else if (s->state == STREAM_ATTACHING && s->link->side == SVC_SERVICE) {
		resume_handled(s);
	} else if (s->state == STREAM_ATTACHING) {
		s->ack_due = true; /* the position may have left already */
	}
	return 0; /* without a link: the position says it when there is one */
}

static bool is_beyond_acks(const struct svc_stream *s)
{
	return s->state > STREAM_DRAINING || (s->link != NULL && s->link->state != LINK_UP);
}

int svc_stream_ack(struct svc_stream *s, uint32_t seq)
{
	return is_beyond_acks(s) ? SVCPROTO_E_CLOSED : acked(s, window_in_ack(&s->in, seq));
}

int svc_stream_ack_through(struct svc_stream *s, uint32_t seq)
{
	return is_beyond_acks(s) ? SVCPROTO_E_CLOSED : acked(s, window_in_ack_through(&s->in, seq));
}

void svc_stream_pause(struct svc_stream *s, bool paused)
{
	struct svc_link *l = s->link;

	s->paused = paused;
	if (stream_is_over(s) || l == NULL || s->state == STREAM_ATTACHING) /* then the position says what credit there is */
		return;
	if (!paused) {
		stream_give_credit(s);
		return;
	}
	s->credit_due = false;
	if (s->aside == &l->starved)
		stream_leave_aside(s);
	if (l->favoured == s) { /* it will not go on: somebody else may */
		l->favoured = NULL;
		stream_feed_starved(l);
	}
}

void svc_stream_unacked(struct svc_stream *s, void (*fn)(void *arg, uint32_t seq, const char *xml, size_t n), void *arg)
{
	for (const struct window_stanza *st = s->out.head; st != NULL; st = st->next)
		fn(arg, st->seq, st->bytes + st->prefix, st->n - st->prefix);
}

bool svc_stream_can_send(struct svc_stream *s)
{
	return !stream_is_over(s) && s->state != STREAM_OFFERED && !is_resuming(s) && has_room(s);
}

bool svc_stream_has_unacked(const struct svc_stream *s)
{
	return s->out.nr > 0;
}

void svc_stream_set_data(struct svc_stream *s, void *data)
{
	s->data = data;
}

void *svc_stream_data(const struct svc_stream *s)
{
	return s->data;
}

bool svc_stream_is_ours(const struct svc_stream *s)
{
	return MUTATED(OWNER_BY_HANDLE) ? s->our_handle : s->ours;
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
