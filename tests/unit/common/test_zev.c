#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <zmq.h>

#include "check.h"
#include "common/zev.h"

/* Two sockets in one loop, over inproc and TCP, with budgets small enough to lose messages if the edge were trusted. */

static struct loop *loop;
static void *context, *left, *right;
static struct zev *zleft, *zright;
static struct loop_timer patience;
static int budget, nr_got, nr_want, nr_sent, nr_writable, nr_needless;
static int reads_in_a_row, reads_max;

enum { ENDLESS = 100000 };

static void on_enough(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static void on_patience(void *arg)
{
	(void)arg;
	fprintf(stderr, "stuck: %d of %d arrived, %d sent\n", nr_got, nr_want, nr_sent);
	loop_stop(loop);
}

static void set_up(const char *endpoint)
{
	char bound[256];
	size_t size = sizeof bound;
	int linger = 0;

	loop = loop_new();
	context = zmq_ctx_new();
	left = zmq_socket(context, ZMQ_DEALER);
	right = zmq_socket(context, ZMQ_DEALER);
	zmq_setsockopt(left, ZMQ_LINGER, &linger, sizeof linger);
	zmq_setsockopt(right, ZMQ_LINGER, &linger, sizeof linger);
	CHECK_EQ(zmq_bind(left, endpoint), 0);
	CHECK_EQ(zmq_getsockopt(left, ZMQ_LAST_ENDPOINT, bound, &size), 0);
	CHECK_EQ(zmq_connect(right, bound), 0);
	nr_got = nr_want = nr_sent = nr_writable = nr_needless = reads_max = 0;
	budget = 7;
	loop_timer_init(loop, &patience, on_patience, NULL);
	loop_timer_set(&patience, 20000);
}

static void tear_down(void)
{
	zev_free(zleft);
	zev_free(zright);
	zleft = zright = NULL;
	loop_timer_cancel(&patience);
	loop_free(loop);
	zmq_close(left);
	zmq_close(right);
	zmq_ctx_term(context);
}

/* Receives up to the budget; each message is a number, in order. */
static bool on_readable(void *arg, void *zsock)
{
	(void)arg;
	for (int i = 0; i < budget; i++) {
		int number;

		if (zmq_recv(zsock, &number, sizeof number, ZMQ_DONTWAIT) < 0)
			return false;
		CHECK_EQ(number, nr_got);
		nr_got++;
		if (nr_got == nr_want)
			loop_stop(loop);
	}
	return true;
}

static const struct zev_ops reader = {.readable = on_readable};

static void *sender(void *arg)
{
	(void)arg;
	for (int i = 0; i < nr_want; i++)
		zmq_send(right, &i, sizeof i, 0);
	return NULL;
}

/* Another thread floods: no event is lost although every reading stops early. */
static void test_budget_loses_nothing(void)
{
	pthread_t t;

	set_up("tcp://127.0.0.1:*");
	nr_want = 50000;
	zleft = zev_new(loop, left, &reader, NULL);
	CHECK(zleft != NULL);
	CHECK_EQ(pthread_create(&t, NULL, sender, NULL), 0);
	loop_run(loop);
	pthread_join(t, NULL);
	CHECK_EQ(nr_got, nr_want);
	tear_down();
}

/* What arrived before there was a zev does not wait for the next edge. */
static void test_before_us(void)
{
	int events;
	size_t size = sizeof events;

	set_up("inproc://before");
	nr_want = 3;
	sender(NULL);
	CHECK_EQ(zmq_getsockopt(left, ZMQ_EVENTS, &events, &size), 0); /* takes the edge away */
	CHECK(events & ZMQ_POLLIN);
	zleft = zev_new(loop, left, &reader, NULL);
	loop_run(loop);
	CHECK_EQ(nr_got, 3);
	tear_down();
}

static bool on_echo(void *arg, void *zsock)
{
	char text[8];
	int n = zmq_recv(zsock, text, sizeof text, ZMQ_DONTWAIT);

	(void)arg;
	if (n < 0)
		return false;
	zmq_send(zsock, text, (size_t)n, 0);
	zev_sent(zleft);
	return true;
}

static bool on_pong(void *arg, void *zsock)
{
	char text[8];

	(void)arg;
	while (zmq_recv(zsock, text, sizeof text, ZMQ_DONTWAIT) >= 0) {
		if (++nr_got >= nr_want) { /* the turn goes on to its end, so one more may come */
			loop_stop(loop);
			return false;
		}
		zmq_send(zsock, "ping", 4, 0);
		zev_sent(zright);
	}
	return false;
}

/* Sends and receives mixed on both sockets, many outstanding: a send that swallows an edge must not stall anybody. */
static void test_sends_take_edges(void)
{
	static const struct zev_ops echo = {.readable = on_echo}, pong = {.readable = on_pong};

	set_up("tcp://127.0.0.1:*");
	nr_want = 20000;
	zleft = zev_new(loop, left, &echo, NULL);
	zright = zev_new(loop, right, &pong, NULL);
	for (int i = 0; i < 16; i++)
		zmq_send(right, "ping", 4, 0);
	zev_sent(zright);
	loop_run(loop);
	CHECK(nr_got >= nr_want);
	tear_down();
}

static void on_answer_late(void *arg)
{
	const struct timespec a_while = {.tv_nsec = 20000000};
	int number = 0;

	(void)arg;
	zmq_send(right, &number, sizeof number, 0);
	nanosleep(&a_while, NULL); /* so that 0MQ takes its news in while sending */
	zmq_send(left, &number, sizeof number, 0);
	zev_sent(zleft);
}

/* The descriptor's news is taken in by a send, in a loop that has nothing else to wake it. */
static void test_send_takes_the_edge(void)
{
	struct loop_timer later;

	set_up("inproc://edge");
	nr_want = 1;
	zleft = zev_new(loop, left, &reader, NULL);
	loop_timer_init(loop, &later, on_answer_late, NULL);
	loop_timer_set(&later, 5);
	loop_timer_set(&patience, 2000);
	loop_run(loop);
	CHECK_EQ(nr_got, 1);
	tear_down();
}

static void fill(void *arg, void *zsock)
{
	(void)arg;
	nr_writable++;
	nr_needless += nr_sent == nr_want;
	while (nr_sent < nr_want) {
		if (zmq_send(zsock, &nr_sent, sizeof nr_sent, ZMQ_DONTWAIT) < 0) {
			zev_want_write(zright);
			return;
		}
		nr_sent++;
	}
}

/* A full socket calls back when it takes sends again, though nobody reads from it. */
static void test_want_write(void)
{
	static const struct zev_ops writer = {.readable = on_readable, .writable = fill};
	int mark = 10;

	set_up("inproc://warm-up");
	zmq_close(left);
	zmq_close(right);
	left = zmq_socket(context, ZMQ_DEALER);
	right = zmq_socket(context, ZMQ_DEALER);
	zmq_setsockopt(left, ZMQ_RCVHWM, &mark, sizeof mark);
	zmq_setsockopt(right, ZMQ_SNDHWM, &mark, sizeof mark);
	CHECK_EQ(zmq_bind(left, "inproc://full"), 0);
	CHECK_EQ(zmq_connect(right, "inproc://full"), 0);
	nr_want = 5000;
	zleft = zev_new(loop, left, &reader, NULL);
	zright = zev_new(loop, right, &writer, NULL);
	fill(NULL, right);
	CHECK(nr_sent < 100); /* it did fill up */
	loop_run(loop);
	CHECK_EQ(nr_got, nr_want);
	CHECK(nr_writable > 10);
	CHECK_EQ(nr_needless, 0);
	tear_down();
}

/* To the peer that takes nothing, one more than it has room for. */
static void fill_router(void *arg, void *zsock)
{
	(void)arg;
	nr_writable++;
	while (nr_sent < nr_want) {
		if (zmq_send(zsock, "full", 4, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
			CHECK_EQ(zmq_errno(), EAGAIN);
			if (nr_writable < ENDLESS)
				zev_want_write(zleft);
			return;
		}
		zmq_send(zsock, &nr_sent, sizeof nr_sent, ZMQ_DONTWAIT);
		zev_sent(zleft);
		nr_sent++;
	}
}

static void *dealer(const char *id)
{
	void *z = zmq_socket(context, ZMQ_DEALER);
	int mark = 5, linger = 0;

	zmq_setsockopt(z, ZMQ_ROUTING_ID, id, strlen(id));
	zmq_setsockopt(z, ZMQ_RCVHWM, &mark, sizeof mark);
	zmq_setsockopt(z, ZMQ_LINGER, &linger, sizeof linger);
	CHECK_EQ(zmq_connect(z, "inproc://router"), 0);
	return z;
}

/* Another peer of a ROUTER always has room, so it always says ZMQ_POLLOUT: turns end all the same, nothing waits busily, and once the full
 * one reads all that was meant for it arrives. */
static void test_full_peer_of_a_router(void)
{
	static const struct zev_ops router = {.readable = on_readable, .writable = fill_router};
	struct loop_timer enough;
	int mark = 5, yes = 1, number = -1;
	void *other;

	set_up("inproc://replaced");
	zmq_close(left);
	zmq_close(right);
	left = zmq_socket(context, ZMQ_ROUTER);
	zmq_setsockopt(left, ZMQ_SNDHWM, &mark, sizeof mark);
	zmq_setsockopt(left, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes);
	CHECK_EQ(zmq_bind(left, "inproc://router"), 0);
	right = dealer("full");
	other = dealer("other");
	nr_want = 1000;
	zleft = zev_new(loop, left, &router, NULL);
	loop_turn(loop); /* it learns of its peers */
	fill_router(NULL, left);
	CHECK(nr_sent > 0 && nr_sent < 100);
	loop_timer_init(loop, &enough, on_enough, NULL);
	loop_timer_set(&enough, 50);
	loop_run(loop);
	CHECK(nr_writable > 1 && nr_writable < 500);
	CHECK_EQ(zmq_send(left, "other", 5, ZMQ_SNDMORE | ZMQ_DONTWAIT), 5);
	CHECK_EQ(zmq_send(left, &nr_want, sizeof nr_want, ZMQ_DONTWAIT), sizeof nr_want);
	zev_sent(zleft);
	CHECK_EQ(zmq_recv(other, &number, sizeof number, 0), sizeof number);
	CHECK_EQ(number, nr_want);
	zright = zev_new(loop, right, &reader, NULL);
	loop_run(loop);
	CHECK_EQ(nr_got, nr_want);
	zmq_close(other);
	tear_down();
}

/* What is read makes the peer answer at once. */
static bool on_endless(void *arg, void *zsock)
{
	int number;

	(void)arg;
	if (zmq_recv(zsock, &number, sizeof number, ZMQ_DONTWAIT) < 0)
		return false;
	if (++nr_got < ENDLESS)
		zmq_send(right, &number, sizeof number, 0);
	zev_sent(zleft);
	return false;
}

/* A socket that has news each time it was touched does not keep the loop in one turn. */
static void test_turns_end(void)
{
	static const struct zev_ops endless = {.readable = on_endless};
	struct loop_timer enough;

	set_up("inproc://endless");
	nr_want = 1;
	sender(NULL);
	zleft = zev_new(loop, left, &endless, NULL);
	loop_timer_init(loop, &enough, on_enough, NULL);
	loop_timer_set(&enough, 20);
	loop_run(loop);
	CHECK(nr_got > 2 && nr_got < ENDLESS);
	tear_down();
}

static bool on_free_self(void *arg, void *zsock)
{
	(void)arg;
	(void)zsock;
	nr_got++;
	zev_sent(zleft);
	zev_free(zleft);
	zev_free(zleft); /* idempotent until reaped */
	zleft = NULL;
	return true; /* "more": there is nobody left to come back to */
}

static void test_free_inside(void)
{
	static const struct zev_ops ops = {.readable = on_free_self};
	struct loop_timer enough;

	set_up("inproc://free");
	nr_want = 2;
	sender(NULL);
	zleft = zev_new(loop, left, &ops, NULL);
	loop_timer_init(loop, &enough, on_enough, NULL);
	loop_timer_set(&enough, 20);
	loop_run(loop);
	CHECK_EQ(nr_got, 1);
	tear_down();
}

static void test_not_a_socket(void)
{
	loop = loop_new();
	context = zmq_ctx_new(); /* 0MQ tells a context from a socket by its tag */
	CHECK(zev_new(loop, context, &reader, NULL) == NULL);
	zmq_ctx_term(context);
	loop_free(loop);
}

static bool on_flooded(void *arg, void *zsock)
{
	char text[8];

	(void)arg;
	reads_in_a_row++;
	reads_max = reads_in_a_row > reads_max ? reads_in_a_row : reads_max;
	if (zmq_recv(zsock, text, sizeof text, ZMQ_DONTWAIT) < 0)
		return false;
	nr_got++;
	return true;
}

static void on_tick(void *arg)
{
	reads_in_a_row = 0;
	if (nr_got >= nr_want)
		loop_stop(loop);
	else
		loop_task_queue_next(loop, arg);
}

/* A socket that always has more gets one reading for each turn, so that others get theirs. */
static void test_once_a_turn(void)
{
	static const struct zev_ops ops = {.readable = on_flooded};
	struct loop_task tick;

	set_up("inproc://flood");
	nr_want = 500;
	sender(NULL);
	zleft = zev_new(loop, left, &ops, NULL);
	loop_task_init(&tick, on_tick, &tick);
	loop_task_queue(loop, &tick);
	loop_run(loop);
	CHECK_EQ(nr_got, nr_want);
	CHECK(reads_max <= 2); /* once by the descriptor or the task, once more if a new edge came */
	loop_task_cancel(loop, &tick);
	tear_down();
}

int main(void)
{
	RUN(test_budget_loses_nothing);
	RUN(test_before_us);
	RUN(test_sends_take_edges);
	RUN(test_send_takes_the_edge);
	RUN(test_want_write);
	RUN(test_full_peer_of_a_router);
	RUN(test_turns_end);
	RUN(test_free_inside);
	RUN(test_not_a_socket);
	RUN(test_once_a_turn);
	return check_done("unit.common.zev");
}
