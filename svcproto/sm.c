/*
 * Stream management: the two base counts from which a client's numbers are told from the stream's, agreed before <enabled/> is said, and
 * DETACH, by which a client's connection leaves without its stream. The stream's numbers run from its beginning, the client's from
 * <enable/> and <enabled/>; both wrap.
 */
#include "svcproto/engine.h"

static void put_enable(struct svc_stream *s)
{
	uint8_t body[128];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	message_put_enable(&w, s->out_base, s->resume_s);
	if (link_put(s->link, WIRE_ENABLE, s->handle, body, (uint32_t)w.n) != 0)
		link_doom(s->link, "the peer does not read"); /* it is asked again in the next epoch */
}

/* ---- the gateway ---- */

int svc_stream_enable(struct svc_stream *s, uint32_t resume_s)
{
	if (stream_is_over(s))
		return SVCPROTO_E_CLOSED;
	if (stream_side(s) != SVC_GATEWAY || s->kind != SVC_KIND_CLIENT || s->sm != SM_OFF || s->state < STREAM_ATTACHING || s->resumed)
		return SVCPROTO_E_INVALID;
	s->sm = SM_ASKED;
	s->out_base = s->out.seq;
	s->resume_s = resume_s;
	sm_acked(s);
	if (s->state == STREAM_OPEN)
		put_enable(s);
	return 0;
}

void sm_ask_again(struct svc_stream *s)
{
	if (s->sm == SM_ASKED && s->state == STREAM_OPEN)
		put_enable(s);
}

static void enable(struct svc_stream *s);

void sm_received(struct svc_stream *s)
{
	if (s->sm != SM_PENDING || s->link == NULL || s->state != STREAM_OPEN ||
	    (seq_after(s->in_base, s->in.received) && !MUTATED(BASE_EARLY)))
		return;
	s->sm = SM_ON;
	if (stream_side(s) == SVC_SERVICE)
		enable(s);
	else
		s->link->ops->enabled(s->link->arg, s, s->resume_s);
}

static const char *on_enabled(struct svc_stream *s, const struct wire_frame *f)
{
	uint32_t base, resume_s;
	int rc = message_get_enabled(f, &base, &resume_s);

	if (rc != 0)
		return wire_strerror(rc);
	if (s->state != STREAM_OPEN) /* crossed our CLOSE or DETACH */
		return s->state > STREAM_OPEN ? NULL : "ENABLED before ACCEPT";
	if (s->sm != SM_ASKED)
		stream_violation(s, "policy-violation", "ENABLED that was not asked for");
	else if (base - s->in.received > 1) /* it may be among what is coming, but only the one that has begun */
		stream_violation(s, "policy-violation", "ENABLED with a wrong base");
	else {
		s->in_base = base;
		s->resume_s = resume_s;
		s->sm = SM_PENDING;
		sm_received(s);
	}
	return NULL;
}

void sm_acked(struct svc_stream *s)
{
	s->counted = s->sm != SM_OFF && (s->counted || !seq_after(s->out_base, s->out.acked));
}

uint32_t svc_stream_h(const struct svc_stream *s)
{
	return (s->counted ? s->out.acked - s->out_base : 0) + (MUTATED(H_ONE_MORE) ? 1 : 0);
}

uint32_t svc_stream_sent_h(const struct svc_stream *s)
{
	return s->sm == SM_ON ? s->in.received - s->in_base : 0;
}

int svc_stream_client_h(struct svc_stream *s, uint32_t h)
{
	uint32_t seq = s->in_base + h;

	if (s->sm != SM_ON)
		return SVCPROTO_E_INVALID;
	if (seq - s->in.row <= s->in.received - s->in.row)
		return svc_stream_ack_through(s, seq);
	return s->in.row - seq <= 2 * MESSAGE_UNACKED_MAX ? 0 : SVCPROTO_E_INVALID; /* said before, or never sent */
}

uint32_t svc_stream_nr_unhandled(const struct svc_stream *s)
{
	return s->in.received - s->in.row;
}

uint32_t svc_stream_resume_s(const struct svc_stream *s)
{
	return s->sm == SM_ON ? s->resume_s : 0;
}

