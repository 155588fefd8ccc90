#include "stream/own.h"

#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"

/*
 * A stream's life: bytes to the parser, what it finds to the gate, deadlines, ends. No sockets, no clock. Two rules carry it: state changes
 * in stream_enter only, and the parser is reset or left only between its feeds, never inside its callbacks, so that every answer may be
 * given at any time, also at once.
 */

/* An established stream that said nothing for so long gives its parser's memory back; sooner would cost a busy one more than it saves. */
#define PARSER_IDLE_MS 1000   /* a parser is 10 KB and 3.5 µs: kept between stanzas that follow each other */
#define PARSER_FRESH_MS 50    /* of who has said nothing since its login: a thousand logins a second leave no thousands of parsers */

static const char *const role_names[] = {"c2s", "s2s-in", "s2s-out"};
static const char *const state_names[] = {"wait_stream", "wait_features", "wait_tls", "tls", "wait_sasl", "wait_bind", "wait_dialback",
					  "established", "closing", "closed"};

void stream_enter(struct stream *s, enum stream_state state)
{
	ASSERT(s->state != STREAM_CLOSED);
	log_debug(role_names[s->role], 0, "state", "stream=%s from=%s to=%s", s->id ? log_escape(slice_str(s->id)) : "-",
		  state_names[s->state], state_names[state]);
	s->state = state;
	s->phase_at_ms = UINT64_MAX;
	s->phase_unset = state == STREAM_TLS || state == STREAM_CLOSING;
}

bool stream_accepting(const struct stream *s)
{
	return s->role != STREAM_S2S_OUT;
}

const char *stream_content_ns(const struct stream *s)
{
	return s->role == STREAM_C2S ? NS_CLIENT : NS_SERVER;
}

void stream_set(char **field, char *owned)
{
	free(*field);
	*field = owned;
}

/* --- output ---------------------------------------------------------------- */

void stream_send_buf(struct stream *s, struct buf *out, struct xml_writer *w)
{
	/* STREAM_OUT_MAX has room for all that may come in: a full buffer is our mistake. */
	ASSERT(xml_writer_done(w) == 0);
	s->ops->send(s->arg, buf_slice(out));
	s->out_at_ms = s->now_ms;
	buf_clear(out);
}

void stream_send_empty(struct stream *s, const char *name, const char *ns)
{
	struct xml_writer w;
	struct buf out;

	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, name);
	xml_attr_str(&w, "xmlns", ns);
	xml_end(&w, name);
	stream_send_buf(s, &out, &w);
}

/* --- steps that several features take --------------------------------------- */

void stream_restart(struct stream *s)
{
	s->header_sent = false;
	if (s->feeding)
		s->restart = true;
	else
		xml_parser_reset(s->parser);
	stream_enter(s, STREAM_WAIT_STREAM);
}

void stream_authenticated(struct stream *s)
{
	s->authed = true;
	xml_parser_set_limits(s->parser, &s->limits->after_auth);
}

void stream_establish(struct stream *s)
{
	s->detail = NULL;
	if (s->state != STREAM_ESTABLISHED) {
		stream_authenticated(s);
		s->negotiation_left = UINT32_MAX;
		xml_parser_set_blanks_max(s->parser, SIZE_MAX);
		stream_enter(s, STREAM_ESTABLISHED);
	}
	s->ops->established(s->arg);
}

struct xml_tree *stream_tree(const struct stream *s, const struct xml_element *e)
{
	const struct xml_limits *l = s->authed ? &s->limits->after_auth : &s->limits->before_auth;

	return xml_tree_parse(e->raw, l, e->decls, e->nr_decls);
}

const char *stream_condition_of(const struct xml_node *parent, const char *ns)
{
	for (const struct xml_node *c = parent->child; c != NULL; c = c->next) {
		if (strcmp(c->ns, ns) == 0 && strcmp(c->name, "text") != 0)
			return c->name;
	}
	return NULL;
}

/* --- input ------------------------------------------------------------------- */

/* After every callback of the parser: may it go on in this input? */
static void stop_if_due(struct stream *s)
{
	if (s->restart || s->drop_rest || !stream_wants_input(s) || s->nr_fed >= STREAM_FEED_ELEMENTS)
		xml_parser_stop(s->parser);
}

