/* Who may begin a handshake, under a clock of the test's own. */
#include "../check.h"
#include "net/admission.h"

#define MS 1000u

static const struct admission_options quarter = {.share_percent = 25, .burst_us = 2 * MS + 1, .patience_ms = 1000, .waiting_max = 100};
static struct admission a;
static uint64_t now;

static void begin(const struct admission_options *o)
{
	now = 5000 * MS;
	admission_init(&a, o, now);
}

static enum admission_answer ask(struct admission_wait *w, enum admission_class class)
{
	struct admission_wait *instead;
	enum admission_answer answer = admission_ask(&a, w, class, now, &instead);

	CHECK(instead == NULL);
	return answer;
}

static void use_up(void)
{
	admission_charge(&a, 3 * MS, now);
	a.cost_us = 100; /* then what comes is about order alone */
}

/* One that was admitted took so much until it was in. */
static void comes_in(unsigned cost)
{
	admission_spent(&a, cost);
	admission_came_in(&a, cost);
}

/* So many admitted within some ms, each of whom takes `cost` after he was let in. */
static unsigned admit(unsigned ms, unsigned cost)
{
	unsigned nr = 0;

	for (; ms > 0; ms--) {
		now += MS;
		for (; admission_next(&a, now) != NULL; nr++)
			comes_in(cost);
	}
	return nr;
}

static void test_pace(void)
{
	static struct admission_wait w[3000];
	struct admission_options o = quarter;
	unsigned at_once = 0, nr;

	o.waiting_max = ARRAY_LEN(w);
	begin(&o);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		at_once += ask(&w[i], ADMISSION_NEW) == ADMISSION_GO;
	CHECK_EQ(at_once, 2); /* nobody has been seen, so one is taken to need as much as the burst */
	(void)admit(1200, 500); /* it is learned */
	nr = admit(200, 500);
	CHECK(nr >= 98 && nr <= 102); /* a quarter of 200 ms */
	(void)admit(9000, 5000); /* a slow machine: no more of its time is taken */
	nr = admit(1000, 5000);
	CHECK(nr >= 48 && nr <= 52);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		admission_leave(&a, &w[i]);
	CHECK_EQ(a.nr_waiting, 0);
	CHECK(admission_due_us(&a, now) == UINT64_MAX);
}

/* What they cost comes long after they were admitted, and no crowd comes in between. */
static void test_cost_comes_late(void)
{
	static struct admission_wait w[1000];
	struct admission_options o = quarter;
	unsigned nr = 0;

	o.waiting_max = ARRAY_LEN(w);
	begin(&o);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		nr += ask(&w[i], ADMISSION_NEW) == ADMISSION_GO;
	for (unsigned ms = 0; ms < 100; ms++) {
		now += MS;
		while (admission_next(&a, now) != NULL)
			nr++;
	}
	CHECK(nr < 20);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		admission_leave(&a, &w[i]);
}

/* Those who begin and come to nothing, or hang, make nobody cheaper who comes behind them. */
static void test_cheap_ones_teach_nothing(void)
{
	static struct admission_wait w[400];

	for (int hang = 0; hang < 2; hang++) {
		struct admission_options o = quarter;
		unsigned nr = 0;

		o.waiting_max = ARRAY_LEN(w);
		begin(&o);
		for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
			now += 10 * MS;
			CHECK_EQ(ask(&w[i], ADMISSION_NEW), ADMISSION_GO);
			admission_spent(&a, 20);
			if (!hang)
				admission_came_to_nothing(&a);
		}
		CHECK(admission_room(&a, 0) <= 125);
		for (unsigned i = 0; i < ARRAY_LEN(w); i++)
			nr += ask(&w[i], ADMISSION_NEW) == ADMISSION_GO;
		CHECK(nr <= 2);
		for (unsigned i = 0; i < ARRAY_LEN(w); i++)
			admission_leave(&a, &w[i]);
	}
}

