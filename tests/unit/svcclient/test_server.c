/* Stanzas to and from other domains, over one and over two gateways. */
#include "check.h"
#include "svcclient/fake_gateway.h"
#include "svcproto/client.h"
#include "svcproto/engine.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

static struct cluster c;
static struct fake_gateway g[2];
static struct service s;

/* The clock of this thread, whose services and gateways these are. The registry's is its own. */
static _Thread_local time_t ahead_s;

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	int rc = __real_clock_gettime(clock, t);

	if (clock == CLOCK_MONOTONIC)
		t->tv_sec += ahead_s;
	return rc;
}

static void both(void *arg)
{
	(void)arg;
	fake_gateway_turn(&g[0]);
	fake_gateway_turn(&g[1]);
}

static const struct turn all = { .fn = both, .services = { &s } };

static bool linked_to(void *nr)
{
	return s.nr_gateways == *(unsigned *)nr;
}

/* A gateway whose goodbye came too late for its registry is given up when its lease is over, and another five seconds: no failure. */
static bool wait_for(const unsigned *counter, unsigned value)
{
	return turn_until_reached(&all, counter, value, 45000);
}

static void start(unsigned nr)
{
	memset(g, 0, sizeof(g));
	cluster_start(&c);
	for (unsigned i = 0; i < nr; i++)
		fake_gateway_start(&g[i], &c, "tcp://127.0.0.1:*");
	CHECK_EQ(service_start(&s, &c, NULL), 0);
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT | SVCPROTO_SERVER), 0);
	CHECK(turn_until(&all, linked_to, &nr, 15000));
}

static void stop(void)
{
	service_stop(&s);
	fake_gateway_stop(&g[0]);
	fake_gateway_stop(&g[1]);
	cluster_stop(&c);
}

static int send_out(const char *to, const char *xml, uint64_t cookie)
{
	return svcproto_send_server(s.sp, "a.example", to, xml, strlen(xml), cookie);
}

static void test_out(void)
{
	start(1);
	CHECK_EQ(svcproto_send_server(s.sp, "b.example", "far.example", "<a/>", 4, 1), SVCPROTO_E_DENIED);
	CHECK_EQ(send_out("not a domain", "<a/>", 1), SVCPROTO_E_INVALID);
	for (unsigned i = 1; i <= 20; i++) {
		char xml[64];

		snprintf(xml, sizeof(xml), "<message id='%u'/>", i);
		CHECK_EQ(send_out("far.example", xml, i), 0);
	}
	CHECK(wait_for(&s.nr_delivered, 20));
	CHECK_EQ(g[0].outs, 1); /* one stream for all */
	CHECK_STR(g[0].out_from, "a.example");
	CHECK_STR(g[0].out_to, "far.example");
	for (unsigned i = 1; i <= 20; i++) {
		char xml[64];

		snprintf(xml, sizeof(xml), "<message id='%u'/>", i);
		CHECK_STR(g[0].xml[i - 1], xml);
		CHECK_EQ(s.delivered[i - 1], i);
	}
	CHECK_EQ(send_out("else.example", "<message/>", 21), 0);
	CHECK(wait_for(&s.nr_delivered, 21));
	CHECK_EQ(g[0].outs, 2);
	CHECK_EQ(s.nr_undeliverable, 0);
	stop();
}

static void test_refused(void)
{
	start(1);
	g[0].refuse_out = "remote-server-not-found";
	CHECK_EQ(send_out("no.example", "<message/>", 8), 0);
	CHECK_EQ(send_out("no.example", "<message/>", 0), 0);
	CHECK_EQ(send_out("no.example", "<message/>", 9), 0);
	CHECK(wait_for(&s.nr_undeliverable, 2));
	CHECK_EQ(s.undeliverable[0], 8);
	CHECK_EQ(s.undeliverable[1], 9);
	CHECK_STR(s.conditions[0], "remote-server-not-found");
	CHECK_STR(s.types[0], "cancel");
	CHECK_EQ(s.nr_delivered, 0);
	g[0].refuse_out = "remote-server-timeout"; /* its own type would be another */
	CHECK_EQ(send_out("no.example", "<message/>", 11), 0);
	CHECK(wait_for(&s.nr_undeliverable, 3));
	CHECK_STR(s.conditions[2], "remote-server-timeout");
	CHECK_STR(s.types[2], "cancel");
	g[0].refuse_out = NULL; /* it is there now */
	CHECK_EQ(send_out("no.example", "<message/>", 10), 0);
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK_EQ(s.delivered[0], 10);
	stop();
}

