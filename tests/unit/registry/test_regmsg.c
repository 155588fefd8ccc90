/* Golden bytes and round trips of the registry's frames; broken ones are refused. `--write` writes the golden files anew. */
#include "check.h"
#include "sample.h"

#include <stdlib.h>

static struct reg_message m;
static struct reg_frame f;

static int parse(const uint8_t *p, size_t n)
{
	struct wire_batch b;
	int rc = reg_header(&p, &n, &b);

	while (rc == 0 && (rc = reg_next(&p, &n, &f)) > 0 && n > 0)
		rc = 0;
	return rc;
}

static void test_entry(void)
{
	struct entry e = sample_registration(KEY_A, 1, "example.org", SVCPROTO_SERVER, 5),
		     g = sample_gateway(KEY_G, 2, "tcp://127.0.0.1:5320", 9);

	e.draining = e.locate_open = e.certificates_only = true;
	reg_begin(&m, 3, 4);
	CHECK(reg_put_entry(&m, &e));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK_EQ(f.type, REG_ENTRY);
	CHECK_STR(f.e.name, "example.org");
	CHECK_STR(f.e.key, KEY_A);
	CHECK_STR(f.e.policy, "hash");
	CHECK_EQ(f.e.types, SVCPROTO_SERVER);
	CHECK_EQ(f.e.incarnation, 7);
	CHECK_EQ(f.e.version, 5);
	CHECK_EQ(f.e.lease_ms, REG_LEASE_MS);
	CHECK(f.e.draining && f.e.locate_open && f.e.certificates_only && !f.e.gone && !f.e.reopens);
	e.reopens = true;
	reg_begin(&m, 3, 4);
	CHECK(reg_put_entry(&m, &e));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK(f.e.reopens);
	m.b[m.n - 1] = 'm'; /* of a failover that is newer than we are */
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK(!f.e.reopens);
	reg_begin(&m, 3, 4);
	CHECK(reg_put_entry(&m, &g));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK_STR(f.e.name, "tcp://127.0.0.1:5320");
	CHECK_STR(f.e.public_host, "gw.example");
	CHECK_EQ(f.e.client_port, 15222);
	CHECK_EQ(f.e.load, 3);
	CHECK(!f.e.has_room);
	g.has_room = true; /* for nobody: not the same as none told */
	reg_begin(&m, 3, 4);
	CHECK(reg_put_entry(&m, &g));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK(f.e.has_room && f.e.room == 0);
	g.client_port = 65536;
	reg_begin(&m, 3, 4);
	CHECK(reg_put_entry(&m, &g));
	CHECK_EQ(parse(m.b, m.n), WIRE_E_VALUE);
	g.client_port = 0;
	g.gone = g.expired = true;
	reg_begin(&m, 3, 4);
	CHECK(reg_put_entry(&m, &g));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK(f.e.gone && f.e.expired && !f.e.ended);
	g.ended = true;
	reg_begin(&m, 3, 4);
	CHECK(reg_put_entry(&m, &g));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK(f.e.gone && f.e.expired && f.e.ended);
}

/* PROTOCOL.md part II shows these bytes. */
static void test_golden(void)
{
	static const uint8_t want[] = {
		1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9,             /* version, flags, reserved, epoch 2, number 9 */
		0x47, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0,         /* BEAT, 18 bytes of body */
		5, 'u', 'p', '-', 'm', 's', 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 4, 0xd2,
	};

	memset(&f, 0, sizeof(f));
	f.type = REG_BEAT;
	f.up_ms = 1234;
	reg_begin(&m, 2, 9);
	CHECK(reg_put(&m, &f));
	CHECK_EQ(m.n, sizeof(want));
	CHECK(memcmp(m.b, want, sizeof(want)) == 0);
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK_EQ(f.up_ms, 1234);
}

