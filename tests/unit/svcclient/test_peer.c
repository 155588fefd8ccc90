/* Streams between instances of one domain: what comes again over another stream is known, and nothing is counted twice. */
#include "check.h"
#include "svcclient/fake_gateway.h"

static struct cluster c;
static struct fake_gateway g;
static struct service s;

static const struct turn all = { .fn = fake_gateway_turn, .arg = &g, .services = { &s } };
static const struct svc_id id = { { 7 } }, other_id = { { 9 } };

static bool linked(void *arg)
{
	(void)arg;
	return s.nr_gateways > 0 && fake_gateway_nr_up(&g) > 0;
}

static bool wait_for(const unsigned *counter, unsigned value)
{
	return turn_until_reached(&all, counter, value, 10000);
}

static void start(void)
{
	memset(&g, 0, sizeof(g));
	cluster_start(&c);
	fake_gateway_start(&g, &c, "tcp://127.0.0.1:*");
	CHECK_EQ(service_start(&s, &c, NULL), 0);
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, linked, NULL, 10000));
}

static void stop(void)
{
	service_stop(&s);
	fake_gateway_stop(&g);
	cluster_stop(&c);
}

static void give(const char *xml)
{
	CHECK_EQ(svc_stream_send(g.stream, xml, strlen(xml), 0, NULL), 0);
}

static void open_peer(const struct svc_id *which, uint32_t last_acked)
{
	CHECK(fake_gateway_open_peer(&g, which, "me@a.example", last_acked) != NULL);
	CHECK(wait_for(&g.accepted, g.accepted + 1));
}

static bool acked_to(void *seq)
{
	return g.acked_seq == *(uint32_t *)seq;
}

static void test_repetitions_are_known(void)
{
	start();
	open_peer(&id, 0);
	give("<a/>");
	give("<b/>");
	give("<c/>");
	CHECK(wait_for(&s.stanzas, 3));
	CHECK_STR(s.remote[0], "a.example");
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[0]), 0);
	CHECK(turn_until(&all, acked_to, &(uint32_t){ 1 }, 10000));
	/* The sender heard of the first; the stream goes on over another one, and repeats the rest. */
	open_peer(&id, 1);
	g.acked_seq = 0;
	give("<b/>");
	give("<c/>");
	give("<d/>");
	CHECK(wait_for(&s.stanzas, 4));
	CHECK_STR(s.xml[3], "<d/>");
	/* What came over the first stream is acknowledged on the second. */
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[2]), 0);
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[1]), 0);
	CHECK(turn_until(&all, acked_to, &(uint32_t){ 2 }, 10000));
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[3]), 0);
	CHECK(turn_until(&all, acked_to, &(uint32_t){ 3 }, 10000));
	/* All of it was handled before it comes again: acknowledged at once, not handed on. */
	open_peer(&id, 2);
	g.acked_seq = 0;
	give("<c/>");
	give("<d/>");
	give("<e/>");
	CHECK(wait_for(&s.stanzas, 5));
	CHECK_STR(s.xml[4], "<e/>");
	CHECK(turn_until(&all, acked_to, &(uint32_t){ 2 }, 10000));
	/* Another id, of which we know nothing: its count is the sender's. */
	open_peer(&other_id, 40);
	give("<x/>");
	CHECK(wait_for(&s.stanzas, 6));
	CHECK_STR(s.xml[5], "<x/>");
	stop();
}

static void test_sending_goes_on(void)
{
	struct svc_id first;

	start();
	CHECK_EQ(svcproto_send_peer(s.sp, "you@b.example", "<a/>", 4, 1), SVCPROTO_E_DENIED);
	CHECK_EQ(svcproto_send_peer(s.sp, "a.example", "<a/>", 4, 1), SVCPROTO_E_INVALID);
	g.ack = true;
	CHECK_EQ(svcproto_send_peer(s.sp, "you@a.example", "<a/>", 4, 1), 0);
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK_STR(g.out_jid, "you@a.example");
	CHECK_STR(g.out_from, "a.example");
	CHECK_EQ(g.out_last_acked, 0);
	first = g.out_id;
	g.ack = false;
	CHECK_EQ(svcproto_send_peer(s.sp, "you@a.example", "<b/>", 4, 2), 0);
	CHECK(wait_for(&g.stanzas, 2));
	CHECK_EQ(svc_stream_close(g.out, "remote-connection-failed", NULL), 0);
	g.ack = true;
	CHECK(wait_for(&s.nr_delivered, 2));
	CHECK(memcmp(&g.out_id, &first, sizeof(first)) == 0);
	CHECK_EQ(g.out_last_acked, 1);
	CHECK_STR(g.xml[2], "<b/>");
	/* Another user's is another stream. */
	CHECK_EQ(svcproto_send_peer(s.sp, "she@a.example", "<c/>", 4, 3), 0);
	CHECK(wait_for(&s.nr_delivered, 3));
	CHECK(memcmp(&g.out_id, &first, sizeof(first)) != 0);
	g.refuse_out = "recipient-unavailable";
	CHECK_EQ(svcproto_send_peer(s.sp, "he@a.example", "<d/>", 4, 4), 0);
	CHECK(wait_for(&s.nr_undeliverable, 1));
	CHECK_STR(s.conditions[0], "recipient-unavailable");
	CHECK_STR(s.types[0], "cancel");
	stop();
}

