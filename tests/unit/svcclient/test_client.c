/* Client sessions through the service library and a fake gateway worker. */
#include "check.h"
#include "svcclient/fake_gateway.h"

#include <stdlib.h>
#include <unistd.h>

static struct cluster c;
static struct fake_gateway g;
static struct service s;

static const struct turn all = { .fn = fake_gateway_turn, .arg = &g, .services = { &s } };

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

static int send_text(struct svc_stream *stream, const char *xml)
{
	return svc_stream_send(stream, xml, strlen(xml), 0, NULL);
}

static int reply(const char *xml, uint64_t cookie)
{
	return svcproto_send(s.session, xml, strlen(xml), cookie);
}

static void open_session(void)
{
	CHECK(fake_gateway_open_client(&g, "me@a.example", "here") != NULL);
	CHECK(wait_for(&g.accepted, g.accepted + 1));
}

static void test_round_trip(void)
{
	start();
	open_session();
	CHECK_STR(g.accepted_jid, "me@a.example/here");
	CHECK_STR(s.bare_jid, "me@a.example");
	CHECK_STR(svcproto_jid(s.session), "me@a.example/here");
	CHECK_EQ(send_text(g.stream, "<message>1</message>"), 0);
	CHECK_EQ(send_text(g.stream, "<message>2</message>"), 0);
	CHECK(wait_for(&s.stanzas, 2));
	CHECK_STR(s.xml[0], "<message>1</message>");
	CHECK_STR(s.remote[0], "");
	CHECK_EQ(g.acked, 0);
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[1]), 0); /* out of order: nothing to say yet */
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[0]), 0);
	CHECK(wait_for(&g.acked, 1));
	CHECK_EQ(g.acked_seq, 2);
	CHECK_EQ(reply("<message>a</message>", 71), 0);
	CHECK_EQ(reply("<message>b</message>", 0), 0);
	CHECK_EQ(reply("<message>c</message>", 73), 0);
	CHECK(wait_for(&s.nr_delivered, 2));
	CHECK_EQ(g.stanzas, 3);
	CHECK_STR(g.xml[0], "<message>a</message>");
	CHECK_EQ(s.delivered[0], 71);
	CHECK_EQ(s.delivered[1], 73);
	CHECK_EQ(svcproto_close(s.session, NULL, NULL), 0);
	CHECK(wait_for(&s.closed, 1));
	CHECK(wait_for(&g.closed, 1));
	CHECK_EQ(s.nr_undeliverable, 0);
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[0]), 0); /* long gone: harmless */
	CHECK_EQ(svcproto_ack(s.sp, 12345), 0);
	stop();
}

static void test_before_flush(void)
{
	start();
	open_session();
	s.answer = "<message>stored</message>";
	CHECK_EQ(send_text(g.stream, "<message>1</message>"), 0);
	while (s.answer != NULL && s.nr_flushes < 1000) /* one dispatch at a time; no other follows the one that answers */
		fake_gateway_turn(&g), svcproto_dispatch(s.sp), usleep(1000);
	CHECK_EQ(s.stanzas, 1);
	CHECK_EQ(s.answered_in, s.nr_flushes);
	for (int i = 0; i < 2000 && g.stanzas == 0; i++)
		fake_gateway_turn(&g), usleep(1000);
	CHECK_EQ(g.stanzas, 1);
	CHECK_STR(g.xml[0], "<message>stored</message>");
	CHECK_EQ(g.acked_seq, 1);
	stop();
}

static void test_refusals(void)
{
	start();
	s.refuse = true;
	CHECK(fake_gateway_open_client(&g, "me@a.example", NULL) != NULL);
	CHECK(wait_for(&s.opened, 1));
	for (int i = 0; i < 2000 && g.refused[0] == '\0'; i++)
		(void)turn_until(&all, linked, NULL, 1), fake_gateway_turn(&g), usleep(1000);
	CHECK_STR(g.refused, "not-allowed");
	CHECK_EQ(s.closed, 0); /* no session_closed after a refusal */
	g.refused[0] = '\0';
	CHECK(fake_gateway_open_client(&g, "me@other.example", NULL) != NULL); /* not ours */
	for (int i = 0; i < 2000 && g.refused[0] == '\0'; i++)
		fake_gateway_turn(&g), svcproto_dispatch(s.sp), usleep(1000);
	CHECK_STR(g.refused, "service-unavailable");
	g.refused[0] = '\0';
	CHECK(fake_gateway_open_server(&g, "far.example", "a.example") != NULL); /* registered for clients only */
	for (int i = 0; i < 2000 && g.refused[0] == '\0'; i++)
		fake_gateway_turn(&g), svcproto_dispatch(s.sp), usleep(1000);
	CHECK_STR(g.refused, "service-unavailable");
	CHECK_EQ(s.opened, 1);
	stop();
}

