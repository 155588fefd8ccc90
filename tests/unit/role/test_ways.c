#include "check.h"
#include "role/edge.h"
#include "role/s2s_ways.h"

/* Which streams lead to a domain: entries come and go in any order; who goes alone is forgotten in time. */

static bool is(void *arg, struct edge *e)
{
	return arg == NULL || arg == e;
}

static void test_newest_first_and_gone(void)
{
	static struct edge a, b, c;
	struct s2s_ways w = {0};

	CHECK(s2s_ways_find(&w, "there.example", is, NULL) == NULL);
	s2s_ways_add(&w, &a, "there.example");
	s2s_ways_add(&w, &b, "there.example");
	s2s_ways_add(&w, &b, "there.example");
	s2s_ways_add(&w, &b, "rooms.there.example");
	s2s_ways_add(&w, &c, "there.example");
	CHECK(s2s_ways_find(&w, "there.example", is, NULL) == &c);
	CHECK(s2s_ways_find(&w, "there.example", is, &a) == &a);
	CHECK(s2s_ways_find(&w, "rooms.there.example", is, NULL) == &b);
	CHECK(s2s_ways_find(&w, "rooms.there.example", is, &a) == NULL);
	s2s_ways_drop(&w, &b);               /* the middle of one list, all of another */
	s2s_ways_drop(&w, &b);
	CHECK(s2s_ways_find(&w, "there.example", is, &b) == NULL);
	CHECK(s2s_ways_find(&w, "rooms.there.example", is, NULL) == NULL);
	s2s_ways_drop(&w, &c);               /* the first */
	CHECK(s2s_ways_find(&w, "there.example", is, NULL) == &a);
	s2s_ways_add(&w, &b, "there.example");
	s2s_ways_drop(&w, &a);               /* the last */
	CHECK(s2s_ways_find(&w, "there.example", is, NULL) == &b);
	s2s_ways_drop(&w, &b);
	CHECK(s2s_ways_find(&w, "there.example", is, NULL) == NULL);
	CHECK(w.domains_ == NULL);
}

static void test_alone(void)
{
	static struct s2s_ways w;
	char from[32];

	CHECK(!s2s_ways_is_alone(&w, "a.example", "there.example", 1000));
	s2s_ways_alone(&w, "a.example", "there.example", 1000);
	CHECK(s2s_ways_is_alone(&w, "a.example", "there.example", 600999));
	CHECK(!s2s_ways_is_alone(&w, "a.example", "there.example", 601000));
	CHECK(!s2s_ways_is_alone(&w, "b.example", "there.example", 1000));
	CHECK(!s2s_ways_is_alone(&w, "there.example", "a.example", 1000));
	for (unsigned i = 0; i < S2S_WAYS_ALONE_MAX; i++) {
		CHECK(s2s_ways_is_alone(&w, "a.example", "there.example", 1000));
		snprintf(from, sizeof from, "d%u.example", i);
		s2s_ways_alone(&w, from, "there.example", 1000);
	}
	CHECK(!s2s_ways_is_alone(&w, "a.example", "there.example", 1000));
	CHECK(s2s_ways_is_alone(&w, "d0.example", "there.example", 1000));
}

int main(void)
{
	RUN(test_newest_first_and_gone);
	RUN(test_alone);
	return check_done("unit.role.ways");
}
