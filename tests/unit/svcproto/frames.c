/* The samples: see frames.h. */
#include "frames.h"

#include <string.h>

const struct svc_hello sample_hello = {
	.instance = { { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f } },
	.incarnation = UINT64_C(0x0102030405060708),
	.name = "echo",
	.stanza_bytes_max = 0x01000000,
	.stream_window_bytes = 0x10000,
	.unacked_stanzas_max = 0x100,
	.unacked_bytes_max = 0x400000,
	.streams_max = 0x100000,
};

const struct svc_open sample_open_client = {
	.kind = SVC_KIND_CLIENT,
	.stream_id = { { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf } },
	.bare_jid = "juliet@example.org",
	.resource = "balcony",
	.mechanism = "SCRAM-SHA-256",
	.address = "192.0.2.7:50001",
	.secure = true,
};

const struct svc_open sample_open_server = {
	.kind = SVC_KIND_SERVER_OUT,
	.stream_id = { { 0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf } },
	.from_domain = "example.org",
	.to_domain = "example.net",
	.certificates_only = true,
};

const struct svc_open sample_open_peer = {
	.kind = SVC_KIND_PEER,
	.stream_id = { { 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf } },
	.bare_jid = "romeo@example.org",
	.from_domain = "example.org",
	.to_domain = "example.org",
	.origin = { { 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf } },
	.last_acked = 12,
};

const struct svc_refusal sample_refusal = {
	.type = "cancel",
	.condition = "conflict",
	.text = "na\xc3\xafve",
	.see_other_host = "gw2.example.org:5222",
	.stream_error = true,
};

const struct svc_refusal sample_too_high = {
	.condition = "undefined-condition",
	.text = "handled-count-too-high",
	.stream_error = true,
	.counted = true,
	.h = 9,
	.sent = 7,
};

const struct svc_resume sample_resume = {
	.stream_id = { { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf } },
	.bare_jid = "juliet@example.org",
	.mechanism = "PLAIN",
	.address = "192.0.2.8:50002",
	.secure = true,
	.h = 7,
};

const struct message_position sample_position = { .generation = 3, .received = 12, .handled = 10, .credit = 32768 };

const struct message_attached sample_attached = {
	.at = { .generation = 4, .received = 12, .handled = 12, .credit = 16384 },
	.full_jid = "juliet@example.org/balcony",
	.acked = 8,
	.enabled = true,
	.base_to_service = 2,
	.base_to_gateway = 1,
	.resume_s = 300,
};

static struct sample *add(struct sample *v, size_t *nr, const char *name, enum svc_side sender, uint64_t number)
{
	struct sample *s = &v[(*nr)++];
	struct wire_batch h = { .version = 1, .epoch = 5, .number = number };

	memset(s, 0, sizeof(*s));
	s->name = name;
	s->sender = sender;
	wire_put_batch(s->bytes, &h);
	s->n = WIRE_BATCH_HEADER;
	return s;
}

static void frame(struct sample *s, uint8_t type, uint8_t flags, uint32_t stream, uint32_t seq, const void *body, size_t n)
{
	struct wire_frame f = { .type = type, .flags = flags, .stream = stream, .sequence = seq, .length = (uint32_t)n };

	wire_put_frame(s->bytes + s->n, &f);
	if (n > 0)
		memcpy(s->bytes + s->n + WIRE_FRAME_HEADER, body, n);
	s->n += WIRE_FRAME_HEADER + n;
}

static size_t link_samples(struct sample *v, size_t nr)
{
	struct message_hello hello = { .who = sample_hello, .version_min = 1, .version_max = 1, .reason = "a gap in the batch numbers" };
	struct message_welcome welcome = { .who = sample_hello, .version = 1 }, refused = { .refused = "no common version" };
	struct message_ping ping = { .sent = 9, .received = 7 };
	uint8_t b[512];
	struct props_writer w = { .p = b, .max = sizeof(b) };

	message_put_hello(&w, &hello);
	frame(add(v, &nr, "hello", SVC_SERVICE, 1), WIRE_HELLO, 0, 0, 0, b, w.n);
	w.n = 0;
	message_put_welcome(&w, &welcome);
	frame(add(v, &nr, "welcome", SVC_GATEWAY, 1), WIRE_WELCOME, 0, 0, 0, b, w.n);
	w.n = 0;
	message_put_welcome(&w, &refused);
	frame(add(v, &nr, "welcome-refused", SVC_GATEWAY, 1), WIRE_WELCOME, 0, 0, 0, b, w.n);
	w.n = 0;
	message_put_reset(&w, "an unknown epoch");
	frame(add(v, &nr, "reset", SVC_GATEWAY, 0), WIRE_RESET, 0, 0, 0, b, w.n);
	w.n = 0;
	message_put_ping(&w, &ping);
	frame(add(v, &nr, "ping", SVC_SERVICE, 9), WIRE_PING, 0, 0, 0, b, w.n);
	frame(add(v, &nr, "ping-answer", SVC_GATEWAY, 9), WIRE_PING, WIRE_ANSWER, 0, 0, b, w.n);
	return nr;
}

