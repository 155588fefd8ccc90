/* A broken link, told as stories: nothing is lost, nothing comes twice, and waiting has its time. */
#include "stage.h"

#include <stdlib.h>

#include "tests/unit/check.h"

static void what_was_on_the_way_is_repeated(void)
{
	set_up();
	open_client();
	send(&a, "1");
	send(&service, "1");
	pump();
	CHECK_STR(heard(&a), "1:1 acked:1");
	CHECK_STR(heard(&service), "1:1 acked:1");
	send(&a, "2");
	send(&service, "2");
	send(&service, "3");
	cut(&a_tip, &service_a);
	CHECK_STR(heard(&a), "detached");
	CHECK_STR(heard(&service), "detached");
	send(&a, "3"); /* meanwhile */
	reconnect(&service_a);
	CHECK_STR(heard(&a), "attached 2:2 3:3 acked:3");
	CHECK_STR(heard(&service), "attached acked:3 2:2 3:3");
	take_down();
}

/* Received, and the acknowledgement lost: nothing is repeated, the position acknowledges. */
static void what_arrived_is_not_repeated(void)
{
	set_up();
	open_client();
	send(&a, "1");
	send(&a, "2");
	flush_all();
	service.keep = true;
	deliver_one(&a_tip);
	CHECK_STR(heard(&service), "1:1 2:2");
	CHECK_EQ(svc_stream_ack(service.s, 1), 0);
	cut(&a_tip, &service_a);
	reconnect(&service_a);
	CHECK_STR(heard(&service), "detached attached");
	CHECK_STR(heard(&a), "detached attached acked:1");
	CHECK_EQ(svc_stream_ack(service.s, 2), 0);
	pump();
	CHECK_STR(heard(&a), "acked:2");
	take_down();
}

/* Between REATTACH, which says a position, and ATTACHED. */
static void acknowledged_meanwhile(void)
{
	set_up();
	open_client();
	a.keep = true;
	send(&service, "1");
	pump();
	cut(&a_tip, &service_a);
	now += 10000;
	CHECK_EQ(svc_link_start(service_a.l, now), 0);
	flush_all();
	deliver_one(&service_a); /* HELLO */
	flush_all();             /* WELCOME and REATTACH */
	heard(&service);
	CHECK_EQ(svc_stream_ack(a.s, 1), 0);
	pump();
	CHECK_STR(heard(&service), "attached acked:1");
	take_down();
}

/* Before REATTACH has left, and the client has gone on elsewhere: the refusal is the last word of that stream, and of no other. */
static void acknowledged_before_a_refusal(void)
{
	set_up();
	open_enabled();
	a.keep = true;
	send(&service, "1");
	pump();
	cut(&a_tip, &service_a);
	CHECK_STR(heard(&a), "2:1 detached");
	resume_at(&b_tip, 0);
	now += 10000;
	CHECK_EQ(svc_link_start(service_a.l, now), 0);
	flush_all();
	deliver_one(&service_a); /* HELLO */
	CHECK_EQ(svc_stream_ack(a.s, 2), 0);
	pump();
	CHECK_STR(heard(&a), "closed:conflict,0");
	CHECK(svc_link_is_up(a_tip.l) && svc_link_is_up(service_a.l));
	take_down();
}

static void a_large_stanza_begins_again(void)
{
	size_t n = 300000;
	char *xml = malloc(n);

	memset(xml, 'x', n);
	set_up();
	open_client();
	CHECK_EQ(svc_stream_send(a.s, xml, n, 0, NULL), 0);
	flush_all();
	deliver_one(&a_tip);
	CHECK(service.s->join.active);
	cut(&a_tip, &service_a);
	CHECK(!service.s->join.active);
	reconnect(&service_a);
	CHECK_STR(heard(&service), "detached attached 1:xxxxxxxx");
	CHECK_STR(heard(&a), "detached attached acked:1");
	take_down();
	free(xml);
}