static void on_header(void *arg, const struct xml_head *h, struct slice default_ns)
{
	struct stream *s = arg;

	if (s->state == STREAM_WAIT_STREAM) {
		if (stream_accepting(s))
			stream_in_header(s, h, default_ns);
		else
			stream_out_header(s, h, default_ns);
	}
	stop_if_due(s);
}

static void on_element(void *arg, const struct xml_element *e)
{
	struct stream *s = arg;
	enum gate_result r = gate_pass(s, e);

	/* The results say what the handler meant; what it did is in the flags, since answers may have come already. */
	ASSERT(r != GATE_RESTART || s->restart || s->state == STREAM_TLS || s->state >= STREAM_CLOSING);
	ASSERT(r != GATE_CLOSE || s->state >= STREAM_CLOSING);
	s->nr_fed++;
	stop_if_due(s);
}

static void on_footer(void *arg)
{
	struct stream *s = arg;

	if (s->state == STREAM_CLOSING) {
		stream_finish(s, s->reason);
	} else if (s->state != STREAM_CLOSED) {
		if (s->header_sent)
			framing_send_footer(s);
		stream_finish(s, CLOSE_PEER);
	}
	stop_if_due(s);
}

static const struct xml_parser_ops parser_ops = {.header = on_header, .element = on_element, .footer = on_footer};

static void take_xml_error(struct stream *s, int err)
{
	enum close_reason r = CLOSE_NOT_WELL_FORMED;

	switch (err) {
	case -ERR_XML_RESTRICTED:
		r = CLOSE_RESTRICTED_XML;
		break;
	case -ERR_XML_ENCODING:
		r = CLOSE_UNSUPPORTED_ENCODING;
		break;
	case -ERR_XML_LIMIT:
		r = CLOSE_TOO_BIG;
		break;
	case -ERR_XML_BLANKS:
		r = CLOSE_NEGOTIATION_BLANKS;
		break;
	default: /* also -ERR_XML_NAMESPACE: RFC 6120 4.9.3.13 counts XML-NAMES in */
		break;
	}
	stream_give_up(s, r);
}

/* One feed of the parser and what it asked for. Bytes consumed. */
static size_t feed_once(struct stream *s, struct slice in)
{
	size_t used = 0;
	int err;

	s->feeding = true;
	err = xml_parser_feed(s->parser, in, &used);
	s->feeding = false;
	if (s->drop_rest) {
		s->drop_rest = false;
		used = in.n;
	}
	if (s->restart) {
		s->restart = false;
		xml_parser_reset(s->parser);
	} else if (s->state == STREAM_CLOSED) {
		xml_parser_reset(s->parser); /* inside the feed it could not be */
	} else if (err != 0 && err != -ERR_AGAIN) {
		take_xml_error(s, err);
	}
	return used;
}

void stream_feed(struct stream *s, struct slice in, size_t *used, uint64_t now_ms)
{
	size_t done = 0, blanks = xml_parser_blanks(s->parser), now;

	ASSERT(!s->feeding);
	s->now_ms = s->in_at_ms = now_ms;
	s->spoken = s->state == STREAM_ESTABLISHED;
	s->nr_fed = 0;
	while (done < in.n && stream_wants_input(s) && s->nr_fed < STREAM_FEED_ELEMENTS) {
		size_t n = in.n - done < s->negotiation_left ? in.n - done : s->negotiation_left;

		if (n == 0) {
			stream_give_up(s, CLOSE_NEGOTIATION_BYTES);
			break;
		}
		n = feed_once(s, (struct slice){in.p + done, n});
		/* A stop that took nothing would go round for ever: the parser promises that it can't be. */
		ASSERT(n > 0 || s->state == STREAM_CLOSED);
		if (s->negotiation_left != UINT32_MAX)
			s->negotiation_left -= (uint32_t)n;
		done += n;
	}
	now = xml_parser_blanks(s->parser);
	unfinished_fed(s, done);
	s->fed_blanks = now > blanks ? (uint32_t)(now - blanks) : 0; /* a new stream counts anew */
	*used = s->state == STREAM_TLS || s->state == STREAM_CLOSED ? in.n : done;
}

size_t stream_fed_blanks(const struct stream *s)
{
	return s->fed_blanks;
}

