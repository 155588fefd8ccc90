#include "stream_owner_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "fuzz_marks.h"
#include "xml/ns.h"

/* A tiny owner: no memory of its own but the last names it was asked about, so that its answers fit some of the time. */

#define NEGOTIATION_BYTES 40000   /* a bind with the largest tag; more take long to get at */
#define SHORTEST (sizeof "<a/>" - 1)

static void keep(char **to, struct slice s)
{
	free(*to);
	*to = mem_slicedup(s);
}

static void inside(struct owner *o)
{
	char mark = o->pending;

	o->pending = '\0';
	if (mark != '\0')
		owner_act(o, mark);
}

static void on_header(void *arg, const struct xml_head *h, struct slice default_ns)
{
	(void)arg;
	(void)default_ns;
	MUST(slice_is(h->name, "stream"));
}

static void on_element(void *arg, const struct xml_element *e)
{
	struct owner *o = arg;
	char h[11];

	/* what is acknowledged is what was handled */
	snprintf(h, sizeof h, "%u", (unsigned)o->counts.h);
	MUST(!slice_is(e->head.ns, NS_SM) || !slice_is(e->head.name, "a") || slice_is(xml_attr_get(&e->head, "h"), h));
	MUST(!e->mixed_text || slice_empty(e->head.prefix) || slice_is(e->head.prefix, "db"));
}

static void on_footer(void *arg)
{
	((struct owner *)arg)->mirror_done = true;
}

static const struct xml_parser_ops mirror_ops = {.header = on_header, .element = on_element, .footer = on_footer};

static void op_send(void *arg, struct slice bytes)
{
	struct owner *o = arg;
	size_t used = 0;

	MUST(!o->closed && !o->in_tls && !o->mirror_done && bytes.n > 0);
	if (bytes.n > 5 && memcmp(bytes.p, "<?xml", 5) == 0)
		xml_parser_reset(o->mirror);
	MUST(xml_parser_feed(o->mirror, bytes, &used) == 0 && used == bytes.n);
}

static void op_start_tls(void *arg)
{
	struct owner *o = arg;

	MUST(!stream_secure(o->s));
	o->in_tls = true;
	inside(o);
}

static bool op_host_known(void *arg, const char *domain)
{
	(void)arg;
	return strcmp(domain, "example.com") == 0 || strcmp(domain, "conference.example.com") == 0;
}

static void op_mechanisms(void *arg, struct stream *s)
{
	struct owner *o = arg;

	MUST(stream_secure(s));
	if (o->options & FUZZ_CERTIFICATE)
		stream_offer_mechanism(s, "EXTERNAL");
	stream_offer_mechanism(s, "SCRAM-SHA-1");
	stream_offer_binding(s, "tls-exporter");
}

static void op_auth_start(void *arg, struct slice mech, struct slice initial)
{
	struct owner *o = arg;

	MUST(stream_secure(o->s) && mech.n > 0 && (initial.n == 0 || initial.p != NULL) && !stream_wants_input(o->s));
	MUST(!o->exchange);
	o->exchange = o->auth_asked = true;
	inside(o);
}

static void op_auth_step(void *arg, struct slice response)
{
	struct owner *o = arg;

	MUST(response.p != NULL && o->exchange && !o->auth_asked);
	o->auth_asked = true;
	inside(o);
}

static void op_auth_abort(void *arg)
{
	struct owner *o = arg;

	MUST(o->exchange && !o->auth_asked);
	o->exchange = false;
	inside(o);
}

static void op_bind(void *arg, struct slice resource)
{
	struct owner *o = arg;

	MUST(o->let_in && resource.p != NULL && !jid_empty(stream_jid(o->s)));
	inside(o);
}

static void op_stanza(void *arg, const struct xml_element *e)
{
	struct owner *o = arg;

	MUST(o->established && o->let_in && stream_secure(o->s) && e->raw.n > 0);
	MUST(o->role != STREAM_S2S_OUT || stream_bidi(o->s));
	MUST(stream_state(o->s) == STREAM_ESTABLISHED || (stream_state(o->s) == STREAM_CLOSING && stream_bidi(o->s)));
	inside(o);
}

static void op_sm_enable(void *arg, uint32_t resume_s)
{
	struct owner *o = arg;

	(void)resume_s;
	MUST(o->established && o->let_in && o->role != STREAM_S2S_OUT && stream_managed(o->s));
	inside(o);
}

