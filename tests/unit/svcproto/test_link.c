/* The engine by scenarios: link, streams, credit, acknowledgements, and what each wrong move of a peer costs it. */
/* lint: long file because one scenario for each sentence of PROTOCOL.md, over one pair of ends */
#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"

static struct pair p;

static void begin(void)
{
	pair_init(&p, NULL, NULL);
	pair_up(&p);
}

static int send_text(struct svc_stream *s, const char *text)
{
	return svc_stream_send(s, text, strlen(text), 0, NULL);
}

static char *big(size_t n)
{
	char *b = malloc(n);

	if (b != NULL)
		memset(b, 'x', n);
	return b;
}

static void handshake(void)
{
	struct svc_hello gw = { .name = "gw", .streams_max = 5 }, sv = { .name = "im", .stream_window_bytes = 8192 };

	pair_init(&p, &gw, &sv);
	CHECK(!svc_link_is_up(p.gw.l) && !svc_link_is_up(p.sv.l));
	CHECK_EQ(svc_link_start(p.gw.l, 0), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_start(p.sv.l, p.now), 0);
	CHECK(svc_link_wants_flush(p.sv.l));
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "up im");
	CHECK_STR(pair_log(&p.sv), "up gw");
	CHECK_EQ(p.sv.l->peer.streams_max, 5);
	CHECK_EQ(p.gw.l->peer.stream_window_bytes, 8192);
	CHECK(!svc_link_wants_flush(p.sv.l) && !svc_link_wants_flush(p.gw.l));
	pair_clear(&p);
}

static void no_common_version(void)
{
	struct message_hello m = { .version_min = 2, .version_max = 9 };
	uint8_t batch[1024] = { 0 }, body[512];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	size_t n = WIRE_BATCH_HEADER;

	pair_init(&p, NULL, NULL);
	m.who = p.sv.l->self;
	message_put_hello(&w, &m);
	wire_put_batch(batch, &(struct wire_batch){ .version = 2, .epoch = 1, .number = 1 });
	frame_put(batch, &n, WIRE_HELLO, 0, 0, 0, body, (uint32_t)w.n);
	p.sv.l->state = LINK_HELLO;
	p.sv.l->hello_sent = true;
	p.sv.l->epoch = 1;
	svc_link_input(p.gw.l, batch, n, p.now);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "");
	CHECK_STR(pair_log(&p.sv), "down no common version");
	CHECK(!svc_link_is_up(p.gw.l));
	CHECK(svc_link_tick(p.sv.l, p.now) >= p.now + 10000);
	pair_tick(&p, 10000);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "up gateway");
	pair_clear(&p);
}

static void session(void)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .bare_jid = "juliet@example.org", .resource = "balcony", .mechanism = "PLAIN",
			      .address = "[::1]:9", .secure = true };
	struct svc_stream *s, *far;
	uint32_t seq = 0;
	int x = 0;

	begin();
	s = svc_stream_open(p.gw.l, &o, &x);
	CHECK(s != NULL && svc_stream_data(s) == &x && svc_stream_link(s) == p.gw.l);
	CHECK_EQ(svc_stream_send(s, "early", 5, 0, &seq), 0);
	CHECK_EQ(seq, 1);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "open 2 juliet@example.org/balcony PLAIN [::1]:9 secure; stanza 1 early:5");
	CHECK_STR(pair_log(&p.gw), "accepted juliet@example.org/r; acked 1");
	far = p.sv.last;
	CHECK_EQ(svc_stream_kind(far), SVC_KIND_CLIENT);
	CHECK_EQ(svc_stream_send(far, "<m/>", 4, SVC_REPEATED, &seq), 0);
	CHECK_EQ(svc_stream_send(far, "<m/>", 4, 8, &seq), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_send(far, "", 0, 0, &seq), SVCPROTO_E_INVALID);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "stanza 1 repeated <m/>:4");
	CHECK_STR(pair_log(&p.sv), "acked 1");
	CHECK_EQ(svc_link_nr_streams(p.gw.l), 1);
	CHECK_EQ(svc_stream_close(s, NULL, NULL), 0);
	CHECK_EQ(svc_stream_close(s, NULL, NULL), SVCPROTO_E_CLOSED);
	CHECK_EQ(send_text(s, "late"), SVCPROTO_E_CLOSED);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "closed - - 0");
	CHECK_STR(pair_log(&p.sv), "closed - - 0");
	CHECK_EQ(svc_link_nr_streams(p.gw.l) + svc_link_nr_streams(p.sv.l), 0);
	CHECK_EQ(svc_link_queued_bytes(p.gw.l), 0);
	pair_clear(&p);
}

static void server_streams(void)
{
	struct svc_open in = { .kind = SVC_KIND_SERVER_IN, .from_domain = "a.example", .to_domain = "b.example" };
	struct svc_open out = { .kind = SVC_KIND_SERVER_OUT, .from_domain = "b.example", .to_domain = "c.example" };
	struct svc_open client = { .kind = SVC_KIND_CLIENT, .bare_jid = "a@b" };

	begin();
	CHECK(svc_stream_open(p.gw.l, &in, NULL) != NULL);
	CHECK(svc_stream_open(p.sv.l, &out, NULL) != NULL);
	CHECK(svc_stream_open(p.sv.l, &in, NULL) == NULL); /* not a service's to open */
	CHECK(svc_stream_open(p.sv.l, &client, NULL) == NULL);
	CHECK(svc_stream_open(p.gw.l, &out, NULL) == NULL);
	client.bare_jid = NULL;
	CHECK(svc_stream_open(p.gw.l, &client, NULL) == NULL);
	client.bare_jid = "not\xff" "utf8";
	CHECK(svc_stream_open(p.gw.l, &client, NULL) == NULL);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "open 2 kind 2 a.example b.example; accepted -");
	CHECK_STR(pair_log(&p.gw), "open 1 kind 3 b.example c.example; accepted -");
	pair_clear(&p);
}

