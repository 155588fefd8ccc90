/* The codec: golden bytes for each frame, there and back again, and refusal of whatever is not exactly right. `--write` writes the golden
 * files anew. */
/* lint: long file because every frame has bytes of its own to be broken */
#include "frames.h"
#include "svcproto/table.h"
#include "svcproto/window.h"

#include <stdlib.h>

#include "tests/unit/check.h"

static struct sample samples[SAMPLES_MAX];
static size_t nr_samples;

static FILE *golden(const char *name, const char *mode)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.hex", GOLDEN_DIR, name);
	return fopen(path, mode);
}

static int write_all(void)
{
	for (size_t i = 0; i < nr_samples; i++) {
		FILE *f = golden(samples[i].name, "w");

		if (f == NULL)
			return 1;
		for (size_t k = 0; k < samples[i].n; k++)
			fprintf(f, "%02x%c", samples[i].bytes[k], k % 16 == 15 || k + 1 == samples[i].n ? '\n' : ' ');
		fclose(f);
	}
	return 0;
}

static void golden_bytes(void)
{
	for (size_t i = 0; i < nr_samples; i++) {
		FILE *f = golden(samples[i].name, "r");
		uint8_t b[1024];
		unsigned v;
		size_t n = 0;

		CHECK(f != NULL);
		if (f == NULL)
			continue;
		while (n < sizeof(b) && fscanf(f, "%2x", &v) == 1)
			b[n++] = (uint8_t)v;
		fclose(f);
		CHECK_EQ(n, samples[i].n);
		if (n != samples[i].n || memcmp(b, samples[i].bytes, n) != 0) {
			CHECK(!"the bytes differ");
			fprintf(stderr, "golden/%s.hex\n", samples[i].name);
		}
	}
}

/* Every frame type of the table has a sample, and each sample passes the strict check. */
static void samples_are_sound(void)
{
	uint64_t seen = 0;
	size_t used;

	for (size_t i = 0; i < nr_samples; i++) {
		struct wire_batch h;

		CHECK_EQ(wire_get_batch(samples[i].bytes, samples[i].n, &h), 0);
		CHECK_EQ(h.epoch, 5);
		for (size_t at = WIRE_BATCH_HEADER; at < samples[i].n; at += used) {
			struct wire_frame f;

			CHECK_EQ(wire_get_frame(samples[i].bytes + at, samples[i].n - at, &f, &used), 0);
			CHECK_EQ(wire_check_frame(&f, samples[i].sender), 0);
			seen |= UINT64_C(1) << f.type;
		}
	}
#define FRAME(code, name, by, on, sequence, flags, body, required, optional) CHECK((seen & UINT64_C(1) << (code)) != 0);
#include "svcproto/frames.def"
}

static struct wire_frame body_of(const char *name)
{
	struct wire_frame f = { 0 };
	size_t used;

	for (size_t i = 0; i < nr_samples; i++)
		if (strcmp(samples[i].name, name) == 0)
			CHECK_EQ(wire_get_frame(samples[i].bytes + WIRE_BATCH_HEADER, samples[i].n - WIRE_BATCH_HEADER, &f, &used), 0);
	CHECK(f.type != 0);
	return f;
}

static void same_hello(const struct svc_hello *a)
{
	const struct svc_hello *b = &sample_hello;

	CHECK(memcmp(&a->instance, &b->instance, sizeof(a->instance)) == 0 && a->incarnation == b->incarnation);
	CHECK_STR(a->name, b->name);
	CHECK(a->stanza_bytes_max == b->stanza_bytes_max && a->stream_window_bytes == b->stream_window_bytes &&
	      a->unacked_stanzas_max == b->unacked_stanzas_max && a->unacked_bytes_max == b->unacked_bytes_max &&
	      a->streams_max == b->streams_max);
}

