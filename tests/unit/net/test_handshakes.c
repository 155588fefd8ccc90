/* Connections at the door: they wait with what they said unread, come in when there is time, and leave when they like. */
#include <sys/socket.h>
#include <unistd.h>

#include "../check.h"
#include "door.h"

static void test_quiet(void)
{
	begin(little);
	pair_tls();
	CHECK_EQ(b.nr_waits, 0);
	CHECK_EQ(a.nr_waits + a.nr_went, 0); /* who calls does not wait at its own door */
	end();
}

static void test_waits_and_goes(void)
{
	begin(little);
	pair_open();
	SSL *ours = pair_ssl(true), *theirs = pair_ssl(false);
	use_up(20);
	conn_start_tls(b.conn, ours);
	conn_start_tls(a.conn, theirs);
	CHECK(run_until(&b.nr_waits, 1));
	CHECK_EQ(handshakes_waiting(door), 1);
	CHECK_EQ(b.nr_tls, 0);
	CHECK(run_until(&b.nr_tls, 1) && run_until(&a.nr_tls, 1));
	CHECK_EQ(b.nr_waits, 1);
	CHECK_EQ(b.nr_went, 1);
	CHECK(b.conn->wait == NULL);
	conn_send(a.conn, SLICE("hello"));
	CHECK(run_until_in(&b, 5));
	end();
}

/* Its share is charged until its owner says that it is in, and no longer. */
static void test_charged(void)
{
	uint64_t taken;

	begin(little);
	pair_tls();
	taken = door->taken_us;
	CHECK(b.conn->charged_us > 0 && taken >= b.conn->charged_us);
	conn_settled(b.conn);
	CHECK(!a.conn->newcomer);
	for (size_t i = 1; i <= 100; i++) {
		conn_send(a.conn, SLICE("x"));
		CHECK(run_until_in(&b, i));
	}
	CHECK_EQ(door->taken_us, taken);
	end();
}

/* What one costs is learned of who is in, with the keys that were derived for it, and not of who left on the way; each is one of those on
 * the way until then. */
static void test_learned(void)
{
	for (int in = 0; in < 2; in++) {
		uint64_t cost;

		begin(little);
		cost = door->login.cost_us;
		pair_open();
		SSL *ours = pair_ssl(true), *theirs = pair_ssl(false);
		conn_start_tls(b.conn, ours);
		conn_start_tls(a.conn, theirs);
		CHECK(run_until(&b.nr_tls, 1) && run_until(&a.nr_tls, 1));
		CHECK_EQ(door->login.nr_on_the_way, 1);
		b.conn->charged_us = 400;
		handshakes_charge(door, b.conn, 20000);
		handshakes_charge(door, b.conn, 30000);
		handshakes_charge(door, NULL, 90000);
		if (in) {
			conn_settled(b.conn);
			conn_settled(b.conn);
			CHECK_EQ(door->login.cost_us, (cost * 63 + 50400) / 64);
			CHECK_EQ(door->around_us, 133);
			CHECK_EQ(door->login.nr_on_the_way, 0);
		}
		conn_abort(b.conn);
		CHECK_EQ(door->login.nr_on_the_way, 0);
		CHECK_EQ(door->login.ahead_us, 0);
		CHECK(in || door->login.cost_us == cost);
		CHECK(run_until(&b.nr_closed, 1));
		end();
	}
}

/* Keys of logins that came to nothing are not the cost of the next one who comes in: whether their connections have left, are there still,
 * or come back. They are spent all the same. */
static void test_failed_keys_teach_nothing(void)
{
	static struct conn other = {.admitted = true};
	int64_t level;

	begin(little);
	pair_tls();
	uint32_t room = handshakes_room(door);
	level = door->login.level_us + (int64_t)door->login.ahead_us;
	for (unsigned i = 0; i < 20; i++)
		handshakes_charge(door, i % 2 ? &other : NULL, 5000);
	CHECK(door->login.level_us + (int64_t)door->login.ahead_us <= level - 50000); /* a debt has a bound */
	b.conn->charged_us = 400;
	conn_settled(b.conn);
	CHECK(room > 0);
	CHECK(handshakes_room(door) >= room);
	for (unsigned i = 0; i < 100; i++)
		handshakes_charge(door, &other, 1 << 26);
	CHECK_EQ(other.keys_us, 1000000); /* and does not begin anew */
	handshakes_charge(door, b.conn, 5000); /* which is in: the place is another's */
	CHECK_EQ(b.conn->plain_left, 0);
	end();
}

/* Its login is charged from when it is admitted, whatever came before. */
static void test_charged_from_the_door(void)
{
	begin(little);
	pair_raw();
	SSL *ssl = pair_ssl(true);
	use_up(2);
	conn_start_tls(b.conn, ssl);
	CHECK_EQ(send(raw, PART_OF_HELLO.p, PART_OF_HELLO.n, 0), PART_OF_HELLO.n);
	b.conn->charged_us = 20000; /* as much as may ever be */
	CHECK(run_until(&b.nr_went, 1));
	CHECK(b.conn->admitted && b.conn->charged_us < 20000);
	end();
}

/* Who makes work without end has it charged up to a bound, so that others come in. */
static void test_charged_within_bounds(void)
{
	uint16_t charged_us = 0;
	int64_t level;

	begin(little);
	level = door->accept.level_us;
	for (int i = 0; i < 10; i++)
		handshakes_end(door, HANDSHAKES_ACCEPT, handshakes_begin(door) - 1500, &charged_us);
	CHECK_EQ(charged_us, 2000);
	for (int i = 0; i < 10; i++)
		handshakes_end(door, HANDSHAKES_LOGIN, handshakes_begin(door) - 9000, &charged_us);
	CHECK(level - door->accept.level_us <= 2000);
	CHECK(door->login.level_us <= -16000 && door->login.level_us >= -18000); /* and a ms was there */
	CHECK(door->taken_us >= 20000 && door->taken_us < 21000);
	handshakes_end(door, HANDSHAKES_ACCEPT, handshakes_begin(door) - 50000, NULL);
	CHECK(door->accept.level_us < -40000); /* what is no connection's has none */
	end();
}