static const struct svc_refusal *refusal;

static void hook_refuse(struct end *e, const char *event, struct svc_stream *s, uint32_t seq)
{
	(void)e;
	(void)seq;
	if (strcmp(event, "open") == 0)
		CHECK_EQ(svc_stream_refuse(s, refusal), 0);
}

static void refusals(void)
{
	struct svc_refusal full = {.type = "cancel",
				   .condition = "not-allowed",
				   .text = "na\xc3\xafve",
				   .see_other_host = "h.example:5222",
				   .stream_error = true};
	struct svc_refusal bare = { .condition = "conflict" }, none = { .type = "cancel" };
	struct svc_stream *s;

	begin();
	p.sv.hook = hook_refuse;
	refusal = &full;
	pair_open(&p, "a@b");
	CHECK_STR(pair_log(&p.gw), "refused cancel not-allowed na\xc3\xafve h.example:5222 stream");
	refusal = &bare;
	pair_open(&p, "a@b");
	CHECK_STR(pair_log(&p.gw), "refused - conflict - -");
	p.sv.hook = NULL;
	p.sv.auto_accept = false;
	pair_open(&p, "a@b");
	s = p.sv.last;
	CHECK_EQ(svc_stream_refuse(s, &none), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_accept(s, NULL), SVCPROTO_E_INVALID);
	CHECK_EQ(send_text(s, "x"), SVCPROTO_E_INVALID);
	CHECK(!svc_stream_can_send(s));
	CHECK_EQ(svc_stream_refuse(s, &bare), 0); /* outside a callback, too */
	pair_pump(&p);
	CHECK_EQ(svc_link_nr_streams(p.gw.l) + svc_link_nr_streams(p.sv.l), 0);
	pair_clear(&p);
}

static void crossings(void)
{
	struct svc_refusal r = { .condition = "conflict" };
	struct svc_stream *s, *far;

	begin();
	s = pair_open(&p, "a@b"); /* both close */
	far = p.sv.last;
	CHECK_EQ(svc_stream_close(s, "reset", "mine") + svc_stream_close(far, "conflict", "his"), 0);
	pair_pump(&p);
	pair_log(&p.sv);
	CHECK_STR(pair_log(&p.gw), "accepted a@b/r; closed reset mine 0");
	s = pair_open(&p, "a@b"); /* DATA crosses CLOSE: dropped, not acknowledged */
	far = p.sv.last;
	pair_log(&p.gw);
	CHECK_EQ(svc_stream_close(s, NULL, NULL) + send_text(far, "lost"), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "closed - - 0");
	CHECK_STR(pair_log(&p.sv), "open 4 a@b/  ; closed - - 1");
	p.sv.auto_accept = false;
	s = pair_open(&p, "a@b"); /* CLOSE crosses REFUSE */
	CHECK_EQ(svc_stream_close(s, NULL, NULL) + svc_stream_refuse(p.sv.last, &r), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "closed - - 0");
	s = pair_open(&p, "a@b"); /* CLOSE crosses ACCEPT, and data behind it */
	CHECK_EQ(svc_stream_close(s, NULL, NULL) + svc_stream_accept(p.sv.last, "a@b/c") + send_text(p.sv.last, "x"), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "closed - - 0");
	s = pair_open(&p, "a@b"); /* closed by the acceptor instead of an answer */
	CHECK_EQ(svc_stream_close(p.sv.last, "undefined-condition", NULL), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "closed undefined-condition - 0");
	CHECK_EQ(svc_link_nr_streams(p.gw.l) + svc_link_nr_streams(p.sv.l), 0);
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

static void handles_come_again(void)
{
	struct svc_stream *s;

	begin();
	s = pair_open(&p, "a@b");
	p.gw.l->next_handle = UINT32_MAX - 1;
	CHECK_EQ(pair_open(&p, "a@b")->handle, UINT32_MAX - 1);
	CHECK_EQ(pair_open(&p, "a@b")->handle, 4); /* neither 0 nor the one in use */
	CHECK_EQ(s->handle, 2);
	pair_clear(&p);
}

static void large_stanzas(void)
{
	enum { SIZE = 4 << 20 };
	char *b = big(SIZE);
	struct svc_stream *s;

	begin();
	s = pair_open(&p, "a@b");
	pair_log(&p.sv);
	CHECK_EQ(svc_stream_send(s, b, SIZE, 0, NULL), 0);
	CHECK_EQ(svc_link_queued_bytes(p.gw.l), SIZE);
	svc_link_flush(p.gw.l, p.now);
	CHECK(s->out.unsent >= SIZE - SVC_WINDOW_BYTES &&
	      s->out.unsent < SIZE - SVC_WINDOW_BYTES + LINK_FLOOR_BYTES); /* a window, no more */
	CHECK(!svc_link_wants_flush(p.gw.l));
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "stanza 1 xxxxxxxxxxxx:4194304");
	CHECK_EQ(p.sv.l->join_bytes, 0);
	CHECK_EQ(s->out.nr, 0);
	CHECK_EQ(svc_stream_send(s, b, SVC_STANZA_BYTES + 1, 0, NULL), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_send(s, b, SVC_CHUNK_MAX, 0, NULL) + svc_stream_send(s, b, SVC_CHUNK_MAX + 1, 0, NULL), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "stanza 2 xxxxxxxxxxxx:16384; stanza 3 xxxxxxxxxxxx:16385");
	free(b);
	pair_clear(&p);
}

