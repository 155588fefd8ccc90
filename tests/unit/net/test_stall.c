/* A peer that takes nothing: told once, after its time, and only while something waits for it. */
#include <sys/socket.h>
#include <unistd.h>

#include "../check.h"
#include "net/conn_int.h"
#include "pair.h"

#define STALL_MS 200

static char chunk[65536];

static void send_much(struct conn *c, size_t n)
{
	for (size_t at = 0; at < n; at += sizeof chunk)
		conn_send(c, (struct slice){chunk, sizeof chunk});
}

static void begin(void)
{
	pair_begin();
	limits.stall_ms = STALL_MS;
}

static void test_output_waits(void)
{
	begin();
	pair_raw();
	uint64_t start = loop_now_ms(loop);
	send_much(b.conn, 12u << 20);
	CHECK(run_until(&b.nr_stalled, 1));
	CHECK(loop_now_ms(loop) - start >= STALL_MS);
	run_for(2 * STALL_MS);
	CHECK_EQ(b.nr_stalled, 1); /* whoever hears of it closes */
	CHECK_EQ(b.nr_closed, 0);
	pair_end();
}

/* Its kernel has room for it, its owner never asks for it: there is nothing that waits here. */
static void test_little(void)
{
	begin();
	pair_raw();
	conn_send(b.conn, SLICE("hello"));
	conn_watch_acks(b.conn);
	CHECK(run_until_acked(&b, 5));
	run_for(2 * STALL_MS);
	CHECK_EQ(b.nr_stalled, 0);
	CHECK(b.conn->timer == NULL); /* idle connections hold nothing */
	pair_end();
}

/* A slow reader is no dead one, however long it takes. */
static void test_slow(void)
{
	static char in[1u << 20];

	begin();
	pair_raw();
	send_much(b.conn, 12u << 20);
	for (int i = 0; i < 12; i++) {
		for (size_t n = 0; n < sizeof in;) {
			ssize_t got = recv(raw, in, sizeof in - n, MSG_DONTWAIT);

			n += got > 0 ? (size_t)got : 0;
			run_for(got > 0 ? 0 : 1);
		}
		run_for(STALL_MS / 2);
	}
	CHECK_EQ(b.nr_stalled, 0);
	CHECK_EQ(conn_queued(b.conn), 0);
	run_for(2 * STALL_MS);
	CHECK_EQ(b.nr_stalled, 0); /* the timer finds nothing blocked */
	pair_end();
}

/* All of it went to our kernel, which cannot be rid of it: the acknowledgements tell. */
static void test_kernel_holds(void)
{
	int small = 131072;

	begin();
	pair_raw();
	setsockopt(raw, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	while (!b.conn->write_blocked) {
		send_much(b.conn, sizeof chunk);
		loop_turn(loop);
	}
	uint64_t sent = b.conn->sent;
	conn_abort(b.conn); /* now known: so much is too much; begin anew with a little less */
	CHECK(run_until(&b.nr_closed, 1));
	close(raw);
	pair_end();
	begin();
	pair_raw();
	setsockopt(raw, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	send_much(b.conn, sent - 2 * sizeof chunk);
	conn_watch_acks(b.conn);
	CHECK(run_until(&b.nr_stalled, 1));
	CHECK_EQ(conn_queued(b.conn), 0);
	CHECK(b.acked < b.conn->sent);
	pair_end();
}

/* Closing: what is not taken in time is thrown away, in the kernel too, and the peer sees a reset. */
static void test_close_resets(void)
{
	static char in[1u << 20];
	ssize_t got;

	begin();
	pair_raw();
	send_much(b.conn, 12u << 20);
	CHECK(run_until(&b.nr_stalled, 1));
	conn_close(b.conn, 100);
	for (int i = 0; i < 3 && b.nr_closed == 0; i++)
		(void)run_until(&b.nr_closed, 1);
	CHECK_EQ(b.nr_closed, 1);
	do
		got = recv(raw, in, sizeof in, 0);
	while (got > 0);
	CHECK(got < 0);
	pair_end();
}

/* When all together hold too much, who takes nothing goes first, and who takes what it gets is not touched. */
static void test_all_together(void)
{
	begin();
	limits.all_max = 13u << 20;
	pair_open();
	struct net_shared *shared = net_shared_get(loop);
	conn_pause(a.conn, true);
	send_much(b.conn, 12u << 20); /* a reads nothing of it */
	while (!b.conn->write_blocked)
		loop_turn(loop);
	CHECK_EQ(b.nr_closed, 0);
	send_much(a.conn, 8u << 20); /* b reads all of that */
	CHECK(run_until_in(&b, 8u << 20));
	CHECK_EQ(a.nr_closed, 0);
	send_much(b.conn, 4u << 20);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_OVERFLOW);
	CHECK_EQ(*net_shared_queued(shared), 0);
	net_shared_put(shared);
	pair_end();
}

int main(void)
{
	RUN(test_output_waits);
	RUN(test_little);
	RUN(test_slow);
	RUN(test_kernel_holds);
	RUN(test_close_resets);
	RUN(test_all_together);
	return check_done("net_stall");
}
