#include "stream/own.h"

/*
 * Stream management (XEP-0198), for clients and servers. What is handled, by the service and by the peer, the owner knows; here is what is
 * said about it and when. The peer is asked when much is unacknowledged, and when nothing more was sent for a moment; never twice at a
 * time. An <r/> is answered at once, whatever the count: clients use it to see whether the connection lives. A server stream can't be
 * resumed, and its counts are one pair's, the other way too where that was agreed (XEP-0288): one with several pairs does without.
 */

#define IDLE_MS 200          /* what was sent is asked for after this time at the latest */
#define ASK_PART 4           /* of what may be unacknowledged: asked for at once */

/* Behind authentication only (section 2). A server stream goes on from there at once: it has no state of its own for it. */
static void offer(struct stream *s, struct xml_writer *w)
{
	bool behind = s->role == STREAM_S2S_IN ? s->sasl_done : s->state == STREAM_WAIT_BIND;

	if (!behind || s->ops->sm_counts == NULL)
		return;
	xml_start(w, "sm");
	xml_attr_str(w, "xmlns", NS_SM);
	xml_end(w, "sm");
}

/* S2S_OUT: wanted, but no step that the stream waits for. What is sent from here on counts. */
static bool consume(struct stream *s, const struct xml_node *features)
{
	if (s->verify_only || s->ops->sm_counts == NULL || xml_node_child(features, NS_SM, "sm") == NULL)
		return false;
	s->sm.state = SM_ASKED;
	s->sm.answer_at_ms = s->limits->ack_ms > 0 ? s->now_ms + s->limits->ack_ms : UINT64_MAX;
	stream_send_empty(s, "enable", NS_SM);
	return true;
}

const struct feature feature_sm = {.offer = offer, .consume = consume};

bool stream_managed(const struct stream *s)
{
	return s->sm.state != SM_OFF;
}

/* --- what is said ----------------------------------------------------------- */

static void attr_number(struct xml_writer *w, const char *name, uint32_t n)
{
	char text[11], *p = text + sizeof text;

	*--p = '\0';
	do
		*--p = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	xml_attr_str(w, name, p);
}

static struct stream_counts counts(struct stream *s)
{
	struct stream_counts c = {0};

	s->ops->sm_counts(s->arg, &c);
	return c;
}

static void send_answer(struct stream *s, uint32_t h)
{
	struct xml_writer w;
	struct buf out;

	s->sm.h = h;
	s->sm.answer_due = false;
	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "a");
	xml_attr_str(&w, "xmlns", NS_SM);
	attr_number(&w, "h", h);
	xml_end(&w, "a");
	stream_send_buf(s, &out, &w);
}

static void send_request(struct stream *s)
{
	s->sm.requested = true;
	s->sm.ask_at_ms = UINT64_MAX;
	s->sm.answer_at_ms = s->limits->ack_ms > 0 ? s->now_ms + s->limits->ack_ms : UINT64_MAX;
	stream_send_empty(s, "r", NS_SM);
}

/* At once if much is unacknowledged, else in a moment. */
static void request_if_due(struct stream *s)
{
	struct stream_counts c = counts(s);

	if (c.unhandled >= c.stanzas_max / ASK_PART || s->sm.bytes >= c.bytes_max / ASK_PART)
		send_request(s);
	else if (s->sm.ask_at_ms == UINT64_MAX)
		s->sm.ask_at_ms = s->now_ms + IDLE_MS;
}

void stream_sent(struct stream *s, size_t n, uint64_t now_ms)
{
	s->now_ms = s->out_at_ms = now_ms;
	if (s->sm.state == SM_OFF || s->state != STREAM_ESTABLISHED)
		return;
	s->sm.bytes = n < UINT32_MAX - s->sm.bytes ? s->sm.bytes + (uint32_t)n : UINT32_MAX;
	if (s->sm.state == SM_ON && !s->sm.requested)
		request_if_due(s);
}

void stream_sm_grown(struct stream *s)
{
	uint32_t h;

	if (s->sm.state != SM_ON || s->state != STREAM_ESTABLISHED)
		return;
	h = counts(s).h;
	if (h != s->sm.h)
		send_answer(s, h);
}