static void bounds_of_sending(void)
{
	struct svc_hello gw = { .unacked_stanzas_max = 4, .unacked_bytes_max = 100 };
	struct svc_stream *s, *far;
	char *b = big(1000);

	pair_init(&p, &gw, NULL);
	pair_up(&p);
	p.sv.auto_ack = false;
	s = pair_open(&p, "a@b");
	far = p.sv.last;
	pair_log(&p.sv);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(send_text(s, "x"), 0);
	CHECK(!svc_stream_can_send(s));
	CHECK_EQ(send_text(s, "x"), SVCPROTO_E_FULL);
	pair_pump(&p);
	pair_log(&p.gw);
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "acked 1"); /* three of four: not below half */
	CHECK_EQ(svc_stream_ack(far, 2), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "acked 2; writable");
	CHECK_EQ(svc_stream_ack(far, 3) + svc_stream_ack(far, 4), 0);
	pair_pump(&p);
	CHECK_EQ(svc_stream_send(s, b, 1000, 0, NULL), 0); /* larger than the bound, alone */
	CHECK_EQ(send_text(s, "x"), SVCPROTO_E_FULL);
	pair_pump(&p);
	CHECK_EQ(svc_stream_ack(far, 5), 0);
	pair_log(&p.gw);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "acked 5; writable");
	CHECK_EQ(svc_stream_send(s, b, 60, 0, NULL), 0);
	CHECK(svc_stream_can_send(s)); /* so whatever comes next has room, as who stops reading then must know */
	CHECK_EQ(svc_stream_send(s, b, 1000, 0, NULL), 0);
	CHECK(!svc_stream_can_send(s));
	CHECK_EQ(send_text(s, "x"), SVCPROTO_E_FULL);
	free(b);
	pair_clear(&p);
}

static void acks_in_any_order(void)
{
	struct svc_stream *s, *far;

	begin();
	p.sv.auto_ack = false;
	s = pair_open(&p, "a@b");
	far = p.sv.last;
	s->out.seq = s->out.acked = far->in.received = far->in.row = UINT32_MAX - 99; /* the numbers wrap on the way */
	for (int i = 0; i < 200; i++)
		CHECK_EQ(send_text(s, "x"), 0);
	p.sv.quiet = true;
	pair_pump(&p);
	pair_log(&p.gw);
	for (uint32_t i = 199; i > 0; i--)
		CHECK_EQ(svc_stream_ack(far, UINT32_MAX - 99 + 1 + i), 0);
	CHECK_EQ(far->in.marked, 199);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "");
	CHECK_EQ(svc_stream_ack(far, UINT32_MAX), SVCPROTO_E_INVALID); /* twice */
	CHECK_EQ(svc_stream_ack(far, 101), SVCPROTO_E_INVALID);        /* never came */
	CHECK_EQ(svc_stream_ack(far, UINT32_MAX - 99), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_ack(far, UINT32_MAX - 98), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "acked 100");
	CHECK_EQ(far->in.cap, 0);
	CHECK_EQ(s->out.nr, 0);
	pair_clear(&p);
}

static void pausing(void)
{
	enum { SIZE = 300000 };
	char *b = big(SIZE);
	struct svc_stream *s, *far;

	begin();
	s = pair_open(&p, "a@b");
	far = p.sv.last;
	pair_log(&p.sv);
	svc_stream_pause(far, true);
	CHECK_EQ(svc_stream_send(s, b, SIZE, 0, NULL), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "");
	CHECK(far->join.n <= SVC_WINDOW_BYTES && far->join.n > SVC_WINDOW_BYTES - LINK_FLOOR_BYTES);
	CHECK_EQ(send_text(pair_open(&p, "c@d"), "others go on"), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "open 4 c@d/  ; stanza 1 others go on:12");
	svc_stream_pause(far, false);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "stanza 1 xxxxxxxxxxxx:300000");
	free(b);
	pair_clear(&p);
}

static void rejects(void)
{
	enum { SIZE = 100000 };
	char *b = big(SIZE);
	struct svc_stream *s;

	begin();
	s = pair_open(&p, "a@b");
	pair_log(&p.sv);
	CHECK_EQ(svc_stream_send_reject(s, "<iq/>", 5, "modify", "jid-malformed", NULL), 0);
	CHECK_EQ(svc_stream_send_reject(s, b, SIZE, "cancel", "not-allowed", NULL), 0);
	CHECK_EQ(svc_stream_send_reject(s, b, SIZE, NULL, "not-allowed", NULL), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_send_reject(p.sv.last, b, SIZE, "cancel", "not-allowed", NULL), SVCPROTO_E_INVALID); /* gateways only */
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "stanza 1 reject modify jid-malformed <iq/>:5; stanza 2 reject cancel not-allowed xxxxxxxxxxxx:100000");
	p.sv.auto_ack = false;
	CHECK_EQ(svc_stream_send_reject(s, "<iq/>", 5, "modify", "jid-malformed", NULL), 0);
	svc_link_break(p.gw.l, "test", p.now);
	CHECK_STR(pair_log(&p.gw), "accepted a@b/r; acked 1; acked 2; closed remote-connection-failed test 1; down test");
	free(b);
	pair_clear(&p);
}

