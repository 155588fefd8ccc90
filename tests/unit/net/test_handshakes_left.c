/* What newcomers are given of the time that others leave, and what of it is announced as room. */
#include "common/stat.h"
#include "door.h"

static const struct admission_options much = {
	.share_percent = 20, .idle_percent = 60, .burst_us = 1000, .patience_ms = 5000, .waiting_max = 10};

/* What was idle in the last two looks is room, as far as newcomers leave it so; there is no look more often than that. */
static void test_room(void)
{
	begin(much);
	CHECK_EQ(handshakes_room(door), 75); /* 15 % of a second, two ms each as long as nobody was seen */
	CHECK_EQ(door->lately.looked_at_us, 0); /* this may be another thread */
	loop_turn(loop);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t looked_at_us = door->lately.looked_at_us;

		CHECK(looked_at_us > 0);
		(void)handshakes_room(door);
		loop_turn(loop);
		CHECK(door->lately.looked_at_us == looked_at_us || door->lately.looked_at_us >= looked_at_us + 500000);
		door->lately.looked_at_us = looked_at_us - 5000000; /* as if all this time nothing had been done */
		(void)handshakes_room(door);
		loop_turn(loop);
	}
	bool told = door->lately.fd_plus_1 > 0; /* by this kernel */

	CHECK(told ? door->was_left[0] > 25 && door->was_left[0] <= 100 : door->was_left[0] == 0);
	door->lately.looked_at_us = handshakes_begin(door);
	door->was_left[0] = 100;
	door->was_left[1] = 68;
	CHECK_EQ(handshakes_room(door), 180); /* 45 % more of the 48 that others leave beside the share */
	door->was_left[0] = 0;
	CHECK_EQ(handshakes_room(door), 75);
	end();
}

/* A look after five seconds, of which the thread was busy for three: percent that nobody but newcomers took. */
static unsigned look_at_busy(void)
{
	door->lately.looked_at_us = handshakes_begin(door) - 5000000;
	door->lately.busy_us -= 3000000;
	(void)handshakes_room(door);
	loop_turn(loop);
	return door->was_left[0];
}

/* What newcomers took is not subtracted a second time: of three busy seconds two were theirs. */
static void test_room_of_newcomers(void)
{
	begin(much);
	handshakes_end(door, HANDSHAKES_LOGIN, handshakes_begin(door) - 2000000, NULL);
	(void)handshakes_room(door);
	loop_turn(loop);
	CHECK_EQ(door->was_left[0], 0); /* a first look knows nothing */
	bool told = door->lately.fd_plus_1 > 0; /* by this kernel */

	CHECK(told ? look_at_busy() < 55 : look_at_busy() == 0);
	handshakes_end(door, HANDSHAKES_ACCEPT, handshakes_begin(door) - 1000000, NULL);
	handshakes_end(door, HANDSHAKES_LOGIN, handshakes_begin(door) - 1000000, NULL);
	CHECK(told ? look_at_busy() >= 55 : look_at_busy() == 0);
	CHECK(told ? look_at_busy() < 55 : look_at_busy() == 0);
	handshakes_end(door, HANDSHAKES_LOGIN, handshakes_begin(door) - 9000000, NULL);
	CHECK(look_at_busy() <= 100);
	end();
}

/* Somebody waits; of the last 80 ms the thread ran for 60, so many of them for newcomers. What those who log in were given for that, in ms,
 * beside their share; -1: this kernel does not tell. */
static int64_t given_of_80_ms(unsigned newcomers_ms)
{
	const int64_t level = -100000;
	bool told;

	do { /* until the look came before it was worth nothing */
		uint64_t looked_at_us;

		loop_turn(loop);
		if (door->idle.busy_us == 0)
			continue;
		looked_at_us = door->idle.looked_at_us = handshakes_begin(door) - 80000;
		door->idle.busy_us -= 60000;
		door->idle.ran_us -= 60000;
		door->idle.owed_us = 0;
		door->late = (struct handshakes_late){0};
		door->theirs_us = newcomers_ms * 1000;
		door->login.filled_at_us = handshakes_begin(door);
		door->login.level_us = level;
		while (door->idle.looked_at_us == looked_at_us)
			loop_turn(loop);
	} while (door->idle.fd_plus_1 >= 0 && door->late.passed_us == 0);
	told = door->idle.fd_plus_1 > 0;
	CHECK_EQ(handshakes_waiting(door), 1);
	return told ? (door->login.level_us - level) / 1000 : -1;
}

/* All that is left is theirs where those who are in have no work, what the accepted need not included; a part where they have, and while
 * logins queue for job threads. */
static void test_given_what_is_left(void)
{
	int64_t all, some, queued, around;

	begin(much);
	speak(PART_OF_HELLO);
	CHECK(run_until(&b.nr_waits, 1));
	all = given_of_80_ms(70); /* more than it ran: what the test itself does is no others' work */
	some = given_of_80_ms(0);
	stat_add(STAT_logins_waiting, 65);
	queued = given_of_80_ms(70);
	stat_add(STAT_logins_waiting, (uint64_t)-65);
	door->around_us = 25000;
	around = given_of_80_ms(45);
	CHECK(all == -1 || (all >= 55 && all <= 75)); /* 80, less a fifth */
	CHECK(some == -1 || (some >= 0 && some <= 10)); /* 20, less a fifth of all, and of that six tenths */
	CHECK(queued == -1 || (queued >= 30 && queued <= 48)); /* six tenths of 64 */
	CHECK(around == -1 || (around >= 40 && around <= 60)); /* 65, less a fifth of all: the rest was none of others' */
	end();
}

/* Nobody waits to log in, and the listener waits: it is given to, too, from the second look on. */
static void test_given_to_accept(void)
{
	begin(much);
	door->accept.level_us = -50000;
	CHECK(handshakes_accept_in_ms(door) > 500);
	CHECK(door->idle.looked_at_us > 0);
	door->idle.looked_at_us -= 60000;
	CHECK(door->idle.fd_plus_1 <= 0 || handshakes_accept_in_ms(door) < 900);
	CHECK(door->idle.fd_plus_1 <= 0 || door->accept.level_us > -50000 + 5000);
	end();
}

int main(void)
{
	RUN(test_room);
	RUN(test_room_of_newcomers);
	RUN(test_given_what_is_left);
	RUN(test_given_to_accept);
	return check_done("net_handshakes_left");
}