/* Bytes one at a time, before any TLS. */
static void test_trickle(void)
{
	begin(little);
	pair_open();
	b.conn->charged_us = 2000;
	for (size_t i = 1; i <= 100; i++) {
		conn_send(a.conn, SLICE("x"));
		CHECK(run_until_in(&b, i));
	}
	CHECK(b.conn->newcomer);
	CHECK_EQ(door->accept.level_us, little.burst_us);
	end();
}

static struct loop_task hog;
static unsigned nr_hogged, nr_came_late;
static short interest_then;

/* Uses up the time that newcomers have in a turn, in ten of them. */
static void on_hog(void *arg)
{
	uint64_t begun = handshakes_begin(door);

	(void)arg;
	nr_came_late += nr_hogged > 0 && b.nr_data == 0;
	while (handshakes_begin(door) <= begun + LOOP_BEHIND_US)
		;
	if (++nr_hogged < 10)
		loop_task_queue_behind(loop, &hog);
}

static void note_interest(struct end *e, struct slice bytes)
{
	(void)bytes;
	interest_then = e->conn->interest;
}

/* Something is said in a turn that has no time for newcomers. */
static void hogged(struct admission_options o, bool settled)
{
	begin(o);
	pair_open();
	if (settled)
		conn_settled(b.conn);
	loop_task_init(&hog, on_hog, NULL);
	nr_hogged = nr_came_late = 0;
	b.on_data = note_interest;
	conn_send(a.conn, SLICE("x"));
	loop_turn(loop); /* it goes out; the next turn finds it */
	loop_task_queue_behind(loop, &hog);
	CHECK(run_until(&nr_hogged, 10));
	CHECK_EQ(b.nr_data, 1);
	CHECK_EQ(b.conn->interest, EV_READ);
	CHECK(!b.conn->unwatched);
	end();
}

/* What a newcomer says is looked at behind what others have to do. Until then its descriptor is let be: told once a turn it would keep the
 * loop busy with nothing else. */
static void test_behind_who_is_in(void)
{
	hogged(little, false);
	CHECK_EQ(nr_came_late, 1);
	CHECK_EQ(interest_then, 0);
	hogged(little, true);
	CHECK_EQ(nr_came_late, 0);
	CHECK_EQ(interest_then, EV_READ);
	struct admission_options o = little;

	o.share_percent = 0;
	hogged(o, false);
	CHECK_EQ(nr_came_late, 0);
	CHECK_EQ(interest_then, EV_READ);
}

static void leaves(struct slice first, bool by_reset)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	begin(little);
	speak(first);
	CHECK(run_until(&b.nr_waits, 1));
	run_for(5);
	CHECK_EQ(b.nr_closed, 0);
	if (by_reset)
		(void)setsockopt(raw, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(raw);
	raw = -1;
	while (b.nr_closed == 0 && handshakes_waiting(door) > 0)
		run_for(1);
	CHECK_EQ(b.nr_went, 0); /* noticed while it waited */
	CHECK_EQ(b.nr_closed, 1);
	CHECK_EQ(b.why, CONN_END_RESET);
	end();
}

static void test_peer_leaves(void)
{
	leaves(PART_OF_HELLO, false);
	leaves(PART_OF_HELLO, true);
	leaves(NO_HELLO, false);
	leaves(NO_HELLO, true);
}

/* What was said is looked at until it tells all that it can, and no more. */
static void test_looked_through(void)
{
	begin(little);
	speak(PART_OF_HELLO);
	CHECK(run_until(&b.nr_waits, 1));
	CHECK(!b.conn->looked_through && (b.conn->interest & EV_READ));
	CHECK(b.conn->charged_us > 0);
	CHECK_EQ(send(raw, (char[600]){2}, 600, 0), 600);
	while (b.conn != NULL && b.conn->wait != NULL && !b.conn->looked_through)
		run_for(1);
	CHECK(b.conn != NULL && b.conn->looked_through && !(b.conn->interest & EV_READ));
	end();
}

static void test_we_leave(void)
{
	begin(little);
	speak(PART_OF_HELLO);
	CHECK(run_until(&b.nr_waits, 1));
	conn_close(b.conn, 0);
	CHECK_EQ(handshakes_waiting(door), 0);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	end();
}

static void test_patience(void)
{
	struct admission_options o = little;

	o.patience_ms = 1;
	begin(o);
	speak(PART_OF_HELLO);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.nr_waits, 1);
	CHECK_EQ(b.why, CONN_END_CROWDED);
	end();
}

static void test_full(void)
{
	struct admission_options o = little;

	o.waiting_max = 0;
	begin(o);
	speak(PART_OF_HELLO);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.nr_waits, 0);
	CHECK_EQ(b.why, CONN_END_CROWDED);
	end();
}

int main(void)
{
	RUN(test_quiet);
	RUN(test_waits_and_goes);
	RUN(test_charged);
	RUN(test_learned);
	RUN(test_failed_keys_teach_nothing);
	RUN(test_charged_from_the_door);
	RUN(test_charged_within_bounds);
	RUN(test_trickle);
	RUN(test_behind_who_is_in);
	RUN(test_peer_leaves);
	RUN(test_looked_through);
	RUN(test_we_leave);
	RUN(test_patience);
	RUN(test_full);
	return check_done("net_handshakes");
}