static size_t admin_samples(struct sample *v, size_t nr)
{
	static const struct svcproto_property which[] = { { "domain", "example.org" } };
	static const struct svcproto_property row[] = { { "role", "c2s" }, { "jid", "juliet@example.org/na\xc3\xafve" } };
	uint8_t b[512];
	struct props_writer w = { .p = b, .max = sizeof(b) };

	message_put_admin(&w, "streams", which, 1);
	frame(add(v, &nr, "admin", SVC_SERVICE, 2), WIRE_ADMIN, 0, 0, 7, b, w.n);
	w.n = 0;
	message_put_admin_reply(&w, NULL, row, 2);
	frame(add(v, &nr, "admin-reply", SVC_GATEWAY, 2), WIRE_ADMIN_REPLY, WIRE_MORE, 0, 7, b, w.n);
	w.n = 0;
	message_put_admin_reply(&w, "the key does not have the role admin", NULL, 0);
	frame(add(v, &nr, "admin-refused", SVC_GATEWAY, 3), WIRE_ADMIN_REPLY, 0, 0, 7, b, w.n);
	return nr;
}

static size_t open_samples(struct sample *v, size_t nr)
{
	uint8_t b[512];
	struct props_writer w = { .p = b, .max = sizeof(b) };

	message_put_open(&w, &sample_open_client);
	frame(add(v, &nr, "open-client", SVC_GATEWAY, 2), WIRE_OPEN, 0, 2, 0, b, w.n);
	w.n = 0;
	message_put_open(&w, &sample_open_server);
	frame(add(v, &nr, "open-server-out", SVC_SERVICE, 2), WIRE_OPEN, 0, 1, 0, b, w.n);
	w.n = 0;
	message_put_open(&w, &sample_open_peer);
	frame(add(v, &nr, "open-peer", SVC_SERVICE, 2), WIRE_OPEN, 0, 3, 0, b, w.n);
	w.n = 0;
	message_put_accept(&w, "juliet@example.org/balcony", 0);
	frame(add(v, &nr, "accept", SVC_SERVICE, 3), WIRE_ACCEPT, 0, 2, 0, b, w.n);
	w.n = 0;
	message_put_accept(&w, NULL, 10000);
	frame(add(v, &nr, "accept-narrow", SVC_GATEWAY, 3), WIRE_ACCEPT, 0, 1, 0, b, w.n);
	w.n = 0;
	message_put_refuse(&w, &sample_refusal);
	frame(add(v, &nr, "refuse", SVC_SERVICE, 3), WIRE_REFUSE, 0, 2, 0, b, w.n);
	w.n = 0;
	message_put_close(&w, "conflict", "replaced");
	frame(add(v, &nr, "close", SVC_SERVICE, 8), WIRE_CLOSE, 0, 2, 0, b, w.n);
	frame(add(v, &nr, "close-answer", SVC_GATEWAY, 8), WIRE_CLOSE, 0, 2, 0, NULL, 0);
	return nr;
}