static void test_answers(void)
{
	struct entry e = sample_registration(KEY_A, 1, "example.org", 3, 5);

	memset(&f, 0, sizeof(f));
	f.type = REG_NOTED;
	f.e = e;
	f.refused = "domain example.org is not authorised for this key";
	reg_begin(&m, 1, 1);
	CHECK(reg_put(&m, &f));
	memset(&f, 0, sizeof(f));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK_STR(f.refused, "domain example.org is not authorised for this key");
	CHECK_EQ(f.e.version, 5);
	f.type = REG_RENEWED;
	f.refused = NULL;
	f.count = 77;
	reg_begin(&m, 1, 1);
	CHECK(reg_put(&m, &f));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK_EQ(f.count, 77);
	CHECK(f.refused == NULL);
	memset(&f, 0, sizeof(f));
	f.type = REG_KEYS;
	f.serial = 12;
	f.part = 1;
	f.parts = 3;
	f.keys = "hello";
	f.keys_n = 5;
	reg_begin(&m, 1, 1);
	CHECK(reg_put(&m, &f));
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK_EQ(f.serial, 12);
	CHECK_EQ(f.parts, 3);
	CHECK(f.keys_n == 5 && memcmp(f.keys, "hello", 5) == 0);
}

/* ---- golden files: PROTOCOL.md section 13 ---- */

static const uint8_t secret[REG_TICKET] = { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17 };

static struct reg_frame frame_of(uint8_t type)
{
	struct reg_frame g = { .type = type, .e = sample_registration(KEY_A, 0x11, "example.org", 3, 5), .count = 2, .number = 9,
			       .up_ms = 1234, .serial = 12, .parts = 1, .keys = "# serial 12\n", .keys_n = 12,
			       .slot = { .number = 248000, .current = 248000, .left_ms = 60000, .salt_key = secret, .dialback_key = secret,
					 .ticket_keys = secret } };

	return g;
}

/* In the order of the files' names; NULL after the last. */
static const char *sample(unsigned i, struct reg_frame *g)
{
	static const struct {
		const char *name;
		uint8_t type;
	} all[] = { { "beat", REG_BEAT }, { "entry-gateway", REG_ENTRY }, { "entry-gateway-room", REG_ENTRY },
		    { "entry-gone", REG_ENTRY }, { "entry-redirect", REG_ENTRY }, { "entry-reopens", REG_ENTRY },
		    { "entry-registration", REG_ENTRY }, { "entry-registration-certificates-only", REG_ENTRY },
		    { "keys", REG_KEYS }, { "noted", REG_NOTED }, { "noted-refused", REG_NOTED }, { "renew", REG_RENEW },
		    { "renewed", REG_RENEWED }, { "secrets", REG_SECRETS }, { "secrets-slot", REG_SECRETS_SLOT },
		    { "snapshot", REG_SNAPSHOT }, { "snapshot-end", REG_SNAPSHOT_END } };

	if (i >= sizeof(all) / sizeof(all[0]))
		return NULL;
	*g = frame_of(all[i].type);
	if (strncmp(all[i].name, "entry-gateway", 13) == 0)
		g->e = sample_gateway(KEY_G, 0x22, "tcp://gw.example:5320", 9);
	g->e.has_room = strcmp(all[i].name, "entry-gateway-room") == 0;
	g->e.room = 512;
	if (strcmp(all[i].name, "entry-redirect") == 0)
		g->e = sample_redirect(KEY_A, "juliet@example.org", "[2001:db8::1]:5222", 1764153600000);
	g->e.gone = strcmp(all[i].name, "entry-gone") == 0;
	g->e.reopens = strcmp(all[i].name, "entry-reopens") == 0;
	g->e.certificates_only = strcmp(all[i].name, "entry-registration-certificates-only") == 0;
	if (strcmp(all[i].name, "noted-refused") == 0)
		g->refused = "domain example.org is not authorised for this key";
	return all[i].name;
}

static FILE *golden_file(const char *name, const char *mode)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.hex", GOLDEN_DIR, name);
	return fopen(path, mode);
}