static void peer_and_back(void)
{
	struct wire_frame f = body_of("open-peer");
	struct message_text t;
	struct svc_open o;

	CHECK_EQ(message_get_open(&f, &t, &o), 0);
	CHECK(o.kind == SVC_KIND_PEER && o.last_acked == 12 && memcmp(&o.origin, &sample_open_peer.origin, 16) == 0);
	CHECK_STR(o.bare_jid, "romeo@example.org");
	CHECK_STR(o.from_domain, "example.org");
}

static void located_and_back(void)
{
	struct wire_frame f = body_of("locate");
	struct message_text t;
	struct svc_located m;
	const char *bare_jid;

	CHECK_EQ(message_get_locate(&f, &t, &bare_jid), 0);
	CHECK_EQ(f.sequence, 77);
	CHECK_STR(bare_jid, "juliet@example.org");
	f = body_of("located");
	CHECK_EQ(message_get_located(&f, &t, &m), 0);
	CHECK(m.request == 77 && !m.here);
	CHECK_STR(m.see_other_host, "[2001:db8::1]:5222");
	f = body_of("located-here");
	CHECK_EQ(message_get_located(&f, &t, &m), 0);
	CHECK(m.request == 78 && m.here && m.see_other_host == NULL);
}

static void accept_there_and_back(void)
{
	struct message_text t;
	struct wire_frame f = body_of("accept");
	const char *jid;
	uint32_t bytes_max;

	CHECK_EQ(message_get_accept(&f, &t, &jid, &bytes_max), 0);
	CHECK_STR(jid, "juliet@example.org/balcony");
	CHECK_EQ(bytes_max, 0);
	f = body_of("accept-narrow");
	CHECK_EQ(message_get_accept(&f, &t, &jid, &bytes_max), 0);
	CHECK(jid == NULL && bytes_max == 10000);
}

static void there_and_back(void)
{
	struct message_hello hello;
	struct message_welcome welcome;
	struct message_ping ping;
	struct message_text t;
	struct svc_open o;
	struct svc_refusal r;
	struct wire_frame f;
	const char *a, *b;
	size_t used;

	f = body_of("hello");
	CHECK_EQ(message_get_hello(&f, &hello), 0);
	same_hello(&hello.who);
	CHECK_STR(hello.reason, "a gap in the batch numbers");
	f = body_of("welcome");
	CHECK_EQ(message_get_welcome(&f, &welcome), 0);
	same_hello(&welcome.who);
	CHECK(welcome.version == 1 && welcome.refused[0] == '\0');
	f = body_of("welcome-refused");
	CHECK_EQ(message_get_welcome(&f, &welcome), 0);
	CHECK_STR(welcome.refused, "no common version");
	f = body_of("reset");
	CHECK_EQ(message_get_reset(&f, &t, &a), 0);
	CHECK_STR(a, "an unknown epoch");
	f = body_of("ping");
	CHECK_EQ(message_get_ping(&f, &ping), 0);
	CHECK(ping.sent == 9 && ping.received == 7);
	f = body_of("open-client");
	CHECK_EQ(message_get_open(&f, &t, &o), 0);
	CHECK(o.kind == SVC_KIND_CLIENT && o.secure && memcmp(&o.stream_id, &sample_open_client.stream_id, 16) == 0);
	CHECK_STR(o.bare_jid, sample_open_client.bare_jid);
	CHECK_STR(o.resource, sample_open_client.resource);
	CHECK_STR(o.mechanism, sample_open_client.mechanism);
	CHECK_STR(o.address, sample_open_client.address);
	CHECK(o.from_domain == NULL && o.to_domain == NULL && !o.certificates_only);
	f = body_of("open-server-out");
	CHECK_EQ(message_get_open(&f, &t, &o), 0);
	CHECK(o.kind == SVC_KIND_SERVER_OUT && o.certificates_only && !o.secure && o.bare_jid == NULL);
	CHECK_STR(o.from_domain, "example.org");
	CHECK_STR(o.to_domain, "example.net");
	f = body_of("refuse");
	CHECK_EQ(message_get_refuse(&f, &t, &r), 0);
	CHECK_STR(r.type, "cancel");
	CHECK_STR(r.condition, "conflict");
	CHECK_STR(r.text, "na\xc3\xafve");
	CHECK_STR(r.see_other_host, "gw2.example.org:5222");
	CHECK(r.stream_error);
	f = body_of("close");
	CHECK_EQ(message_get_close(&f, &t, &a, &b), 0);
	CHECK_STR(a, "conflict");
	CHECK_STR(b, "replaced");
	f = body_of("data-reject");
	CHECK_EQ(message_get_reject(f.body, f.length, &t, &a, &b, &used), 0);
	CHECK_STR(a, "modify");
	CHECK_STR(b, "jid-malformed");
	CHECK(f.length - used == 10 && memcmp(f.body + used, "<message/>", 10) == 0);
}