/* Who took more than was known is paid for before the next one comes, once, and within a bound; who took less makes room. */
static void test_what_was_taken_is_settled(void)
{
	struct admission_options o = quarter;
	struct admission_wait w;
	unsigned nr = 0;

	o.burst_us = 50 * MS;
	begin(&o);
	a.cost_us = 5 * MS;
	for (; ask(&w, ADMISSION_NEW) == ADMISSION_GO; nr++)
		;
	admission_leave(&a, &w);
	CHECK_EQ(nr, 10);
	CHECK_EQ(a.level_us, 0);
	admission_spent(&a, 50 * MS); /* as was thought: paid already */
	CHECK_EQ(a.level_us, 0);
	admission_spent(&a, 30 * MS);
	CHECK_EQ(a.level_us, -30 * (int64_t)MS);
	CHECK_EQ(ask(&w, ADMISSION_NEW), ADMISSION_WAIT);
	now += 119 * MS;
	CHECK(admission_next(&a, now) == NULL);
	now += 2 * MS;
	CHECK(admission_next(&a, now) == &w);
	for (int i = 0; i < 10; i++)
		admission_came_to_nothing(&a);
	int64_t level = a.level_us;
	uint64_t ahead = a.ahead_us;
	CHECK(ahead > 0);
	admission_came_to_nothing(&a);
	CHECK_EQ(a.level_us, level + (int64_t)ahead);
	CHECK_EQ(a.ahead_us, 0);
	for (int i = 0; i < 10; i++)
		admission_spent(&a, 1000 * MS);
	CHECK_EQ(ask(&w, ADMISSION_NEW), ADMISSION_WAIT);
	now += 401 * MS; /* as for any single halt */
	CHECK(admission_next(&a, now) == &w);
}

static void test_order(void)
{
	struct admission_wait new[3], old[10];
	struct admission_wait *got[13];
	unsigned nr = 0, place = 0;

	begin(&quarter);
	use_up();
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(ask(&new[i], ADMISSION_NEW), ADMISSION_WAIT);
	for (unsigned i = 0; i < 10; i++)
		CHECK_EQ(ask(&old[i], ADMISSION_RETURNING), ADMISSION_WAIT);
	while (nr < 13) {
		now += MS;
		struct admission_wait *w = admission_next(&a, now);
		if (w != NULL)
			got[nr++] = w;
	}
	for (unsigned i = 0; i < 7; i++)
		CHECK(got[place++] == &old[i]);
	CHECK(got[place++] == &new[0]); /* they are not shut out */
	for (unsigned i = 7; i < 10; i++)
		CHECK(got[place++] == &old[i]);
	CHECK(got[place++] == &new[1]);
	CHECK(got[place] == &new[2]);
}

static void test_shows_late_that_it_returns(void)
{
	struct admission_wait w[3];

	begin(&quarter);
	use_up();
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(ask(&w[i], ADMISSION_NEW), ADMISSION_WAIT);
	admission_returns(&a, &w[2]);
	admission_returns(&a, &w[2]);
	now += 10 * MS;
	CHECK(admission_next(&a, now) == &w[2]);
	admission_returns(&a, &w[2]); /* too late: nothing */
	CHECK(admission_next(&a, now) == &w[0]);
	CHECK(admission_next(&a, now) == &w[1]);
	CHECK(admission_next(&a, now) == NULL);
}

/* One that comes while others wait does not pass them, though there is time again: nor one that returns, or the eighth place that is a new
 * one's would come late for each of them. */
static void test_no_overtaking(void)
{
	struct admission_wait w[3];

	begin(&quarter);
	use_up();
	CHECK_EQ(ask(&w[0], ADMISSION_NEW), ADMISSION_WAIT);
	now += 10 * MS;
	CHECK(admission_crowded(&a, now));
	CHECK_EQ(ask(&w[1], ADMISSION_NEW), ADMISSION_WAIT);
	CHECK_EQ(ask(&w[2], ADMISSION_RETURNING), ADMISSION_WAIT);
	CHECK_EQ(admission_due_us(&a, now), now);
	CHECK(admission_next(&a, now) == &w[2]);
	CHECK(admission_next(&a, now) == &w[0]);
	CHECK(admission_next(&a, now) == &w[1]);
	CHECK(!admission_crowded(&a, now));
}

static void test_patience(void)
{
	struct admission_wait w[3];

	begin(&quarter);
	admission_charge(&a, 100 * MS, now);
	CHECK_EQ(ask(&w[0], ADMISSION_NEW), ADMISSION_WAIT);
	now += 300 * MS;
	admission_charge(&a, 100 * MS, now);
	CHECK_EQ(ask(&w[1], ADMISSION_RETURNING), ADMISSION_WAIT);
	now += 699 * MS;
	admission_charge(&a, 100 * MS, now);
	admission_charge(&a, 100 * MS, now);
	CHECK(admission_expired(&a, now) == NULL);
	CHECK_EQ(admission_due_us(&a, now), now + MS); /* its patience ends before the bucket has anything */
	now += MS;
	CHECK(admission_expired(&a, now) == &w[0]);
	CHECK(admission_expired(&a, now) == NULL);
	now += 300 * MS;
	CHECK(admission_expired(&a, now) == &w[1]);
	CHECK_EQ(a.nr_waiting, 0);
	admission_leave(&a, &w[1]);
	CHECK_EQ(a.nr_waiting, 0);
}

