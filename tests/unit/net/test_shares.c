/* Who among strangers has a place, and whose turn comes next. */
#include "../check.h"
#include "net/shares.h"

enum { MAX = 144, ALONE = 16 /* an eighth of the 128 that are left then */ };

static struct shares *s;
static struct share *held[2 * MAX];
static unsigned nr_held, nr_rooms;

static void on_room(void *arg)
{
	CHECK(arg == held);
	nr_rooms++;
}

static void begin(unsigned max)
{
	s = shares_new(max, on_room, held);
	nr_held = nr_rooms = 0;
}

static void end(void)
{
	while (nr_held > 0)
		share_drop(held[--nr_held]);
	CHECK_EQ(shares_taken(s), 0);
	CHECK(shares_next(s) == NULL);
	shares_free(s);
}

/* Asks for one; true when it is a place. arg is the name. */
static bool ask(const char *who)
{
	struct share *p = shares_ask(s, slice_str(who), (void *)who);

	CHECK(slice_is(share_who(p), who));
	held[nr_held++] = p;
	return share_is_place(p);
}

static unsigned places(const char *who, unsigned nr)
{
	unsigned got = 0;

	while (nr-- > 0)
		got += ask(who);
	return got;
}

static void test_alone(void)
{
	begin(MAX);
	CHECK_EQ(places("a", 100), ALONE);
	CHECK_EQ(shares_taken(s), ALONE);
	CHECK(shares_next(s) == NULL);
	end();
}

/* The first takes most, the next less; the places are not used up before everybody's share is one. */
static void test_many(void)
{
	static char names[2 * MAX][8];
	unsigned last = ALONE, nr_all = 0;

	begin(MAX);
	for (unsigned i = 0; i < 20; i++) {
		unsigned got = 0;

		snprintf(names[i], sizeof names[i], "n%u", i);
		while (ask(names[i]))
			got++;
		CHECK(got > 0 && got <= last);
		last = got;
		nr_all += got;
	}
	CHECK_EQ(shares_taken(s), nr_all);
	CHECK(nr_all < MAX);
	for (unsigned i = 20; shares_taken(s) < MAX; i++) {
		snprintf(names[i], sizeof names[i], "n%u", i);
		CHECK(ask(names[i]));
	}
	CHECK(!ask("late"));
	end();
}

/* First come, first served within one stranger; what is given back goes to them by turns. */
static void test_turns(void)
{
	begin(4);
	CHECK(ask("x") && ask("y") && ask("z") && ask("w"));
	CHECK(!ask("a") && !ask("a") && !ask("a") && !ask("b"));
	CHECK_EQ(nr_rooms, 0);
	share_drop(held[0]);
	share_drop(held[1]);
	CHECK_EQ(nr_rooms, 2);
	CHECK_STR(shares_next(s), "a");
	CHECK_STR(shares_next(s), "b");                 /* not the next of a */
	CHECK(shares_next(s) == NULL);
	CHECK(share_is_place(held[4]) && !share_is_place(held[5]) && share_is_place(held[7]));
	share_drop(held[2]);
	CHECK(shares_next(s) == NULL);                  /* a holds one, which is more than an eighth of the one that is left */
	share_drop(held[4]);
	CHECK_STR(shares_next(s), "a");
	CHECK(share_is_place(held[5]) && !share_is_place(held[6]));
	/* a wait that is over before its turn */
	share_drop(held[6]);
	share_drop(held[5]);
	CHECK(shares_next(s) == NULL);
	share_drop(held[3]);
	share_drop(held[7]);
	nr_held = 0;
	end();
}

/* Who waits does not overtake himself, though there would be room. */
static void test_order(void)
{
	begin(1);
	CHECK(ask("a"));
	CHECK(!ask("a"));
	share_drop(held[0]);
	held[0] = held[1];
	nr_held = 1;
	CHECK(!ask("a"));
	CHECK(shares_next(s) != NULL && share_is_place(held[0]) && !share_is_place(held[1]));
	end();
}

/* A place is held until its last holder lets go. */
static void test_holders(void)
{
	begin(1);
	CHECK(ask("a"));
	CHECK(!ask("b"));
	(void)share_ref(held[0]);
	share_drop(held[0]);
	CHECK_EQ(nr_rooms, 0);
	CHECK(shares_next(s) == NULL);
	share_drop(held[0]);
	CHECK_EQ(nr_rooms, 1);
	CHECK_STR(shares_next(s), "b");
	share_drop(held[1]);
	share_drop(NULL);
	CHECK_EQ(nr_rooms, 1);                          /* nobody waits */
	nr_held = 0;
	end();
}

int main(void)
{
	RUN(test_alone);
	RUN(test_many);
	RUN(test_turns);
	RUN(test_order);
	RUN(test_holders);
	return check_done("net_shares");
}
