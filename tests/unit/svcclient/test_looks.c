/*
 * What a turn of the service library costs. Every look at a 0MQ socket is system calls, whether it holds anything or not, so a turn looks
 * only at sockets that have news or that it sent to. The linker passes the library's calls of 0MQ through here (--wrap), where they are
 * counted. A turn in which something else was due as well looks at more: what must hold is seen in one of many tries.
 */
#include "check.h"
#include "svcclient/fake_gateway.h"

#include <poll.h>
#include <unistd.h>
#include <zmq.h>

#define TRIES 200
#define SOCKETS 16

/* In the turn that is counted, which is this thread's: the registry's has sockets of its own. */
static _Thread_local bool counting;
static _Thread_local void *sockets[SOCKETS];
static _Thread_local unsigned nr_sockets, nr_received, nr_looks;

int __real_zmq_recv(void *socket, void *to, size_t n, int flags);
int __real_zmq_getsockopt(void *socket, int option, void *value, size_t *n);
int __wrap_zmq_recv(void *socket, void *to, size_t n, int flags);
int __wrap_zmq_getsockopt(void *socket, int option, void *value, size_t *n);

static void note(void *socket, unsigned *what)
{
	unsigned i = 0;

	if (!counting)
		return;
	++*what;
	while (i < nr_sockets && sockets[i] != socket)
		i++;
	if (i == nr_sockets && i < SOCKETS)
		sockets[nr_sockets++] = socket;
}

int __wrap_zmq_recv(void *socket, void *to, size_t n, int flags)
{
	note(socket, &nr_received);
	return __real_zmq_recv(socket, to, n, flags);
}

int __wrap_zmq_getsockopt(void *socket, int option, void *value, size_t *n)
{
	if (option == ZMQ_EVENTS)
		note(socket, &nr_looks);
	return __real_zmq_getsockopt(socket, option, value, n);
}

/* ---- two gateways, and a session at the first ---- */

static struct cluster c;
static struct fake_gateway g[2];
static struct service s;

static void turn_gateways(void *arg)
{
	(void)arg;
	fake_gateway_turn(&g[0]);
	fake_gateway_turn(&g[1]);
}

static const struct turn all = { .fn = turn_gateways, .services = { &s } };

static bool linked(void *arg)
{
	(void)arg;
	return s.nr_gateways == 2 && fake_gateway_nr_up(&g[0]) > 0 && fake_gateway_nr_up(&g[1]) > 0;
}

static void start(void)
{
	cluster_start(&c);
	fake_gateway_start(&g[0], &c, "tcp://127.0.0.1:*");
	fake_gateway_start(&g[1], &c, "tcp://127.0.0.1:*");
	CHECK_EQ(service_start(&s, &c, NULL), 0);
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, linked, NULL, 10000));
	CHECK(fake_gateway_open_client(&g[0], "me@a.example", "here") != NULL);
	CHECK(turn_until_reached(&all, &g[0].accepted, 1, 10000));
}

static void stop(void)
{
	service_stop(&s);
	fake_gateway_stop(&g[0]);
	fake_gateway_stop(&g[1]);
	cluster_stop(&c);
}

static bool is_readable(void)
{
	struct pollfd p = { .fd = svcproto_fd(s.sp), .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static void counted_turn(void)
{
	nr_sockets = nr_received = nr_looks = 0;
	counting = true;
	CHECK_EQ(svcproto_dispatch(s.sp), 0);
	counting = false;
}

/* The turn in which the next stanza of the first gateway comes. */
static void turn_with_stanza(void)
{
	unsigned before = s.stanzas;

	CHECK_EQ(svc_stream_send(g[0].stream, "<message/>", 10, 0, NULL), 0);
	for (int i = 0; i < 10000 && s.stanzas == before; i++) {
		turn_gateways(NULL);
		if (is_readable())
			counted_turn();
		else
			usleep(300);
	}
	CHECK_EQ(s.stanzas, before + 1);
}

static void test_only_sockets_with_news(void)
{
	bool seen = false;

	start();
	for (int i = 0; i < TRIES && !seen; i++) {
		turn_with_stanza();
		CHECK(nr_received > 0);
		seen = nr_sockets == 1 && nr_received == 2 && nr_looks == 0; /* the batch, and that there is no other */
		CHECK_EQ(svcproto_ack(s.sp, s.tickets[(s.stanzas - 1) % NOTES]), 0);
	}
	CHECK(seen);
	stop();
}

static void test_sent_to_is_looked_at_once(void)
{
	bool seen = false;

	start();
	for (int i = 0; i < TRIES && !seen; i++) {
		s.answer = "<message/>";
		turn_with_stanza();
		seen = nr_sockets == 1 && nr_received == 2 && nr_looks == 1;
		CHECK_EQ(svcproto_ack(s.sp, s.tickets[(s.stanzas - 1) % NOTES]), 0);
	}
	CHECK(seen);
	stop();
}

static void test_none_without_news(void)
{
	bool seen = false;

	start();
	for (int i = 0; i < TRIES && !seen; i++) {
		counted_turn();
		seen = nr_sockets == 0;
		turn_gateways(NULL);
	}
	CHECK(seen);
	stop();
}

int main(void)
{
	RUN(test_only_sockets_with_news);
	RUN(test_sent_to_is_looked_at_once);
	RUN(test_none_without_news);
	return check_done("svcproto client: only sockets with news");
}