static void close_sends_the_rest_first(void)
{
	enum { SIZE = 500000 };
	char *b = big(SIZE);
	struct svc_stream *s;

	begin();
	s = pair_open(&p, "a@b");
	pair_log(&p.sv);
	CHECK_EQ(svc_stream_send(s, b, SIZE, 0, NULL) + svc_stream_close(s, "reset", "bye"), 0);
	CHECK_EQ(s->state, STREAM_DRAINING);
	CHECK_EQ(svc_stream_send(s, b, 1, 0, NULL), SVCPROTO_E_CLOSED);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "stanza 1 xxxxxxxxxxxx:500000; closed reset bye 0");
	CHECK_STR(pair_log(&p.gw), "accepted a@b/r; acked 1; closed reset bye 0");
	s = pair_open(&p, "a@b");
	svc_stream_pause(p.sv.last, true);
	CHECK_EQ(svc_stream_send(s, b, SIZE, 0, NULL) + svc_stream_close(s, "reset", NULL), 0);
	pair_pump(&p);
	CHECK_EQ(s->state, STREAM_DRAINING);
	CHECK(svc_link_tick(p.gw.l, p.now) <= p.now + SVC_DRAIN_MS);
	for (int i = 0; i < 6; i++) {
		pair_tick(&p, 1000);
		pair_pump(&p);
	}
	CHECK_STR(pair_log(&p.gw), "accepted a@b/r; closed reset - 1"); /* nobody read: it did not get there, and we say so */
	CHECK_EQ(svc_link_queued_bytes(p.gw.l), 0);
	CHECK_EQ(p.sv.l->join_bytes, 0);
	free(b);
	pair_clear(&p);
}

/* What each wrong frame from the peer leads to. The gateway holds stream 2 (open, its own), 4 (opening) and 1 (offered, by the service). */
static const struct {
	const char *what;
	uint8_t type, flags;
	uint32_t stream, seq;
	const char *body;
	uint32_t n;
	const char *log; /* of the gateway */
} wrong[] = {
	{ "DATA out of turn", WIRE_DATA, 3, 2, 2, "x", 1, "closed policy-violation a stanza out of turn 0" },
	{ "DATA again", WIRE_DATA, 3, 2, 0, "x", 1, "closed policy-violation a stanza out of turn 0" },
	{ "DATA without FIRST", WIRE_DATA, 2, 2, 1, "x", 1, "closed policy-violation a chunk without a beginning 0" },
	{ "empty DATA", WIRE_DATA, 3, 2, 1, "", 0, "closed remote-connection-failed a body of wrong length 0 down a body of wrong length" },
	{ "REJECT by a service", WIRE_DATA, 7, 2, 1, "\0\0x", 3, "closed policy-violation only a gateway rejects 0" },
	{ "DATA before ACCEPT", WIRE_DATA, 3, 4, 1, "x", 1, "closed policy-violation DATA before ACCEPT 0" },
	{ "DATA before our ACCEPT", WIRE_DATA, 3, 1, 1, "x", 1, "closed policy-violation DATA before ACCEPT 0" },
	{ "DATA nowhere", WIRE_DATA, 3, 6, 1, "x", 1, "down a frame for a stream that is not there" },
	{ "ACK too far", WIRE_ACK, 0, 2, 1, "", 0, "closed policy-violation ACK of a stanza that was not sent 0" },
	{ "ACK backwards", WIRE_ACK, 0, 2, 0, "", 0, "" },
	{ "ACK before ACCEPT", WIRE_ACK, 0, 4, 0, "", 0, "closed policy-violation ACK before ACCEPT 0" },
	{ "ACK with a body", WIRE_ACK, 0, 2, 0, "x", 1, "down a body of wrong length" },
	{ "CREDIT of nothing", WIRE_CREDIT, 0, 2, 0, "", 0, "down a wrong sequence field" },
	{ "CREDIT overflows", WIRE_CREDIT, 0, 2, 0x7fffffff, "", 0, "closed policy-violation credit overflows 0" },
	{ "CREDIT overflows 32 bits", WIRE_CREDIT, 0, 2, 0xffffffff, "", 0, "closed policy-violation credit overflows 0" },
	{ "CREDIT before ACCEPT", WIRE_CREDIT, 0, 4, 1, "", 0, "closed policy-violation CREDIT before ACCEPT 0" },
	{ "ACCEPT twice", WIRE_ACCEPT, 0, 2, 0, "", 0, "down ACCEPT of a stream that was not offered" },
	{ "ACCEPT without a JID", WIRE_ACCEPT, 0, 4, 0, "", 0, "closed policy-violation ACCEPT without a full JID 0" },
	{ "ACCEPT of his own", WIRE_ACCEPT, 0, 1, 0, "", 0, "down ACCEPT of a stream that was not offered" },
	{ "REFUSE after ACCEPT", WIRE_REFUSE, 0, 2, 0, "\x09" "condition\0\0\0\1x", 15, "down REFUSE of a stream that was not offered" },
	{ "REFUSE without condition", WIRE_REFUSE, 0, 4, 0, "", 0, "down a required property is missing" },
	{ "OPEN with our handle", WIRE_OPEN, 0, 8, 0, "", 0, "down OPEN with a handle of the other side" },
	{ "OPEN in use", WIRE_OPEN, 0, 1, 0, "", 0, "down OPEN with a handle in use" },
	{ "OPEN empty", WIRE_OPEN, 0, 3, 0, "", 0, "down a required property is missing" },
	{ "CLOSE nowhere", WIRE_CLOSE, 0, 6, 0, "", 0, "" },
	{ "CLOSE with a stanza number", WIRE_CLOSE, 0, 2, 1, "", 0, "down a wrong sequence field" },
	{ "CLOSE of an offer", WIRE_CLOSE, 0, 1, 0, "", 0, "closed - - 0" },
	{ "critical flag", WIRE_CLOSE, 1, 2, 0, "", 0, "down a flag that this frame does not have" },
	{ "optional flag", WIRE_CLOSE, 0x80, 2, 0, "", 0, "closed - - 0" },
	{ "unknown frame", 0x7f, 0, 2, 0, "", 0, "down an unknown frame" },
	{ "a later version's frame", 0x50, 0, 2, 0, "", 0, "down an unknown frame" },
	{ "optional frame", 0x80, 0xff, 77, 9, "?", 1, "" },
	{ "HELLO in the middle", WIRE_HELLO, 0, 0, 0, "", 0, "down HELLO, WELCOME or RESET within an epoch" },
	{ "WELCOME by a service", WIRE_WELCOME, 0, 0, 0, "", 0, "down a frame that only the other side may send" },
	{ "PING on a stream", WIRE_PING, 0, 2, 0, "", 0, "down a wrong stream handle" },
	{ "DATA on the link", WIRE_DATA, 3, 0, 1, "x", 1, "down a wrong stream handle" },
	{ "PING without counts", WIRE_PING, 0, 0, 0, "", 0, "down a required property is missing" },
	{ "bad property list", WIRE_CLOSE, 0, 2, 0, "\x09" "condition\0\0\1\0x", 15, "down cut short" },
	{ "critical property", WIRE_CLOSE, 0, 2, 0, "\x02!x\0\0\0\0", 7, "down an unknown critical property" },
	{ "unknown property", WIRE_CLOSE, 0, 2, 0, "\x02" "zx\0\0\0\0", 7, "closed - - 0" },
	{ "NUL in a text", WIRE_CLOSE, 0, 2, 0, "\x04text\0\0\0\1\0", 10, "down a malformed property value" },
};

