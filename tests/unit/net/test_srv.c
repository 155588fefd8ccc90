/* The order of SRV records and the answers they come in: pure. */
#include <stdlib.h>

#include "../check.h"
#include "net/srv.h"

/* --- RFC 2782's draw ----------------------------------------------------- */

static uint32_t script[64];
static size_t nr_script, at_script;

static uint32_t scripted(void *arg, uint32_t below)
{
	(void)arg;
	uint32_t v = at_script < nr_script ? script[at_script++] : 0;

	CHECK(v < below);
	return v;
}

static void say(const uint32_t *v, size_t nr)
{
	if (nr != 0)
		memcpy(script, v, nr * sizeof *v);
	nr_script = nr;
	at_script = 0;
}

static struct dns_srv rec(uint16_t priority, uint16_t weight, const char *host)
{
	struct dns_srv s = {.priority = priority, .weight = weight, .port = 5269};

	snprintf(s.host, sizeof s.host, "%s", host);
	return s;
}

static const char *order_of(const struct dns_srv *v, size_t nr)
{
	static char out[256];
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < nr; i++)
		n += (size_t)snprintf(out + n, sizeof out - n, "%s%s", i ? " " : "", v[i].host);
	return out;
}

static void test_priorities(void)
{
	struct dns_srv v[] = {rec(30, 0, "c"), rec(10, 5, "a"), rec(65535, 1, "d"), rec(20, 9, "b"), rec(0, 0, "z")};

	say(NULL, 0);
	srv_order(v, 5, scripted, NULL);
	CHECK_STR(order_of(v, 5), "z a b c d");
}

/* A draw of 0 takes the weight 0, the highest takes the last in the running sum. */
static void test_draw(void)
{
	struct dns_srv v[] = {rec(1, 60, "a"), rec(1, 0, "z"), rec(1, 40, "b")}, w[3];

	memcpy(w, v, sizeof v);
	say((uint32_t[]){0, 0, 0, /* shuffle: as they are; then z a b */ 0, 60, 0}, 6);
	srv_order(w, 3, scripted, NULL);
	CHECK_STR(order_of(w, 3), "z a b");
	memcpy(w, v, sizeof v);
	say((uint32_t[]){0, 0, 0, 100, 60, 0}, 6); /* z 0, a 60, b 100: b; then z 0, a 60: a */
	srv_order(w, 3, scripted, NULL);
	CHECK_STR(order_of(w, 3), "b a z");
	memcpy(w, v, sizeof v);
	say((uint32_t[]){0, 0, 0, 61, 1, 0}, 6);
	srv_order(w, 3, scripted, NULL);
	CHECK_STR(order_of(w, 3), "b a z");
	memcpy(w, v, sizeof v);
	say((uint32_t[]){0, 0, 0, 60, 0, 0}, 6);
	srv_order(w, 3, scripted, NULL);
	CHECK_STR(order_of(w, 3), "a z b");
}

static uint32_t lcg(void *arg, uint32_t below)
{
	uint64_t *state = arg;

	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((*state >> 33) * below >> 31);
}

static void test_distribution(void)
{
	enum { ROUNDS = 100000 };
	uint64_t seed = 42;
	unsigned first[4] = {0};

	for (int i = 0; i < ROUNDS; i++) {
		struct dns_srv v[] = {rec(1, 10, "0"), rec(1, 30, "1"), rec(1, 60, "2"), rec(1, 0, "3")};

		srv_order(v, 4, lcg, &seed);
		first[v[0].host[0] - '0']++;
	}
	CHECK(abs((int)first[0] - ROUNDS * 10 / 101) < ROUNDS / 100);
	CHECK(abs((int)first[1] - ROUNDS * 30 / 101) < ROUNDS / 100);
	CHECK(abs((int)first[2] - ROUNDS * 60 / 101) < ROUNDS / 100);
	CHECK(first[3] > 0 && first[3] < ROUNDS / 50); /* "a very small chance" */
}

static void test_zeros_are_spread(void)
{
	enum { ROUNDS = 30000 };
	uint64_t seed = 7;
	unsigned first[3] = {0};

	for (int i = 0; i < ROUNDS; i++) {
		struct dns_srv v[] = {rec(1, 0, "0"), rec(1, 0, "1"), rec(1, 0, "2")};

		srv_order(v, 3, lcg, &seed);
		first[v[0].host[0] - '0']++;
	}
	for (int i = 0; i < 3; i++)
		CHECK(abs((int)first[i] - ROUNDS / 3) < ROUNDS / 50);
}

static void test_extremes(void)
{
	struct dns_srv v[32];
	uint64_t seed = 1;

	srv_order(v, 0, lcg, &seed);
	for (size_t i = 0; i < 32; i++)
		v[i] = rec(5, 65535, "x");
	srv_order(v, 32, lcg, &seed);
	CHECK_EQ(v[31].weight, 65535);
}

