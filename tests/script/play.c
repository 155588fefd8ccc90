#include "play_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"

/* Events are lines of words, kept in order until somebody asks. As an owner it keeps the contract of stream.h: what was not consumed is fed
 * again. */

/* --- events -------------------------------------------------------------- */

static void must(int err)
{
	if (err != 0) {
		fprintf(stderr, "play: %s\n", err_text(err));
		abort();
	}
}

static void event(struct play *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void event(struct play *p, const char *fmt, ...)
{
	char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (p->nr == EVENTS_MAX)
		abort();
	p->events[(p->first + p->nr++) % EVENTS_MAX] = line;
}

char *play_event(struct play *p)
{
	char *line;

	if (p->nr == 0)
		return NULL;
	line = p->events[p->first];
	p->first = (p->first + 1) % EVENTS_MAX;
	p->nr--;
	return line;
}

/* "-": none, "=": empty */
static char *data_word(struct slice data)
{
	struct buf out;
	char *word;

	if (data.p == NULL)
		return mem_strdup("-");
	if (data.n == 0)
		return mem_strdup("=");
	buf_init(&out, 1 << 20);
	play_escape(&out, data);
	word = mem_slicedup(buf_slice(&out));
	buf_clear(&out);
	return word;
}

/* --- the stream's questions ------------------------------------------------ */

/* Called at the end of every question: the answer that was prepared for inside. */
static void act_inside(struct play *p)
{
	char *words[PLAY_WORDS];
	unsigned nr = p->nr_inside;

	memcpy(words, p->inside, sizeof words);
	p->nr_inside = 0;
	if (nr > 0 && !play_act(p, words, nr)) {
		fprintf(stderr, "play: no such act: %s\n", words[0]);
		abort();
	}
	for (unsigned i = 0; i < nr; i++)
		free(words[i]);
}

static struct buf *tap;

void play_tap(struct buf *to)
{
	tap = to;
}

static void op_send(void *arg, struct slice bytes)
{
	struct play *p = arg;

	ASSERT(p->closed == CLOSE_MAX_ && bytes.n > 0);
	must(buf_add_slice(&p->out, bytes));
	if (tap != NULL)
		must(buf_add_slice(tap, bytes));
}

static void op_start_tls(void *arg)
{
	struct play *p = arg;

	event(p, "start-tls");
	act_inside(p);
}

static bool op_host_known(void *arg, const char *domain)
{
	struct play *p = arg;

	for (unsigned i = 0; p->c->hosts[i] != NULL; i++) {
		if (strcmp(p->c->hosts[i], domain) == 0)
			return true;
	}
	return false;
}

static void op_mechanisms(void *arg, struct stream *s)
{
	struct play *p = arg;

	for (unsigned i = 0; p->c->bindings[i] != NULL; i++)
		stream_offer_binding(s, p->c->bindings[i]);
	for (unsigned i = 0; p->c->mechs[i] != NULL; i++) {
		if (p->c->params.role == STREAM_C2S || stream_peer_domain(s) != NULL)
			stream_offer_mechanism(s, p->c->mechs[i]);
	}
}

static void op_auth_start(void *arg, struct slice mech, struct slice initial)
{
	struct play *p = arg;
	char *data = data_word(initial);

	ASSERT(!p->exchange);
	p->exchange = true;
	event(p, "auth " SLICE_FMT " %s", SLICE_ARG(mech), data);
	free(data);
	act_inside(p);
}

static void op_auth_step(void *arg, struct slice response)
{
	struct play *p = arg;
	char *data = data_word(response);

	ASSERT(p->exchange);
	event(p, "step %s", data);
	free(data);
	act_inside(p);
}

static void op_auth_abort(void *arg)
{
	struct play *p = arg;

	ASSERT(p->exchange);
	p->exchange = false;
	event(p, "abort");
	act_inside(p);
}

static void op_bind(void *arg, struct slice resource)
{
	event(arg, "bind " SLICE_FMT, SLICE_ARG(resource));
	act_inside(arg);
}

static void op_sm_enable(void *arg, uint32_t resume_s)
{
	event(arg, "sm-enable %u", (unsigned)resume_s);
	act_inside(arg);
}

static void op_sm_answered(void *arg, bool on)
{
	event(arg, "sm-%s", on ? "on" : "off");
	act_inside(arg);
}

static void op_sm_resume(void *arg, struct slice id, uint32_t h)
{
	event(arg, "sm-resume " SLICE_FMT " %u", SLICE_ARG(id), (unsigned)h);
	act_inside(arg);
}

static bool op_sm_handled(void *arg, uint32_t h)
{
	struct play *p = arg;
	bool ok = p->counts.sent - h <= p->counts.unhandled;

	event(arg, "sm-handled %u", (unsigned)h);
	if (ok)
		p->counts.unhandled = p->counts.sent - h;
	return ok;
}

static void op_sm_counts(void *arg, struct stream_counts *c)
{
	*c = ((struct play *)arg)->counts;
}

static void op_stanza(void *arg, const struct xml_element *e)
{
	event(arg, "stanza " SLICE_FMT, SLICE_ARG(e->raw));
	act_inside(arg);
}

static void op_db_result(void *arg, const char *from, const char *to, struct slice key)
{
	event(arg, "db-result %s %s " SLICE_FMT, from, to, SLICE_ARG(key));
	act_inside(arg);
}

static void op_db_verify(void *arg, const char *from, const char *to, struct slice id, struct slice key)
{
	struct play *p = arg;

	free(p->verify_id);
	p->verify_id = mem_slicedup(id);
	event(p, "db-verify %s %s " SLICE_FMT " " SLICE_FMT, from, to, SLICE_ARG(id), SLICE_ARG(key));
	act_inside(p);
}

static void op_db_verified(void *arg, const char *from, const char *to, struct slice id, enum stream_verdict v)
{
	event(arg, "db-verified %s %s " SLICE_FMT " %s", from, to, SLICE_ARG(id), play_verdict_word(v));
	act_inside(arg);
}

static bool op_peer_named(void *arg)
{
	struct play *p = arg;

	if (p->c->asks_peer)
		event(arg, "peer-named %s", stream_peer_domain(p->s));
	return p->c->asks_peer;
}

static bool op_dialback_allowed(void *arg, const char *domain)
{
	struct play *p = arg;

	ASSERT(domain[0] != '\0');
	return !p->c->certificates_only;
}

static bool op_own_certificate(void *arg)
{
	return ((struct play *)arg)->c->own_certificate;
}

static bool op_make_key(void *arg, const char *from, const char *to, struct slice id, char *out)
{
	(void)from;
	(void)to;
	event(arg, "make-key " SLICE_FMT, SLICE_ARG(id));
	if (((struct play *)arg)->c->no_key)
		return false;
	memset(out, '7', 64);
	out[64] = '\0';
	return true;
}

static void op_pair_answered(void *arg, const char *from, const char *to, enum stream_verdict v, const char *detail)
{
	static const char *const words[] = {[STREAM_DB_INVALID] = "invalid", [STREAM_DB_VALID] = "valid", [STREAM_DB_ERROR] = "error"};

	event(arg, "pair %s %s %s%s%s", from, to, words[v], detail ? " " : "", detail ? detail : "");
	act_inside(arg);
}

static bool op_peer_acceptable(void *arg)
{
	return !((struct play *)arg)->c->peer_unacceptable;
}

static void op_established(void *arg)
{
	event(arg, "established");
	act_inside(arg);
}

static void op_closed(void *arg, enum close_reason r, const char *detail)
{
	struct play *p = arg;

	ASSERT(p->closed == CLOSE_MAX_);
	p->closed = r;
	event(p, "closed %s%s%s", close_word(r), detail ? " " : "", detail ? detail : "");
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
	.peer_named = op_peer_named,
	.dialback_allowed = op_dialback_allowed,
	.own_certificate = op_own_certificate,
	.make_key = op_make_key,
	.pair_answered = op_pair_answered,
	.peer_acceptable = op_peer_acceptable,
	.established = op_established,
	.closed = op_closed,
};

/* --- bytes ----------------------------------------------------------------- */

static size_t piece(struct play *p, size_t left)
{
	if (p->cut == PLAY_WHOLE)
		return left;
	if (p->cut == PLAY_BYTES)
		return 1;
	p->cut = p->cut * 1103515245u + 12345u;
	if (p->cut <= PLAY_BYTES)
		p->cut = 2;
	return 1 + (p->cut >> 16) % (left < 97 ? left : 97);
}

void play_pump(struct play *p)
{
	if (p->pumping)
		return;
	p->pumping = true;
	while (buf_len(&p->rest) > 0 && p->closed == CLOSE_MAX_) {
		struct slice all = buf_slice(&p->rest);
		size_t n, used = 0;

		/* What came before the handshake does not survive it: as the connection does. */
		if (stream_state(p->s) == STREAM_TLS) {
			buf_reset(&p->rest);
			break;
		}
		if (!stream_wants_input(p->s))
			break;
		n = piece(p, all.n);
		stream_feed(p->s, (struct slice){all.p, n}, &used, p->now_ms);
		ASSERT(used <= n);
		buf_drain(&p->rest, used);
		(void)stream_tick(p->s, p->now_ms);
	}
	(void)stream_tick(p->s, p->now_ms);
	p->pumping = false;
}

void play_peer_says(struct play *p, struct slice bytes)
{
	must(buf_add_slice(&p->rest, bytes));
	play_pump(p);
}

/* --- life ------------------------------------------------------------------ */

struct play *play_new(const struct play_config *c, unsigned cut)
{
	struct play *p = NEW(struct play);
	struct stream_params params = c->params;

	p->c = c;
	p->cut = cut;
	p->now_ms = 1000000;
	p->closed = CLOSE_MAX_;
	p->counts.stanzas_max = 16;
	p->counts.bytes_max = 4000;
	buf_init(&p->out, 1 << 24);
	buf_init(&p->rest, 1 << 24);
	params.limits = &c->limits;
	params.from = c->from;
	params.to = c->to;
	params.see_other_host = c->see_other_host;
	p->s = stream_new(&params, &ops, p, p->now_ms);
	return p;
}

void play_free(struct play *p)
{
	char *line;

	stream_free(p->s);
	while ((line = play_event(p)) != NULL)
		free(line);
	for (unsigned i = 0; i < p->nr_inside; i++)
		free(p->inside[i]);
	buf_clear(&p->out);
	buf_clear(&p->rest);
	free(p->verify_id);
	free(p);
}

struct stream *play_stream(struct play *p)
{
	return p->s;
}

struct buf *play_output(struct play *p)
{
	return &p->out;
}

enum close_reason play_closed(const struct play *p)
{
	return p->closed;
}