static void wrong_one(size_t i)
{
	struct svc_open out = { .kind = SVC_KIND_SERVER_OUT, .from_domain = "b.example", .to_domain = "c.example" };
	const char *log;

	begin();
	pair_open(&p, "a@b");
	p.gw.auto_accept = p.sv.auto_accept = false;
	svc_stream_open(p.sv.l, &out, NULL);
	pair_open(&p, "c@d");
	pair_log(&p.gw);
	pair_inject(&p, &p.gw, wrong[i].type, wrong[i].flags, wrong[i].stream, wrong[i].seq, wrong[i].body, wrong[i].n);
	log = pair_log(&p.gw);
	if (strstr(wrong[i].log, "down") != NULL) {
		const char *down = strstr(wrong[i].log, "down"), *got = strstr(log, "down");

		CHECK(got != NULL && strcmp(got, down) == 0);
		CHECK(!svc_link_is_up(p.gw.l));
		pair_pump(&p); /* RESET goes out, and the service begins again */
		CHECK_EQ(svc_link_nr_streams(p.gw.l) + svc_link_nr_streams(p.sv.l), 0);
		CHECK(svc_link_tick(p.sv.l, p.now) != UINT64_MAX);
		pair_tick(&p, 1);
		pair_pump(&p);
		CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	} else {
		CHECK_STR(log, wrong[i].log);
		CHECK(svc_link_is_up(p.gw.l));
		pair_pump(&p);
	}
	if (check_bad_)
		fprintf(stderr, "case: %s: got \"%s\"\n", wrong[i].what, log);
	pair_clear(&p);
}

static void wrong_moves(void)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]) && !check_bad_; i++)
		wrong_one(i);
}

static void peers_limits_hold(void)
{
	struct svc_hello gw = { .stanza_bytes_max = 10000, .stream_window_bytes = 20000, .streams_max = 1 };
	struct svc_hello sv = { .unacked_stanzas_max = 2 };
	struct svc_open out = { .kind = SVC_KIND_SERVER_OUT, .from_domain = "b.example", .to_domain = "c.example" };
	char *b = big(16384);

	pair_init(&p, &gw, &sv);
	pair_up(&p);
	p.gw.auto_ack = false;
	pair_open(&p, "a@b");
	pair_inject(&p, &p.gw, WIRE_DATA, 1, 2, 1, b, 9000);
	pair_inject(&p, &p.gw, WIRE_DATA, 0, 2, 1, b, 1001);
	CHECK_STR(pair_log(&p.gw), "accepted a@b/r; closed policy-violation a stanza larger than was agreed 0");
	CHECK_EQ(p.gw.l->join_bytes, 0);
	pair_pump(&p);
	CHECK_EQ(pair_open(&p, "a@b")->handle, 4);
	svc_stream_pause(p.gw.last, true);
	pair_inject(&p, &p.gw, WIRE_DATA, 3, 4, 1, b, 9000);
	pair_inject(&p, &p.gw, WIRE_DATA, 3, 4, 2, b, 9000);
	pair_inject(&p, &p.gw, WIRE_DATA, 3, 4, 3, b, 2001);
	CHECK_STR(pair_log(&p.gw),
		  "accepted a@b/r; stanza 1 xxxxxxxxxxxx:9000; stanza 2 xxxxxxxxxxxx:9000; closed policy-violation more than the credit 0");
	pair_pump(&p);
	pair_open(&p, "a@b");
	for (uint32_t i = 1; i <= 3; i++)
		pair_inject(&p, &p.gw, WIRE_DATA, 3, 6, i, b, 1);
	CHECK_STR(pair_log(&p.gw), "accepted a@b/r; stanza 1 x:1; stanza 2 x:1; closed policy-violation too many stanzas unacknowledged 0");
	pair_pump(&p);
	CHECK(svc_stream_open(p.sv.l, &out, NULL) != NULL);
	CHECK(svc_stream_open(p.sv.l, &out, NULL) == NULL); /* the gateway said: one */
	pair_pump(&p);
	p.sv.l->peer.streams_max = 2; /* a peer that does not listen */
	CHECK(svc_stream_open(p.sv.l, &out, NULL) != NULL);
	pair_log(&p.sv);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "refused wait resource-constraint - -");
	free(b);
	pair_clear(&p);
}

