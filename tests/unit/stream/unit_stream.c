#include "tests/unit/check.h"

#include <malloc.h>
#include <stdlib.h>

#include "common/err.h"
#include "stream/base64.h"
#include "stream/close.h"
#include "stream/gate.h"
#include "stream/pairs.h"
#include "stream/stream.h"

/* The parts of the stream machine that transcripts (tests/script) can't show well. */

static void base64_knows_rfc4648(void)
{
	static const struct { const char *plain, *text;
	} v[] = {
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
		{"", ""},
		{"\xff\xef\xbe\xfb", "/+++"
				     "+w=="},
	};

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct buf b;

		buf_init(&b, 100);
		CHECK_EQ(base64_encode(&b, slice_str(v[i].plain)), 0);
		CHECK(slice_is(buf_slice(&b), v[i].text));
		buf_reset(&b);
		CHECK_EQ(base64_decode(&b, slice_str(v[i].text)), 0);
		CHECK(slice_is(buf_slice(&b), v[i].plain));
		buf_clear(&b);
	}
}

static void base64_round_trips_every_length(void)
{
	unsigned char bytes[257];
	struct buf text, back;

	buf_init(&text, 1000);
	buf_init(&back, 1000);
	for (size_t n = 0; n < sizeof bytes; n++) {
		mem_random(bytes, n + 1);
		buf_reset(&text);
		buf_reset(&back);
		CHECK_EQ(base64_encode(&text, (struct slice){(const char *)bytes, n}), 0);
		CHECK_EQ(base64_decode(&back, buf_slice(&text)), 0);
		CHECK(slice_eq(buf_slice(&back), (struct slice){(const char *)bytes, n}));
	}
	buf_clear(&text);
	buf_clear(&back);
}

static void base64_is_strict(void)
{
	static const char *const bad[] = {
		"Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zm9v\n", " Zm9", "Zm-v", "Zh==", "Zm9=", "Zg==Zg==", "Zm=v"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct buf b;

		buf_init(&b, 100);
		CHECK_EQ(base64_decode(&b, slice_str(bad[i])), -ERR_SYNTAX);
		buf_clear(&b);
	}
}

/* Of all bytes the 64, in every place, and nothing else. */
static void base64_knows_its_characters(void)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (int c = 0; c < 256; c++) {
		const char *known = c != 0 ? strchr(set, c) : NULL;

		for (size_t at = 0; at < 7; at++) { /* '=' may be the eighth */
			char text[8] = {'A', 'A', 'A', 'A', 'A', 'A', 'A', 'A'};
			struct buf b;

			text[at] = (char)c;
			buf_init(&b, 100);
			CHECK_EQ(base64_decode(&b, (struct slice){text, 8}), known != NULL ? 0 : -ERR_SYNTAX);
			buf_clear(&b);
		}
	}
}

static void base64_keeps_limits(void)
{
	struct buf b;

	buf_init(&b, 5);
	CHECK_EQ(base64_decode(&b, SLICE("Zm9vYmFy")), -ERR_LIMIT);
	buf_clear(&b);
	CHECK_EQ(base64_encode(&b, SLICE("foobar")), -ERR_LIMIT);
	buf_clear(&b);
}

static void pairs_are_bounded(void)
{
	struct pairs p = {0};
	char name[32];

	for (int i = 0; i < PAIRS_MAX; i++) {
		snprintf(name, sizeof name, "d%d.example", i);
		CHECK_EQ(pairs_put(&p, name, "us", PAIR_PENDING), 0);
	}
	CHECK_EQ(pairs_put(&p, "more.example", "us", PAIR_PENDING), -ERR_LIMIT);
	CHECK_EQ(pairs_put(&p, "d7.example", "us", PAIR_OK), 0);
	CHECK_EQ(pairs_get(&p, "d7.example", "us"), PAIR_OK);
	CHECK_EQ(pairs_get(&p, "us", "d7.example"), PAIR_NONE);
	pairs_drop(&p, "d7.example", "us");
	pairs_drop(&p, "nobody.example", "us");
	CHECK_EQ(pairs_get(&p, "d7.example", "us"), PAIR_NONE);
	CHECK_EQ(pairs_get(&p, "d127.example", "us"), PAIR_PENDING);
	CHECK_EQ(pairs_put(&p, "more.example", "us", PAIR_OK), 0);
	pairs_clear(&p);
	CHECK_EQ(pairs_get(&p, "more.example", "us"), PAIR_NONE);
}