static void administration_there_and_back(void)
{
	struct message_admin admin;
	struct wire_frame f;

	f = body_of("admin");
	CHECK_EQ(message_get_admin(&f, &admin), 0);
	CHECK_STR(admin.word, "streams");
	CHECK_EQ(admin.nr, 1);
	CHECK_STR(admin.v[0].name, "domain");
	CHECK_STR(admin.v[0].value, "example.org");
	f = body_of("admin-reply");
	CHECK_EQ(message_get_admin(&f, &admin), 0);
	CHECK(admin.word == NULL && admin.nr == 2);
	CHECK_STR(admin.v[1].value, "juliet@example.org/na\xc3\xafve");
	f = body_of("admin-refused");
	CHECK_EQ(message_get_admin(&f, &admin), 0);
	CHECK_STR(admin.word, "the key does not have the role admin");
}

/* A frame whose body is cut anywhere is refused, and nothing is read behind the cut (the copy is exactly as long, for the sanitizer to
 * watch). */
static void cut_anywhere(void)
{
	for (size_t i = 0; i < nr_samples; i++) {
		for (size_t n = 0; n < samples[i].n; n++) {
			uint8_t *copy = malloc(n > 0 ? n : 1);
			struct wire_batch h;
			struct wire_frame f;
			size_t used = 0, at = WIRE_BATCH_HEADER;
			int rc;

			if (copy == NULL)
				return;
			memcpy(copy, samples[i].bytes, n);
			rc = wire_get_batch(copy, n, &h);
			while (rc == 0 && at < n) {
				rc = wire_get_frame(copy + at, n - at, &f, &used);
				at += used;
			}
			CHECK(rc != 0 || at == n); /* at a frame's border it is a shorter batch */
			free(copy);
		}
	}
}

/* The same for property lists; a list cut at a property's border lacks something or is shorter. */
static void lists_cut_anywhere(void)
{
	static const char *const names[] = { "hello", "welcome", "open-client", "refuse", "ping", "locate", "located" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct wire_frame f = body_of(names[i]);
		const struct wire_rule *r = wire_rule(f.type);
		int whole = 0;

		for (uint32_t n = 0; n < f.length; n++) {
			struct props_value v[PROP_COUNT];
			uint8_t *copy = malloc(n > 0 ? n : 1);

			if (copy == NULL)
				return;
			memcpy(copy, f.body, n);
			whole += props_parse(copy, n, 0, r->allowed, v) == 0;
			free(copy);
		}
		CHECK(whole >= 1 && whole <= 12); /* only at the borders */
	}
}

