/*
 * svcproto's wire against a hostile peer: a real handshake first, then what the fuzzer makes. The first byte says which side is under test
 * and how its owner answers; then come pieces, each with a length (two bytes). The top bit of a length says whether the piece is a whole
 * batch or only frames, for which a fitting batch header is made, so that the fuzzer need not guess epochs and numbers.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "svcproto/hub.h"
#include "svcproto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct side {
	struct svc_hub *hub;
	struct svc_link *link;
	struct side *peer;           /* NULL: its batches go nowhere */
	struct svc_stream *streams[8];
	unsigned nr, answers;
	uint64_t number;             /* of its last batch */
	uint32_t epoch;
};

static uint64_t now_ms;

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/* The handshake's batches reach the peer; later ones are only looked at. */
static int on_send(void *arg, const void *batch, size_t n)
{
	struct side *s = arg;

	if (n < WIRE_BATCH_HEADER || n > SVC_BATCH_MAX)
		abort();
	s->epoch = (uint32_t)big_endian((const uint8_t *)batch + 4, 4);
	s->number = big_endian((const uint8_t *)batch + 8, 8);
	if (s->peer != NULL)
		svc_link_input(s->peer->link, batch, n, now_ms);
	return 0;
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	(void)arg;
	(void)peer;
}

static void on_down(void *arg, const char *why)
{
	(void)arg;
	if (why == NULL || svc_link_is_up(((struct side *)arg)->link))
		abort();
}

static void forget(struct side *s, const struct svc_stream *st)
{
	for (unsigned i = 0; i < s->nr; i++) {
		if (s->streams[i] == st)
			s->streams[i] = s->streams[--s->nr];
	}
}

static void on_open(void *arg, struct svc_stream *st, const struct svc_open *o)
{
	struct svc_refusal no = {.type = "cancel", .condition = "not-allowed"};
	struct side *s = arg;

	if (o->kind == SVC_KIND_CLIENT && o->bare_jid == NULL)
		abort();
	if (s->answers & 2)
		(void)svc_stream_refuse(st, &no);
	else if (s->nr < 8)
		s->streams[s->nr++] = st;
	if (!(s->answers & 2) && !(s->answers & 4))
		(void)svc_stream_accept(st, o->kind == SVC_KIND_CLIENT ? "a@b/c" : NULL);
}

static void on_accepted(void *arg, struct svc_stream *st, const char *full_jid)
{
	(void)arg;
	(void)full_jid;
	(void)svc_stream_send(st, "<presence/>", 11, 0, NULL);
}

static void on_refused(void *arg, struct svc_stream *st, const struct svc_refusal *r)
{
	if (r->condition != NULL && strlen(r->condition) > WIRE_PROPS_MAX)
		abort();
	forget(arg, st);
}

static void on_stanza(void *arg, struct svc_stream *st, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct side *s = arg;
	volatile char last = n > 0 ? xml[n - 1] : 0;

	(void)flags;
	(void)last;
	if (s->answers & 8)
		(void)svc_stream_ack(st, seq);
	if (s->answers & 16)
		(void)svc_stream_send(st, "<message/>", 10, 0, NULL);
	if (s->answers & 32)
		svc_stream_pause(st, seq % 2);
}

static void on_acked(void *arg, struct svc_stream *st, uint32_t seq)
{
	(void)arg;
	(void)st;
	(void)seq;
}

static void on_writable(void *arg, struct svc_stream *st)
{
	(void)arg;
	(void)svc_stream_send(st, "<iq/>", 5, 0, NULL);
}

static void read_back(void *arg, uint32_t seq, const char *xml, size_t n)
{
	(void)arg;
	(void)seq;
	if (n == 0 || xml[0] != '<')
		abort();
}

static void on_closed(void *arg, struct svc_stream *st, const char *condition, const char *text)
{
	(void)condition;
	(void)text;
	svc_stream_unacked(st, read_back, NULL);
	forget(arg, st);
}

static void on_admin(void *arg, uint32_t request, const char *command, const struct svcproto_property *v, size_t nr)
{
	struct side *s = arg;

	if (command == NULL || command[0] == '\0' || nr > SVC_ADMIN_PROPS_MAX)
		abort();
	/* What was taken can be said again. */
	if (nr <= 2 && svc_link_admin_reply(s->link, request, true, NULL, v, nr) != 0)
		abort();
	(void)svc_link_admin_reply(s->link, request, false, "enough", NULL, 0);
}

static void on_admin_reply(void *arg, uint32_t request, bool more, const char *error, const struct svcproto_property *v,
			   size_t nr)
{
	(void)arg;
	(void)v;
	if (request == 0 || (more && error != NULL) || nr > SVC_ADMIN_PROPS_MAX)
		abort();
}

static void on_enabled(void *arg, struct svc_stream *st, uint32_t resume_s)
{
	(void)arg;
	if (svc_stream_resume_s(st) != resume_s || svc_stream_sent_h(st) != 0)
		abort();
	(void)svc_stream_client_h(st, 0);
}

static void on_resumed(void *arg, struct svc_stream *st, const char *full_jid)
{
	(void)arg;
	if (full_jid == NULL || svc_stream_h(st) > UINT32_MAX / 2)
		abort();
	(void)svc_stream_send(st, "<presence/>", 11, 0, NULL);
}