bool stream_wants_input(const struct stream *s)
{
	if (s->state == STREAM_CLOSED || s->state == STREAM_TLS)
		return false;
	if (s->state == STREAM_CLOSING)
		return !s->held || !bidi_takes_last(s);
	return !s->asked && !s->held;
}

void stream_hold(struct stream *s, bool held)
{
	s->held = held;
	s->hold_unset = held;
}

enum gate_result stream_ignore(struct stream *s, const struct xml_element *e)
{
	(void)s;
	(void)e;
	return GATE_NEXT;
}

enum gate_result stream_take_stanza(struct stream *s, const struct xml_element *e)
{
	s->ops->stanza(s->arg, e);
	return GATE_NEXT;
}

/* RFC 6120 4.9.1.1: the peer ends the stream and says why; we say goodbye. */
enum gate_result stream_take_error(struct stream *s, const struct xml_element *e)
{
	struct xml_tree *t = stream_tree(s, e);

	s->detail = close_stream_condition(t ? stream_condition_of(xml_tree_root(t), NS_STREAM_ERRORS) : NULL);
	xml_tree_free(t);
	return stream_refuse(s, CLOSE_PEER);
}

/* --- time -------------------------------------------------------------------- */

/* Phases begin where the time is not known (an owner's close): they count from the first tick behind. */
static void settle_phase(struct stream *s, uint64_t now_ms)
{
	if (!s->phase_unset)
		return;
	s->phase_unset = false;
	s->phase_at_ms = now_ms + (s->state == STREAM_TLS ? s->limits->tls_ms : s->limits->close_ms);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What a peer sends is not taken for a while: that has its time, too. */
static uint64_t hold_tick(struct stream *s, uint64_t now_ms)
{
	if (!s->held || s->limits->hold_ms == 0)
		return UINT64_MAX;
	if (s->hold_unset)
		s->held_at_ms = now_ms;
	s->hold_unset = false;
	if (now_ms < s->held_at_ms + s->limits->hold_ms)
		return s->held_at_ms + s->limits->hold_ms;
	stream_close(s, CLOSE_SERVICE_STALLED);
	return UINT64_MAX;
}

/* Keepalive, silence, and the parser of a quiet stream; the next time to look. */
static uint64_t tick_established(struct stream *s, uint64_t now_ms)
{
	const struct stream_limits *l = s->limits;
	uint64_t quiet_since = s->in_at_ms > s->out_at_ms ? s->in_at_ms : s->out_at_ms;
	uint64_t next = UINT64_MAX, parser_until;

	if (l->idle_ms > 0) {
		if (now_ms >= s->in_at_ms + l->idle_ms) {
			stream_close(s, CLOSE_TIMEOUT_IDLE);
			return UINT64_MAX;
		}
		next = s->in_at_ms + l->idle_ms;
	}
	if (l->keepalive_ms > 0) {
		if (now_ms >= quiet_since + l->keepalive_ms) {
			s->ops->send(s->arg, SLICE(" "));
			s->out_at_ms = quiet_since = now_ms;
		}
		next = sooner(next, quiet_since + l->keepalive_ms);
	}
	next = sooner(next, limits_tick(s, now_ms));
	next = sooner(next, sm_tick(s, now_ms));
	if (s->state == STREAM_ESTABLISHED)
		next = sooner(next, unfinished_tick(s, now_ms));
	if (s->state == STREAM_ESTABLISHED)
		next = sooner(next, hold_tick(s, now_ms));
	if (s->state != STREAM_ESTABLISHED)
		return UINT64_MAX;
	parser_until = s->in_at_ms + (s->spoken ? PARSER_IDLE_MS : PARSER_FRESH_MS);
	if (now_ms >= parser_until)
		xml_parser_release(s->parser);
	else
		next = sooner(next, parser_until);
	return next;
}

uint64_t stream_tick(struct stream *s, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	s->now_ms = now_ms;
	settle_phase(s, now_ms);
	if (s->state == STREAM_ESTABLISHED)
		next = tick_established(s, now_ms);
	else if (s->state < STREAM_ESTABLISHED && now_ms >= sooner(s->negotiation_at_ms, s->phase_at_ms))
		stream_close(s, CLOSE_TIMEOUT_NEGOTIATION);
	settle_phase(s, now_ms);
	if (s->state == STREAM_CLOSING && now_ms >= s->phase_at_ms)
		stream_finish(s, s->reason);
	if (s->state == STREAM_CLOSED)
		return UINT64_MAX;
	if (s->state < STREAM_ESTABLISHED)
		next = s->negotiation_at_ms;
	return sooner(next, s->phase_at_ms);
}

/* --- birth and death --------------------------------------------------------- */

struct stream *stream_new(const struct stream_params *p, const struct stream_ops *ops, void *arg, uint64_t now_ms)
{
	struct stream *s = NEW(struct stream);

	ASSERT(p->limits->before_auth.tag_bytes <= STREAM_TAG_MAX && p->limits->after_auth.tag_bytes <= STREAM_TAG_MAX);
	s->role = p->role;
	s->limits = p->limits;
	s->secure = p->direct_tls;
	s->verify_only = p->verify_only;
	s->may_bidi = p->bidi;
	s->see_other_host = mem_strdup(p->see_other_host);
	s->ops = ops;
	s->arg = arg;
	if (p->role == STREAM_S2S_OUT) {
		s->local = mem_strdup(p->from);
		s->peer = mem_strdup(p->to);
	}
	jid_init(&s->jid);
	s->sm.ask_at_ms = s->sm.answer_at_ms = UINT64_MAX;
	s->now_ms = s->in_at_ms = s->out_at_ms = now_ms;
	s->negotiation_at_ms = now_ms + p->limits->negotiation_ms;
	s->phase_at_ms = UINT64_MAX;
	ASSERT(p->limits->negotiation_bytes < UINT32_MAX);
	s->negotiation_left = p->limits->negotiation_bytes > 0 ? (uint32_t)p->limits->negotiation_bytes : UINT32_MAX;
	s->parser = xml_parser_new(&p->limits->before_auth, &parser_ops, s);
	if (p->limits->negotiation_blanks > 0)
		xml_parser_set_blanks_max(s->parser, p->limits->negotiation_blanks);
	return s;
}

void stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	ASSERT(!s->feeding);
	xml_parser_free(s->parser);
	jid_clear(&s->jid);
	pairs_clear(&s->pairs);
	pairs_clear(&s->asked_for);
	free(s->local);
	free(s->peer);
	free(s->id);
	free(s->bind_id);
	free(s->see_other_host);
	free(s);
}