/* The other server takes less than the gateway. What is larger comes back by itself, the one for which the stream was opened too, and what
 * waits behind it goes on; that holds after a broken link as well. */
static void test_narrow(void)
{
	char large[102];

	memset(large, 'x', sizeof(large));
	memcpy(large, "<message>", 9);
	large[101] = '\0';
	start(1);
	g[0].out_bytes_max = 100;
	CHECK_EQ(send_out("far.example", large, 1), 0);
	large[100] = '\0'; /* just as much as may be */
	CHECK_EQ(send_out("far.example", large, 2), 0);
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK_EQ(s.delivered[0], 2);
	CHECK_EQ(s.nr_undeliverable, 1);
	CHECK_EQ(s.undeliverable[0], 1);
	CHECK_STR(s.conditions[0], "policy-violation");
	svc_link_break(fake_gateway_peer(&g[0])->engine, "cut", test_now_ms());
	CHECK_EQ(send_out("far.example", "<message/>", 3), 0);
	CHECK(wait_for(&s.nr_delivered, 2));
	large[100] = 'x';
	CHECK_EQ(send_out("far.example", large, 4), 0);
	CHECK(wait_for(&s.nr_undeliverable, 2));
	CHECK_EQ(g[0].outs, 1);
	g[0].out_bytes_max = 0;
	CHECK_EQ(send_out("wide.example", large, 5), 0);
	CHECK(wait_for(&s.nr_delivered, 3));
	stop();
}

/* The gateway finds a stanza too large after all: nobody knows which, so all that was on the way comes back, once, and nothing is
 * repeated. */
static void test_too_large_after_all(void)
{
	start(1);
	g[0].ack = false;
	CHECK_EQ(send_out("far.example", "<message id='1'/>", 1), 0);
	CHECK_EQ(send_out("far.example", "<message id='2'/>", 2), 0);
	CHECK(wait_for(&g[0].stanzas, 2));
	CHECK_EQ(svc_stream_close(g[0].out, "policy-violation", NULL), 0);
	CHECK(wait_for(&s.nr_undeliverable, 2));
	CHECK_STR(s.conditions[0], "policy-violation");
	g[0].ack = true;
	CHECK_EQ(send_out("far.example", "<message id='3'/>", 3), 0);
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK_EQ(g[0].stanzas, 3);
	stop();
}

/* The link breaks and comes back: the streams go on, each with its owner, and nothing is repeated. */
static void test_survives_the_link(void)
{
	start(1);
	g[0].ack = false;
	CHECK_EQ(send_out("far.example", "<message id='1'/>", 1), 0);
	CHECK(wait_for(&g[0].stanzas, 1));
	for (unsigned cuts = 0; cuts < 3; cuts++) {
		unsigned before = g[0].stanzas;

		svc_link_break(fake_gateway_peer(&g[0])->engine, "cut", test_now_ms());
		CHECK_EQ(send_out("far.example", "<message id='2'/>", 2 + cuts), 0);
		CHECK(wait_for(&g[0].stanzas, before + 1));
		CHECK_EQ(g[0].flags[before % NOTES], 0);
	}
	CHECK_EQ(g[0].stanzas, 4);
	CHECK_EQ(g[0].outs, 1); /* it is the same stream */
	CHECK_EQ(svc_stream_ack_through(g[0].out, 4), 0);
	CHECK(wait_for(&s.nr_delivered, 4));
	CHECK_EQ(s.nr_undeliverable, 0);
	stop();
}