/* After the acknowledgements; nothing but the answer concerns us from here. */
void sm_start_detach(struct svc_stream *s)
{
	struct svc_link *l = s->link;
	int rc = s->ack_due ? link_put_ack(l, s->handle, s->in.row) : 0;

	if (rc == 0)
		rc = link_put(l, WIRE_DETACH, s->handle, NULL, 0);
	if (rc != 0)
		link_doom(l, rc == SVCPROTO_E_FULL ? "the peer does not read" : "out of memory");
	stream_sleep(s);
	stream_leave_control(s);
	stream_leave_aside(s);
	stream_join_end(s);
	stream_drop_payload(s);
	s->state = STREAM_DETACHING;
}

int svc_stream_detach(struct svc_stream *s)
{
	bool asked = s->state == STREAM_ATTACHING && s->resumed;

	if (stream_is_over(s))
		return SVCPROTO_E_CLOSED;
	if (stream_side(s) != SVC_GATEWAY || (!asked && svc_stream_resume_s(s) == 0))
		return SVCPROTO_E_INVALID;
	s->data = NULL;
	hub_leave_hungry(s);
	s->told = s->detach_wanted = true;
	if (s->state == STREAM_OPEN)
		sm_start_detach(s);
	return 0;
}

/* ---- the service ---- */

/* All that the client sent before has come, so that its count and ours stay together whatever happens to the gateway. */
static void enable(struct svc_stream *s)
{
	uint8_t body[128];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	s->out_base = MUTATED(BASE_QUEUED) ? s->out.seq : window_out_begun(&s->out);
	message_put_enabled(&w, s->out_base, s->resume_s);
	if (link_put(s->link, WIRE_ENABLED, s->handle, body, (uint32_t)w.n) != 0)
		link_doom(s->link, "the peer does not read");
}

static const char *on_enable(struct svc_stream *s, const struct wire_frame *f)
{
	uint32_t base, resume_s;
	int rc = message_get_enable(f, &base, &resume_s);

	if (rc != 0)
		return wire_strerror(rc);
	if (s->state == STREAM_DRAINING || s->state == STREAM_CLOSING)
		return NULL;
	if (s->state != STREAM_OPEN || s->kind != SVC_KIND_CLIENT || s->sm != SM_OFF || base - s->in.received > MESSAGE_UNACKED_MAX) {
		stream_violation(s, "policy-violation", "ENABLE out of place");
		return NULL;
	}
	s->sm = SM_PENDING;
	s->in_base = base;
	s->resume_s = s->hub == NULL ? 0 : resume_s < s->hub->limits.resume_s_max ? resume_s : s->hub->limits.resume_s_max;
	sm_received(s);
	return NULL;
}

static void answer_detach(struct svc_stream *s)
{
	if (link_put(s->link, WIRE_DETACH, s->handle, NULL, 0) != 0)
		link_doom(s->link, "the peer does not read");
}

/* A DETACH that arrives at the service. */
static void on_detach(struct svc_stream *s)
{
	struct svc_hub *h = s->hub;

	if (s->state == STREAM_CLOSING) { /* each answers the other */
		svc_stream_finish(s, s->condition, s->text);
		return;
	}
	if (s->state == STREAM_DRAINING) {
		answer_detach(s);
		svc_stream_finish(s, s->condition, s->text);
		return;
	}
	if (s->state != STREAM_OPEN || s->sm != SM_ON || s->resume_s == 0) {
		stream_violation(s, "policy-violation", "DETACH of a stream that cannot be resumed");
		return;
	}
	answer_detach(s);
	stream_leave_link(s);
	s->expires_ms = h->now_ms + (uint64_t)s->resume_s * 1000;
	hub_detach(s);
	if (h->ops->detached != NULL)
		h->ops->detached(h->arg, s);
}

const char *sm_input(struct svc_stream *s, const struct wire_frame *f)
{
	if (f->type == WIRE_ENABLE)
		return on_enable(s, f);
	if (f->type == WIRE_ENABLED)
		return on_enabled(s, f);
	if (f->type != WIRE_DETACH)
		return "a frame that does not belong to a stream";
	if (stream_side(s) == SVC_SERVICE)
		on_detach(s);
	else if (s->state == STREAM_DETACHING)
		svc_stream_finish(s, NULL, NULL);
	else
		return "DETACH that nobody asked for";
	return NULL;
}
