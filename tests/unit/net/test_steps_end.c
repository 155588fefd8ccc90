/* What ends, or is said, while a step of a handshake is on a thread of its own. */
#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "steps.h"

static int unacked = -1;                /* what the kernel tells, unless negative */

int __real_ioctl(int fd, unsigned long what, int *n);
int __wrap_ioctl(int fd, unsigned long what, ...);

int __wrap_ioctl(int fd, unsigned long what, ...)
{
	va_list args;
	int *n, res;

	va_start(args, what);
	n = va_arg(args, int *);
	va_end(args);
	res = __real_ioctl(fd, what, n);
	if (what == SIOCOUTQ && unacked >= 0)
		*n = unacked;
	return res;
}

/* --- meanwhile ------------------------------------------------------------------ */

static void step_begins(bool inside)
{
	holds = inside;
	if (!inside)
		block();
	call(pair_ssl(false));
	run_until_away(inside);
	CHECK_EQ(b.conn->interest, 0);
}

static void test_output_waits(void)
{
	start(open_door, 10);
	step_begins(true);
	conn_send(b.conn, SLICE("welcome"));
	conn_watch_acks(b.conn);
	conn_pause(b.conn, true);
	conn_pause(b.conn, false);
	run_for(5);
	conn_look_acks(b.conn);
	CHECK_EQ(conn_queued(b.conn), 7);
	let_go();
	CHECK(run_until_in(&a, 7));
	CHECK(run_until_acked(&b, 7));
	end();
}

/* What the step writes is no acknowledgement of what was written before it. */
static void test_acks(void)
{
	start(open_door, 10);
	unacked = 10;
	pair_open();
	conn_send(b.conn, SLICE("<proceed/>"));
	conn_watch_acks(b.conn);
	conn_start_tls(b.conn, server());
	CHECK(run_until_in(&a, 10));
	holds = true;
	conn_start_tls(a.conn, pair_ssl(false));
	run_until_away(true);
	CHECK_EQ(b.nr_acked, 0);
	unacked = 1000;
	conn_look_acks(b.conn);
	CHECK_EQ(b.nr_acked, 0);
	unacked = -1;
	let_go();
	CHECK(run_until_acked(&b, 10));
	speak_both_ways();
	end();
}

static void test_overflow(void)
{
	static const char some[4096];

	start(open_door, 10);
	limits.out_max = 1 << 20;
	step_begins(true);
	for (size_t i = 0; i <= limits.out_max / sizeof some; i++)
		conn_send(b.conn, (struct slice){some, sizeof some});
	CHECK_EQ(b.nr_closed, 0); /* never inside the call */
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_OVERFLOW);
	CHECK(run_until(&a.nr_closed, 1));
	sem_post(&gate);
	end();
}

/* Who closes or cuts does not wait for the step, nor does its peer. What the step took is charged all the same, and none is taken that has
 * not begun. */