static void header_rules(void)
{
	uint8_t b[WIRE_BATCH_HEADER], p[64] = { 0 };
	struct wire_batch h = { .version = 1, .epoch = 0xfffffffe, .number = UINT64_MAX }, back;
	struct wire_frame f = { .type = WIRE_PING, .length = 10 }, g;
	size_t used;

	wire_put_batch(b, &h);
	CHECK_EQ(wire_get_batch(b, sizeof(b), &back), 0);
	CHECK(back.epoch == h.epoch && back.number == h.number && back.version == 1);
	CHECK_EQ(wire_get_batch(b, SVC_BATCH_MAX + 1, &back), WIRE_E_LONG);
	b[0] = 0;
	CHECK_EQ(wire_get_batch(b, sizeof(b), &back), WIRE_E_VERSION);
	b[0] = 1;
	b[1] = 0x10;
	CHECK_EQ(wire_get_batch(b, sizeof(b), &back), 0); /* an optional flag */
	b[1] = 1;
	CHECK_EQ(wire_get_batch(b, sizeof(b), &back), WIRE_E_FLAGS);
	b[1] = 0;
	b[3] = 1;
	CHECK_EQ(wire_get_batch(b, sizeof(b), &back), WIRE_E_RESERVED);
	wire_put_frame(p, &f);
	CHECK_EQ(wire_get_frame(p, 26, &g, &used), 0);
	CHECK(used == 26 && g.body == p + 16);
	CHECK_EQ(wire_get_frame(p, 25, &g, &used), WIRE_E_SHORT);
	f.length = SVC_CHUNK_MAX + 1;
	wire_put_frame(p, &f);
	CHECK_EQ(wire_get_frame(p, sizeof(p), &g, &used), WIRE_E_LONG);
	p[2] = 1;
	CHECK_EQ(wire_get_frame(p, sizeof(p), &g, &used), WIRE_E_RESERVED);
	f.length = WIRE_PROPS_MAX + 1;
	CHECK_EQ(wire_check_frame(&f, SVC_SERVICE), WIRE_E_LONG);
	CHECK_STR(wire_strerror(-999), "unknown error");
	CHECK_STR(wire_strerror(WIRE_E_TWICE), "a property given twice");
}

static int parse_list(const char *list, size_t n)
{
	struct props_value v[PROP_COUNT];

	return props_parse((const uint8_t *)list, n, 0, PROP_BIT(PROP_TEXT) | PROP_BIT(PROP_KIND) | PROP_BIT(PROP_SECURE), v);
}

static void property_rules(void)
{
	CHECK_EQ(parse_list("\4text\0\0\0\0", 9), 0);
	CHECK_EQ(parse_list("\4text\0\0\0\0\4text\0\0\0\0", 18), WIRE_E_TWICE);
	CHECK_EQ(parse_list("\4Text\0\0\0\0", 9), WIRE_E_NAME);
	CHECK_EQ(parse_list("\0\0\0\0\0", 5), WIRE_E_NAME);
	CHECK_EQ(parse_list("\4text\xff\xff\xff\xff", 9), WIRE_E_SHORT);
	CHECK_EQ(parse_list("\xfftext\0\0\0\0", 9), WIRE_E_SHORT);
	CHECK_EQ(parse_list("\4kind\0\0\0\3\0\0\0", 12), WIRE_E_VALUE);
	CHECK_EQ(parse_list("\6secure\0\0\0\1\2", 12), WIRE_E_VALUE);
	CHECK_EQ(parse_list("\4text\0\0\0\2\xc0\x80", 11), WIRE_E_VALUE);  /* overlong */
	CHECK_EQ(parse_list("\4text\0\0\0\3\xed\xa0\x80", 12), WIRE_E_VALUE); /* a surrogate */
	CHECK_EQ(parse_list("\4text\0\0\0\4\xf4\x90\x80\x80", 13), WIRE_E_VALUE);
	CHECK_EQ(parse_list("\4text\0\0\0\4\xf4\x8f\xbf\xbf", 13), 0);
	CHECK_EQ(parse_list("\4text\0\0\0\1\0", 10), WIRE_E_VALUE);
	CHECK_EQ(parse_list("\4sent\0\0\0\0", 9), 0);    /* known, but not here: passed over */
	CHECK_EQ(parse_list("\5!sent\0\0\0\0", 10), WIRE_E_CRITICAL);
	CHECK_EQ(parse_list("\5sent!\0\0\0\0", 10), WIRE_E_NAME);
}