/* As after 2^32 - 2 stanzas on the same stream: the number after the greatest is 0. */
static void test_over_the_wrap(void)
{
	struct svc_stream *out;

	start(1);
	CHECK_EQ(send_out("far.example", "<message/>", 1), 0);
	CHECK(wait_for(&s.nr_delivered, 1));
	out = TAILQ_FIRST(&s.sp->all_pairs)->stream;
	out->out.seq = out->out.acked = out->out.reached = UINT32_MAX - 1;
	g[0].out->in.received = g[0].out->in.row = UINT32_MAX - 1;
	for (uint64_t i = 2; i <= 5; i++)
		CHECK_EQ(send_out("far.example", "<message/>", i), 0);
	CHECK(wait_for(&s.nr_delivered, 5));
	CHECK_EQ(out->out.acked, 2);
	CHECK_EQ(g[0].outs, 1);
	stop();
}

static bool is_unlinked(void *arg)
{
	(void)arg;
	return s.nr_gateways == 0;
}

/* Registries have not heard of it for a lease, and its link is down: it may still hold the stream, and have its link again in time. */
static void test_survives_its_lease(void)
{
	struct directory_gateway lost = { .incarnation = 1, .key = c.gateway_key.public_z85 };
	uint64_t until;

	start(1);
	g[0].ack = false;
	CHECK_EQ(send_out("far.example", "<message id='1'/>", 1), 0);
	CHECK(wait_for(&g[0].stanzas, 1));
	fake_gateway_cut(&g[0]);
	CHECK(turn_until(&all, is_unlinked, NULL, 10000));
	lost.owner = g[0].hello.instance;
	lost.endpoint = g[0].endpoint;
	client_gateway_event(s.sp, &lost, true);
	for (until = test_now_ms() + 50; test_now_ms() < until;) /* in whose turns the stream would end */
		CHECK(!turn_until(&all, linked_to, &(unsigned){ 1 }, 10));
	fake_gateway_heal(&g[0]);
	CHECK(turn_until(&all, linked_to, &(unsigned){ 1 }, 10000));
	CHECK_EQ(send_out("far.example", "<message id='2'/>", 2), 0);
	CHECK(wait_for(&g[0].stanzas, 2));
	CHECK_EQ(g[0].flags[1], 0);
	CHECK_EQ(g[0].outs, 1); /* it is the same stream */
	CHECK_EQ(svc_stream_ack_through(g[0].out, 2), 0);
	CHECK(wait_for(&s.nr_delivered, 2));
	/* Known dead: nothing waits, and what comes is told to another. */
	CHECK_EQ(send_out("far.example", "<message id='3'/>", 3), 0);
	CHECK(wait_for(&g[0].stanzas, 3));
	fake_gateway_cut(&g[0]);
	CHECK(turn_until(&all, is_unlinked, NULL, 10000));
	lost.dead = true;
	client_gateway_event(s.sp, &lost, true);
	fake_gateway_start(&g[1], &c, "tcp://127.0.0.1:*");
	CHECK(wait_for(&g[1].stanzas, 1));
	CHECK_STR(g[1].xml[0], "<message id='3'/>");
	CHECK_EQ(g[1].flags[0] & SVC_REPEATED, SVC_REPEATED);
	CHECK(wait_for(&s.nr_delivered, 3));
	stop();
}

/* The gateway with the stream dies: the other repeats what was not acknowledged, in order, marked; each cookie comes once. */
static void test_moves_to_the_other_gateway(void)
{
	unsigned first, other;

	start(2);
	g[0].ack = g[1].ack = false;
	CHECK_EQ(send_out("far.example", "<message id='1'/>", 1), 0);
	CHECK_EQ(send_out("far.example", "<message id='2'/>", 2), 0);
	while (g[0].stanzas + g[1].stanzas < 2)
		if (!turn_until(&all, linked_to, &(unsigned){ 9 }, 20) && s.nr_undeliverable > 0)
			break;
	first = g[0].stanzas == 2 ? 0 : 1;
	other = 1 - first;
	CHECK_EQ(g[first].stanzas, 2);
	g[other].ack = true;
	fake_gateway_stop(&g[first]);
	CHECK(wait_for(&s.nr_delivered, 2));
	CHECK_EQ(send_out("far.example", "<message id='3'/>", 3), 0);
	CHECK(wait_for(&s.nr_delivered, 3));
	CHECK_STR(g[other].xml[0], "<message id='1'/>");
	CHECK_STR(g[other].xml[2], "<message id='3'/>");
	CHECK_EQ(g[other].flags[0] & SVC_REPEATED, SVC_REPEATED);
	CHECK_EQ(g[other].flags[2] & SVC_REPEATED, 0);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(s.delivered[i], i + 1);
	CHECK_EQ(s.nr_undeliverable, 0);
	stop();
}