static void test_rejected_stanza(void)
{
	const char *xml = "<message from='me@a.example/here' to='@bad' id='7'><body/></message>";

	start();
	open_session();
	CHECK_EQ(svc_stream_send_reject(g.stream, xml, strlen(xml), "modify", "jid-malformed", NULL), 0);
	CHECK(wait_for(&g.stanzas, 1));
	CHECK_STR(g.xml[0], "<message xmlns='jabber:client' type='error' to='me@a.example/here' from='@bad' id='7'><error type='modify'>"
			    "<jid-malformed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>");
	CHECK(wait_for(&g.acked, 1));
	CHECK_EQ(s.stanzas, 0); /* the application does not see it */
	stop();
}

/* A stanza of a client goes back by its session, one of a server by a stream to it. */
static void test_answers(void)
{
	const char *message = "<message from='me@a.example/here' to='x@y.example'>1</message>";
	const char *ping = "<iq from='me@a.example/here' type='get' id='1'/>";
	struct svcproto_stanza st = { .xml = message, .length = strlen(message) };

	start();
	open_session();
	CHECK_EQ(svcproto_send_back(s.sp, s.session, &st, 5), 0);
	st = (struct svcproto_stanza){ .xml = ping, .length = strlen(ping) };
	CHECK_EQ(svcproto_send_error(s.sp, s.session, &st, "cancel", "item-not-found", 6), 0);
	CHECK(wait_for(&s.nr_delivered, 2));
	CHECK_STR(g.xml[0], "<message to='me@a.example/here' from='x@y.example'>1</message>");
	CHECK_STR(g.xml[1], "<iq xmlns='jabber:client' type='error' to='me@a.example/here' id='1'><error type='cancel'>"
			    "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>");
	CHECK_EQ(svcproto_send_error(s.sp, s.session, &st, "cancel", "not<a>name", 0), SVCPROTO_E_INVALID);
	CHECK_EQ(svcproto_send_back(s.sp, NULL, &st, 0), SVCPROTO_E_INVALID); /* no session and no domains */
	CHECK_EQ(service_register(&s, "b.example", SVCPROTO_SERVER), 0);
	st.remote_domain = "far.example";
	st.local_domain = "b.example";
	CHECK_EQ(svcproto_send_error(s.sp, NULL, &st, "cancel", "item-not-found", 7), 0);
	CHECK(wait_for(&s.nr_delivered, 3));
	CHECK_STR(g.out_from, "b.example");
	CHECK_STR(g.out_to, "far.example");
	st.local_domain = "c.example";
	CHECK_EQ(svcproto_send_error(s.sp, NULL, &st, "cancel", "item-not-found", 8), SVCPROTO_E_DENIED);
	stop();
}

/* Unacknowledged stanzas come back before the session ends. */
static void test_gateway_dies(void)
{
	start();
	g.ack = false;
	open_session();
	CHECK_EQ(reply("<message>a</message>", 1), 0);
	CHECK_EQ(reply("<message>b</message>", 0), 0);
	CHECK_EQ(reply("<message>c</message>", 3), 0);
	CHECK(wait_for(&g.stanzas, 3));
	CHECK_EQ(send_text(g.stream, "<message>1</message>"), 0);
	CHECK(wait_for(&s.stanzas, 1));
	fake_gateway_stop(&g);
	/* Its process may only be cut off: a registry that young cannot tell. */
	CHECK(turn_until_reached(&all, &s.closed, 1, SVC_WAIT_SERVICE_MS + 5000));
	CHECK_EQ(s.nr_undeliverable, 2);
	CHECK_EQ(s.undeliverable[0], 1);
	CHECK_EQ(s.undeliverable[1], 3);
	CHECK_STR(s.conditions[0], "recipient-unavailable");
	CHECK_STR(s.types[0], "wait");
	CHECK_STR(s.order, "suuc");
	CHECK_STR(s.closed_condition, SVC_LINK_LOST);
	CHECK_EQ(s.nr_gateways, 0);
	CHECK_EQ(s.nr_delivered, 0);
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[0]), 0);
	/* Another one starts: the service finds it. */
	fake_gateway_start(&g, &c, "tcp://127.0.0.1:*");
	CHECK(turn_until(&all, linked, NULL, 10000));
	open_session();
	stop();
}

