#include "check.h"
#include "common/timers.h"

enum { N = 64 };

static uint32_t seed = 1;

static uint32_t pick(uint32_t below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % below;
}

/* The pending one that is due first, of equals the one put first: by looking at all. */
static struct loop_timer *first_of(struct loop_timer *t)
{
	struct loop_timer *first = NULL;

	for (int i = 0; i < N; i++)
		if (t[i].place_ != 0 && (first == NULL || t[i].due_at_ < first->due_at_ ||
					 (t[i].due_at_ == first->due_at_ && timers_before(&t[i], first->serial_))))
			first = &t[i];
	return first;
}

/* Put, put again, removed in any order; serials pass their last number on the way. */
static void test_first(void)
{
	struct loop_timer t[N] = {{.fn = NULL}};
	struct timers ts = {.serial = UINT32_MAX - 500};

	for (int i = 0; i < 20000; i++) {
		struct loop_timer *one = &t[pick(N)];

		if (pick(3) == 0) {
			timers_remove(&ts, one);
			CHECK_EQ(one->place_, 0);
		} else {
			one->due_at_ = pick(20);
			timers_put(&ts, one);
			CHECK(one->place_ != 0);
		}
		CHECK(timers_first(&ts) == first_of(t));
	}
	while (timers_first(&ts) != NULL) {
		struct loop_timer *first = first_of(t);

		CHECK(timers_first(&ts) == first);
		timers_remove(&ts, first);
	}
	CHECK(first_of(t) == NULL);
	timers_clear(&ts);
}

static void test_clear(void)
{
	struct loop_timer t[3] = {{.due_at_ = 3}, {.due_at_ = 1}, {.due_at_ = 2}};
	struct timers ts = {.v = NULL};

	for (int i = 0; i < 3; i++)
		timers_put(&ts, &t[i]);
	timers_clear(&ts);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(t[i].place_, 0);
		timers_remove(&ts, &t[i]);
	}
	CHECK(timers_first(&ts) == NULL);
}

int main(void)
{
	RUN(test_first);
	RUN(test_clear);
	return check_done("unit.common.timers");
}