static void test_full(void)
{
	struct admission_options o = quarter;
	struct admission_wait w[3], *instead;

	o.waiting_max = 2;
	begin(&o);
	use_up();
	CHECK_EQ(ask(&w[0], ADMISSION_NEW), ADMISSION_WAIT);
	CHECK_EQ(ask(&w[1], ADMISSION_NEW), ADMISSION_WAIT);
	CHECK_EQ(ask(&w[2], ADMISSION_NEW), ADMISSION_FULL);
	CHECK_EQ(admission_ask(&a, &w[2], ADMISSION_RETURNING, now, &instead), ADMISSION_WAIT);
	CHECK(instead == &w[1]);
	CHECK_EQ(a.nr_waiting, 2);
	CHECK_EQ(admission_ask(&a, &w[1], ADMISSION_RETURNING, now, &instead), ADMISSION_WAIT);
	CHECK(instead == &w[0]);
	CHECK_EQ(ask(&w[0], ADMISSION_RETURNING), ADMISSION_FULL);
}

/* An eighth of the places is there for new ones however many come that say they return, at once or when they wait already, and so is every
 * eighth turn. Of these places who returns gets no more than who is new, and no less. */
static void test_places_are_kept_for_new(void)
{
	static struct admission_wait w[100], late, new[12];
	struct admission_wait *instead, *got;
	struct admission_options o = quarter;
	unsigned nr_new = 0;

	o.waiting_max = 100;
	begin(&o);
	use_up();
	for (unsigned i = 0; i < 88; i++)
		CHECK_EQ(ask(&w[i], i % 2 ? ADMISSION_RETURNING : ADMISSION_NEW), ADMISSION_WAIT);
	for (unsigned i = 0; i < 88; i += 2)
		admission_returns(&a, &w[i]); /* made up while it waits */
	CHECK_EQ(ask(&late, ADMISSION_RETURNING), ADMISSION_WAIT);
	CHECK_EQ(a.nr_returning, 88);
	for (unsigned i = 0; i < 11; i++)
		CHECK_EQ(ask(&new[i], ADMISSION_NEW), ADMISSION_WAIT);
	CHECK_EQ(ask(&new[11], ADMISSION_NEW), ADMISSION_FULL);
	CHECK_EQ(admission_ask(&a, &w[88], ADMISSION_RETURNING, now, &instead), ADMISSION_FULL);
	CHECK(instead == NULL);
	admission_returns(&a, &new[0]); /* stays where it is */
	now += 10 * MS;
	for (unsigned i = 0; i < 16; i++) {
		now += MS;
		got = admission_next(&a, now);
		CHECK(got != NULL);
		if (nr_new == 0)
			CHECK(got == &late || got->class_ == ADMISSION_RETURNING); /* it came first */
		nr_new += got == &late || (got >= new && got < new + 12);
	}
	CHECK_EQ(nr_new, 2);
	for (unsigned i = 0; i < 100; i++)
		admission_leave(&a, &w[i]);
	for (unsigned i = 0; i < 12; i++)
		admission_leave(&a, &new[i]);
	CHECK_EQ(a.nr_waiting + a.nr_returning, 0);
}

/* A halt of a second is not paid back for four. */
static void test_debt_is_bounded(void)
{
	struct admission_wait w;

	begin(&quarter);
	for (int i = 0; i < 10; i++)
		admission_charge(&a, 1000 * MS, now);
	CHECK_EQ(ask(&w, ADMISSION_NEW), ADMISSION_WAIT);
	now += 401 * MS;
	CHECK(admission_next(&a, now) == &w);
}

/* However often it is asked, and though each time is no whole number of what the share gives. */
static void test_fractions_add_up(void)
{
	struct admission_options o = {.share_percent = 3, .burst_us = 10 * MS};

	begin(&o);
	admission_charge(&a, 5 * MS, now);
	for (int i = 0; i < 2000; i++) {
		now += 50;
		(void)admission_crowded(&a, now);
	}
	CHECK_EQ(a.level_us, 5 * MS + 3000);
}

/* What is given beside the share is taken like that, and nothing of it is saved up: what has no place is told. */
static void test_given(void)
{
	static struct admission_wait w[1000];
	struct admission_options o = quarter;
	unsigned nr = 0;

	o.waiting_max = ARRAY_LEN(w);
	begin(&o);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		(void)ask(&w[i], ADMISSION_NEW);
	(void)admit(1200, 500); /* what they cost is learned */
	for (unsigned ms = 0; ms < 200; ms++) {
		CHECK_EQ(admission_give(&a, 300, now), 0);
		nr += admit(1, 500);
	}
	CHECK(nr >= 215 && nr <= 225); /* a quarter of 200 ms, and 60, at half a ms each */
	uint64_t room = (uint64_t)((int64_t)o.burst_us - a.level_us);
	CHECK_EQ(admission_give(&a, 1000000, now), 1000000 - room);
	CHECK_EQ(a.level_us, o.burst_us);
	CHECK_EQ(admission_give(&a, 700, now), 700);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		admission_leave(&a, &w[i]);
}