static void test_bound(void)
{
	int rc = 0;
	unsigned sent = 0;

	start();
	g.ack = false;
	open_session();
	while (rc == 0 && sent < 1000) {
		rc = reply("<message/>", sent + 1);
		sent += rc == 0;
	}
	CHECK_EQ(rc, SVCPROTO_E_FULL);
	CHECK_EQ(sent, 256);
	CHECK(wait_for(&g.stanzas, sent));
	CHECK_EQ(svc_stream_ack_through(g.stream, sent), 0);
	CHECK(wait_for(&s.nr_delivered, sent));
	CHECK_EQ(reply("<message/>", 0), 0);
	stop();
}

/* Where there is no room, errors wait for it, others before them take none of it, and there is an end to that. */
static void test_errors_wait(void)
{
	const char *message = "<message from='me@a.example/here' to='x@y.example' id='1'/>";
	struct svcproto_stanza st = { .xml = message, .length = strlen(message) };
	unsigned nr = 0;
	int rc = 0;

	start();
	g.ack = false;
	open_session();
	for (unsigned i = 0; i < 256; i++)
		CHECK_EQ(reply("<message/>", 0), 0);
	CHECK_EQ(svcproto_send_error(s.sp, s.session, &st, "wait", "resource-constraint", 7), 0);
	CHECK_EQ(svcproto_send_back(s.sp, s.session, &st, 8), SVCPROTO_E_FULL);
	CHECK(wait_for(&g.stanzas, 256));
	CHECK_EQ(svc_stream_ack_through(g.stream, 1), 0);
	CHECK(wait_for(&g.stanzas, 257));
	CHECK_EQ(svc_stream_ack_through(g.stream, 257), 0);
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK_EQ(s.delivered[0], 7);
	CHECK_EQ(reply("<message/>", 9), 0); /* nothing waits any more */
	while (rc == 0)
		rc = reply("<message/>", 0);
	for (rc = 0; rc == 0 && nr < 100000; nr += rc == 0)
		rc = svcproto_send_error(s.sp, s.session, &st, "wait", "resource-constraint", nr == 0 ? 10 : 0);
	CHECK_EQ(rc, SVCPROTO_E_FULL);
	CHECK(nr > 3000 && nr < 10000); /* 1 MiB */
	CHECK_EQ(svc_stream_close(g.stream, NULL, NULL), 0);
	CHECK(wait_for(&s.closed, 1));
	CHECK_EQ(s.nr_undeliverable, 2); /* 9 and 10 */
	CHECK_EQ(s.undeliverable[1], 10);
	stop();
}

/* A service that acknowledges nothing itself: what came counts as handled after its time, and not before. */
static void test_acknowledged_after_a_time(void)
{
	uint64_t began;

	s.ack_after_ms = 300;
	start();
	open_session();
	began = test_now_ms();
	CHECK_EQ(send_text(g.stream, "<message>1</message>"), 0);
	CHECK_EQ(send_text(g.stream, "<message>2</message>"), 0);
	CHECK(wait_for(&s.stanzas, 2));
	CHECK(wait_for(&g.acked, 1));
	CHECK(test_now_ms() - began >= 300);
	CHECK_EQ(g.acked_seq, 2);
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[0]), 0); /* says nothing new */
	CHECK_EQ(send_text(g.stream, "<message>3</message>"), 0);
	CHECK(wait_for(&s.stanzas, 3));
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[2]), 0);
	CHECK(wait_for(&g.acked, 2));
	CHECK_EQ(g.acked_seq, 3);
	stop();
	s.ack_after_ms = 0;
}

/* A large stanza passes, and what the descriptor says is enough to move it. */
static void test_large(void)
{
	size_t n = 3u << 20;
	char *big = malloc(n);

	start();
	open_session();
	memset(big, 'x', n);
	memcpy(big, "<message>", 9);
	memcpy(big + n - 10, "</message>", 10);
	CHECK_EQ(svcproto_send(s.session, big, n, 5), 0);
	CHECK(wait_for(&s.nr_delivered, 1));
	CHECK_EQ(svc_stream_send(g.stream, big, n, 0, NULL), 0);
	CHECK(wait_for(&s.stanzas, 1));
	CHECK_EQ(svcproto_ack(s.sp, s.tickets[0]), 0);
	CHECK(wait_for(&g.acked, 1));
	free(big);
	stop();
}

