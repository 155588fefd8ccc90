/* The pace of a drain and where its clients go. */
#include "../check.h"
#include "role/drain_pace.h"

#define TICK 100u

/* Plays a drain to its end; the ticks that it took, and the most in one of them. */
static unsigned play(const struct drain_others *o, size_t clients, uint64_t window_ms, size_t *most)
{
	struct drain_pace p = {0};
	size_t left = clients;
	unsigned ticks = 0;

	*most = 0;
	for (uint64_t ms = 0; left > 0; ms += TICK) {
		size_t some = drain_pace(&p, o, left, ticks > 0 ? TICK : 0, window_ms > ms ? window_ms - ms : 0, TICK);

		CHECK(some <= left);
		*most = some > *most ? some : *most;
		left -= some;
		ticks++;
	}
	return ticks;
}

static void test_evenly(void)
{
	struct drain_others nothing_said = {.nr = 2, .nr_draining = 1};
	size_t most;

	CHECK_EQ(play(&nothing_said, 1000, 5000, &most), 50);
	CHECK_EQ(most, 20);
	CHECK_EQ(play(&nothing_said, 10, 5000, &most), 10); /* one each time is the least */
	CHECK_EQ(play(&nothing_said, 1000, 0, &most), 1);
}

static void test_as_the_others_can(void)
{
	struct drain_others o = {.nr = 2, .room = 500, .nr_draining = 1};
	size_t most;
	unsigned ticks = play(&o, 1000, 60000, &most);

	CHECK(ticks >= 20 && ticks <= 22); /* two seconds, though there was a minute */
	CHECK(most <= 51);
	o.nr_draining = 2;
	ticks = play(&o, 1000, 60000, &most);
	CHECK(ticks >= 40 && ticks <= 42);
	CHECK(most <= 26);
	o.room = 2500;
	CHECK(play(&o, 1000, 60000, &most) <= 10);
}

/* They can take less than leaves in time: the time decides. */
static void test_ends_in_time(void)
{
	struct drain_others o = {.nr = 1, .room = 10, .nr_draining = 1};
	size_t most;

	CHECK(play(&o, 1000, 5000, &most) <= 50);
	CHECK(most <= 25);
}

/* Room that nobody needed is not room later. */
static void test_not_saved_up(void)
{
	struct drain_others o = {.nr = 1, .room = 100, .nr_draining = 1};
	struct drain_pace p = {0};

	CHECK_EQ(drain_pace(&p, &o, 0, 60000, 60000, TICK), 0);
	CHECK_EQ(drain_pace(&p, &o, 1000, 100, 600000, TICK), 10);
}

static void test_places(void)
{
	uint64_t weight[3] = {drain_weight(true, 511), drain_weight(true, 127), drain_weight(true, 0)};
	uint64_t total = weight[0] + weight[1] + weight[2];
	unsigned nr[3] = {0}, row = 0, longest = 0;

	for (uint32_t turn = 5; turn < 5 + 6410; turn++) {
		uint64_t at = drain_place(turn, total);

		CHECK(at < total);
		int who = at < weight[0] ? 0 : at < weight[0] + weight[1] ? 1 : 2;
		nr[who]++;
		row = who == 0 ? row + 1 : 0;
		longest = row > longest ? row : longest;
	}
	CHECK(nr[0] > 5050 && nr[0] < 5190);
	CHECK(nr[1] > 1230 && nr[1] < 1330);
	CHECK(nr[2] < 25);
	CHECK(longest <= 12); /* no heaps */
	CHECK(drain_weight(false, 0) > drain_weight(true, 0));
	CHECK(drain_place(UINT32_MAX, UINT64_C(3) << 33) < UINT64_C(3) << 33);
}

int main(void)
{
	RUN(test_evenly);
	RUN(test_as_the_others_can);
	RUN(test_ends_in_time);
	RUN(test_not_saved_up);
	RUN(test_places);
	return check_done("role_drain_pace");
}
