/* Connections at the door: they wait with what they said unread, come in when there is time, and leave when they like. */
#include <sys/socket.h>
#include <unistd.h>

#include "../check.h"
#include "net/conn_int.h"
#include "net/handshakes_int.h"
#include "pair.h"

static struct handshakes *door;

static void begin(struct admission_options o)
{
	pair_begin();
	door = handshakes_new(loop, &o);
	limits.handshakes = door;
}

static void end(void)
{
	if (raw >= 0)
		close(raw);
	raw = -1;
	if (a.conn)
		conn_abort(a.conn);
	if (b.conn)
		conn_abort(b.conn);
	loop_turn(loop);
	CHECK_EQ(handshakes_waiting(door), 0);
	handshakes_free(door);
	pair_end();
}

static void use_up(unsigned ms)
{
	admission_charge(&door->login, ms * 1000, handshakes_begin(door));
}

/* Little, so that a test comes to its point before the bucket is full again. */
static const struct admission_options little = {.share_percent = 4, .burst_us = 1000, .patience_ms = 5000, .waiting_max = 10};

/* Somebody says the first of a ClientHello when there is no time for it. */
static void speak(void)
{
	pair_raw();
	SSL *ssl = pair_ssl(true);
	use_up(100);
	conn_start_tls(b.conn, ssl);
	CHECK_EQ(send(raw, "\x16\x03\x01\x02\x00", 5, 0), 5);
}

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
	begin(little);
	pair_tls();
	uint32_t room = handshakes_room(door);
	CHECK(room > 0 && room < ADMISSION_ANY);
	CHECK(b.conn->newcomer);
	conn_settled(b.conn);
	CHECK(!b.conn->newcomer);
	CHECK(!a.conn->newcomer);
	end();
}

static void leaves(bool by_reset)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	begin(little);
	speak();
	CHECK(run_until(&b.nr_waits, 1));
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
	leaves(false);
	leaves(true);
}

static void test_we_leave(void)
{
	begin(little);
	speak();
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
	speak();
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
	speak();
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
	RUN(test_peer_leaves);
	RUN(test_we_leave);
	RUN(test_patience);
	RUN(test_full);
	return check_done("net_handshakes");
}
