/* What the peer's TCP has acknowledged, in plaintext's positions. */
#include <netinet/in.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../check.h"
#include "net/conn_int.h"
#include "pair.h"

static char chunk[65536];

static void set_small_receive_buffer(int fd)
{
	int n = 131072; /* below a loopback segment TCP crawls */

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, sizeof n);
}

static void test_small(void)
{
	pair_begin();
	pair_open();
	conn_send(a.conn, SLICE("0123456789"));
	conn_watch_acks(a.conn);
	CHECK_EQ(a.nr_acked, 0); /* never inside the call */
	conn_send(a.conn, SLICE("not watched"));
	CHECK(run_until_acked(&a, 10));
	run_for(20);
	CHECK(a.conn->watch == NULL); /* nothing outstanding, nothing kept */
	/* asked again without anything new: told at once */
	a.nr_acked = 0;
	conn_watch_acks(a.conn);
	CHECK(run_until(&a.nr_acked, 1));
	CHECK_EQ(a.acked, 21);
	CHECK(a.conn->watch == NULL);
	pair_end();
}

static void test_nothing_sent(void)
{
	pair_begin();
	pair_open();
	conn_watch_acks(a.conn);
	run_for(20);
	CHECK_EQ(a.nr_acked, 0);
	CHECK(a.conn->watch == NULL);
	pair_end();
}

enum { STALLED_BYTES = 3u << 20 };

static void pause_half_way(struct end *e, struct slice bytes)
{
	(void)bytes;
	if (buf_len(&e->in) < STALLED_BYTES / 2)
		return;
	e->on_data = NULL;
	conn_pause(e->conn, true);
}

/* The peer's kernel takes a little and its owner nothing: what is acknowledged is what the kernel took, never what merely left us. */
static void stalled(bool tls)
{
	size_t total = STALLED_BYTES, before;

	pair_begin();
	pair_open();
	set_small_receive_buffer(b.conn->ch.fd);
	if (tls) {
		conn_start_tls(b.conn, pair_ssl(true));
		conn_start_tls(a.conn, pair_ssl(false));
		CHECK(run_until(&a.nr_tls, 1) && run_until(&b.nr_tls, 1));
	}
	conn_pause(b.conn, true);
	for (size_t i = 0; i < total; i += sizeof chunk) {
		conn_send(a.conn, (struct slice){chunk, sizeof chunk});
		conn_watch_acks(a.conn);
	}
	run_for(300);
	before = a.acked;
	int arrived = 0, unacked = 0;
	ioctl(b.conn->ch.fd, FIONREAD, &arrived);
	ioctl(a.conn->ch.fd, TIOCOUTQ, &unacked);
	CHECK(unacked > 0);
	CHECK(before <= (size_t)arrived);
	CHECK(before < total);
	/* a dead peer is not asked all the time */
	struct rusage u, v;
	getrusage(RUSAGE_SELF, &u);
	run_for(500);
	getrusage(RUSAGE_SELF, &v);
	CHECK((v.ru_utime.tv_sec - u.ru_utime.tv_sec) * 1000 + (v.ru_utime.tv_usec - u.ru_utime.tv_usec) / 1000 < 250);
	CHECK_EQ(a.acked, before);
	unsigned nr = a.nr_acked;
	b.on_data = pause_half_way;
	conn_pause(b.conn, false);
	CHECK(run_until_in(&b, STALLED_BYTES / 2));
	CHECK(run_until(&a.nr_acked, nr + 1)); /* progress shows on the way */
	CHECK(a.acked > before && a.acked < total);
	conn_pause(b.conn, false);
	CHECK(run_until_acked(&a, total));
	CHECK_EQ(a.acked, total);
	CHECK(buf_len(&b.in) <= total);
	run_for(5);
	CHECK(a.conn->watch == NULL);
	pair_end();
}

static void test_stalled(void)
{
	stalled(false);
}

static void test_stalled_tls(void)
{
	stalled(true);
}

/* Never more than the peer's kernel was handed, looked at whenever the peer reads. */
static void never_ahead(struct end *e, struct slice bytes)
{
	int arrived = 0;

	(void)bytes;
	ioctl(e->conn->ch.fd, FIONREAD, &arrived);
	/* TLS only adds to the wire's bytes, so plaintext read + wire bytes unread (and one record inside OpenSSL) bound it from above */
	CHECK(e->other->acked <= buf_len(&e->in) + (size_t)arrived + 2 * 16384 + 8192);
}

