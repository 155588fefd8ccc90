#include "stream/own.h"

/*
 * The accepting side of a stream: the peer's header is checked, ours answers it in any case (RFC 6120 4.9.1.2), and features follow. Who
 * may speak for which address is decided here for headers, in feat_* for what comes after.
 */

static const struct feature *const offered[] = {&feature_tls,  &feature_sasl, &feature_dialback, &feature_bidi,
					       &feature_bind, &feature_sm,   &feature_limits};

void stream_in_new_id(struct stream *s)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char bytes[16];
	char text[33];

	mem_random(bytes, sizeof bytes);
	for (size_t i = 0; i < sizeof bytes; i++) {
		text[2 * i] = hex[bytes[i] >> 4];
		text[2 * i + 1] = hex[bytes[i] & 15];
	}
	text[32] = '\0';
	stream_set(&s->id, mem_strdup(text));
}

/* RFC 6120 4.9.3.6, 4.9.3.7. After SASL the domain is what the credentials were checked for, and stays. */
static enum close_reason take_to(struct stream *s, struct slice to)
{
	char *domain;

	if (slice_empty(to))
		return CLOSE_IMPROPER_ADDRESSING;
	domain = jid_prep_domain(to);
	if (domain == NULL)
		return CLOSE_IMPROPER_ADDRESSING;
	if (s->sasl_done) {
		bool same = strcmp(domain, s->local) == 0;

		free(domain);
		return same ? CLOSE_MAX_ : CLOSE_NOT_AUTHORIZED;
	}
	if (!s->ops->host_known(s->arg, domain)) {
		free(domain);
		return CLOSE_HOST_UNKNOWN;
	}
	stream_set(&s->local, domain);
	return CLOSE_MAX_;
}

/* A server's from is the domain that it wants to be; absent, it can do dialback only. */
static enum close_reason take_server_from(struct stream *s, struct slice from)
{
	char *domain;

	if (from.p == NULL)
		return s->sasl_done ? CLOSE_NOT_AUTHORIZED : CLOSE_MAX_;
	domain = jid_prep_domain(from);
	if (domain == NULL)
		return CLOSE_INVALID_FROM;
	if (s->sasl_done && strcmp(domain, s->peer) != 0) {
		free(domain);
		return CLOSE_INVALID_FROM;
	}
	stream_set(&s->peer, domain);
	return CLOSE_MAX_;
}

/* A client's from is a courtesy (4.7.1): it is answered, and must not contradict what is proven. *echo is filled when it can be. */
static enum close_reason take_client_from(struct stream *s, struct slice from, struct jid *echo)
{
	if (from.p == NULL)
		return CLOSE_MAX_;
	if (jid_parse(echo, from) != 0) {
		jid_init(echo);
		return CLOSE_INVALID_FROM;
	}
	if (s->authed && !slice_eq(echo->bare, s->jid.bare))
		return CLOSE_INVALID_FROM;
	return CLOSE_MAX_;
}

static enum stream_state next_state(const struct stream *s)
{
	if (!s->secure)
		return STREAM_WAIT_TLS;
	if (!s->sasl_done)
		return STREAM_WAIT_SASL;
	return s->role == STREAM_C2S ? STREAM_WAIT_BIND : STREAM_ESTABLISHED;
}

static void offer_features(struct stream *s)
{
	struct xml_writer w;
	struct buf out;

	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "stream:features");
	for (size_t i = 0; i < ARRAY_LEN(offered); i++)
		offered[i]->offer(s, &w);
	xml_end(&w, "stream:features");
	/* The owner may have ended the stream when it was asked for mechanisms. */
	if (s->state == STREAM_CLOSING || s->state == STREAM_CLOSED)
		buf_clear(&out);
	else
		stream_send_buf(s, &out, &w);
}

void stream_in_header(struct stream *s, const struct xml_head *h, struct slice default_ns)
{
	enum close_reason r = framing_check_header(h, default_ns, stream_content_ns(s));
	struct slice from = xml_attr_get(h, "from");
	char *to = NULL;
	struct jid echo;

	jid_init(&echo);
	stream_in_new_id(s);
	if (r == CLOSE_MAX_)
		r = take_to(s, xml_attr_get(h, "to"));
	if (r == CLOSE_MAX_)
		r = s->role == STREAM_C2S ? take_client_from(s, from, &echo) : take_server_from(s, from);
	if (!jid_empty(&echo))
		to = mem_slicedup(echo.full);
	else if (s->role == STREAM_S2S_IN)
		to = mem_strdup(s->peer);
	framing_send_header(s, s->local ? s->local : "", to);
	free(to);
	jid_clear(&echo);
	if (r != CLOSE_MAX_) {
		stream_close(s, r);
		return;
	}
	if (s->secure && s->see_other_host != NULL) {
		stream_close_see_other_host(s, s->see_other_host);
		return;
	}
	if (next_state(s) == STREAM_ESTABLISHED) {
		offer_features(s);
		stream_establish(s);
		return;
	}
	stream_enter(s, next_state(s));
	if (s->state == STREAM_WAIT_SASL && s->peer != NULL && s->ops->peer_named != NULL && s->ops->peer_named(s->arg))
		s->asked = s->naming = true;
	else
		offer_features(s);
}

void stream_peer_known(struct stream *s)
{
	if (s->state != STREAM_WAIT_SASL || !s->naming)
		return;
	s->asked = s->naming = false;
	offer_features(s);
}