static void kinds_not_known(void)
{
	uint8_t body[256];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	begin();
	message_put_open(&w, &(struct svc_open){ .kind = (enum svc_kind)9 });
	p.sv.l->next_handle = 3;
	pair_inject(&p, &p.gw, WIRE_OPEN, 0, 1, 0, body, (uint32_t)w.n);
	CHECK(svc_link_is_up(p.gw.l));
	CHECK_EQ(p.gw.l->outbox.p[p.gw.l->outbox.head], WIRE_REFUSE);
	pair_clear(&p);
}

static void a_gap_ends_the_epoch(void)
{
	struct svc_stream *s;

	begin();
	s = pair_open(&p, "a@b");
	CHECK_EQ(send_text(s, "one"), 0);
	pair_flush(&p);
	pair_drop(&p.gw, SIZE_MAX);
	CHECK_EQ(send_text(s, "two"), 0);
	pair_log(&p.sv);
	pair_log(&p.gw);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "closed remote-connection-failed a gap in the batch numbers 0; down a gap in the batch numbers");
	CHECK(svc_link_is_up(p.gw.l)); /* hears with the HELLO */
	pair_tick(&p, 1);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw),
		  "closed remote-connection-failed a gap in the batch numbers 2; down a gap in the batch numbers; up service");
	CHECK_STR(pair_log(&p.sv), "up gateway");
	pair_clear(&p);
}

static void a_lost_tail_shows(void)
{
	struct svc_stream *s;

	begin();
	s = pair_open(&p, "a@b");
	pair_log(&p.sv);
	CHECK_EQ(send_text(s, "lost"), 0);
	pair_flush(&p);
	pair_drop(&p.gw, SIZE_MAX);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "");
	CHECK(svc_link_tick(p.gw.l, p.now) <= p.now + 1000);
	pair_tick(&p, 1000); /* the PING arrives with a number too high */
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "closed remote-connection-failed a gap in the batch numbers 0; down a gap in the batch numbers");
	pair_clear(&p);
}