static void flowing(bool tls)
{
	size_t total = 8u << 20, sent = 0;

	pair_begin();
	if (tls)
		pair_tls();
	else
		pair_open();
	b.on_data = never_ahead;
	while (sent < total) {
		while (!conn_full(a.conn) && sent < total) {
			conn_send(a.conn, (struct slice){chunk, 1000});
			conn_watch_acks(a.conn);
			sent += 1000;
		}
		run_for(1);
	}
	CHECK(run_until_acked(&a, sent));
	CHECK(a.nr_acked > 8); /* also while it never stops */
	CHECK_EQ(a.acked, sent);
	pair_end();
}

static void test_flowing(void)
{
	flowing(false);
}

static void test_flowing_tls(void)
{
	flowing(true);
}

/* Across the change to TLS: positions go on counting. */
static void start_a(struct end *e, struct slice bytes)
{
	(void)bytes;
	if (e->ssl)
		conn_start_tls(e->conn, e->ssl);
	e->ssl = NULL;
}

static void test_starttls(void)
{
	pair_begin();
	pair_open();
	a.on_data = start_a;
	a.ssl = pair_ssl(false);
	conn_send(b.conn, SLICE("<proceed/>"));
	conn_watch_acks(b.conn);
	conn_start_tls(b.conn, pair_ssl(true));
	conn_send(b.conn, SLICE("<features/>"));
	conn_watch_acks(b.conn);
	CHECK_EQ(conn_position(b.conn), 21);
	CHECK(run_until_acked(&b, 21));
	CHECK_EQ(b.acked, 21);
	pair_end();
}

static void test_reset(void)
{
	struct linger l = {.l_onoff = 1, .l_linger = 0};

	pair_begin();
	pair_raw();
	set_small_receive_buffer(raw);
	for (int i = 0; i < 64; i++)
		conn_send(b.conn, (struct slice){chunk, sizeof chunk});
	conn_watch_acks(b.conn);
	run_for(100);
	uint64_t before = b.acked;
	CHECK(before < 64 * sizeof chunk);
	setsockopt(raw, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(raw);
	raw = -1;
	CHECK(run_until(&b.nr_closed, 1));
	CHECK(b.acked < 64 * sizeof chunk); /* what a reset threw away is not acknowledged */
	pair_end();
}

/* Several on one loop, each at a pace of its own; one goes while the others wait. */
static void test_many(void)
{
	struct end many[40] = {{0}};

	pair_begin();
	pair_open();
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		int fds[2];

		/* a socket that is no TCP has no such count: asking it in vain must harm nobody */
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		buf_init(&many[i].in, 1u << 20);
		many[i].conn = conn_accept(loop, fds[0], &(struct sockaddr){.sa_family = AF_INET}, sizeof(struct sockaddr), &limits,
					   &pair_ops, &many[i]);
		conn_send(many[i].conn, SLICE("x"));
		conn_watch_acks(many[i].conn);
		close(fds[1]);
	}
	conn_send(a.conn, SLICE("y"));
	conn_watch_acks(a.conn);
	CHECK(run_until_acked(&a, 1));
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		if (many[i].conn)
			conn_abort(many[i].conn);
	}
	run_for(5);
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		CHECK_EQ(many[i].nr_closed, 1);
	pair_end();
}

static void *take_apart(void *arg)
{
	conn_abort(a.conn);
	conn_abort(b.conn);
	loop_turn(loop);
	return arg;
}

/* The thread that ran the loop has ended, and another one cuts what is left. */
static void test_another_thread(void)
{
	pthread_t thread;

	pair_begin();
	pair_open();
	conn_send(b.conn, SLICE("x"));
	conn_watch_acks(b.conn);
	CHECK_EQ(pthread_create(&thread, NULL, take_apart, NULL), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK(a.nr_closed == 1 && b.nr_closed == 1);
	pair_end();
}

int main(void)
{
	RUN(test_small);
	RUN(test_nothing_sent);
	RUN(test_stalled);
	RUN(test_stalled_tls);
	RUN(test_flowing);
	RUN(test_flowing_tls);
	RUN(test_starttls);
	RUN(test_reset);
	RUN(test_many);
	RUN(test_another_thread);
	return check_done("net_acks");
}
