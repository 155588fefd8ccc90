/* A stream that goes on at another instance: when it may, and what of it goes on. */
#include "stage.h"

#include "tests/unit/check.h"

static void only_when_known_dead(void)
{
	for (unsigned i = 0; i < 8; i++) {
		struct svc_reopen r = { .allowed = i & 1, .bound = i & 2, .known = i & 4 };

		CHECK_EQ(svc_reopen_may(&r), i == 3);
	}
	CHECK(svc_reopen_fits("juliet@b.example/balcony", "juliet@b.example/balcony"));
	CHECK(!svc_reopen_fits("juliet@b.example/balcony", "juliet@b.example/balcony2"));
	CHECK(!svc_reopen_fits("juliet@b.example/balcony", NULL));
}

/* The service's process dies with a part of what a client sent; the client sends on until that is known. */
static void dies_after(const char *received, const char *sent, const char *meanwhile)
{
	set_up();
	open_client();
	service.keep = true;
	if (received != NULL)
		send(&a, received);
	pump();
	if (sent != NULL)
		send(&a, sent);
	cut(&a_tip, &service_a);
	if (meanwhile != NULL)
		send(&a, meanwhile);
	a.takes = true;
	svc_hub_forget(a.hub, "service key", &service_a.l->self.instance);
	svc_hub_tick(a.hub, now);
	CHECK(a.s == NULL && a.rest != NULL);
}

/* Another instance, as far as the gateway can tell: the stream is another one. */
static void opens_again(void)
{
	static uint8_t nr;
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = { { 0xb0, ++nr } }, .bare_jid = "juliet@b.example" };

	reconnect(&service_a);
	a.s = svc_stream_open(a_tip.l, &o, NULL);
	pump();
	heard(&a);
	heard(&service);
	service.keep = false;
	CHECK_EQ(svc_stream_put_rest(a.s, a.rest), 0);
	a.rest = NULL;
}

static void what_may_have_arrived_is_marked(void)
{
	dies_after("1", "2", "3");
	CHECK_STR(heard(&a), "detached closed:remote-connection-failed,3");
	opens_again();
	send(&a, "4");
	pump();
	CHECK_STR(heard(&service), "1!:1 2!:2 3:3 4:4");
	CHECK_STR(heard(&a), "acked:4");
	CHECK_EQ(a_tip.l->unsent, 0);
	CHECK_EQ(a.s->out.nr, 0);
	CHECK_EQ(a.s->out.bytes, 0);
	take_down();
}

static void nothing_left_is_nothing_sent(void)
{
	dies_after(NULL, NULL, NULL);
	opens_again();
	pump();
	CHECK_STR(heard(&service), "");
	send(&a, "1");
	pump();
	CHECK_STR(heard(&service), "1:1");
	take_down();
}

/* A second death: marks stay, and the bounds hold that held before. */
static void again(void)
{
	dies_after("1", NULL, "2");
	opens_again();
	cut(&a_tip, &service_a);
	for (int i = 3; i <= 8; i++)
		send(&a, "x");
	CHECK_EQ(svc_stream_send(a.s, "9", 1, 0, NULL), SVCPROTO_E_FULL);
	svc_hub_forget(a.hub, "service key", &service_a.l->self.instance);
	svc_hub_tick(a.hub, now);
	opens_again();
	CHECK(!svc_stream_can_send(a.s));
	pump();
	CHECK_STR(heard(&service), "1!:1 2!:2 3:x 4:x 5:x 6:x 7:x 8:x");
	take_down();
}

static void a_refused_stanza_stays_refused(void)
{
	set_up();
	open_client();
	CHECK_EQ(svc_stream_send_reject(a.s, "<iq/>", 5, "modify", "bad-request", NULL), 0);
	cut(&a_tip, &service_a);
	a.takes = true;
	svc_hub_forget(a.hub, "service key", &service_a.l->self.instance);
	svc_hub_tick(a.hub, now);
	opens_again();
	CHECK_EQ(a.s->out.head->flags, WIRE_REJECT | WIRE_REPEATED);
	pump();
	CHECK_STR(heard(&service), "1!:<iq/>");
	take_down();
}

static void not_onto_a_stream_in_use(void)
{
	dies_after("1", NULL, NULL);
	reconnect(&service_a);
	pass(20000); /* the first stream is over at the service too */
	open_client();
	send(&a, "2");
	CHECK_EQ(svc_stream_put_rest(a.s, a.rest), SVCPROTO_E_INVALID);
	take_down();
}

static void not_to_who_takes_no_stanza_so_large(void)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = { { 0xb0 } }, .bare_jid = "juliet@b.example" };

	dies_after("1", "22", NULL);
	reconnect(&service_a);
	a.s = svc_stream_open(a_tip.l, &o, NULL);
	a.s->stanza_bytes_max = 1;
	CHECK_EQ(svc_stream_put_rest(a.s, a.rest), SVCPROTO_E_INVALID);
	take_down();
}

/* The end of its link may be what lets the instance be known dead: then no stream has been told of that yet. */
static void known_with_the_link(void)
{
	set_up();
	open_client();
	a.forgets = &service_a.l->self.instance;
	cut(&a_tip, &service_a);
	svc_hub_tick(a.hub, now);
	CHECK_STR(heard(&a), "detached closed:remote-connection-failed,0");
	take_down();
}

int main(void)
{
	RUN(only_when_known_dead);
	RUN(what_may_have_arrived_is_marked);
	RUN(nothing_left_is_nothing_sent);
	RUN(again);
	RUN(a_refused_stanza_stays_refused);
	RUN(not_onto_a_stream_in_use);
	RUN(not_to_who_takes_no_stanza_so_large);
	RUN(known_with_the_link);
	return check_done("unit.svcproto.reopen");
}