/* Each origin has a count of its own, however many there are. */
static void test_many_origins(void)
{
	enum { ORIGINS = 500 };
	struct svc_id one = { { 0 } };

	start();
	for (unsigned i = 0; i < ORIGINS; i++) {
		memcpy(one.b + 8, &i, sizeof(i));
		open_peer(&one, i);
	}
	for (unsigned i = 0; i < ORIGINS; i += 50) { /* what was handled comes again, and once more */
		memcpy(one.b + 8, &i, sizeof(i));
		open_peer(&one, i);
		give("<a/>");
		CHECK(wait_for(&s.stanzas, s.stanzas + 1));
		CHECK_EQ(svcproto_ack(s.sp, s.tickets[s.stanzas - 1]), 0);
		CHECK(turn_until(&all, acked_to, &(uint32_t){ 1 }, 10000));
		g.acked_seq = 0;
		open_peer(&one, i);
		give("<a/>");
		CHECK(turn_until(&all, acked_to, &(uint32_t){ 1 }, 10000));
		g.acked_seq = 0;
	}
	CHECK_EQ(s.stanzas, ORIGINS / 50);
	stop();
}

static bool elsewhere(void *jid)
{
	return !svcproto_is_here(s.sp, jid);
}

static bool here(void *jid)
{
	return svcproto_is_here(s.sp, jid);
}

/* We know of another instance, but not of our own registration: nobody knows what the policy picks when it counts us. */
static void test_whose_is_not_known(void)
{
	static const struct svcproto_registration r = { .domain = "a.example", .types = SVCPROTO_CLIENT, .policy = "hash" };
	static const unsigned char nobody[16];
	static struct service other;
	struct turn both = { .fn = fake_gateway_turn, .arg = &g, .services = { &s, &other } };
	unsigned char instance[16];
	char jid[64];

	start();
	CHECK_EQ(svcproto_unregister(s.sp, "a.example"), 0);
	CHECK_EQ(svcproto_register(s.sp, &r), 0);
	CHECK_EQ(service_start(&other, &c, NULL), 0);
	CHECK_EQ(svcproto_register(other.sp, &r), 0);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(jid, sizeof(jid), "u%u@a.example", i);
		if (turn_until(&both, elsewhere, jid, i == 0 ? 5000 : 200))
			break;
	}
	CHECK(!svcproto_whose(s.sp, jid, instance));
	CHECK(memcmp(instance, nobody, sizeof(instance)) != 0);
	CHECK_EQ(svcproto_unregister(s.sp, "a.example"), 0);
	CHECK(turn_until(&both, here, jid, 5000));
	CHECK(svcproto_whose(s.sp, jid, instance));
	CHECK(memcmp(instance, nobody, sizeof(instance)) == 0);
	service_stop(&other);
	stop();
}

/* A gateway whose link to the user's instance is broken at the moment knows nobody but us: that makes the user not ours. */
static void test_refused_while_the_other_lives(void)
{
	static const struct svcproto_registration r = { .domain = "a.example", .types = SVCPROTO_CLIENT, .policy = "hash" };
	static struct service other;
	struct turn both = { .fn = fake_gateway_turn, .arg = &g, .services = { &s, &other } };
	char jid[64];

	start();
	CHECK_EQ(svcproto_unregister(s.sp, "a.example"), 0);
	CHECK_EQ(svcproto_register(s.sp, &r), 0);
	CHECK_EQ(service_start(&other, &c, NULL), 0);
	CHECK_EQ(svcproto_register(other.sp, &r), 0);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(jid, sizeof(jid), "u%u@a.example", i);
		if (turn_until(&both, elsewhere, jid, i == 0 ? 5000 : 200))
			break;
	}
	CHECK(elsewhere(jid));
	g.refuse_out = "recipient-unavailable";
	g.ack = true;
	CHECK_EQ(svcproto_send_peer(s.sp, jid, "<a/>", 4, 1), 0);
	CHECK_EQ(svcproto_send_peer(s.sp, jid, "<b/>", 4, 2), 0);
	CHECK(!turn_until_reached(&both, &s.nr_undeliverable, 1, 5000));
	g.refuse_out = NULL; /* however long that took, what waits is soon there */
	CHECK(turn_until_reached(&both, &s.nr_delivered, 2, 2000));
	CHECK_STR(g.xml[0], "<a/>");
	CHECK_STR(g.xml[1], "<b/>");
	CHECK_EQ(s.nr_undeliverable, 0);
	/* When the other has gone, the user is ours. */
	g.refuse_out = "recipient-unavailable";
	CHECK_EQ(svc_stream_close(g.out, NULL, NULL), 0);
	service_stop(&other);
	CHECK(turn_until(&all, here, jid, 10000));
	CHECK_EQ(svcproto_send_peer(s.sp, jid, "<c/>", 4, 3), 0);
	CHECK(wait_for(&s.nr_undeliverable, 1));
	CHECK_STR(s.conditions[0], "recipient-unavailable");
	stop();
}

static void test_alone_everybody_is_here(void)
{
	start();
	CHECK(svcproto_is_here(s.sp, "you@a.example"));
	CHECK(svcproto_is_here(s.sp, "you@elsewhere.example"));
	stop();
}

int main(void)
{
	RUN(test_repetitions_are_known);
	RUN(test_sending_goes_on);
	RUN(test_many_origins);
	RUN(test_whose_is_not_known);
	RUN(test_refused_while_the_other_lives);
	RUN(test_alone_everybody_is_here);
	return check_done("svcclient.peer");
}