uint64_t sm_tick(struct stream *s, uint64_t now_ms)
{
	if (now_ms >= s->sm.answer_at_ms) {
		stream_close(s, CLOSE_TIMEOUT_ACK);
		return UINT64_MAX;
	}
	if (now_ms >= s->sm.ask_at_ms)
		send_request(s);
	return s->sm.ask_at_ms < s->sm.answer_at_ms ? s->sm.ask_at_ms : s->sm.answer_at_ms;
}

/* --- the owner's answers ------------------------------------------------------ */

void stream_sm_enabled(struct stream *s, const char *id, uint32_t resume_s)
{
	bool answer_due = s->sm.answer_due;
	struct xml_writer w;
	struct buf out;

	if (s->sm.state != SM_ASKED || s->state != STREAM_ESTABLISHED)
		return;
	s->sm.state = SM_ON;
	s->sm.bytes = 0; /* what went before does not count */
	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "enabled");
	xml_attr_str(&w, "xmlns", NS_SM);
	if (id != NULL) {
		xml_attr_str(&w, "id", id);
		xml_attr_str(&w, "resume", "true");
		attr_number(&w, "max", resume_s);
	}
	xml_end(&w, "enabled");
	stream_send_buf(s, &out, &w);
	if (answer_due)
		send_answer(s, counts(s).h);
	else
		stream_sm_grown(s);
}

void stream_sm_resumed(struct stream *s, const char *id, const char *full_jid, uint32_t h)
{
	struct xml_writer w;
	struct buf out;

	if (s->state != STREAM_WAIT_BIND || !s->asked)
		return;
	s->asked = false;
	if (!bind_take_jid(s, full_jid))
		return;
	s->sm.state = SM_ON;
	s->sm.h = h;
	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "resumed");
	xml_attr_str(&w, "xmlns", NS_SM);
	attr_number(&w, "h", h);
	xml_attr_str(&w, "previd", id);
	xml_end(&w, "resumed");
	stream_send_buf(s, &out, &w);
	stream_establish(s);
}

static enum gate_result fail(struct stream *s, const char *condition, const uint32_t *h)
{
	struct xml_writer w;
	struct buf out;

	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "failed");
	xml_attr_str(&w, "xmlns", NS_SM);
	if (h != NULL)
		attr_number(&w, "h", *h);
	xml_start(&w, condition);
	xml_attr_str(&w, "xmlns", NS_STANZA_ERRORS);
	xml_end(&w, condition);
	xml_end(&w, "failed");
	stream_send_buf(s, &out, &w);
	return stream_count_refusal(s);
}

void stream_sm_failed(struct stream *s, const char *condition, const uint32_t *h)
{
	if (s->state == STREAM_WAIT_BIND && s->asked)
		s->asked = false;
	else if (s->state == STREAM_ESTABLISHED && s->sm.state == SM_ASKED)
		s->sm.state = SM_OFF;
	else
		return;
	(void)fail(s, close_stanza_condition(condition), h);
}

/* XEP-0198 section 4, an acknowledgement of what was not sent. */
void stream_sm_too_high(struct stream *s, uint32_t h, uint32_t sent)
{
	struct framing_error e = {.condition = close_condition(CLOSE_HANDLED_TOO_HIGH), .text = close_text(CLOSE_HANDLED_TOO_HIGH)};
	struct xml_writer w;
	struct buf own;

	buf_init(&own, STREAM_OUT_MAX);
	xml_writer_init(&w, &own);
	xml_start(&w, "handled-count-too-high");
	xml_attr_str(&w, "xmlns", NS_SM);
	attr_number(&w, "h", h);
	attr_number(&w, "send-count", sent);
	xml_end(&w, "handled-count-too-high");
	ASSERT(xml_writer_done(&w) == 0);
	e.own = buf_slice(&own);
	stream_end(s, CLOSE_HANDLED_TOO_HIGH, &e);
	buf_clear(&own);
}

/* --- what the peer says ------------------------------------------------------ */

/* xs:boolean; absent is false. False: it is none. */
static bool take_bool(struct slice text, bool *out)
{
	*out = slice_is(text, "true") || slice_is(text, "1");
	return *out || text.p == NULL || slice_is(text, "false") || slice_is(text, "0");
}

