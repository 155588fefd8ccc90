#include "stream/own.h"

/* STARTTLS (RFC 6120 section 5), both sides. TLS is required everywhere: there is no plaintext stream beyond this feature. */

static void offer(struct stream *s, struct xml_writer *w)
{
	if (s->state != STREAM_WAIT_TLS)
		return;
	xml_start(w, "starttls");
	xml_attr_str(w, "xmlns", NS_TLS);
	xml_start(w, "required");
	xml_end(w, "required");
	xml_end(w, "starttls");
}

static bool consume(struct stream *s, const struct xml_node *features)
{
	if (s->secure)
		return false;
	if (xml_node_child(features, NS_TLS, "starttls") == NULL) {
		stream_close(s, CLOSE_TLS_REQUIRED);
	} else {
		stream_enter(s, STREAM_WAIT_TLS);
		stream_send_empty(s, "starttls", NS_TLS);
	}
	return true;
}

const struct feature feature_tls = {.offer = offer, .consume = consume};

/* RFC 6120 5.4.3.3: what lies behind in the same input is dropped, or plaintext could be smuggled into the secured stream. */
static void handshake(struct stream *s)
{
	s->drop_rest = s->feeding;
	stream_enter(s, STREAM_TLS);
	s->ops->start_tls(s->arg);
}

enum gate_result tls_starttls(struct stream *s, const struct xml_element *e)
{
	(void)e;
	stream_send_empty(s, "proceed", NS_TLS);
	handshake(s);
	return GATE_RESTART;
}

/* 5.4.2.2: a failure, then the stream ends. */
enum gate_result tls_starttls_again(struct stream *s, const struct xml_element *e)
{
	(void)e;
	stream_send_empty(s, "failure", NS_TLS);
	return stream_refuse(s, CLOSE_TLS_AGAIN);
}

enum gate_result tls_required(struct stream *s, const struct xml_element *e)
{
	(void)e;
	return stream_refuse(s, CLOSE_TLS_REQUIRED);
}

enum gate_result tls_proceed(struct stream *s, const struct xml_element *e)
{
	(void)e;
	handshake(s);
	return GATE_RESTART;
}

enum gate_result tls_failure(struct stream *s, const struct xml_element *e)
{
	(void)e;
	return stream_refuse(s, CLOSE_TLS_FAILED);
}

void stream_tls_done(struct stream *s, uint64_t now_ms)
{
	s->now_ms = now_ms;
	if (s->state != STREAM_TLS)
		return;
	s->secure = true;
	/* 5.4.3.3: nothing learnt in the clear is kept; S2S_OUT's domains are our own knowledge. */
	if (stream_accepting(s)) {
		stream_set(&s->local, NULL);
		stream_set(&s->peer, NULL);
	}
	stream_set(&s->id, NULL);
	stream_restart(s);
	if (s->role == STREAM_S2S_OUT)
		stream_out_begin(s);
}

void stream_put_off(struct stream *s, uint64_t ms)
{
	s->negotiation_at_ms += ms;
	if (s->phase_at_ms != UINT64_MAX)
		s->phase_at_ms += ms;
}