static void reasons_have_conditions_of_the_rfc(void)
{
	for (unsigned r = 0; r < CLOSE_MAX_; r++) {
		const char *c = close_condition((enum close_reason)r);

		CHECK(close_word((enum close_reason)r)[0] != '\0');
		CHECK(c[0] == '\0' || close_stream_condition(c) != NULL);
		CHECK(c[0] == '\0' || strcmp(close_stream_condition(c), c) == 0);
		CHECK(c[0] != '\0' || close_text((enum close_reason)r)[0] == '\0');
		for (unsigned q = 0; q < r; q++)
			CHECK(strcmp(close_word((enum close_reason)q), close_word((enum close_reason)r)) != 0);
	}
	CHECK_STR(close_stream_condition(NULL), "undefined-condition");
	CHECK_STR(close_sasl_condition("aborted"), "aborted");
	CHECK_STR(close_stanza_condition("conflict"), "conflict");
}

static void rules_name_roles_and_states(void)
{
	size_t nr;
	const struct gate_rule *r = gate_rules(&nr);

	for (size_t i = 0; i < nr; i++) {
		CHECK(r[i].fn != NULL && r[i].roles != 0 && r[i].states != 0);
		CHECK((r[i].roles & ~7u) == 0);
		/* Before a header, inside a handshake and after the end nobody may say anything. */
		CHECK((r[i].states & (1u << STREAM_WAIT_STREAM | 1u << STREAM_TLS | 1u << STREAM_CLOSED)) == 0);
	}
}

static bool meet(const char *a, const char *b)
{
	return a == NULL || b == NULL || strcmp(a, b) == 0;
}

/* So the order of the rows means nothing, but where the stream is closing. */
static void no_two_rules_take_the_same(void)
{
	size_t nr;
	const struct gate_rule *r = gate_rules(&nr);

	for (size_t i = 0; i < nr; i++) {
		for (size_t k = 0; k < i; k++) {
			bool both = (r[i].roles & r[k].roles) != 0 && (r[i].states & r[k].states) != 0 && meet(r[i].ns, r[k].ns) &&
				    meet(r[i].name, r[k].name);

			CHECK(!both || (r[i].states == 1u << STREAM_CLOSING && r[k].states == 1u << STREAM_CLOSING));
		}
	}
}

/* --- a stream -------------------------------------------------------------- */

static size_t nr_stanzas, sent_last;
static enum close_reason closed_by;

static void op_stanza(void *arg, const struct xml_element *e)
{
	(void)arg;
	(void)e;
	nr_stanzas++;
}

static void op_send(void *arg, struct slice bytes)
{
	(void)arg;
	sent_last = bytes.n;
}

static bool op_host_known(void *arg, const char *domain)
{
	(void)arg;
	(void)domain;
	return true;
}

static void op_mechanisms(void *arg, struct stream *s)
{
	(void)arg;
	stream_offer_mechanism(s, "PLAIN");
}

static void op_start_tls(void *arg)
{
	stream_tls_done(*(struct stream **)arg, 1000);
}

static void op_auth_start(void *arg, struct slice mech, struct slice initial)
{
	(void)mech;
	(void)initial;
	stream_auth_success(*(struct stream **)arg, "alice", SLICE_NONE);
}

static void op_bind(void *arg, struct slice resource)
{
	(void)resource;
	stream_bound(*(struct stream **)arg, "alice@example.com/home");
}

static void op_nothing(void *arg)
{
	(void)arg;
}

static void op_closed(void *arg, enum close_reason r, const char *detail)
{
	(void)arg;
	(void)detail;
	closed_by = r;
}

static const struct stream_ops ops = {
	.send = op_send,
	.start_tls = op_start_tls,
	.host_known = op_host_known,
	.mechanisms = op_mechanisms,
	.auth_start = op_auth_start,
	.bind = op_bind,
	.stanza = op_stanza,
	.established = op_nothing,
	.closed = op_closed,
};