static void encode(const struct reg_frame *g)
{
	reg_begin(&m, 2, 9);
	CHECK(reg_put(&m, g));
}

static int write_all(void)
{
	struct reg_frame g;
	const char *name;

	for (unsigned i = 0; (name = sample(i, &g)) != NULL; i++) {
		FILE *out = golden_file(name, "w");

		if (out == NULL)
			return 1;
		encode(&g);
		for (size_t k = 0; k < m.n; k++)
			fprintf(out, "%02x%c", m.b[k], k % 16 == 15 || k + 1 == m.n ? '\n' : ' ');
		fclose(out);
	}
	return 0;
}

/* The same bytes, and decoding gives what encodes to them again. */
static void test_golden_files(void)
{
	struct reg_frame g;
	const char *name;

	for (unsigned i = 0; (name = sample(i, &g)) != NULL; i++) {
		FILE *in = golden_file(name, "r");
		uint8_t b[2048];
		size_t n = 0;
		unsigned v;

		CHECK(in != NULL);
		while (in != NULL && n < sizeof(b) && fscanf(in, "%2x", &v) == 1)
			b[n++] = (uint8_t)v;
		if (in != NULL)
			fclose(in);
		encode(&g);
		CHECK(n == m.n && memcmp(b, m.b, n) == 0);
		CHECK_EQ(parse(b, n), 1);
		encode(&f);
		CHECK(n == m.n && memcmp(b, m.b, n) == 0);
	}
}

static void test_slot(void)
{
	struct reg_frame g = frame_of(REG_SECRETS_SLOT);

	encode(&g);
	CHECK_EQ(parse(m.b, m.n), 1);
	CHECK_EQ(f.slot.number, 248000);
	CHECK_EQ(f.slot.left_ms, 60000);
	CHECK(memcmp(f.slot.ticket_keys, secret, sizeof(secret)) == 0);
	/* One byte less of a key is no key. */
	uint8_t *at = memmem(m.b, m.n, "salt-key", 8);
	CHECK(at != NULL);
	at[8 + 3]--;
	CHECK(parse(m.b, m.n) < 0);
}

/* Every truncation and every single changed byte is either refused or read, never out of bounds (the sanitizers watch). */
static void test_broken(void)
{
	struct entry e = sample_gateway(KEY_G, 2, "tcp://127.0.0.1:5320", 9);
	uint8_t copy[2048];
	size_t n;

	reg_begin(&m, 3, 4);
	CHECK(reg_put_entry(&m, &e));
	n = m.n;
	for (size_t cut = 0; cut < n; cut++) {
		memcpy(copy, m.b, cut);
		CHECK(parse(copy, cut) <= 0);
	}
	for (size_t at = 0; at < n; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(copy, m.b, n);
			copy[at] ^= (uint8_t)(1u << bit);
			CHECK(parse(copy, n) <= 1);
		}
	}
	copy[16] = 0x13; /* a frame of part I */
	CHECK(parse(copy, n) < 0);
}

static void test_full(void)
{
	struct entry e = sample_gateway(KEY_G, 2, "tcp://127.0.0.1:5320", 9);
	int nr = 0, got = 0;
	const uint8_t *p = m.b;
	struct wire_batch b;
	size_t n;

	reg_begin(&m, 3, 4);
	while (reg_put_entry(&m, &e))
		nr++;
	CHECK(nr > 200 && m.n <= SVC_BATCH_MAX);
	n = m.n;
	CHECK_EQ(reg_header(&p, &n, &b), 0);
	while (reg_next(&p, &n, &f) > 0)
		got++;
	CHECK_EQ(got, nr);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--write") == 0)
		return write_all();
	RUN(test_entry);
	RUN(test_golden);
	RUN(test_golden_files);
	RUN(test_slot);
	RUN(test_answers);
	RUN(test_broken);
	RUN(test_full);
	return check_done("registry.regmsg");
}