static void pings_end(void)
{
	uint64_t before;

	begin();
	CHECK_EQ(send_text(pair_open(&p, "a@b"), "x"), 0);
	pair_pump(&p);
	for (int i = 0; i < 5; i++) {
		pair_tick(&p, 1000);
		pair_pump(&p);
	}
	before = p.gw.nr_batches + p.sv.nr_batches;
	for (int i = 0; i < 4; i++) { /* nothing is outstanding: no more than the idle PING */
		pair_tick(&p, 1000);
		pair_pump(&p);
	}
	CHECK(p.gw.nr_batches + p.sv.nr_batches - before <= 4);
	CHECK(p.gw.l->batch == NULL && p.sv.l->batch == NULL);
	before = p.gw.nr_batches;
	svc_link_ping(p.gw.l);
	CHECK(svc_link_wants_flush(p.gw.l));
	pair_pump(&p);
	CHECK_EQ(p.gw.nr_batches - before, 1);
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

static void silence(void)
{
	begin();
	pair_open(&p, "a@b");
	pair_log(&p.gw);
	for (int i = 0; i < 20; i++) {
		pair_tick(&p, 1000);
		pair_drop(&p.gw, SIZE_MAX);
		pair_drop(&p.sv, SIZE_MAX);
	}
	CHECK_STR(pair_log(&p.gw), "closed remote-connection-failed the peer is silent 0; down the peer is silent");
	CHECK(!svc_link_is_up(p.sv.l));
	for (int i = 0; i < 10; i++) { /* the network is back */
		pair_tick(&p, 1000);
		pair_pump(&p);
	}
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

static void long_sleep_is_not_silence(void)
{
	begin();
	pair_open(&p, "a@b");
	pair_tick(&p, 3600000); /* both processes were stopped */
	pair_pump(&p);
	pair_tick(&p, 1000);
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

static void gateway_restarts(void)
{
	struct svc_hello h = { .name = "reborn" };
	struct pair fresh;

	begin();
	pair_open(&p, "a@b");
	pair_init(&fresh, &h, NULL);
	svc_link_free(p.gw.l);
	p.gw.l = fresh.gw.l;
	p.gw.l->arg = &p.gw;
	svc_link_free(fresh.sv.l);
	pair_log(&p.sv);
	for (int i = 0; i < 8; i++) {
		pair_tick(&p, 1000);
		pair_pump(&p);
	}
	CHECK_STR(pair_log(&p.sv), "closed remote-connection-failed an unknown epoch 0; down an unknown epoch; up reborn");
	pair_clear(&p);
}

static void service_restarts(void)
{
	struct svc_hello h = { .name = "reborn", .incarnation = 8 };
	struct pair fresh;

	begin();
	pair_open(&p, "a@b");
	pair_init(&fresh, NULL, &h);
	svc_link_free(p.sv.l);
	p.sv.l = fresh.sv.l;
	p.sv.l->arg = &p.sv;
	svc_link_free(fresh.gw.l);
	pair_log(&p.gw);
	p.now = 0; /* the same epoch number, by another instance */
	CHECK_EQ(svc_link_start(p.sv.l, p.now), 0);
	p.sv.l->epoch = p.gw.l->epoch;
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "closed remote-connection-failed the service began again 0; down the service began again; up reborn");
	pair_clear(&p);
}

static void old_epochs_are_passed_over(void)
{
	struct svc_stream *s;

	begin();
	s = pair_open(&p, "a@b");
	CHECK_EQ(send_text(p.sv.last, "old"), 0);
	CHECK_EQ(send_text(s, "old"), 0);
	pair_flush(&p);
	CHECK_EQ(svc_link_start(p.sv.l, p.now), 0); /* begins again with batches on the way in both directions */
	pair_log(&p.gw);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "stanza 1 old:3; closed remote-connection-failed begun again 1; down begun again; up service");
	CHECK(svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

static void lost_hellos(void)
{
	pair_init(&p, NULL, NULL);
	CHECK_EQ(svc_link_start(p.sv.l, p.now), 0);
	for (int i = 0; i < 5; i++) {
		pair_flush(&p);
		pair_drop(&p.sv, SIZE_MAX);
		pair_tick(&p, 10000);
	}
	CHECK_EQ(p.sv.nr_batches, 6);
	pair_pump(&p);
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

static void broken_by_hand(void)
{
	begin();
	pair_open(&p, "a@b");
	pair_log(&p.sv);
	svc_link_break(p.gw.l, "no longer authorised", p.now);
	svc_link_break(p.gw.l, "again", p.now);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "closed remote-connection-failed no longer authorised 0; down no longer authorised");
	pair_tick(&p, 1);
	pair_pump(&p);
	CHECK(svc_link_is_up(p.gw.l));
	svc_link_break(p.sv.l, "peer dead", p.now);
	CHECK_EQ(svc_link_tick(p.sv.l, p.now + 100000), UINT64_MAX); /* silent until started */
	CHECK_EQ(svc_link_start(p.sv.l, p.now), 0);
	pair_pump(&p);
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

static void full_transport(void)
{
	struct svc_stream *s;

	begin();
	s = pair_open(&p, "a@b");
	pair_log(&p.sv);
	p.gw.room = 0;
	CHECK_EQ(send_text(s, "one"), 0);
	svc_link_flush(p.gw.l, p.now);
	CHECK_EQ(send_text(s, "two"), 0);
	svc_link_flush(p.gw.l, p.now);
	CHECK(svc_link_wants_flush(p.gw.l));
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "");
	p.gw.room = SIZE_MAX;
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "stanza 1 one:3; stanza 2 two:3");
	p.gw.send_rc = SVCPROTO_E_CLOSED;
	CHECK_EQ(send_text(s, "three"), 0);
	pair_log(&p.gw);
	svc_link_flush(p.gw.l, p.now);
	CHECK_STR(pair_log(&p.gw), "closed remote-connection-failed the transport failed 1; down the transport failed");
	pair_clear(&p);
}

static void deaf_peer(void)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .bare_jid = "a@b", .resource = "0123456789012345678901234567890123456789" };
	uint8_t body[256];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	int opened = 0;

	begin();
	p.gw.room = 0;
	while (svc_stream_open(p.gw.l, &o, NULL) != NULL)
		opened++;
	CHECK(opened > 1000 && p.gw.l->outbox.n <= LINK_CONTROL_MAX / 2 + 1024);
	message_put_open(&w, &(struct svc_open){ .kind = (enum svc_kind)9 });
	pair_log(&p.gw);
	for (uint32_t i = 0; i < 200000 && svc_link_is_up(p.gw.l); i++) /* it goes on asking and does not hear the answers */
		pair_inject(&p, &p.gw, WIRE_OPEN, 0, i * 2 + 1, 0, body, (uint32_t)w.n);
	CHECK_STR(p.gw.l->why, "the peer does not read");
	CHECK_EQ(svc_link_nr_streams(p.gw.l), 0);
	CHECK_EQ(svc_link_queued_bytes(p.gw.l), 0);
	pair_clear(&p);
}

static struct svc_stream *other_stream;

static void hook_break(struct end *e, const char *event, struct svc_stream *s, uint32_t seq)
{
	(void)seq;
	(void)s;
	if (strcmp(event, "stanza") == 0)
		svc_link_break(e->l, "from a callback", p.now);
}