/* --- answers ------------------------------------------------------------- */

static unsigned nr_seen;
static struct dns_srv seen[8];
static bool seen_ok[8];

static void note(void *arg, struct slice packet, size_t at, size_t n)
{
	(void)arg;
	if (nr_seen < 8)
		seen_ok[nr_seen] = dns_answer_srv(packet, at, n, &seen[nr_seen]);
	nr_seen++;
}

#define HEAD(rcode, an) "\x12\x34\x81" rcode "\0\1\0" an "\0\0\0\0"
#define QUESTION "\5_xmpp\1b\7example\0\0\x21\0\1"

static bool each(struct slice packet)
{
	nr_seen = 0;
	return dns_answer_each(packet, DNS_SRV, note, NULL);
}

static void test_answer(void)
{
	/* a CNAME, an RRSIG of type 46, then two SRV of which the second's target is compressed */
	static const char packet[] = HEAD("\x80", "\4") QUESTION
		"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x0c"
		"\xc0\x0c\0\x2e\0\1\0\0\0\x3c\0\3xyz"
		"\xc0\x0c\0\x21\0\1\0\0\0\x3c\0\x0e\0\1\0\2\x14\x95\2MX\3net\0"
		"\xc0\x0c\0\x21\0\1\0\0\0\x3c\0\x0a\0\3\0\4\x14\x96\1a\xc0\x12";
	struct slice p = {packet, sizeof packet - 1};

	CHECK_EQ(dns_answer_rcode(p), DNS_NOERROR);
	CHECK(each(p));
	CHECK_EQ(nr_seen, 2);
	CHECK(seen_ok[0] && seen_ok[1]);
	CHECK_STR(seen[0].host, "mx.net");
	CHECK_EQ(seen[0].priority, 1);
	CHECK_EQ(seen[0].weight, 2);
	CHECK_EQ(seen[0].port, 5269);
	CHECK_STR(seen[1].host, "a.b.example");
	CHECK_EQ(seen[1].port, 5270);
	/* cut anywhere: never read past the end (the sanitizer looks), and never more records than before */
	for (size_t n = 0; n < p.n; n++) {
		char *copy = mem_slicedup((struct slice){p.p, n});
		char *exact = mem_resize(copy, n ? n : 1);

		CHECK(!each((struct slice){exact, n}));
		CHECK(nr_seen <= 2);
		free(exact);
	}
}

static void test_answer_root(void)
{
	static const char packet[] = HEAD("\x83", "\1") QUESTION "\xc0\x0c\0\x21\0\1\0\0\0\x3c\0\7\0\0\0\0\0\0\0";
	struct slice p = {packet, sizeof packet - 1};

	CHECK_EQ(dns_answer_rcode(p), DNS_NXDOMAIN);
	CHECK(each(p));
	CHECK(nr_seen == 1 && seen_ok[0]);
	CHECK_STR(seen[0].host, "");
	CHECK_EQ(dns_answer_rcode((struct slice){packet, 11}), -1);
}

static void bad_target(const char *rdata, size_t n)
{
	static const char head[] = HEAD("\x80", "\1") QUESTION "\xc0\x0c\0\x21\0\1\0\0\0\x3c";
	struct { char bytes[512]; } packet;
	size_t at = sizeof head - 1;

	memcpy(packet.bytes, head, at);
	packet.bytes[at++] = (char)((n + 6) >> 8);
	packet.bytes[at++] = (char)(n + 6);
	memcpy(packet.bytes + at, "\0\1\0\1\0\1", 6);
	memcpy(packet.bytes + at + 6, rdata, n);
	CHECK(each((struct slice){packet.bytes, at + 6 + n}));
	CHECK(nr_seen == 1 && !seen_ok[0]);
}

#define BAD(rdata) bad_target(rdata, sizeof(rdata) - 1)

static void test_answer_bad_targets(void)
{
	BAD("\3a.b\0");                /* a dot inside a label */
	BAD("\3a b\0");
	BAD("\3a\0b\0");
	BAD("\4a\nbc\0");
	BAD("\xc0\x38");               /* a pointer to itself, and one forwards */
	BAD("\xc0\xff");
	BAD("\x80x\0");                /* a label type that is none */
	BAD("\3abc");                  /* no end */
	BAD("\3abc\0\0");              /* something behind the end */
	bad_target("", 0);
	/* four labels of 63: a byte more than a name may have */
	char big[4 * 64 + 1] = "";
	for (int k = 0; k < 4; k++) {
		memset(big + k * 64, 'a', 64);
		big[k * 64] = 63;
	}
	bad_target(big, sizeof big);
}

int main(void)
{
	RUN(test_priorities);
	RUN(test_draw);
	RUN(test_distribution);
	RUN(test_zeros_are_spread);
	RUN(test_extremes);
	RUN(test_answer);
	RUN(test_answer_root);
	RUN(test_answer_bad_targets);
	return check_done("net_srv");
}
