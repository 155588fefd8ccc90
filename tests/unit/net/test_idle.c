/* What a thread had to do, as the kernel counts it. */
#include "../check.h"
#include "net/idle.h"

#define LOOK_MAX_US 100000

static void test_parse(void)
{
	CHECK_EQ(idle_parse("123456789 1000999 42\n"), 124457);
	CHECK_EQ(idle_parse("0 0 0\n"), 0);
	CHECK_EQ(idle_parse(""), 0);
	CHECK_EQ(idle_parse("17"), 0);
	CHECK_EQ(idle_parse("nothing of that kind"), 0);
}

static void test_count(void)
{
	struct idle i = {0};

	CHECK_EQ(idle_count(&i, 700, 5000000, LOOK_MAX_US), 0); /* since when? */
	CHECK_EQ(idle_count(&i, 1000, 5010000, LOOK_MAX_US), 9700);
	CHECK_EQ(idle_count(&i, 11000, 5020000, LOOK_MAX_US), 0);
	CHECK_EQ(idle_count(&i, 31000, 5030000, LOOK_MAX_US), 0); /* the kernel counts by ticks, and was late */
	CHECK_EQ(idle_count(&i, 31000, 5042000, LOOK_MAX_US), 2000);
	CHECK_EQ(idle_count(&i, 0, 5043000, LOOK_MAX_US), 0);     /* it tells nothing */
	CHECK_EQ(idle_count(&i, 31000, 5050000, LOOK_MAX_US), 0);
	CHECK_EQ(idle_count(&i, 31000, 5050001 + LOOK_MAX_US, LOOK_MAX_US), 0); /* too long ago to be worth anything */
}

/* A thread that runs all the time, looked at eight times a tick, seems idle until the first tick and never again. */
static void test_ticks(void)
{
	struct idle i = {0};
	uint64_t busy = 1000, idle = 0;

	(void)idle_count(&i, busy, 5000000, LOOK_MAX_US);
	for (uint64_t look = 1; look <= 800; look++) {
		if (look % 8 == 0)
			busy += 4000;
		idle += idle_count(&i, busy, 5000000 + look * 500, LOOK_MAX_US);
	}
	CHECK_EQ(idle, 3500);
}

/* Whatever this kernel tells. */
static void test_look(void)
{
	struct idle i = {0};

	(void)idle_since_look(&i, 5000000, LOOK_MAX_US);
	CHECK(idle_since_look(&i, 5010000, LOOK_MAX_US) <= 10000);
	idle_close(&i);
	CHECK_EQ(i.fd_plus_1, 0);
	idle_close(&i);
}

int main(void)
{
	RUN(test_parse);
	RUN(test_count);
	RUN(test_ticks);
	RUN(test_look);
	return check_done("net_idle");
}