/* Credit that an owner withholds stays withheld. */
static void a_paused_stream_stays_paused(void)
{
	char xml[9000];
	uint32_t seen;

	memset(xml, 'p', sizeof(xml));
	set_up();
	open_client();
	service.keep = true;
	svc_stream_pause(service.s, true);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(svc_stream_send(a.s, xml, sizeof(xml), 0, NULL), 0);
	pump();
	seen = service.s->in.received;
	CHECK(seen < 4);
	for (int i = 0; i < 3; i++) {
		cut(&a_tip, &service_a);
		reconnect(&service_a);
	}
	CHECK_EQ(service.s->in.received, seen);
	CHECK(service.s->in.credit + service.s->in.due <= SVC_WINDOW_BYTES);
	svc_stream_pause(service.s, false);
	pump();
	CHECK_EQ(service.s->in.received, 8);
	take_down();
}

static void a_lost_link_has_its_time(void)
{
	set_up();
	open_client();
	send(&a, "1");
	send(&service, "1");
	cut(&a_tip, &service_a);
	heard(&a);
	heard(&service);
	pass(SVC_WAIT_GATEWAY_MS - 1000);
	CHECK_STR(heard(&a), "");
	pass(2500);
	CHECK_STR(heard(&a), "closed:" SVC_LINK_LOST ",1");
	CHECK_STR(heard(&service), "");
	pass(SVC_WAIT_SERVICE_MS - SVC_WAIT_GATEWAY_MS);
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",1");
	CHECK_EQ(svc_hub_nr_waiting(service.hub), 0);
	reconnect(&service_a);
	CHECK_STR(heard(&a), "");
	take_down();
}

/* The gateway had given it up: the service hears of that when the link is back, not by its clock. */
static void an_unclaimed_stream_ends(void)
{
	set_up();
	open_client();
	cut(&a_tip, &service_a);
	svc_hub_forget(a.hub, "another key", &service_a.l->self.instance); /* some other process of that name */
	svc_hub_tick(a.hub, now);
	CHECK_STR(heard(&a), "detached");
	svc_hub_forget(a.hub, "service key", &service_a.l->self.instance);
	svc_hub_tick(a.hub, now);
	CHECK_STR(heard(&a), "closed:" SVC_LINK_LOST ",0");
	heard(&service);
	reconnect(&service_a);
	svc_hub_tick(service.hub, now);
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",0");
	take_down();
}

/* Closed by its owner while there was no link: what was sent before still arrives, then the CLOSE. */
static void a_close_waits_for_the_link(void)
{
	set_up();
	open_client();
	send(&a, "last");
	cut(&a_tip, &service_a);
	CHECK_EQ(svc_stream_close(a.s, NULL, NULL), 0);
	CHECK_EQ(svc_stream_send(a.s, "x", 1, 0, NULL), SVCPROTO_E_CLOSED);
	heard(&service);
	reconnect(&service_a);
	CHECK_STR(heard(&service), "attached 1:last closed:-,0");
	CHECK_STR(heard(&a), "detached acked:1 closed:-,0");
	take_down();
}

/* The service handles and closes before its ATTACHED has left. */
static void closed_instead_of_attached(void)
{
	set_up();
	open_client();
	service.keep = true;
	send(&a, "1");
	pump();
	cut(&a_tip, &service_a);
	now += 10000;
	CHECK_EQ(svc_link_start(service_a.l, now), 0);
	flush_all();
	deliver_one(&service_a); /* HELLO */
	flush_all();
	while (svc_stream_link(service.s) == NULL)
		deliver_one(&a_tip); /* RESET for the epoch before; WELCOME and REATTACH */
	CHECK_EQ(svc_stream_ack(service.s, 1), 0);
	CHECK_EQ(svc_stream_close(service.s, "reset", NULL), 0);
	pump();
	CHECK_STR(heard(&a), "detached closed:reset,1");
	take_down();
}

