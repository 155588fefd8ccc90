/* Who is connected to when: RFC 8305 within a target, RFC 2782 between them. A clock of the test's own. */
#include "../check.h"
#include "net/race.h"

static struct race r;
static uint64_t at;

static void fill(const char *targets)
{
	race_init(&r);
	for (; *targets; targets++)
		CHECK(race_add(&r, (unsigned)(*targets - 'a')));
}

static void test_delays(void)
{
	fill("aab");
	CHECK_EQ(race_next(&r, 1000, &at), 0);
	CHECK_EQ(race_next(&r, 1000, &at), -1);
	CHECK_EQ(at, 1250);
	CHECK_EQ(race_next(&r, 1249, &at), -1);
	CHECK_EQ(race_next(&r, 1250, &at), 1);
	CHECK_EQ(race_next(&r, 1250, &at), -1);
	CHECK_EQ(at, 4250); /* the other target has time */
	CHECK_EQ(race_next(&r, 4250, &at), 2);
	CHECK_EQ(race_next(&r, 9999, &at), -1);
	CHECK_EQ(at, UINT64_MAX);
	CHECK(!race_lost(&r));
}

/* A failure makes the next one's turn at once. */
static void test_failures(void)
{
	fill("ab");
	CHECK_EQ(race_next(&r, 0, &at), 0);
	race_failed(&r, 0);
	CHECK(!race_lost(&r));
	CHECK_EQ(race_next(&r, 0, &at), 1);
	race_failed(&r, 1);
	CHECK(race_lost(&r));
	CHECK_EQ(race_next(&r, 9999, &at), -1);
	CHECK_EQ(at, UINT64_MAX);
}

static void test_failure_beside_others(void)
{
	fill("aaa");
	CHECK_EQ(race_next(&r, 0, &at), 0);
	CHECK_EQ(race_next(&r, 250, &at), 1);
	race_failed(&r, 0);
	CHECK_EQ(race_next(&r, 300, &at), -1); /* one is still under way */
	CHECK_EQ(at, 500);
}

/* The first to connect is alone; when it fails, those that were cut off are tried again before the domain is given up. */
static void test_winner_fails(void)
{
	fill("aab");
	CHECK_EQ(race_next(&r, 0, &at), 0);
	CHECK_EQ(race_next(&r, 250, &at), 1);
	race_connected(&r, 1);
	CHECK_EQ(race_next(&r, 60000, &at), -1);
	CHECK_EQ(at, UINT64_MAX);
	CHECK(!race_lost(&r));
	race_failed(&r, 1);
	CHECK_EQ(race_next(&r, 60000, &at), 0);
	race_failed(&r, 0);
	CHECK_EQ(race_next(&r, 60000, &at), 2);
	race_connected(&r, 2);
	race_failed(&r, 2);
	CHECK(race_lost(&r));
}

static void test_bounds(void)
{
	race_init(&r);
	CHECK(race_lost(&r)); /* no address */
	for (unsigned i = 0; i < RACE_MAX; i++)
		CHECK(race_add(&r, 0));
	CHECK(!race_add(&r, 0));
	for (unsigned i = 0; i < RACE_AT_ONCE_MAX; i++)
		CHECK_EQ(race_next(&r, i * 250, &at), (int)i);
	CHECK_EQ(race_next(&r, 60000, &at), -1);
	CHECK_EQ(at, UINT64_MAX);
	race_failed(&r, 2);
	CHECK_EQ(race_next(&r, 60000, &at), RACE_AT_ONCE_MAX);
}

int main(void)
{
	RUN(test_delays);
	RUN(test_failures);
	RUN(test_failure_beside_others);
	RUN(test_winner_fails);
	RUN(test_bounds);
	return check_done("net_race");
}