static void on_detached(void *arg, struct svc_stream *st)
{
	(void)arg;
	if (svc_stream_link(st) != NULL)
		abort();
	(void)svc_stream_send(st, "<message/>", 10, 0, NULL);
}

static void on_attached(void *arg, struct svc_stream *st, const struct svc_resume *r)
{
	struct side *s = arg;

	if (svc_stream_link(st) != s->link || (r != NULL && r->bare_jid == NULL))
		abort();
	if (s->answers & 8)
		(void)svc_stream_ack_through(st, s->nr);
}

static const char *on_full_jid(void *arg, const struct svc_stream *st)
{
	(void)arg;
	(void)st;
	return "juliet@example.org/balcony";
}

static const struct svc_hub_ops hub_ops = {
	.detached = on_detached, .attached = on_attached, .closed = on_closed, .full_jid = on_full_jid,
};

static const struct svc_link_ops ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed,
	.enabled = on_enabled, .resumed = on_resumed, .admin = on_admin, .admin_reply = on_admin_reply,
};

static void begin(struct side *s, enum svc_side which)
{
	struct svc_hello hello = {
		.incarnation = 1, .name = "fuzz", .stanza_bytes_max = 100000, .stream_window_bytes = 65536, .unacked_stanzas_max = 8,
		.unacked_bytes_max = 100000, .streams_max = 16,
	};

	hello.instance.b[0] = (uint8_t)which + 1;
	s->hub = svc_hub_new(which, &hello, NULL, &hub_ops, s);
	s->link = s->hub != NULL ? svc_hub_link(s->hub, "peer", &ops, s) : NULL;
	if (s->link == NULL)
		abort();
}

static void flush_both(struct side *a, struct side *b)
{
	for (int i = 0; i < 4; i++) {
		svc_link_flush(a->link, now_ms);
		svc_link_flush(b->link, now_ms);
	}
}

/* Streams of both openers stand before the hostile part begins, and one that its client may resume. */
static void shake_hands(struct side *gateway, struct side *service)
{
	struct svc_open client = {.kind = SVC_KIND_CLIENT, .bare_jid = "a@b", .mechanism = "PLAIN", .address = "192.0.2.1"};
	struct svc_open away = {.kind = SVC_KIND_CLIENT, .bare_jid = "juliet@example.org"};
	struct svc_open out = {.kind = SVC_KIND_SERVER_OUT, .from_domain = "b", .to_domain = "c"};

	struct svc_stream *st;

	for (uint8_t i = 0; i < sizeof(away.stream_id.b); i++) /* as tests/unit/svcproto/golden has it */
		away.stream_id.b[i] = (uint8_t)(0xa0 + i);
	client.stream_id.b[0] = 1;
	gateway->peer = service;
	service->peer = gateway;
	(void)svc_link_start(service->link, now_ms);
	flush_both(gateway, service);
	(void)svc_stream_open(gateway->link, &client, NULL);
	(void)svc_stream_open(service->link, &out, NULL);
	st = svc_stream_open(gateway->link, &away, NULL);
	flush_both(gateway, service);
	if (st == NULL || svc_stream_enable(st, 60) != 0)
		abort();
	flush_both(gateway, service);
	if (svc_stream_detach(st) != 0)
		abort();
	flush_both(gateway, service);
}

static void inject(struct side *under, struct side *peer, const uint8_t *p, size_t n, bool whole)
{
	static uint8_t batch[SVC_BATCH_MAX];

	if (!whole && n + WIRE_BATCH_HEADER <= sizeof batch) {
		struct wire_batch h = {.version = WIRE_VERSION_MAX, .epoch = peer->epoch, .number = ++peer->number};

		wire_put_batch(batch, &h);
		memcpy(batch + WIRE_BATCH_HEADER, p, n);
		svc_link_input(under->link, batch, n + WIRE_BATCH_HEADER, now_ms);
	} else {
		svc_link_input(under->link, p, n, now_ms);
	}
	svc_link_flush(under->link, now_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct side gateway = {0}, service = {0}, *under, *peer;

	if (size < 3)
		return 0;
	now_ms = 1000;
	begin(&gateway, SVC_GATEWAY);
	begin(&service, SVC_SERVICE);
	shake_hands(&gateway, &service);
	under = data[0] & 1 ? &gateway : &service;
	peer = data[0] & 1 ? &service : &gateway;
	under->answers = data[0];
	under->peer = NULL;
	for (data++, size--; size >= 2;) {
		bool whole = data[0] & 0x80;
		size_t n = (size_t)(data[0] & 0x7f) << 8 | data[1];

		data += 2;
		size -= 2;
		n = n < size ? n : size;
		inject(under, peer, data, n, whole);
		data += n;
		size -= n;
		now_ms += 200;
		(void)svc_link_tick(under->link, now_ms);
		(void)svc_hub_tick(under->hub, now_ms);
		svc_link_flush(under->link, now_ms);
	}
	svc_link_break(under->link, "the end", now_ms);
	(void)svc_hub_tick(under->hub, now_ms + 1000000);
	svc_link_free(gateway.link);
	svc_link_free(service.link);
	svc_hub_free(gateway.hub);
	svc_hub_free(service.hub);
	return 0;
}