static void the_writer_never_overflows(void)
{
	uint8_t b[64];

	for (size_t max = 0; max <= sizeof(b); max++) {
		uint8_t *p = malloc(max > 0 ? max : 1);
		struct props_writer w = { .p = p, .max = max };

		if (p == NULL)
			return;
		props_put_text(&w, PROP_TEXT, "0123456789");
		props_put_u64(&w, PROP_SENT, 1);
		CHECK_EQ(w.overflow, max < 1 + 4 + 4 + 10 + 1 + 4 + 4 + 8);
		CHECK(w.n <= max);
		free(p);
	}
}

static void limits_have_ranges(void)
{
	struct svc_hello h = sample_hello;

	CHECK(message_limits_ok(&h));
	h.stream_window_bytes = MESSAGE_WINDOW_MIN - 1;
	CHECK(!message_limits_ok(&h));
	h = sample_hello;
	h.unacked_stanzas_max = MESSAGE_UNACKED_MAX + 1;
	CHECK(!message_limits_ok(&h));
	h = sample_hello;
	h.stanza_bytes_max = 0xffffffff;
	CHECK(!message_limits_ok(&h));
	h = sample_hello;
	h.streams_max = 0;
	CHECK(!message_limits_ok(&h));
}

/* The map against a plain array. */
static void table_against_array(void)
{
	enum { N = 2000 };
	static bool in[N];
	struct table t = { .seed = 42 };
	uint32_t nr = 0, x = 1;

	for (int i = 0; i < 200000; i++) {
		uint32_t k = (x = x * 1664525u + 1013904223u) >> 8;

		k %= i / 50000 % 2 == 0 ? N : 3; /* grows, and shrinks again */
		if (in[k])
			table_remove(&t, k * 2 + 1);
		else
			CHECK_EQ(table_add(&t, k * 2 + 1, (void *)(uintptr_t)(k + 1)), 0);
		in[k] = !in[k];
		nr += in[k] ? 1u : -1u;
		if (t.nr != nr || (table_find(&t, k * 2 + 1) != NULL) != in[k])
			CHECK(!"the table differs");
	}
	for (uint32_t k = 0; k < N; k++)
		CHECK(table_find(&t, k * 2 + 1) == (in[k] ? (void *)(uintptr_t)(k + 1) : NULL));
	for (uint32_t k = 0; k < N; k++)
		table_remove(&t, k * 2 + 1);
	CHECK(t.slots == NULL && t.nr == 0);
}

/* Acknowledgements in random order against an array, over the wrap. */
static void window_against_array(void)
{
	enum { N = 5000 };
	static bool done[N + 1];
	uint32_t base = UINT32_MAX - 2000, x = 7, row = 0;
	struct window_in w = { .received = base, .row = base };

	for (uint32_t i = 0, got = 0; row < N && i < 2000000; i++) {
		uint32_t k = (x = x * 1664525u + 1013904223u) >> 8, want;
		int rc;

		if (got < N && k % 4 == 0) {
			w.received++;
			got++;
		}
		k = row + 1 + k % 700;
		if (k > N)
			continue;
		if (i % 97 == 0 && k <= got) {
			rc = window_in_ack_through(&w, base + k);
			for (uint32_t j = 1; j <= k; j++)
				done[j] = true;
			CHECK_EQ(rc, 1);
		} else {
			want = k <= got && !done[k];
			rc = window_in_ack(&w, base + k);
			CHECK_EQ(rc >= 0, want);
			done[k] = done[k] || want;
		}
		while (row < N && done[row + 1])
			row++;
		if (w.row != base + row)
			CHECK(!"the row differs");
	}
	CHECK_EQ(row, N);
	CHECK(w.cap == 0 && w.marked == 0 && w.bits == 0);
	window_in_clear(&w);
}