static void test_without_limit(void)
{
	struct admission_options o = quarter;
	struct admission_wait w;

	o.share_percent = 0;
	begin(&o);
	admission_charge(&a, 1000 * MS, now);
	CHECK(!admission_crowded(&a, now));
	CHECK_EQ(ask(&w, ADMISSION_NEW), ADMISSION_GO);
	CHECK_EQ(admission_room(&a, 100), ADMISSION_ANY);
}

static void test_room(void)
{
	struct admission_wait w[100];

	begin(&quarter);
	for (int i = 0; i < 200; i++) {
		now += 10 * MS;
		CHECK_EQ(ask(&w[0], ADMISSION_NEW), ADMISSION_GO);
		comes_in(1000);
	}
	CHECK(admission_room(&a, 25) >= 240 && admission_room(&a, 25) <= 260); /* a quarter of a second, a ms each */
	admission_charge(&a, 3 * MS, now);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(ask(&w[i], ADMISSION_NEW), ADMISSION_WAIT);
	CHECK(admission_room(&a, 25) >= 130 && admission_room(&a, 25) <= 160);
	CHECK(admission_room(&a, 45) >= 330 && admission_room(&a, 45) <= 360); /* a fifth of a second more */
	CHECK_EQ(admission_room(&a, 5), 0);
}

/* All that is left where others have hardly any work, what the operator says where they have, and nothing when that is nothing. */
static void test_part(void)
{
	CHECK_EQ(admission_part(20, 0), 100);
	CHECK_EQ(admission_part(20, 3), 100);
	CHECK_EQ(admission_part(20, 4), 73);
	CHECK_EQ(admission_part(20, 5), 46);
	CHECK_EQ(admission_part(20, 6), 20);
	CHECK_EQ(admission_part(20, 100), 20);
	CHECK_EQ(admission_part(100, 50), 100);
	CHECK_EQ(admission_part(0, 0), 0);
	CHECK(!admission_is_work(3));
	CHECK(admission_is_work(4));
}

/* A gateway of which others take some of the time, and ten seconds of newcomers: percent of its room come, each takes a ms of login and a
 * tenth of one before. The most that ever waited. */
static size_t come(unsigned others, unsigned percent)
{
	static struct admission_wait w[5000];
	/* three quarters of 20 and 20: the rest is for the ways to the door */
	const struct admission_options o = {
		.share_percent = 15, .idle_percent = 15, .burst_us = 2 * MS, .patience_ms = 60000, .waiting_max = ARRAY_LEN(w)};
	unsigned due = 0, work = 0, nr = 0;
	size_t most = 0;

	begin(&o);
	a.cost_us = MS; /* learned before */
	unsigned more = others < 80 ? (80 - others) * o.idle_percent / 100 : 0; /* of what others leave beside the whole share */
	uint32_t room = admission_room(&a, o.share_percent + more);

	for (unsigned ms = 0; ms < 10000; ms++) {
		now += MS;
		for (due += room * percent; due >= 100000; due -= 100000) {
			work += MS / 10;
			if (ask(&w[nr++], ADMISSION_NEW) != ADMISSION_GO)
				continue;
			work += MS;
			comes_in(MS);
		}
		unsigned free_us = (100 - others) * 10, done = work < free_us ? work : free_us;

		work -= done;
		(void)admission_give(&a, (free_us > 200 ? free_us - 200 : 0) * o.idle_percent / 100, now);
		while (admission_next(&a, now) != NULL) {
			work += MS;
			comes_in(MS);
		}
		most = a.nr_waiting > most ? a.nr_waiting : most;
	}
	for (unsigned i = 0; i < nr; i++)
		admission_leave(&a, &w[i]);
	return most;
}

/* As many as there is room for come in as they come, however much others do; of a fifth more a queue grows. */
static void test_room_is_not_overrun(void)
{
	for (unsigned others = 0; others <= 80; others += 20) {
		CHECK(come(others, 100) <= 2);
		CHECK(come(others, 120) > 50);
	}
}

int main(void)
{
	RUN(test_pace);
	RUN(test_cost_comes_late);
	RUN(test_cheap_ones_teach_nothing);
	RUN(test_what_was_taken_is_settled);
	RUN(test_order);
	RUN(test_shows_late_that_it_returns);
	RUN(test_no_overtaking);
	RUN(test_patience);
	RUN(test_full);
	RUN(test_places_are_kept_for_new);
	RUN(test_debt_is_bounded);
	RUN(test_fractions_add_up);
	RUN(test_given);
	RUN(test_without_limit);
	RUN(test_room);
	RUN(test_part);
	RUN(test_room_is_not_overrun);
	return check_done("net_admission");
}