/* A remote server that closes its stream: opened anew, nothing is lost. */
static void reopens_after(const char *condition)
{
	uint64_t closed_at;

	start(1);
	g[0].ack = false;
	CHECK_EQ(send_out("far.example", "<message id='1'/>", 1), 0);
	CHECK(wait_for(&g[0].stanzas, 1));
	CHECK(g[0].out != NULL);
	closed_at = test_now_ms();
	CHECK_EQ(svc_stream_close(g[0].out, condition, NULL), 0);
	g[0].ack = true;
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK_EQ(g[0].outs, 2);
	CHECK(test_now_ms() >= closed_at + 500); /* not as after a lost link, which has the same condition */
	stop();
}

static void test_reopened(void)
{
	reopens_after("reset");
	reopens_after("remote-connection-failed");
}

/* One that takes nothing, as the gateway says after its time: what waits for it comes back, and is not tried again. */
static void test_takes_nothing(void)
{
	start(1);
	g[0].ack = false;
	CHECK_EQ(send_out("far.example", "<message id='1'/>", 1), 0);
	CHECK_EQ(send_out("far.example", "<message id='2'/>", 2), 0);
	CHECK(wait_for(&g[0].stanzas, 2));
	CHECK_EQ(svc_stream_close(g[0].out, "connection-timeout", NULL), 0);
	CHECK(wait_for(&s.nr_undeliverable, 2));
	CHECK_STR(s.conditions[0], "remote-server-timeout");
	CHECK_EQ(g[0].outs, 1);
	stop();
}

static void test_bound(void)
{
	unsigned sent = 0;
	int rc = 0;

	start(1);
	g[0].ack = false;
	while (rc == 0 && sent < 10000) {
		rc = send_out("far.example", "<message/>", sent + 1);
		sent += rc == 0;
	}
	CHECK_EQ(rc, SVCPROTO_E_FULL);
	CHECK_EQ(sent, 16 * 256);
	CHECK(wait_for(&g[0].stanzas, 256)); /* what waits behind them goes when they are acknowledged */
	CHECK_EQ(svc_stream_ack_through(g[0].out, 256), 0);
	CHECK(wait_for(&s.nr_delivered, 256));
	CHECK(wait_for(&g[0].stanzas, 2 * 256));
	CHECK_EQ(send_out("far.example", "<message/>", sent + 1), 0);
	CHECK_EQ(send_out("else.example", "<message/>", 999), 0); /* one pair that is full stops no other */
	CHECK(wait_for(&g[0].stanzas, 2 * 256 + 1));
	stop();
}

/* Many domains together: what waits for all of them is bounded too, and a stanza that left makes room. */
static void test_bound_of_all(void)
{
	static char xml[1 << 20];
	unsigned sent = 0;
	char to[32];
	int rc = 0;

	memset(xml, ' ', sizeof xml);
	memcpy(xml, "<message>", 9);
	memcpy(xml + sizeof xml - 11, "</message>", 11);
	start(1);
	g[0].ack = true;
	while (rc == 0 && sent < 200) {
		snprintf(to, sizeof to, "d%u.example", sent);
		rc = send_out(to, xml, sent + 1);
		sent += rc == 0;
	}
	CHECK_EQ(rc, SVCPROTO_E_FULL);
	CHECK_EQ(sent, 64);
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK_EQ(send_out("more.example", xml, 999), 0);
	stop();
}