void stream_start(struct stream *s, uint64_t now_ms)
{
	ASSERT(s->role == STREAM_S2S_OUT && s->state == STREAM_WAIT_STREAM && !s->header_sent);
	s->now_ms = now_ms;
	stream_out_begin(s);
}

/* --- what is known ----------------------------------------------------------- */

const char *stream_state_name(enum stream_state state)
{
	return state_names[state];
}

const char *stream_role_name(enum stream_role role)
{
	return role_names[role];
}

enum stream_state stream_state(const struct stream *s)
{
	return s->state;
}

const struct jid *stream_jid(const struct stream *s)
{
	return &s->jid;
}

const char *stream_local_domain(const struct stream *s)
{
	return s->local;
}

const char *stream_peer_domain(const struct stream *s)
{
	return s->peer;
}

struct slice stream_id(const struct stream *s)
{
	return slice_str(s->id);
}

bool stream_secure(const struct stream *s)
{
	return s->secure;
}

unsigned stream_nr_pairs(const struct stream *s)
{
	return pairs_count(&s->pairs);
}

bool stream_any_pair(const struct stream *s, bool (*fn)(void *arg, const char *from, const char *to), void *arg)
{
	return pairs_any(&s->pairs, fn, arg);
}

static bool names(void *domain, const char *from, const char *to)
{
	return strcmp(from, domain) == 0 || strcmp(to, domain) == 0;
}

bool stream_concerns(const struct stream *s, const char *domain)
{
	void *arg = (void *)(uintptr_t)domain;

	return (s->local != NULL && strcmp(s->local, domain) == 0) || (s->peer != NULL && strcmp(s->peer, domain) == 0) ||
	       pairs_any(&s->pairs, names, arg) || pairs_any(&s->asked_for, names, arg);
}

bool stream_pair_ok(const struct stream *s, const char *from, const char *to)
{
	return pairs_get(&s->pairs, from, to) == PAIR_OK;
}