static size_t resume_samples(struct sample *v, size_t nr)
{
	struct message_welcome held = { .who = sample_hello, .version = 1, .streams_held = 2 };
	struct message_attached again = { .at = sample_position };
	uint8_t b[512];
	struct props_writer w = { .p = b, .max = sizeof(b) };

	message_put_welcome(&w, &held);
	frame(add(v, &nr, "welcome-held", SVC_GATEWAY, 1), WIRE_WELCOME, 0, 0, 0, b, w.n);
	w.n = 0;
	message_put_refuse(&w, &sample_too_high);
	frame(add(v, &nr, "refuse-too-high", SVC_SERVICE, 3), WIRE_REFUSE, 0, 2, 0, b, w.n);
	w.n = 0;
	message_put_enable(&w, 2, 600);
	frame(add(v, &nr, "enable", SVC_GATEWAY, 5), WIRE_ENABLE, 0, 2, 0, b, w.n);
	w.n = 0;
	message_put_enabled(&w, 1, 300);
	frame(add(v, &nr, "enabled", SVC_SERVICE, 5), WIRE_ENABLED, 0, 2, 0, b, w.n);
	frame(add(v, &nr, "detach", SVC_GATEWAY, 6), WIRE_DETACH, 0, 2, 0, NULL, 0);
	w.n = 0;
	message_put_reattach(&w, &sample_open_client.stream_id, &sample_position);
	frame(add(v, &nr, "reattach", SVC_GATEWAY, 1), WIRE_REATTACH, 0, 4, 0, b, w.n);
	w.n = 0;
	message_put_resume(&w, &sample_resume);
	frame(add(v, &nr, "resume", SVC_GATEWAY, 2), WIRE_RESUME, 0, 6, 0, b, w.n);
	w.n = 0;
	message_put_attached(&w, &sample_attached);
	frame(add(v, &nr, "attached-resumed", SVC_SERVICE, 2), WIRE_ATTACHED, 0, 6, 0, b, w.n);
	w.n = 0;
	message_put_attached(&w, &again);
	frame(add(v, &nr, "attached", SVC_SERVICE, 2), WIRE_ATTACHED, 0, 4, 0, b, w.n);
	return nr;
}

static size_t locate_samples(struct sample *v, size_t nr)
{
	struct svc_located elsewhere = { .request = 77, .see_other_host = "[2001:db8::1]:5222" }, here = { .request = 78, .here = true };
	uint8_t b[512];
	struct props_writer w = { .p = b, .max = sizeof(b) };

	message_put_locate(&w, "juliet@example.org");
	frame(add(v, &nr, "locate", SVC_GATEWAY, 9), WIRE_LOCATE, 0, 0, 77, b, w.n);
	w.n = 0;
	message_put_located(&w, &elsewhere);
	frame(add(v, &nr, "located", SVC_SERVICE, 9), WIRE_LOCATED, 0, 0, 77, b, w.n);
	w.n = 0;
	message_put_located(&w, &here);
	frame(add(v, &nr, "located-here", SVC_SERVICE, 9), WIRE_LOCATED, 0, 0, 78, b, w.n);
	return nr;
}

size_t samples_build(struct sample v[SAMPLES_MAX])
{
	size_t nr = locate_samples(v, resume_samples(v, admin_samples(v, open_samples(v, link_samples(v, 0))))), prefix;
	uint8_t b[512];
	struct sample *s;

	frame(add(v, &nr, "data", SVC_GATEWAY, 4), WIRE_DATA, WIRE_FIRST | WIRE_LAST, 2, 1, "<presence/>", 11);
	frame(add(v, &nr, "data-awaited", SVC_GATEWAY, 4), WIRE_DATA, WIRE_FIRST | WIRE_LAST | WIRE_AWAITED, 2, 1, "<presence/>", 11);
	s = add(v, &nr, "data-chunks", SVC_GATEWAY, 5);
	frame(s, WIRE_DATA, WIRE_FIRST | WIRE_REPEATED, 2, 2, "<iq", 3);
	frame(s, WIRE_DATA, 0, 2, 2, "><x", 3);
	frame(s, WIRE_DATA, WIRE_LAST, 2, 2, "/></iq>", 7);
	prefix = message_put_reject(b, "modify", "jid-malformed");
	memcpy(b + prefix, "<message/>", 10);
	frame(add(v, &nr, "data-reject", SVC_GATEWAY, 6), WIRE_DATA, WIRE_FIRST | WIRE_LAST | WIRE_REJECT, 2, 3, b, prefix + 10);
	s = add(v, &nr, "credit-ack", SVC_SERVICE, 7);
	frame(s, WIRE_ACK, 0, 2, 3, NULL, 0);
	frame(s, WIRE_CREDIT, 0, 2, 16384, NULL, 0);
	return nr;
}