static void op_sm_resume(void *arg, struct slice id, uint32_t h)
{
	struct owner *o = arg;

	(void)h;
	MUST(o->let_in && !o->established && o->role == STREAM_C2S && id.n > 0);
	inside(o);
}

static void op_sm_answered(void *arg, bool on)
{
	struct owner *o = arg;

	MUST(o->established && o->role == STREAM_S2S_OUT && stream_managed(o->s) == on);
	inside(o);
}

static bool op_sm_handled(void *arg, uint32_t h)
{
	struct owner *o = arg;
	bool ok = o->counts.sent - h <= o->counts.unhandled;

	MUST(o->established && stream_managed(o->s));
	if (ok)
		o->counts.unhandled = o->counts.sent - h;
	return ok;
}

static void op_sm_counts(void *arg, struct stream_counts *c)
{
	*c = ((struct owner *)arg)->counts;
}

static void op_db_result(void *arg, const char *from, const char *to, struct slice key)
{
	struct owner *o = arg;

	MUST(stream_secure(o->s) && key.n > 0 && !stream_pair_ok(o->s, from, to) && !stream_managed(o->s));
	keep(&o->from, slice_str(from));
	keep(&o->to, slice_str(to));
	inside(o);
}

static void op_db_verify(void *arg, const char *from, const char *to, struct slice id, struct slice key)
{
	struct owner *o = arg;

	MUST(stream_secure(o->s) && key.n > 0 && id.n > 0);
	keep(&o->from, slice_str(from));
	keep(&o->to, slice_str(to));
	keep(&o->id, id);
	inside(o);
}

static void op_db_verified(void *arg, const char *from, const char *to, struct slice id, enum stream_verdict v)
{
	struct owner *o = arg;

	(void)id;
	(void)v;
	MUST(o->established && from[0] != '\0' && to[0] != '\0');
	inside(o);
}

static bool op_dialback_allowed(void *arg, const char *domain)
{
	return domain[0] != '\0' && !(((struct owner *)arg)->options & FUZZ_CERTIFICATES_ONLY);
}

static bool op_own_certificate(void *arg)
{
	return ((struct owner *)arg)->options & FUZZ_CERTIFICATE;
}

static bool op_make_key(void *arg, const char *from, const char *to, struct slice id, char *out)
{
	MUST(from[0] != '\0' && to[0] != '\0' && id.n > 0 && !(((struct owner *)arg)->options & FUZZ_CERTIFICATES_ONLY));
	memset(out, 'f', 64);
	out[64] = '\0';
	return (((struct owner *)arg)->random & 7) != 0;
}

static void op_pair_answered(void *arg, const char *from, const char *to, enum stream_verdict v, const char *detail)
{
	struct owner *o = arg;

	MUST(o->established && o->asked_pair && strcmp(to, "there.example") == 0 && strcmp(from, "chat.here.example") == 0);
	MUST((v == STREAM_DB_VALID) == stream_pair_given(o->s, from, to) && (v == STREAM_DB_ERROR) == (detail != NULL));
	o->asked_pair = false;
	inside(o);
}

static bool op_peer_acceptable(void *arg)
{
	MUST(stream_secure(((struct owner *)arg)->s));
	return true;
}

static void op_established(void *arg)
{
	struct owner *o = arg;

	MUST(stream_secure(o->s));
	/* S2S_OUT is let in by the peer; the others by us. */
	MUST(o->let_in || o->role == STREAM_S2S_OUT);
	o->let_in = o->established = true;
	inside(o);
}

static void op_closed(void *arg, enum close_reason r, const char *detail)
{
	struct owner *o = arg;

	MUST(!o->closed && (unsigned)r < CLOSE_MAX_ && (detail == NULL || detail[0] != '\0'));
	o->closed = true;
}