static const struct stream_limits limits = {
	.before_auth = {.element_bytes = 8192, .tag_bytes = 4096, .depth_max = 16, .attrs_max = 32},
	.after_auth = {.element_bytes = 8192, .tag_bytes = 4096, .depth_max = 16, .attrs_max = 32},
	.negotiation_ms = 30000, .tls_ms = 10000, .close_ms = 2000, .auth_attempts_max = 3,
};

static void feed(struct stream *s, const char *text, uint64_t now)
{
	size_t used = 0;

	stream_feed(s, slice_str(text), &used, now);
	CHECK_EQ(used, strlen(text));
}

static struct stream *bound_stream(struct stream **self)
{
	static const char header[] =
		"<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
	struct stream_params p = {.role = STREAM_C2S, .limits = &limits, .direct_tls = true};
	struct stream *s = *self = stream_new(&p, &ops, self, 1000);

	feed(s, header, 1000);
	feed(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>", 1000);
	feed(s, header, 1000);
	feed(s, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", 1000);
	CHECK_EQ(stream_state(s), STREAM_ESTABLISHED);
	return s;
}

/* RFC 6120 5.4.3.3, also when the handshake is over before start_tls() returns: bytes of the same read are no part of the secured stream.
 */
static void nothing_survives_starttls(void)
{
	struct stream_params p = {.role = STREAM_C2S, .limits = &limits};
	struct stream *s, *self;

	s = self = stream_new(&p, &ops, &self, 1000);
	feed(s,
	     "<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	     "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	     "<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
	     1000);
	CHECK(stream_secure(s));
	CHECK_EQ(stream_state(s), STREAM_WAIT_STREAM);
	CHECK(stream_local_domain(s) == NULL);
	CHECK(stream_id(s).p == NULL);
	stream_free(s);
}

/* Others have their turn: a read full of small stanzas is taken in parts, all of it in the end. */
static void a_feed_takes_some_elements(void)
{
	enum { STANZAS = 3 * STREAM_FEED_ELEMENTS + 1 };
	static const char stanza[] = "<presence/>";
	char text[STANZAS * (sizeof stanza - 1) + 1];
	struct stream *s, *self;
	size_t at = 0, used;

	for (size_t i = 0; i < STANZAS; i++)
		memcpy(text + i * (sizeof stanza - 1), stanza, sizeof stanza);
	s = bound_stream(&self);
	nr_stanzas = 0;
	for (unsigned feeds = 1; feeds <= 4; feeds++, at += used) {
		CHECK(stream_wants_input(s));
		stream_feed(s, slice_str(text + at), &used, 1000);
		CHECK_EQ(nr_stanzas, feeds < 4 ? feeds * STREAM_FEED_ELEMENTS : STANZAS);
		CHECK_EQ(at + used, nr_stanzas * (sizeof stanza - 1));
	}
	stream_free(s);
}

/* So that an owner can tell a sign of life from a flood. */
static void white_space_is_counted(void)
{
	static const struct { const char *text; size_t blanks;
	} v[] = {{"\n", 1},    {"\r\n  \t\n", 6},  {"<presence/>", 0}, {" <message>\n</message>\n<presence/> \n", 4},
		 {" <pre", 1}, {"sence \n/>\n", 1}};
	struct stream *s, *self;

	s = bound_stream(&self);
	CHECK_EQ(stream_fed_blanks(s), 0);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		feed(s, v[i].text, 1000);
		CHECK_EQ(stream_fed_blanks(s), v[i].blanks);
	}
	stream_free(s);
}

/* However the bytes come, so many are taken and none more. */
static void negotiation_is_bounded(void)
{
	static const char header[] =
		"<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
	struct stream_limits l = limits;
	struct stream_params p = {.role = STREAM_C2S, .limits = &l};

	l.negotiation_bytes = sizeof header - 1 + 1000;
	for (size_t piece = 1; piece < 2000; piece = piece * 2 + 1) {
		struct stream *s, *self;
		size_t used, taken = 0;
		char more[2000];

		memset(more, 'x', sizeof more);
		memcpy(more, "<starttls>", 10);
		s = self = stream_new(&p, &ops, &self, 1000);
		feed(s, header, 1000);
		for (size_t at = 0; at < sizeof more && stream_state(s) < STREAM_CLOSING; at += piece) {
			size_t n = piece < sizeof more - at ? piece : sizeof more - at;

			stream_feed(s, (struct slice){more + at, n}, &used, 1000);
			taken += stream_state(s) < STREAM_CLOSING ? used : 0;
		}
		CHECK(taken <= 1000 && taken + piece > 1000);
		CHECK_EQ(stream_state(s), STREAM_CLOSED);
		CHECK_EQ(closed_by, CLOSE_NEGOTIATION_BYTES);
		stream_free(s);
	}
}

static char text_[8194];

static void op_bind_refused(void *arg, struct slice resource)
{
	(void)resource;
	stream_bind_refused(*(struct stream **)arg, "cancel", "conflict", text_);
}

/* The longest id that a tag may hold and the longest text that a service may give, each byte of them written as five or six. A longer text
 * is left out. */
static void the_longest_answer_has_room(void)
{
	static const char header[] =
		"<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
	static const char open[] = "<iq type='set' id='", behind[] = "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
	enum { ID = STREAM_TAG_MAX - (sizeof open - 1) - 2 };
	static char iq[sizeof open + ID + sizeof behind];
	struct stream_limits l = limits;
	struct stream_params p = {.role = STREAM_C2S, .limits = &l, .direct_tls = true};
	struct stream_ops refusing = ops;
	struct stream *s, *self;

	l.after_auth.element_bytes = 262144;
	l.after_auth.tag_bytes = STREAM_TAG_MAX;
	refusing.bind = op_bind_refused;
	memset(iq, '"', sizeof iq);
	memcpy(iq, open, sizeof open - 1);
	memcpy(iq + sizeof open - 1 + ID, behind, sizeof behind);
	s = self = stream_new(&p, &refusing, &self, 1000);
	feed(s, header, 1000);
	feed(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>", 1000);
	feed(s, header, 1000);
	memset(text_, '&', 8192);
	feed(s, iq, 1000);
	CHECK(sent_last > 6 * ID + 5 * 8192);
	text_[8192] = '&';
	feed(s, iq, 1000);
	CHECK(sent_last > 6 * ID && sent_last < 6 * ID + 1000);
	text_[0] = '\0';
	stream_free(s);
}

/* An idle client's stream, its JID and its parser's rest: below 1,200 bytes as the allocator counts. (Sanitizers count differently.) */
static void idle_streams_are_small(void)
{
	static struct stream *v[1000];
	size_t before = mallinfo2().uordblks, each, used;

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		bound_stream(&v[i]);
		CHECK_EQ(stream_tick(v[i], 1000), 1050);   /* nothing was said since the login */
		CHECK_EQ(stream_tick(v[i], 1050), UINT64_MAX);
		stream_feed(v[i], SLICE(" "), &used, 2000);
		CHECK_EQ(stream_tick(v[i], 2000), 3000);
		CHECK_EQ(stream_tick(v[i], 3000), UINT64_MAX);
	}
	each = (mallinfo2().uordblks - before) / ARRAY_LEN(v);
	if (CHECK_OWN_MALLOC) {
		fprintf(stderr, "an idle stream: %zu bytes\n", each);
		CHECK(each < 1200);
	}
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		stream_free(v[i]);
}

int main(void)
{
	RUN(base64_knows_rfc4648);
	RUN(base64_round_trips_every_length);
	RUN(base64_is_strict);
	RUN(base64_knows_its_characters);
	RUN(base64_keeps_limits);
	RUN(pairs_are_bounded);
	RUN(reasons_have_conditions_of_the_rfc);
	RUN(rules_name_roles_and_states);
	RUN(no_two_rules_take_the_same);
	RUN(nothing_survives_starttls);
	RUN(a_feed_takes_some_elements);
	RUN(negotiation_is_bounded);
	RUN(white_space_is_counted);
	RUN(the_longest_answer_has_room);
	RUN(idle_streams_are_small);
	return check_done("unit.stream");
}