static void test_close_with_pending_open(void)
{
	start();
	s.hold = true;
	CHECK(fake_gateway_open_client(&g, "me@a.example", NULL) != NULL);
	CHECK(wait_for(&s.opened, 1));
	CHECK_EQ(svc_stream_close(g.stream, NULL, NULL), 0); /* the client left before the answer */
	CHECK(wait_for(&s.closed, 1));
	CHECK(s.session == NULL);
	/* A service that ends says so to its clients. */
	s.hold = false;
	open_session();
	service_stop(&s);
	CHECK(wait_for(&g.closed, 2));
	CHECK_STR(g.closed_condition, "system-shutdown");
	stop();
}

/* The client comes back over another link: what the first one did not get follows, and nothing else. */
static void test_resumes(void)
{
	struct svc_resume r = { .bare_jid = "me@a.example", .address = "192.0.2.9", .h = 1 };

	start();
	g.ack = false;
	open_session();
	r.stream_id = *svc_stream_id(g.stream);
	CHECK_EQ(svc_stream_enable(g.stream, 60), 0);
	CHECK(wait_for(&g.enabled, 1));
	CHECK_EQ(reply("<message>a</message>", 1), 0);
	CHECK_EQ(reply("<message>b</message>", 2), 0);
	CHECK_EQ(send_text(g.stream, "<message>1</message>"), 0);
	CHECK(wait_for(&g.stanzas, 2));
	CHECK(wait_for(&s.stanzas, 1));
	CHECK_EQ(svc_stream_detach(g.stream), 0);
	CHECK(wait_for(&s.detached, 1));
	CHECK_EQ(s.closed, 0);
	CHECK_EQ(reply("<message>c</message>", 3), 0);
	g.stream = svc_stream_resume(fake_gateway_peer(&g)->engine, &r, NULL);
	CHECK(wait_for(&s.resumed, 1));
	CHECK_STR(s.resumed_address, "192.0.2.9");
	CHECK_EQ(g.resumed, 0); /* what it sent is not handled yet */
	CHECK_EQ(svcproto_ack_all(s.session), 0);
	CHECK(wait_for(&g.resumed, 1));
	CHECK_EQ(svc_stream_h(g.stream), 1);
	CHECK_STR(g.accepted_jid, "me@a.example/here");
	CHECK(wait_for(&g.stanzas, 4));
	CHECK_STR(g.xml[2], "<message>b</message>");
	CHECK_STR(g.xml[3], "<message>c</message>");
	CHECK_EQ(svc_stream_client_h(g.stream, 3), 0);
	CHECK(wait_for(&s.nr_delivered, 3));
	CHECK_EQ(s.nr_undeliverable, 0);
	stop();
}

/* Nobody comes: what was not delivered is the service's again. */
static void test_is_not_resumed(void)
{
	start();
	g.ack = false;
	open_session();
	CHECK_EQ(svc_stream_enable(g.stream, 1), 0);
	CHECK(wait_for(&g.enabled, 1));
	CHECK_EQ(reply("<message>a</message>", 7), 0);
	CHECK(wait_for(&g.stanzas, 1));
	CHECK_EQ(svc_stream_detach(g.stream), 0);
	CHECK(wait_for(&s.closed, 1));
	CHECK_EQ(s.detached, 1);
	CHECK_EQ(s.nr_undeliverable, 1);
	CHECK_EQ(s.undeliverable[0], 7);
	CHECK_STR(s.conditions[0], "recipient-unavailable");
	CHECK_STR(s.closed_condition, "connection-timeout");
	stop();
}

int main(void)
{
	RUN(test_round_trip);
	RUN(test_before_flush);
	RUN(test_refusals);
	RUN(test_rejected_stanza);
	RUN(test_answers);
	RUN(test_gateway_dies);
	RUN(test_resumes);
	RUN(test_is_not_resumed);
	RUN(test_bound);
	RUN(test_errors_wait);
	RUN(test_acknowledged_after_a_time);
	RUN(test_large);
	RUN(test_close_with_pending_open);
	return check_done("svcclient.client");
}
