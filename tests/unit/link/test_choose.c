/* The choice of an instance: weights, that all gateways agree by hash, and that only the keys of an instance that goes move. */
#include "link/choose.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

enum { KEYS = 10000 };

/* Instance ids that begin with these letters; weights as given. */
static void fill(struct choose_candidate *v, const char *letters, const uint32_t *weights)
{
	for (size_t i = 0; letters[i] != '\0'; i++) {
		v[i] = (struct choose_candidate){.weight = weights[i]};
		memset(v[i].instance, letters[i], sizeof v[i].instance);
	}
}

static struct slice key_of(char b[32], unsigned i)
{
	snprintf(b, 32, "user%u@a.example", i);
	return slice_str(b);
}

static char by_hash(const struct choose_candidate *v, size_t nr, unsigned i)
{
	char b[32];

	return (char)v[choose_hash(v, nr, key_of(b, i))].instance[0];
}

static void test_round_robin_by_weight(void)
{
	struct choose_candidate v[3];
	unsigned got[3] = {0};
	uint64_t counter = 0;

	fill(v, "cab", (const uint32_t[]){1, 3, 6});
	for (unsigned i = 0; i < 100; i++)
		got[choose_round_robin(v, 3, &counter)]++;
	CHECK_EQ(got[0], 10);
	CHECK_EQ(got[1], 30);
	CHECK_EQ(got[2], 60);
}

static void test_hash_does_not_depend_on_order(void)
{
	struct choose_candidate v[3], other[3];

	fill(v, "abc", (const uint32_t[]){1, 2, 3});
	fill(other, "cab", (const uint32_t[]){3, 1, 2});
	for (unsigned i = 0; i < KEYS; i++)
		CHECK_EQ(by_hash(v, 3, i), by_hash(other, 3, i));
}

static void test_hash_by_weight(void)
{
	struct choose_candidate v[2];
	unsigned heavy = 0;

	fill(v, "ab", (const uint32_t[]){1, 3});
	for (unsigned i = 0; i < KEYS; i++)
		heavy += by_hash(v, 2, i) == 'b';
	CHECK(heavy > KEYS * 72 / 100 && heavy < KEYS * 78 / 100); /* the same in each run */
}

static void test_only_the_keys_of_who_goes_move(void)
{
	struct choose_candidate v[3];
	unsigned moved = 0;

	fill(v, "abc", (const uint32_t[]){1, 1, 1});
	for (unsigned i = 0; i < KEYS; i++) {
		char before = by_hash(v, 3, i), after = by_hash(v, 2, i);

		moved += before == 'c';
		CHECK(before == 'c' ? after != 'c' : after == before);
	}
	CHECK(moved > KEYS * 30 / 100 && moved < KEYS * 37 / 100);
}

int main(void)
{
	RUN(test_round_robin_by_weight);
	RUN(test_hash_does_not_depend_on_order);
	RUN(test_hash_by_weight);
	RUN(test_only_the_keys_of_who_goes_move);
	return check_done("link/choose");
}
