/* What a thread had to do, as the kernel counts it. */
#include "../check.h"
#include "net/idle.h"

#define LOOK_MAX_US 100000

static void test_parse(void)
{
	CHECK_EQ(idle_parse("123456789 1000999 42\n").busy_us, 124457);
	CHECK_EQ(idle_parse("123456789 1000999 42\n").ran_us, 123456);
	CHECK_EQ(idle_parse("0 0 0\n").busy_us, 0);
	CHECK_EQ(idle_parse("").busy_us, 0);
	CHECK_EQ(idle_parse("17").busy_us, 0);
	CHECK_EQ(idle_parse("17").ran_us, 0);
	CHECK_EQ(idle_parse("nothing of that kind").busy_us, 0);
}

static struct idle idle;
static struct idle_seen seen;

/* It ran three quarters of what it was busy. */
static bool count(uint64_t busy_us, uint64_t now_us)
{
	return idle_count(&idle, (struct idle_busy){busy_us - busy_us / 4, busy_us}, now_us, LOOK_MAX_US, &seen);
}

static void test_count(void)
{
	idle = (struct idle){0};
	CHECK(!count(700, 5000000)); /* since when? */
	CHECK_EQ(seen.idle_us, 0);
	CHECK_EQ(seen.ran_us, 0);
	CHECK(count(1000, 5010000));
	CHECK_EQ(seen.idle_us, 9700);
	CHECK_EQ(seen.ran_us, 225);
	CHECK(count(11000, 5020000));
	CHECK_EQ(seen.idle_us, 0);
	CHECK_EQ(seen.ran_us, 7500);
	CHECK(count(31000, 5030000));
	CHECK_EQ(seen.idle_us, 0); /* the kernel counts by ticks, and was late */
	CHECK(count(31000, 5042000));
	CHECK_EQ(seen.idle_us, 2000);
	CHECK_EQ(seen.ran_us, 0);
	CHECK(!count(0, 5043000));     /* it tells nothing */
	CHECK(!count(31000, 5050000)); /* since when? */
	CHECK_EQ(seen.idle_us, 0);
	CHECK_EQ(seen.ran_us, 0);
	CHECK(count(31000, 5060000));
	CHECK_EQ(seen.idle_us, 10000);
	CHECK(!count(31000, 5060001 + LOOK_MAX_US)); /* too long ago to be worth anything */
	CHECK_EQ(seen.idle_us, 0);
}

/* A thread that runs all the time, looked at eight times a tick, seems idle until the first tick and never again. */
static void test_ticks(void)
{
	uint64_t busy = 1000, all = 0;

	idle = (struct idle){0};
	(void)count(busy, 5000000);
	for (uint64_t look = 1; look <= 800; look++) {
		if (look % 8 == 0)
			busy += 4000;
		CHECK(count(busy, 5000000 + look * 500));
		all += seen.idle_us;
	}
	CHECK_EQ(all, 3500);
}

/* Whatever this kernel tells. */
static void test_look(void)
{
	idle = (struct idle){0};
	CHECK(!idle_since_look(&idle, 5000000, LOOK_MAX_US, &seen));
	CHECK(!idle_since_look(&idle, 5010000, LOOK_MAX_US, &seen) || idle.fd_plus_1 > 0);
	CHECK(seen.idle_us <= 10000);
	idle_close(&idle);
	CHECK_EQ(idle.fd_plus_1, 0);
	idle_close(&idle);
}

int main(void)
{
	RUN(test_parse);
	RUN(test_count);
	RUN(test_ticks);
	RUN(test_look);
	return check_done("net_idle");
}
