/* What a thread had to do, as the kernel counts it. */
#include <time.h>

#include "../check.h"
#include "net/idle.h"

static void test_parse(void)
{
	CHECK_EQ(idle_parse("123456789 1000999 42\n"), 124457);
	CHECK_EQ(idle_parse("0 0 0\n"), 0);
	CHECK_EQ(idle_parse(""), 0);
	CHECK_EQ(idle_parse("17"), 0);
	CHECK_EQ(idle_parse("nothing of that kind"), 0);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void test_look(void)
{
	struct timespec little = {.tv_nsec = 20000000};
	struct idle i = {0};
	uint64_t begun = now_us(), busy = 0, idle;

	CHECK_EQ(idle_since_look(&i, begun), 0); /* since when? */
	nanosleep(&little, NULL);
	uint64_t woken = now_us();
	idle = idle_since_look(&i, woken);
	CHECK(idle <= woken - begun);
	CHECK(idle > 0 || i.busy_us == 0 || woken - begun > IDLE_LOOK_MAX_US);
	while (busy < 5000)
		busy = now_us() - woken;
	CHECK(idle_since_look(&i, woken + busy) <= busy / 2);
	CHECK_EQ(idle_since_look(&i, woken + busy + IDLE_LOOK_MAX_US + 1), 0); /* too long ago to be worth anything */
	idle_close(&i);
	CHECK_EQ(i.fd_plus_1, 0);
	idle_close(&i);
}

int main(void)
{
	RUN(test_parse);
	RUN(test_look);
	return check_done("net_idle");
}