/* Domains that take nothing, and could fill it all, leave room for others. */
static void test_shares(void)
{
	static char xml[100000];
	char to[32];

	memset(xml, ' ', sizeof xml);
	memcpy(xml, "<message>", 9);
	memcpy(xml + sizeof xml - 11, "</message>", 11);
	start(1);
	g[0].ack = false;
	for (unsigned d = 0; d < 16; d++) {
		snprintf(to, sizeof to, "d%u.example", d);
		for (unsigned i = 0; i < 100 && send_out(to, xml, 0) == 0; i++)
			;
	}
	for (unsigned i = 0; i < 10; i++)
		CHECK_EQ(send_out("else.example", xml, 0), 0);
	stop();
}

static void test_in(void)
{
	const char *xml = "<message from='x@far.example' to='me@a.example'/>";

	start(1);
	CHECK(fake_gateway_open_server(&g[0], "far.example", "a.example") != NULL);
	CHECK(wait_for(&g[0].accepted, 1));
	CHECK_EQ(svc_stream_send(g[0].stream, xml, strlen(xml), 0, NULL), 0);
	CHECK(wait_for(&s.stanzas, 1));
	CHECK_STR(s.remote[0], "far.example");
	CHECK_STR(s.local[0], "a.example");
	CHECK_STR(s.xml[0], xml);
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[0]), 0);
	CHECK(wait_for(&g[0].acked, 1));
	CHECK(fake_gateway_open_server(&g[0], "far.example", "b.example") != NULL);
	for (int i = 0; i < 2000 && g[0].refused[0] == '\0'; i++)
		both(NULL), svcproto_dispatch(s.sp), usleep(1000);
	CHECK_STR(g[0].refused, "service-unavailable");
	CHECK_EQ(s.opened, 0);
	stop();
}

/* A callback takes so long that the gateway gives its link up. */
static void takes_long(void)
{
	zmq_pollitem_t news = { .socket = TAILQ_FIRST(&s.sp->links)->z.socket, .events = ZMQ_POLLIN };
	struct svc_link *l = fake_gateway_peer(&g[0])->engine;

	s.slow = NULL;
	ahead_s += SVC_SILENCE_MS / 1000 + 1;
	svc_link_break(l, "the service is silent", test_now_ms());
	svc_link_flush(l, test_now_ms());
	CHECK(zmq_poll(&news, 1, 10000) > 0); /* RESET, for the same turn */
}

/* T2 begins when the end is read of, not with the turn that reads it: T1 has just begun. */
static void test_held_up(void)
{
	const struct svc_stream *out;

	start(1);
	CHECK_EQ(send_out("far.example", "<message id='1'/>", 1), 0);
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK(fake_gateway_open_client(&g[0], "me@a.example", "here") != NULL);
	CHECK(wait_for(&g[0].accepted, 1));
	out = TAILQ_FIRST(&s.sp->all_pairs)->stream;
	s.slow = takes_long;
	CHECK_EQ(svc_stream_send(g[0].stream, "<message/>", 10, 0, NULL), 0);
	CHECK(wait_for(&s.stanzas, 1));
	CHECK(s.nr_gateways == 0 && svc_stream_link(out) == NULL);
	CHECK(out->until_ms + 1000 >= test_now_ms() + SVC_WAIT_SERVER_SERVICE_MS);
	CHECK(turn_until(&all, linked_to, &(unsigned){ 1 }, 10000));
	CHECK_EQ(send_out("far.example", "<message id='2'/>", 2), 0);
	CHECK(wait_for(&s.nr_delivered, 2));
	CHECK_EQ(g[0].flags[1], 0);
	CHECK_EQ(g[0].outs, 1); /* it is the same stream */
	stop();
}

int main(void)
{
	RUN(test_out);
	RUN(test_survives_the_link);
	RUN(test_over_the_wrap);
	RUN(test_refused);
	RUN(test_narrow);
	RUN(test_too_large_after_all);
	RUN(test_survives_its_lease);
	RUN(test_moves_to_the_other_gateway);
	RUN(test_reopened);
	RUN(test_takes_nothing);
	RUN(test_bound);
	RUN(test_shares);
	RUN(test_bound_of_all);
	RUN(test_in);
	RUN(test_held_up);
	return check_done("svcclient.server");
}