static void hook_close(struct end *e, const char *event, struct svc_stream *s, uint32_t seq)
{
	(void)seq;
	if (strcmp(event, "stanza") == 0) {
		CHECK_EQ(svc_stream_close(s, NULL, NULL), 0);
		(void)svc_stream_close(other_stream, "reset", NULL);
		svc_link_flush(e->l, 5);
	}
	if (strcmp(event, "closed") == 0) {
		CHECK_EQ(svc_stream_close(s, NULL, NULL), SVCPROTO_E_CLOSED);
		CHECK_EQ(svc_stream_ack(s, 1), SVCPROTO_E_CLOSED);
		CHECK_EQ(svc_stream_send(s, "x", 1, 0, NULL), SVCPROTO_E_CLOSED);
		CHECK_EQ(svc_stream_accept(s, "a@b/c"), SVCPROTO_E_CLOSED);
	}
}

static void hook_break_in_send(struct end *e, const char *event, struct svc_stream *s, uint32_t seq)
{
	(void)seq;
	(void)s;
	if (strcmp(event, "send") == 0 && svc_link_is_up(e->l))
		svc_link_break(e->l, "unreachable", p.now);
}

static void callbacks_may_end_things(void)
{
	struct svc_stream *s, *t;

	begin();
	s = pair_open(&p, "a@b");
	t = pair_open(&p, "c@d");
	p.sv.hook = hook_break;
	CHECK_EQ(send_text(s, "1") + send_text(s, "2") + send_text(t, "3"), 0);
	pair_log(&p.sv);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "stanza 1 1:1; closed remote-connection-failed from a callback 0; "
				   "closed remote-connection-failed from a callback 0; down from a callback");
	p.sv.hook = NULL;
	CHECK_EQ(svc_link_start(p.sv.l, p.now), 0);
	pair_pump(&p);
	s = pair_open(&p, "a@b");
	t = pair_open(&p, "c@d");
	other_stream = p.sv.last;
	p.sv.hook = hook_close;
	CHECK_EQ(send_text(s, "1") + send_text(s, "2") + send_text(t, "3"), 0);
	pair_log(&p.sv);
	pair_log(&p.gw);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "stanza 1 1:1; closed - - 0; closed reset - 0");
	CHECK_STR(pair_log(&p.gw), "closed - - 2; closed reset - 1");
	p.sv.hook = NULL;
	CHECK_EQ(send_text(pair_open(&p, "a@b"), "x"), 0);
	p.gw.hook = hook_break_in_send;
	pair_log(&p.gw);
	svc_link_flush(p.gw.l, p.now);
	CHECK_STR(pair_log(&p.gw), "closed remote-connection-failed unreachable 1; down unreachable");
	pair_clear(&p);
}

static void putting_together_is_bounded(void)
{
	enum { SIZE = 200000, NR = 6 };
	struct svc_stream *s[NR], *far[NR];
	char *b = big(SIZE);

	begin();
	p.sv.l->join_soft = 150000;
	for (int i = 0; i < NR; i++) {
		s[i] = pair_open(&p, "a@b");
		far[i] = p.sv.last;
		CHECK_EQ(svc_stream_send(s[i], b, SIZE, 0, NULL), 0);
	}
	pair_log(&p.sv);
	svc_stream_pause(far[0], true); /* the favour may not rest on one that does not go on */
	p.sv.quiet = true;
	p.sv.l->join_soft = 300000;
	for (int i = 0; i < 200; i++) {
		pair_flush(&p);
		pair_deliver_one(&p, &p.gw);
		pair_deliver_one(&p, &p.sv);
		CHECK(p.sv.l->join_bytes <= 2 * p.sv.l->join_soft);
	}
	pair_pump(&p);
	svc_stream_pause(far[0], false);
	pair_pump(&p);
	CHECK_EQ(p.sv.nr_stanzas + 0, NR);
	CHECK_EQ(p.sv.l->join_bytes, 0);
	CHECK_STR(pair_log(&p.sv), "");
	p.sv.l->join_soft = 30000; /* a peer that goes beyond: its streams are closed, not the link */
	for (int i = 0; i < NR; i++)
		CHECK_EQ(svc_stream_send(s[i], b, SIZE, 0, NULL), 0);
	pair_pump(&p);
	CHECK(strstr(pair_log(&p.sv), "closed resource-constraint") != NULL);
	CHECK(svc_link_is_up(p.sv.l));
	CHECK(p.sv.l->join_bytes <= 60000);
	free(b);
	pair_clear(&p);
}

static void an_idle_stream_is_small(void)
{
	CHECK(sizeof(struct svc_stream) <= 352);
	fprintf(stderr, "an idle stream takes %zu bytes, a link %zu\n", sizeof(struct svc_stream), sizeof(struct svc_link));
}

int main(void)
{
	RUN(handshake);
	RUN(no_common_version);
	RUN(session);
	RUN(server_streams);
	RUN(refusals);
	RUN(crossings);
	RUN(handles_come_again);
	RUN(large_stanzas);
	RUN(bounds_of_sending);
	RUN(acks_in_any_order);
	RUN(pausing);
	RUN(rejects);
	RUN(close_sends_the_rest_first);
	RUN(wrong_moves);
	RUN(peers_limits_hold);
	RUN(kinds_not_known);
	RUN(a_gap_ends_the_epoch);
	RUN(a_lost_tail_shows);
	RUN(pings_end);
	RUN(silence);
	RUN(long_sleep_is_not_silence);
	RUN(gateway_restarts);
	RUN(service_restarts);
	RUN(old_epochs_are_passed_over);
	RUN(lost_hellos);
	RUN(broken_by_hand);
	RUN(full_transport);
	RUN(deaf_peer);
	RUN(callbacks_may_end_things);
	RUN(putting_together_is_bounded);
	RUN(an_idle_stream_is_small);
	return check_done("svcproto/link");
}