static const struct stream_ops ops = {
	.send = op_send,
	.start_tls = op_start_tls,
	.host_known = op_host_known,
	.mechanisms = op_mechanisms,
	.auth_start = op_auth_start,
	.auth_step = op_auth_step,
	.auth_abort = op_auth_abort,
	.bind = op_bind,
	.sm_enable = op_sm_enable,
	.sm_resume = op_sm_resume,
	.sm_answered = op_sm_answered,
	.sm_handled = op_sm_handled,
	.sm_counts = op_sm_counts,
	.stanza = op_stanza,
	.db_result = op_db_result,
	.db_verify = op_db_verify,
	.db_verified = op_db_verified,
	.dialback_allowed = op_dialback_allowed,
	.own_certificate = op_own_certificate,
	.make_key = op_make_key,
	.pair_answered = op_pair_answered,
	.peer_acceptable = op_peer_acceptable,
	.established = op_established,
	.closed = op_closed,
};

static size_t piece(struct owner *o, size_t left)
{
	o->random = o->random * 1664525u + 1013904223u;
	return o->options & FUZZ_CUT ? 1 + (o->random >> 20) % left : left;
}

static void pump(struct owner *o)
{
	while (buf_len(&o->rest) > 0 && !o->closed && !o->in_tls && stream_wants_input(o->s)) {
		struct slice all = buf_slice(&o->rest);
		size_t n = piece(o, all.n), used = 0;

		stream_feed(o->s, (struct slice){all.p, n}, &used, o->now_ms);
		MUST(used <= n && (used == n || o->closed || !stream_wants_input(o->s) || used > SHORTEST * (STREAM_FEED_ELEMENTS - 1)));
		if (!o->established && !o->closed && !o->in_tls)
			o->negotiated += used;
		MUST(o->negotiated <= NEGOTIATION_BYTES);
		buf_drain(&o->rest, used);
	}
	if (o->in_tls || o->closed)
		buf_reset(&o->rest);
	(void)stream_tick(o->s, o->now_ms);
}

static void mark(struct owner *o, char m)
{
	/* The handshake is over only when it was begun; a stream is started once. */
	if (m == FUZZ_TLS && !o->in_tls)
		return;
	if (o->options & FUZZ_ANSWER_INSIDE && m != FUZZ_START)
		o->pending = m;
	else if (m != FUZZ_START)
		owner_act(o, m);
}

void fuzz_stream(enum stream_role role, const uint8_t *data, size_t n)
{
	static const struct stream_limits limits = {
		/* as the gateway's (main.c), or what fits here may not fit there */
		.before_auth = {.element_bytes = 8192, .tag_bytes = 4096, .depth_max = 16, .attrs_max = 32},
		.after_auth = {.element_bytes = 262144, .tag_bytes = STREAM_TAG_MAX, .depth_max = 64, .attrs_max = 64},
		.negotiation_ms = 100000, .negotiation_bytes = NEGOTIATION_BYTES, .negotiation_blanks = 100, .auth_attempts_max = 4,
		.tls_ms = 30000, .close_ms = 5000, .ack_ms = 80000, .keepalive_ms = 60000, .idle_ms = 200000,
	};
	static const struct xml_limits large = {.element_bytes = 1 << 20, .tag_bytes = 1 << 20, .depth_max = 64, .attrs_max = 64};
	struct owner o = {.options = n > 0 ? data[0] : 0, .role = role, .now_ms = 1000000,
			  .counts = {.stanzas_max = 16, .bytes_max = 4000}};
	struct stream_params p = {.role = role, .limits = &limits, .direct_tls = o.options & FUZZ_DIRECT,
				  .from = "here.example", .to = "there.example", .verify_only = o.options & FUZZ_VERIFY_ONLY, .bidi = true};

	o.random = (uint32_t)n;
	buf_init(&o.rest, 1 << 22);
	o.mirror = xml_parser_new(&large, &mirror_ops, &o);
	o.s = stream_new(&p, &ops, &o, o.now_ms);
	if (role == STREAM_S2S_OUT)
		stream_start(o.s, o.now_ms);
	for (size_t i = 1; i < n; i++) {
		char c = (char)data[i];

		if (c == FUZZ_MARK && i + 1 < n && (char)data[i + 1] != FUZZ_MARK) {
			pump(&o);
			mark(&o, (char)data[++i]);
			pump(&o);
			continue;
		}
		i += c == FUZZ_MARK;
		MUST(buf_add(&o.rest, &c, 1) == 0);
	}
	pump(&o);
	stream_lost(o.s, CLOSE_LOST);
	MUST(o.closed);
	stream_free(o.s);
	xml_parser_free(o.mirror);
	buf_clear(&o.rest);
	free(o.from);
	free(o.to);
	free(o.id);
}