static void ends(bool inside, bool cut, unsigned linger_ms)
{
	uint64_t taken_us;

	start(open_door, 10);
	burn_us = 10000;
	step_begins(inside);
	if (cut)
		conn_abort(b.conn);
	else
		conn_close(b.conn, linger_ms);
	CHECK_EQ(b.nr_closed, 0);
	CHECK(run_until(&b.nr_closed, 1) && run_until(&a.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	CHECK_EQ(a.nr_tls, 0);
	CHECK_EQ(door->login.nr_on_the_way, 0);
	door->login.ahead_us = 1000000;
	taken_us = door->taken_us;
	CHECK_EQ(jobs_submit(steps, loop, &other), 0); /* behind it */
	let_go();
	CHECK(run_until(&nr_other_done, 1));
	CHECK_EQ(nr_elsewhere, inside);
	CHECK_EQ(nr_beside(), inside);
	CHECK_EQ(door->login.ahead_us <= 990000, inside);
	CHECK(door->taken_us > taken_us); /* what it held was freed here */
	end();
}

static void test_ends(void)
{
	for (int inside = 0; inside < 2; inside++) {
		ends(inside, true, 0);
		ends(inside, false, 0);
		ends(inside, false, 2000);
	}
}

/* A whole ClientHello from somebody who does nothing else. */
static void say_hello(void)
{
	SSL *theirs = pair_ssl(false);
	char *hello;
	long n;

	SSL_set_bio(theirs, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	CHECK(SSL_connect(theirs) < 0);
	n = BIO_get_mem_data(SSL_get_wbio(theirs), &hello);
	CHECK_EQ(send(raw, hello, (size_t)n, 0), n);
	SSL_free(theirs);
}

static bool all_is_dropped(void)
{
	int unread = 1;

	return b.conn == NULL || (__real_ioctl(b.conn->ch.fd, FIONREAD, &unread) == 0 && unread == 0 && b.conn->again.prev_ == NULL);
}

/* The step, whose answer nobody sends any more, comes back to one that is being closed and waits for its peer. */
static void test_back_while_closing(void)
{
	start(open_door, 10);
	pair_raw();
	holds = true;
	conn_start_tls(b.conn, server());
	say_hello();
	run_until_away(true);
	conn_close(b.conn, 60000);
	run_for(1);
	CHECK_EQ(b.conn->state, CONN_LINGERING);
	CHECK_EQ(jobs_submit(steps, loop, &other), 0);
	let_go();
	CHECK(run_until(&nr_other_done, 1));
	CHECK_EQ(send(raw, "more", 4, 0), 4); /* which is only dropped */
	run_until_so(all_is_dropped);
	CHECK_EQ(b.nr_closed, 0);
	CHECK_EQ(b.conn->state, CONN_LINGERING);
	close(raw);
	raw = -1;
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	end();
}

/* --- back, and not looked at yet --------------------------------------------------- */

static void on_post(struct job *j)
{
	(void)j;
	sem_post(&entered);
}

static void on_close(struct job *j)
{
	(void)j;
	CHECK(b.conn->away); /* its turn is behind all else */
	conn_close(b.conn, 0);
}

static void on_abort(struct job *j)
{
	(void)j;
	CHECK(b.conn->away);
	conn_abort(b.conn);
}

static void on_look(struct job *j)
{
	(void)j;
	CHECK(b.conn->away);
}

static void wait_for_both(void *arg)
{
	(void)arg;
	sem_post(&gate);
	sem_wait(&entered);
}

/* While the step and another job are over, and both are told to the loop at the same time. */
static void back_together(void (*done)(struct job *j))
{
	static struct job next, last = {.run = on_post, .done = on_other};

	start(open_door, 10);
	step_begins(true);
	next = (struct job){.run = on_other, .done = done};
	CHECK_EQ(jobs_submit(steps, loop, &next), 0);
	CHECK_EQ(jobs_submit(steps, loop, &last), 0);
	loop_task_init(&release, wait_for_both, NULL);
	loop_task_queue(loop, &release);
}

static void test_back(void)
{
	back_together(on_look);
	speak_both_ways();
	end();
	back_together(on_close);
	CHECK(run_until(&b.nr_closed, 1) && run_until(&a.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	end();
	back_together(on_abort);
	CHECK(run_until(&b.nr_closed, 1) && run_until(&a.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	end();
}

/* --- the others ------------------------------------------------------------------------ */

/* That the peer has gone shows when the step is back. */
static void test_peer_leaves(void)
{
	start(open_door, 10);
	step_begins(true);
	conn_abort(a.conn);
	CHECK(run_until(&a.nr_closed, 1));
	run_for(5);
	CHECK_EQ(b.nr_closed, 0);
	let_go();
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	CHECK_STR(b.text, "the peer left during the TLS handshake");
	end();
}

/* The loop has stopped: the step is dropped, and then the connection cut, or the other way round; or it never began. */
static void test_loop_stops(void)
{
	for (int inside = 0; inside < 2; inside++) {
		for (int cut_first = 0; cut_first < 2; cut_first++) {
			start(open_door, 10);
			step_begins(inside);
			if (cut_first)
				conn_abort(b.conn);
			sem_post(&gate);
			jobs_free(steps); /* as a gateway does before it takes its workers apart */
			steps = NULL;
			CHECK(cut_first || b.conn->away);
			end();
			CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
		}
	}
}

int main(void)
{
	RUN(test_output_waits);
	RUN(test_acks);
	RUN(test_overflow);
	RUN(test_ends);
	RUN(test_back_while_closing);
	RUN(test_back);
	RUN(test_peer_leaves);
	RUN(test_loop_stops);
	return check_done("net_steps_end");
}
