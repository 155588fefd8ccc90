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
	backoff_free(b);
}

/* Somebody wants the domain every second, all day; each attempt takes 30 s to fail. */
static unsigned attempts_in_a_day(uint64_t with_seed, uint64_t *longest)
{
	struct backoff *b = backoff_new(draw, NULL);
	uint64_t day = 24ull * 3600 * 1000, last = 0;
	unsigned nr = 0;
	int reason;

	seed = with_seed;
	*longest = 0;
	for (uint64_t now = 0; now < day; now += 1000) {
		if (!backoff_may(b, "a.example", now, &reason))
			continue;
		nr++;
		*longest = now - last > *longest ? now - last : *longest;
		now += 30000;
		last = now;
		backoff_failed(b, "a.example", now, 7);
	}
	backoff_free(b);
	return nr;
}

static void test_a_day(void)
{
	unsigned least = UINT32_MAX, most = 0;

	for (uint64_t s = 1; s <= 50; s++) {
		uint64_t longest;
		unsigned nr = attempts_in_a_day(s, &longest);

		least = nr < least ? nr : least;
		most = nr > most ? nr : most;
		CHECK(longest <= BACKOFF_MAX_MS + BACKOFF_MAX_MS / 4 + 1000);
	}
	printf("attempts at a broken domain in a day: %u to %u\n", least, most);
	CHECK(least >= 250 && most <= 300);
	CHECK(least < most); /* jitter */
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
