/* How often a domain that does not work is dialled: a clock and a generator of the test's own. */
#include "../check.h"
#include "route/backoff.h"

#include <stdio.h>

static uint64_t seed;

static uint32_t draw(void *arg, uint32_t below)
{
	(void)arg;
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((seed >> 33) % below);
}

static uint32_t middle(void *arg, uint32_t below)
{
	(void)arg;
	return below / 2;
}

static void test_first_failures(void)
{
	struct backoff *b = backoff_new(middle, NULL);
	int reason = 0;

	CHECK(backoff_may(b, "a.example", 0, &reason));
	CHECK_EQ(backoff_count(b), 0); /* what works costs nothing */
	backoff_failed(b, "a.example", 1000, 7);
	CHECK(!backoff_may(b, "a.example", 1000, &reason));
	CHECK_EQ(reason, 7);
	CHECK(backoff_may(b, "b.example", 1000, &reason));
	CHECK(!backoff_may(b, "a.example", 2999, &reason));
	CHECK(backoff_may(b, "a.example", 3000, &reason));
	backoff_failed(b, "a.example", 3000, 8);
	CHECK(!backoff_may(b, "a.example", 6999, &reason));
	CHECK_EQ(reason, 8);
	CHECK(backoff_may(b, "a.example", 7000, &reason));
	backoff_free(b);
}

/* One at a time finds out; the others hear what was known. */
static void test_one_probe(void)
{
	struct backoff *b = backoff_new(middle, NULL);
	int reason = 0;

	backoff_failed(b, "a.example", 0, 7);
	CHECK(backoff_may(b, "a.example", 5000, &reason));
	CHECK(!backoff_may(b, "a.example", 5000, &reason));
	CHECK_EQ(reason, 7);
	backoff_abandoned(b, "a.example");
	CHECK(backoff_may(b, "a.example", 5001, &reason));
	backoff_reached(b, "a.example", 5002);
	CHECK(backoff_may(b, "a.example", 5002, &reason));
	backoff_worked(b, "a.example");
	CHECK_EQ(backoff_count(b), 0);
	backoff_free(b);
}

/* Ten pairs wait for a domain when it fails: one failure, not ten. */
static void test_failing_together(void)
{
	struct backoff *b = backoff_new(middle, NULL);
	int reason;

	for (int i = 0; i < 10; i++)
		CHECK(backoff_may(b, "a.example", 0, &reason));
	for (int i = 0; i < 10; i++)
		backoff_failed(b, "a.example", 30, 7);
	CHECK(backoff_may(b, "a.example", 2030, &reason));
	backoff_free(b);
}

/* A server that takes streams and drops them at once is as bad as one that takes none. */
static void test_flapping(void)
{
	struct backoff *b = backoff_new(middle, NULL);
	uint64_t now = 0, before;
	int reason;

	for (int i = 0; i < 8; i++) {
		before = now;
		while (!backoff_may(b, "a.example", now, &reason))
			now += 10;
		CHECK(i == 0 || now - before >= (uint64_t)BACKOFF_FIRST_MS << (i - 1));
		backoff_reached(b, "a.example", now);
		backoff_failed(b, "a.example", now, 7);
	}
	backoff_free(b);
}

static void test_hint(void)
{
	struct backoff *b = backoff_new(middle, NULL);
	int reason;

	for (uint64_t i = 0; i < 10; i++) {
		backoff_failed(b, "a.example", i * BACKOFF_MAX_MS * 2, 7);
		backoff_hint(b, "a.example", i * BACKOFF_MAX_MS * 2);
		CHECK(backoff_may(b, "a.example", i * BACKOFF_MAX_MS * 2, &reason));
		CHECK(!backoff_may(b, "a.example", i * BACKOFF_MAX_MS * 2, &reason));
	}
	backoff_hint(b, "other.example", 0);
	CHECK_EQ(backoff_count(b), 1);
	/* Who fails and calls again at once is not dialled as often as it calls. */
	backoff_worked(b, "a.example");
	backoff_failed(b, "a.example", 0, 7);
	backoff_hint(b, "a.example", 10);
	CHECK(backoff_may(b, "a.example", 10, &reason));
	backoff_failed(b, "a.example", 20, 7);
	backoff_hint(b, "a.example", 30);
	CHECK(!backoff_may(b, "a.example", 30, &reason));
	backoff_free(b);
}

