/* How long a stream waits for its link, and that whatever happens meanwhile begins no time anew. */
#include "stage.h"

#include "tests/unit/check.h"

static void open_pair(void)
{
	struct svc_open o = { .kind = SVC_KIND_SERVER_OUT, .stream_id = { { 7 } }, .from_domain = "b.example", .to_domain = "c.example" };

	service.s = svc_stream_open(service_a.l, &o, NULL);
	pump();
	heard(&a);
	heard(&service);
}

/* A service that was busy elsewhere: T2 begins when it hears of the end, not when it last looked at the clock. */
static void time_begins_with_the_end(void)
{
	set_up();
	open_pair();
	now += 9000;
	svc_link_break(a_tip.l, "cut", now);
	svc_link_break(service_a.l, "cut", now);
	pass(SVC_WAIT_SERVER_SERVICE_MS - 500);
	CHECK_STR(heard(&a), "detached closed:" SVC_LINK_LOST ",0");
	CHECK_STR(heard(&service), "detached");
	pass(2000);
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",0");
	take_down();
}

/* A link that comes and goes again, without an answer to REATTACH, does not begin T1 anew: the service's T2 has been running all the time.
 */
static void time_runs_until_it_is_attached(void)
{
	set_up();
	open_pair();
	cut(&a_tip, &service_a);
	for (int i = 0; i < 2; i++) {
		pass(2000);
		CHECK_EQ(svc_link_start(service_a.l, now), 0);
		flush_all();
		deliver_one(&service_a); /* HELLO; the rest is lost */
		CHECK_EQ(a.s->state, STREAM_ATTACHING);
		cut(&a_tip, &service_a);
	}
	CHECK_STR(heard(&a), "detached detached detached");
	pass(SVC_WAIT_SERVER_GATEWAY_MS - 4000 + 1500);
	CHECK_STR(heard(&a), "closed:" SVC_LINK_LOST ",0");
	CHECK_STR(heard(&service), "detached");
	pass(SVC_WAIT_SERVER_SERVICE_MS - SVC_WAIT_SERVER_GATEWAY_MS);
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",0");
	take_down();
}

/* What the gateway says is lost, and the service begins again and again, so that the link is up at the gateway: T1 is over all the same. */
static void time_runs_while_it_is_asked(void)
{
	set_up();
	open_pair();
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(svc_link_start(service_a.l, now), 0);
		flush_all();
		deliver_one(&service_a); /* HELLO */
		flush_all();
		lose(&a_tip);
		now += 2000;
		svc_hub_tick(a.hub, now);
		svc_hub_tick(service.hub, now);
		if (i == 2)
			CHECK_STR(heard(&a), "detached detached detached closed:" SVC_LINK_LOST ",0");
		if (i == 6)
			CHECK_STR(heard(&service), "detached");
	}
	CHECK_STR(heard(&a), "");
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",0");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_hub_nr_waiting(a.hub), 0);
	take_down();
}

/* The link comes back so late that REATTACH, which has left or has not, is not answered in time. */
static void ask_too_late(uint64_t wait_ms, bool leaves)
{
	cut(&a_tip, &service_a);
	heard(&a);
	pass(wait_ms - 1000);
	CHECK_EQ(svc_link_start(service_a.l, now), 0);
	flush_all();
	deliver_one(&service_a);
	if (leaves)
		flush_all();
	now += 2500;
	svc_hub_tick(a.hub, now);
}

static void an_answer_that_comes_too_late(void)
{
	for (int leaves = 0; leaves < 2; leaves++) {
		set_up();
		open_pair();
		send(&service, "1");
		ask_too_late(SVC_WAIT_SERVER_GATEWAY_MS, leaves);
		CHECK_STR(heard(&a), "closed:" SVC_LINK_LOST ",0");
		CHECK_STR(heard(&service), "detached");
		pump();
		CHECK_STR(heard(&service), "attached closed:" SVC_LINK_LOST ",1");
		CHECK_STR(heard(&a), "");
		CHECK(svc_link_is_up(a_tip.l) && svc_link_is_up(service_a.l));
		CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
		take_down();
	}
}

/* The same of a client: it can resume what its gateway has given up. */
static void a_client_resumes_what_came_too_late(void)
{
	set_up();
	open_enabled();
	send(&a, "unsaid");
	ask_too_late(SVC_WAIT_GATEWAY_MS, true);
	CHECK_STR(heard(&a), "closed:" SVC_LINK_LOST ",1");
	CHECK_STR(heard(&service), "detached");
	send(&service, "kept");
	pump();
	CHECK_STR(heard(&service), "attached detached");
	CHECK_STR(heard(&a), "");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:0 2:kept");
	take_down();
}

/* Given up, and the link goes once more: nothing is left at the gateway, and the service hears that with the next one. */
static void given_up_and_lost_again(void)
{
	for (int resumable = 0; resumable < 2; resumable++) {
		set_up();
		if (resumable)
			open_enabled();
		else
			open_pair();
		ask_too_late(resumable ? SVC_WAIT_GATEWAY_MS : SVC_WAIT_SERVER_GATEWAY_MS, true);
		CHECK_STR(heard(&a), "closed:" SVC_LINK_LOST ",0");
		cut(&a_tip, &service_a);
		CHECK_EQ(svc_hub_nr_waiting(a.hub), 0);
		heard(&service);
		now += 500;
		CHECK_EQ(svc_link_start(service_a.l, now), 0);
		pump();
		svc_hub_tick(service.hub, now);
		CHECK_STR(heard(&service), resumable ? "" : "closed:" SVC_LINK_LOST ",0");
		CHECK_EQ(svc_hub_nr_waiting(service.hub), resumable);
		CHECK_STR(heard(&a), "");
		take_down();
	}
}

/* Whoever waits longer, and came first, does not make it wait as long. */
static void each_has_its_own_time(void)
{
	set_up();
	open_enabled(); /* 300 s */
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pass(5000);
	open_pair();
	cut(&a_tip, &service_a);
	pass(SVC_WAIT_SERVER_GATEWAY_MS + 1500);
	CHECK_STR(heard(&a), "detached closed:" SVC_LINK_LOST ",0");
	CHECK_STR(heard(&service), "detached");
	pass(SVC_WAIT_SERVER_SERVICE_MS - SVC_WAIT_SERVER_GATEWAY_MS);
	CHECK_STR(heard(&service), "closed:" SVC_LINK_LOST ",0");
	CHECK_EQ(svc_hub_nr_waiting(service.hub), 1);
	take_down();
}

int main(void)
{
	RUN(time_begins_with_the_end);
	RUN(time_runs_until_it_is_attached);
	RUN(time_runs_while_it_is_asked);
	RUN(an_answer_that_comes_too_late);
	RUN(a_client_resumes_what_came_too_late);
	RUN(given_up_and_lost_again);
	RUN(each_has_its_own_time);
	return check_done("svcproto/patience");
}