static void a_close_that_crossed_the_end(void)
{
	set_up();
	open_client();
	CHECK_EQ(svc_stream_close(service.s, "conflict", NULL), 0);
	cut(&a_tip, &service_a); /* the CLOSE is lost */
	reconnect(&service_a);
	CHECK_STR(heard(&a), "detached closed:conflict,0");
	CHECK_STR(heard(&service), "closed:conflict,0");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	take_down();
}

/* Another process under the same key and name is another peer. */
static void nobody_else_takes_it_up(void)
{
	struct svc_hello other = { .incarnation = 2 };

	set_up();
	open_client();
	cut(&a_tip, &service_a);
	heard(&a);
	other.instance.b[0] = 3;
	svc_link_free(a_tip.l);
	svc_link_free(service_a.l);
	svc_link_free(b_tip.l);
	svc_link_free(service_b.l);
	svc_hub_free(service.hub);
	service.hub = svc_hub_new(SVC_SERVICE, &other, NULL, &stage_hub_ops, &service);
	join(&a_tip, &a, &service_a);
	join(&b_tip, &b, &service_b);
	pump();
	CHECK_STR(heard(&a), "");
	CHECK_EQ(svc_hub_nr_waiting(a.hub), 1);
	take_down();
}

/* A service's own stream goes on in the same way, over a handle of the gateway's. */
static void a_pair_of_domains_goes_on(void)
{
	struct svc_open o = { .kind = SVC_KIND_SERVER_OUT, .stream_id = { { 7 } }, .from_domain = "b.example", .to_domain = "c.example" };

	set_up();
	service.s = svc_stream_open(service_a.l, &o, NULL);
	pump();
	send(&service, "1");
	pump();
	send(&service, "2");
	cut(&a_tip, &service_a);
	send(&service, "3");
	heard(&a);
	reconnect(&service_a);
	CHECK_STR(heard(&a), "attached 2:2 3:3");
	CHECK_STR(heard(&service), "acked:1 detached attached acked:3");
	CHECK_EQ(service.s->handle % 2, 0);
	CHECK(svc_stream_is_ours(service.s) && !svc_stream_is_ours(a.s)); /* as ever */
	/* T1 at the gateway, then T2: only then may the service go elsewhere. */
	send(&service, "4");
	cut(&a_tip, &service_a);
	heard(&a);
	heard(&service);
	pass(SVC_WAIT_SERVER_GATEWAY_MS + 1500);
	CHECK_STR(heard(&a), "closed:" SVC_LINK_LOST ",0");
	CHECK_STR(heard(&service), "");
	pass(SVC_WAIT_SERVER_SERVICE_MS - SVC_WAIT_SERVER_GATEWAY_MS);
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",1");
	take_down();
}

/* Who only claims to be the instance, with another key, gets nothing. */
static void a_name_is_no_proof(void)
{
	set_up();
	open_client();
	cut(&a_tip, &service_a);
	heard(&a);
	svc_link_free(a_tip.l);
	a_tip.l = svc_hub_link(a.hub, "another key", a_tip.ops, &a_tip);
	reconnect(&service_a);
	CHECK_STR(heard(&a), "");
	CHECK_EQ(svc_hub_nr_waiting(a.hub), 1);
	take_down();
}

int main(void)
{
	RUN(what_was_on_the_way_is_repeated);
	RUN(what_arrived_is_not_repeated);
	RUN(acknowledged_meanwhile);
	RUN(acknowledged_before_a_refusal);
	RUN(a_large_stanza_begins_again);
	RUN(a_paused_stream_stays_paused);
	RUN(a_lost_link_has_its_time);
	RUN(an_unclaimed_stream_ends);
	RUN(a_close_waits_for_the_link);
	RUN(closed_instead_of_attached);
	RUN(a_close_that_crossed_the_end);
	RUN(nobody_else_takes_it_up);
	RUN(a_pair_of_domains_goes_on);
	RUN(a_name_is_no_proof);
	return check_done("svcproto/reattach");
}