/* Ways of being broken: how long an attempt takes, and what else goes on. */
static const struct broken {
	const char *what;
	uint64_t takes_ms;
	bool reached;            /* a stream stood, and broke */
	uint64_t hint_ms;        /* it calls us so often; 0: never */
} broken[] = {
	{"no DNS answer, or nothing within the time", 30000, false, 0},
	{"silent, or stalls in TLS", 8000, false, 0},
	{"nobody listens", 1, false, 0},
	{"closes at once", 2, false, 0},
	{"takes the stream and drops it", 100, true, 0},
	{"takes the stream for half a minute", 30000, true, 0},
	{"calls us every second", 10, false, 1000},
	{"calls us every ten minutes", 10, false, 600000},
};

#define DAY_MS (24ull * 3600 * 1000)

/* Somebody wants the domain every second, all day. *longest: between the end of an attempt and the next. */
static unsigned attempts_in_a_day(const struct broken *k, uint64_t *longest)
{
	struct backoff *b = backoff_new(draw, NULL);
	uint64_t ends = 0;
	bool trying = false;
	unsigned nr = 0;
	int reason;

	*longest = 0;
	for (uint64_t now = 0; now < DAY_MS; now += 1000) {
		if (trying && now >= ends) {
			trying = false;
			backoff_failed(b, "a.example", ends, 7);
		}
		if (k->hint_ms > 0 && now % k->hint_ms == 0)
			backoff_hint(b, "a.example", now);
		if (trying || !backoff_may(b, "a.example", now, &reason))
			continue;
		nr++;
		*longest = nr > 1 && now - ends > *longest ? now - ends : *longest;
		trying = true;
		ends = now + k->takes_ms;
		if (k->reached)
			backoff_reached(b, "a.example", now);
	}
	backoff_free(b);
	return nr;
}

/* What DECISIONS.md and PERFORMANCE.md promise, for each worker. */
static void test_a_day(void)
{
	for (size_t k = 0; k < ARRAY_LEN(broken); k++) {
		/* The longest waits less their jitter, and the short ones before; then the hints. */
		uint64_t bound = DAY_MS / (BACKOFF_MAX_MS * 3 / 4 + broken[k].takes_ms) + 10;
		unsigned least = UINT32_MAX, most = 0;

		if (broken[k].hint_ms > 0)
			bound += DAY_MS / (broken[k].hint_ms > BACKOFF_HINT_MS ? broken[k].hint_ms : BACKOFF_HINT_MS);
		for (uint64_t s = 1; s <= 30; s++) {
			uint64_t longest;
			unsigned nr;

			seed = s;
			nr = attempts_in_a_day(&broken[k], &longest);
			least = nr < least ? nr : least;
			most = nr > most ? nr : most;
			/* However long it was away, it is found within minutes. */
			CHECK(longest <= BACKOFF_MAX_MS * 5 / 4 + 1000);
		}
		printf("attempts in a day, %s: %u to %u\n", broken[k].what, least, most);
		CHECK(least >= 200 && most <= bound);
		CHECK(least < most || broken[k].hint_ms == 1000); /* jitter */
	}
}

/* Fifty domains that fail in the same moment are not dialled in the same moment again. */
static void test_spread(void)
{
	struct backoff *b = backoff_new(draw, NULL);
	unsigned in_tenth[10] = {0};
	char name[32];
	int reason;

	seed = 1;
	for (unsigned i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "d%u.example", i);
		backoff_failed(b, name, 0, 7);
	}
	for (uint64_t now = 1500; now < 2500; now++) {
		for (unsigned i = 0; i < 50; i++) {
			snprintf(name, sizeof name, "d%u.example", i);
			in_tenth[(now - 1500) / 100] += backoff_may(b, name, now, &reason);
		}
	}
	for (unsigned i = 0; i < 10; i++)
		CHECK(in_tenth[i] < 15);
	backoff_free(b);
}

static void test_bounded(void)
{
	struct backoff *b = backoff_new(draw, NULL);
	char name[32];
	int reason;

	for (unsigned i = 0; i < BACKOFF_DOMAINS_MAX + 100; i++) {
		snprintf(name, sizeof name, "d%u.example", i);
		backoff_failed(b, name, 0, 7);
		/* asked about all the time: it stays */
		CHECK(!backoff_may(b, "d0.example", 0, &reason));
	}
	CHECK_EQ(backoff_count(b), BACKOFF_DOMAINS_MAX);
	CHECK(backoff_may(b, "d1.example", 0, &reason));
	backoff_free(b);
}

int main(void)
{
	RUN(test_first_failures);
	RUN(test_one_probe);
	RUN(test_failing_together);
	RUN(test_flapping);
	RUN(test_hint);
	RUN(test_a_day);
	RUN(test_spread);
	RUN(test_bounded);
	return check_done("route_backoff");
}