/* xs:unsignedInt, without a sign. False: it is none. */
static bool take_number(struct slice text, uint32_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < text.n && n <= UINT32_MAX; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text.p[i] - '0');
	}
	*out = (uint32_t)n;
	return text.n > 0 && n <= UINT32_MAX;
}

/* In another state than it may be sent in: the client may go on (XEP-0198 section 6). */
enum gate_result sm_unexpected(struct stream *s, const struct xml_element *e)
{
	(void)e;
	return fail(s, "unexpected-request", NULL);
}

enum gate_result sm_enable(struct stream *s, const struct xml_element *e)
{
	uint32_t max = UINT32_MAX; /* as long as the service likes */
	struct slice text = xml_attr_get(&e->head, "max");
	bool resume;

	/* Section 3: a client tries once. A second time its counts would be anybody's guess. */
	if (s->sm.state != SM_OFF)
		return stream_refuse(s, CLOSE_POLICY);
	if (s->role == STREAM_S2S_IN && s->pairs.nr_ > 1)
		return fail(s, "not-allowed", NULL);
	if (!take_bool(xml_attr_get(&e->head, "resume"), &resume) || (text.p != NULL && !take_number(text, &max)))
		return fail(s, "bad-request", NULL);
	s->sm.state = SM_ASKED;
	s->ops->sm_enable(s->arg, resume ? max : 0);
	return GATE_NEXT;
}

/* Section 5: no server stream can be resumed, and none could. */
enum gate_result sm_no_resume(struct stream *s, const struct xml_element *e)
{
	(void)e;
	return fail(s, "feature-not-implemented", NULL);
}

enum gate_result sm_resume(struct stream *s, const struct xml_element *e)
{
	struct slice id = xml_attr_get(&e->head, "previd");
	uint32_t h;

	if (slice_empty(id) || !take_number(xml_attr_get(&e->head, "h"), &h))
		return fail(s, "bad-request", NULL);
	s->asked = true;
	s->ops->sm_resume(s->arg, id, h);
	return GATE_WAIT;
}

enum gate_result sm_request(struct stream *s, const struct xml_element *e)
{
	(void)e;
	if (s->sm.state == SM_OFF)
		return fail(s, "unexpected-request", NULL);
	if (s->sm.state == SM_ASKED)
		s->sm.answer_due = true;
	else
		send_answer(s, counts(s).h);
	return GATE_NEXT;
}

enum gate_result sm_answer(struct stream *s, const struct xml_element *e)
{
	uint32_t h;

	if (s->sm.state != SM_ON)
		return fail(s, "unexpected-request", NULL);
	if (!take_number(xml_attr_get(&e->head, "h"), &h))
		return stream_refuse(s, CLOSE_BAD_FORMAT);
	if (!s->ops->sm_handled(s->arg, h)) {
		stream_sm_too_high(s, h, counts(s).sent);
		return GATE_CLOSE;
	}
	s->sm.requested = false;
	s->sm.bytes = 0;
	s->sm.answer_at_ms = UINT64_MAX;
	s->sm.ask_at_ms = counts(s).unhandled > 0 ? s->now_ms + IDLE_MS : UINT64_MAX;
	return GATE_NEXT;
}

/* --- S2S_OUT: the answers to our <enable/> ------------------------------------- */

/* The stream may go on without: what was sent meanwhile is known to be there by other means, or not at all. */
enum gate_result sm_out_failed(struct stream *s, const struct xml_element *e)
{
	(void)e;
	if (s->sm.state != SM_ASKED)
		return stream_refuse(s, CLOSE_POLICY);
	s->sm.state = SM_OFF;
	s->sm.answer_at_ms = UINT64_MAX;
	s->ops->sm_answered(s->arg, false);
	return GATE_NEXT;
}

enum gate_result sm_out_enabled(struct stream *s, const struct xml_element *e)
{
	(void)e;
	if (s->sm.state != SM_ASKED)
		return stream_refuse(s, CLOSE_POLICY);
	s->sm.state = SM_ON;
	s->sm.answer_at_ms = UINT64_MAX;
	s->ops->sm_answered(s->arg, true);
	if (s->sm.answer_due)
		send_answer(s, counts(s).h);
	if (counts(s).unhandled > 0)
		request_if_due(s);
	return GATE_NEXT;
}