static void resumption_there_and_back(void)
{
	struct message_attached a;
	struct message_position at;
	struct message_welcome welcome;
	struct message_text t;
	struct svc_refusal refusal;
	struct svc_resume r;
	struct wire_frame f;
	struct svc_id id;
	uint32_t base, seconds;

	f = body_of("welcome-held");
	CHECK(message_get_welcome(&f, &welcome) == 0 && welcome.streams_held == 2);
	f = body_of("welcome");
	CHECK(message_get_welcome(&f, &welcome) == 0 && welcome.streams_held == 0);
	f = body_of("refuse-too-high");
	CHECK(message_get_refuse(&f, &t, &refusal) == 0 && refusal.counted && refusal.h == 9 && refusal.sent == 7 && refusal.stream_error);
	f = body_of("refuse");
	CHECK(message_get_refuse(&f, &t, &refusal) == 0 && !refusal.counted);
	f = body_of("enable");
	CHECK(message_get_enable(&f, &base, &seconds) == 0 && base == 2 && seconds == 600);
	f = body_of("enabled");
	CHECK(message_get_enabled(&f, &base, &seconds) == 0 && base == 1 && seconds == 300);
	f = body_of("reattach");
	CHECK(message_get_reattach(&f, &id, &at) == 0 && memcmp(&at, &sample_position, sizeof(at)) == 0);
	CHECK(memcmp(&id, &sample_open_client.stream_id, sizeof(id)) == 0);
	f = body_of("resume");
	CHECK(message_get_resume(&f, &t, &r) == 0 && r.h == 7 && r.secure && memcmp(&r.stream_id, &sample_resume.stream_id, 16) == 0);
	CHECK_STR(r.bare_jid, sample_resume.bare_jid);
	CHECK_STR(r.mechanism, sample_resume.mechanism);
	CHECK_STR(r.address, sample_resume.address);
	f = body_of("attached-resumed");
	CHECK(message_get_attached(&f, &t, &a) == 0 && a.enabled && a.acked == 8 && a.base_to_service == 2 && a.base_to_gateway == 1);
	CHECK(a.resume_s == 300 && memcmp(&a.at, &sample_attached.at, sizeof(a.at)) == 0);
	CHECK_STR(a.full_jid, sample_attached.full_jid);
	f = body_of("attached");
	CHECK(message_get_attached(&f, &t, &a) == 0 && !a.enabled && a.full_jid == NULL);
	CHECK(memcmp(&a.at, &sample_position, sizeof(at)) == 0);
}

/* Half of what belongs together, and more credit than the sum may hold. */
static void attached_is_whole(void)
{
	struct message_attached a;
	struct message_text t;
	uint8_t b[512];
	struct wire_frame f = { .type = WIRE_ATTACHED, .stream = 2, .body = b };

	for (int i = 0; i < 4; i++) {
		struct message_attached half = { .at = sample_position };
		struct props_writer w = { .p = b, .max = sizeof(b) };

		if (i == 3)
			half.at.credit = UINT32_C(1) << 31;
		message_put_attached(&w, &half);
		if (i == 0)
			props_put_text(&w, PROP_FULL_JID, "a@b/c");
		else if (i == 1)
			props_put_u32(&w, PROP_RESUME_SECONDS, 1);
		else if (i == 2)
			props_put_u32(&w, PROP_BASE_TO_SERVICE, 1);
		f.length = (uint32_t)w.n;
		CHECK_EQ(message_get_attached(&f, &t, &a), i == 3 ? WIRE_E_VALUE : WIRE_E_MISSING);
	}
}

int main(int argc, char **argv)
{
	nr_samples = samples_build(samples);
	if (argc > 1 && strcmp(argv[1], "--write") == 0)
		return write_all();
	RUN(golden_bytes);
	RUN(resumption_there_and_back);
	RUN(attached_is_whole);
	RUN(samples_are_sound);
	RUN(there_and_back);
	RUN(accept_there_and_back);
	RUN(administration_there_and_back);
	RUN(located_and_back);
	RUN(peer_and_back);
	RUN(cut_anywhere);
	RUN(lists_cut_anywhere);
	RUN(header_rules);
	RUN(property_rules);
	RUN(the_writer_never_overflows);
	RUN(limits_have_ranges);
	RUN(table_against_array);
	RUN(window_against_array);
	return check_done("svcproto/wire");
}
