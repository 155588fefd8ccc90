#include "check.h"
#include "role/halves.h"

/* Who goes when stanzas that have not ended hold too much: nobody who makes progress while others stand still. */

enum { LARGE = 100000, SMALL = 20000, NR = 40 };

static struct halves h;
static struct half x[NR];

static void start(uint64_t max)
{
	memset(x, 0, sizeof x);
	halves_init(&h, max);
}

static unsigned victim(void)
{
	struct half *v = halves_victim(&h);

	return v != NULL ? (unsigned)(v - x) : NR;
}

static void test_within_the_budget(void)
{
	start(10 * LARGE);
	CHECK_EQ(victim(), NR);
	for (unsigned i = 0; i < 5; i++)
		halves_set(&h, &x[i], LARGE, true);
	CHECK_EQ(victim(), NR);              /* half of it, to the byte */
	halves_set(&h, &x[4], LARGE + 1, false);
	CHECK_EQ(victim(), 0);
	halves_set(&h, &x[2], 0, false);     /* its stanza ended */
	CHECK_EQ(victim(), NR);
}

static void test_who_stands_still_goes(void)
{
	start(10 * LARGE);
	for (unsigned i = 0; i < 8; i++)
		halves_set(&h, &x[i], LARGE, true);
	halves_set(&h, &x[0], LARGE + 16384, true);
	halves_set(&h, &x[1], LARGE + 100, false); /* it dribbles */
	CHECK_EQ(victim(), 1);
	halves_set(&h, &x[1], 0, false);
	CHECK_EQ(victim(), 2);
	halves_set(&h, &x[2], 0, false);
	CHECK_EQ(victim(), 3);
	halves_set(&h, &x[3], 0, false);
	CHECK_EQ(victim(), 4);
	halves_set(&h, &x[4], 0, false);
	CHECK_EQ(victim(), NR);
}

/* However many begin and stop, one that goes on comes to its end. */
static void test_progress_of_one(void)
{
	start(8 * LARGE);
	for (size_t n = 16384; n <= 262144; n += 16384) {
		halves_set(&h, &x[0], n, true);
		for (unsigned i = 1; i < NR; i++) {
			unsigned v;

			halves_set(&h, &x[i], LARGE, true);
			while ((v = victim()) != NR) {
				CHECK(v != 0);
				halves_set(&h, &x[v], 0, false);
			}
			halves_set(&h, &x[0], n, true);
		}
	}
}

/* Neither size costs the other its place. */
static void test_small_and_large_apart(void)
{
	start(8 * LARGE);
	halves_set(&h, &x[0], SMALL, true);
	for (unsigned i = 1; i < 6; i++)
		halves_set(&h, &x[i], LARGE, true);
	CHECK_EQ(victim(), 1);
	halves_set(&h, &x[1], 0, false);
	CHECK_EQ(victim(), NR);
	for (unsigned i = 6; i < 30; i++)
		halves_set(&h, &x[i], SMALL, true);
	CHECK_EQ(victim(), 0);
	halves_set(&h, &x[0], HALVES_SMALL_BYTES + 1, false); /* it has grown, which is progress */
	CHECK_EQ(victim(), 6);
	for (unsigned i = 6; i < 12; i++)
		halves_set(&h, &x[i], 0, false);
	CHECK_EQ(victim(), 2);               /* not the one that came last */
}

/* A budget below one stanza lets one through at a time. */
static void test_tiny_budget(void)
{
	start(1000);
	halves_set(&h, &x[0], LARGE, true);
	halves_set(&h, &x[1], SMALL, true);
	CHECK_EQ(victim(), NR);
	halves_set(&h, &x[2], LARGE, true);
	CHECK_EQ(victim(), 0);
	halves_set(&h, &x[0], 0, false);
	halves_set(&h, &x[0], 0, false);     /* again: nothing */
	CHECK_EQ(victim(), NR);
	halves_set(&h, &x[1], 0, false);
	halves_set(&h, &x[2], 0, false);
	CHECK_EQ(h.bytes_[0] + h.bytes_[1], 0);
}

int main(void)
{
	RUN(test_within_the_budget);
	RUN(test_who_stands_still_goes);
	RUN(test_progress_of_one);
	RUN(test_small_and_large_apart);
	RUN(test_tiny_budget);
	return check_done("unit.role.halves");
}
