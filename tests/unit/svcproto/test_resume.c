/* Stream management and resumption, told as stories: counts, fences, who may, and for how long. */
#include "stage.h"

#include <stdlib.h>

#include "tests/unit/check.h"

/* ---- stream management ---- */

static void counts_begin_at_enable(void)
{
	set_up();
	open_client();
	send(&a, "1");
	send(&a, "2");
	send(&service, "1");
	pump();
	CHECK_EQ(svc_stream_enable(a.s, 1000), 0);
	CHECK_EQ(svc_stream_enable(a.s, 1000), SVCPROTO_E_INVALID);
	send(&a, "3");
	pump();
	CHECK_STR(heard(&a), "1:1 acked:2 enabled:600 acked:3"); /* the service grants ten minutes */
	CHECK_EQ(svc_stream_h(a.s), 1);
	CHECK_EQ(svc_stream_sent_h(a.s), 0);
	send(&service, "2");
	a.keep = true;
	pump();
	CHECK_EQ(svc_stream_sent_h(a.s), 1);
	CHECK_EQ(svc_stream_nr_unhandled(a.s), 1);
	CHECK_EQ(svc_stream_client_h(a.s, 2), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_client_h(a.s, 0), 0);
	CHECK_EQ(svc_stream_nr_unhandled(a.s), 1);
	CHECK_EQ(svc_stream_client_h(a.s, 1), 0);
	CHECK_EQ(svc_stream_client_h(a.s, 1), 0);
	pump();
	CHECK_STR(heard(&service), "1:1 2:2 acked:1 3:3 acked:2");
	take_down();
}

/* As after so many more stanzas, each way, all of them acknowledged. */
static void wind_on(uint32_t nr)
{
	struct svc_stream *ends[] = { a.s, service.s };

	for (size_t i = 0; i < 2; i++) {
		ends[i]->out.seq += nr;
		ends[i]->out.acked += nr;
		ends[i]->out.reached += nr;
		ends[i]->in.received += nr;
		ends[i]->in.row += nr;
	}
}

/* XEP-0198 section 4. What stands before <enable/> and is handled after it counts as nothing, and not as a count that has gone half round.
 */
static void counts_go_on_past_half_and_wrap(void)
{
	set_up();
	open_client();
	service.keep = true;
	send(&a, "1");
	CHECK_EQ(svc_stream_enable(a.s, 60), 0);
	pump();
	CHECK_EQ(svc_stream_h(a.s), 0);
	CHECK_EQ(svc_stream_ack(service.s, 1), 0);
	pump();
	CHECK_EQ(svc_stream_h(a.s), 0);
	wind_on(UINT32_MAX / 2 + 5);
	service.keep = false;
	send(&a, "2");
	send(&service, "1");
	pump();
	CHECK_EQ(svc_stream_h(a.s), UINT32_MAX / 2 + 6);
	CHECK_EQ(svc_stream_sent_h(a.s), UINT32_MAX / 2 + 6);
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	resume_at(&b_tip, UINT32_MAX / 2 + 6);
	CHECK_EQ(svc_stream_h(b.s), UINT32_MAX / 2 + 6);
	a.s = b.s;
	wind_on(UINT32_MAX / 2 - 6);
	send(&b, "3");
	pump();
	CHECK_EQ(svc_stream_h(b.s), UINT32_MAX);
	send(&b, "4");
	pump();
	CHECK_EQ(svc_stream_h(b.s), 0);
	take_down();
}

/* A stanza of which a part has gone stands before <enabled/>, one that has not stands after it. */
static void enabled_keeps_its_place(void)
{
	size_t n = 200000;
	char *xml = malloc(n);

	memset(xml, 'l', n);
	set_up();
	open_client();
	CHECK_EQ(svc_stream_send(service.s, xml, n, 0, NULL), 0);
	send(&service, "after");
	svc_link_flush(service_a.l, now);
	CHECK_EQ(svc_stream_enable(a.s, 60), 0);
	pump();
	CHECK_STR(heard(&a), "1:llllllll enabled:60 2:after");
	CHECK_EQ(svc_stream_sent_h(a.s), 1);
	take_down();
	free(xml);
}

/* ENABLE overtakes what waits for credit: the service answers when all that the client sent before is there, so that none of it can be lost
 * with the gateway while its count goes on. */
static void what_came_before_is_there_first(void)
{
	size_t n = 200000;
	char *xml = malloc(n);

	memset(xml, 'l', n);
	set_up();
	open_client();
	CHECK_EQ(svc_stream_send(a.s, xml, n, 0, NULL), 0);
	CHECK_EQ(svc_stream_enable(a.s, 60), 0);
	flush_all();
	deliver_one(&a_tip);
	CHECK_EQ(service.s->sm, SM_PENDING);
	cut(&a_tip, &service_a); /* and is asked again */
	reconnect(&service_a);
	CHECK_STR(heard(&service), "detached attached 1:llllllll");
	CHECK_STR(heard(&a), "detached attached enabled:60 acked:1");
	CHECK_EQ(svc_stream_h(a.s), 0);
	take_down();
	free(xml);
}

static void a_lost_enable_is_asked_again(void)
{
	set_up();
	open_client();
	CHECK_EQ(svc_stream_enable(a.s, 60), 0);
	cut(&a_tip, &service_a);
	send(&a, "1");
	reconnect(&service_a);
	CHECK_STR(heard(&a), "detached attached enabled:60 acked:1");
	CHECK_EQ(svc_stream_h(a.s), 1);
	take_down();
}

static void a_lost_enabled_comes_with_attached(void)
{
	set_up();
	open_client();
	CHECK_EQ(svc_stream_enable(a.s, 60), 0);
	svc_link_flush(a_tip.l, now);
	deliver_one(&a_tip);
	CHECK_EQ(service.s->sm, SM_ON);
	send(&service, "1");
	cut(&a_tip, &service_a);
	reconnect(&service_a);
	CHECK_STR(heard(&a), "detached attached enabled:60 1:1");
	CHECK_EQ(svc_stream_sent_h(a.s), 1);
	take_down();
}

/* ---- resumption ---- */

static void detached_and_resumed_elsewhere(void)
{
	set_up();
	open_enabled();
	a.keep = true;
	send(&service, "1");
	send(&service, "2");
	send(&a, "1");
	pump();
	CHECK_EQ(svc_stream_client_h(a.s, 1), 0);
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	CHECK_STR(heard(&a), "2:1 3:2 acked:2"); /* no end of it is told */
	CHECK_STR(heard(&service), "2:1 acked:2 detached");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	send(&service, "3");
	resume_at(&b_tip, 1);
	CHECK_STR(heard(&b), "resumed:1 3:2 4:3");
	CHECK_STR(heard(&service), "back acked:4");
	CHECK_EQ(svc_stream_sent_h(b.s), 3);
	send(&b, "2");
	pump();
	CHECK_EQ(svc_stream_h(b.s), 2);
	CHECK_STR(heard(&service), "3:2");
	take_down();
}

/* The first gateway is alive and does not know yet: it is told, and what it still sends is dropped. */
static void the_last_to_resume_wins(void)
{
	set_up();
	open_enabled();
	send(&a, "late"); /* in the gateway when the client is already elsewhere */
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:1");
	CHECK_STR(heard(&service), "2:late detached back");
	CHECK_STR(heard(&a), "acked:2 closed:conflict,0");
	send(&b, "2");
	cut(&b_tip, &service_b);
	resume_at(&a_tip, 0);
	CHECK_STR(heard(&a), "resumed:1");
	reconnect(&service_b);
	CHECK_STR(heard(&b), "detached closed:conflict,1"); /* an older generation is let go */
	take_down();
}

static void what_crosses_the_fence_is_dropped(void)
{
	struct svc_resume r = { .stream_id = juliet, .bare_jid = "juliet@b.example" };

	set_up();
	open_enabled();
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	send(&a, "late");
	svc_link_flush(a_tip.l, now);
	svc_link_flush(b_tip.l, now);
	deliver_one(&b_tip);
	pump();
	CHECK_STR(heard(&service), "detached back");
	CHECK_STR(heard(&a), "closed:conflict,1");
	CHECK_STR(heard(&b), "resumed:0");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	take_down();
}

/* An older attempt to resume arrives last and wins; what the client had meanwhile still counts. */
static void a_late_attempt_forgets_nothing(void)
{
	struct svc_resume r = { .stream_id = juliet, .bare_jid = "juliet@b.example" };
	char xml[9000];
	size_t held;

	memset(xml, 'x', sizeof(xml));
	set_up();
	open_enabled();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	for (int i = 0; i < 7; i++)
		CHECK_EQ(svc_stream_send(service.s, xml, sizeof(xml), 0, NULL), 0);
	a.keep = b.keep = true;
	CHECK_EQ(svc_stream_detach(svc_stream_resume(b_tip.l, &r, NULL)), 0); /* the client has given that up */
	svc_link_flush(b_tip.l, now);
	held = b_tip.head;
	b_tip.head = b_tip.tail; /* it is on its way for long */
	resume_at(&a_tip, 0);
	CHECK_EQ(svc_stream_sent_h(a.s), 7);
	heard(&a);
	b_tip.head = held;
	pump();
	CHECK_STR(heard(&a), "closed:conflict,0");
	resume_at(&a_tip, 7);
	CHECK_STR(heard(&a), "resumed:0");
	take_down();
}

/* The client may leave out what it sent before, so the count must be final. */
static void resumed_only_when_all_is_handled(void)
{
	set_up();
	open_enabled();
	service.keep = true;
	send(&a, "1");
	send(&a, "2");
	pump();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	CHECK_EQ(svc_stream_ack(service.s, 3), 0);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "");
	CHECK_EQ(svc_stream_send(b.s, "x", 1, 0, NULL), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_ack(service.s, 2), 0);
	pump();
	CHECK_STR(heard(&b), "resumed:2");
	take_down();
}

static void a_service_that_never_handles_it(void)
{
	set_up();
	open_enabled();
	service.keep = true;
	send(&a, "1");
	pump();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	heard(&service);
	resume_at(&b_tip, 0);
	pass(SVC_DRAIN_MS + 1000);
	CHECK_STR(heard(&b), "refused:resource-constraint");
	CHECK_STR(heard(&service), "back detached");
	CHECK_EQ(svc_stream_ack(service.s, 2), 0);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:1");
	take_down();
}

static void who_may_not_resume(void)
{
	struct svc_resume r = { .stream_id = juliet, .bare_jid = "romeo@b.example" };

	set_up();
	open_enabled();
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	pump();
	CHECK_STR(heard(&b), "refused:item-not-found"); /* another user */
	r.bare_jid = "juliet@b.exampl";
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	pump();
	CHECK_STR(heard(&b), "refused:item-not-found");
	r.bare_jid = "juliet@b.example";
	r.stream_id.b[5] = 1;
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	pump();
	CHECK_STR(heard(&b), "refused:item-not-found"); /* no such stream */
	send(&service, "1");
	pump();
	resume_at(&b_tip, 2);
	CHECK_STR(heard(&b), "refused:undefined-condition h=0,sent=1"); /* more than was sent */
	resume_at(&b_tip, UINT32_MAX - 400000);
	CHECK_STR(heard(&b), "refused:undefined-condition h=0,sent=1");
	CHECK_STR(heard(&service), "acked:2"); /* none of that has touched the session */
	CHECK(a.s != NULL && svc_stream_link(service.s) == service_a.l);
	take_down();
}

static void nobody_resumes_what_was_not_enabled(void)
{
	set_up();
	open_client();
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "refused:item-not-found");
	CHECK_EQ(svc_stream_detach(a.s), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_stream_enable(a.s, 0), 0); /* acknowledgements, but no resumption */
	pump();
	CHECK_STR(heard(&a), "enabled:0");
	CHECK_EQ(svc_stream_detach(a.s), SVCPROTO_E_INVALID);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "refused:item-not-found");
	take_down();
}

static void too_late(void)
{
	set_up();
	open_enabled();
	a.keep = true;
	send(&service, "1");
	pump();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	send(&service, "2");
	heard(&service);
	pass(299000);
	CHECK_STR(heard(&service), "");
	pass(3000);
	CHECK_STR(heard(&service), "closed:connection-timeout,2"); /* both are the owner's again */
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "refused:item-not-found");
	take_down();
}

/* A gateway that dies without a word: its link goes, and a client resumes elsewhere or, much later, nobody does. */
static void a_gateway_dies(void)
{
	set_up();
	open_enabled();
	send(&service, "1");
	cut(&a_tip, &service_a);
	b.keep = true;
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:0 2:1");
	heard(&service);
	cut(&b_tip, &service_b);
	pass(SVC_WAIT_SERVICE_MS + 2000);
	CHECK_STR(heard(&service), "detached"); /* still to be resumed */
	CHECK_EQ(service.s->place, PLACE_DETACHED);
	pass(300000);
	CHECK_STR(heard(&service), "closed:connection-timeout,1");
	take_down();
}

static void kept_streams_are_bounded(void)
{
	const struct svc_hub_limits limits = { .detached_max = 1, .detached_bytes_max = 1000 };
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = { { 0xb0 } }, .bare_jid = "juliet@b.example" };
	char xml[600] = { 0 };

	set_up_with(&limits);
	open_enabled();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	CHECK_EQ(svc_stream_send(service.s, xml, sizeof(xml), 0, NULL), 0);
	CHECK_EQ(svc_stream_send(service.s, xml, sizeof(xml), 0, NULL), SVCPROTO_E_FULL);
	a.s = svc_stream_open(a_tip.l, &o, NULL);
	pump();
	CHECK_EQ(svc_stream_enable(a.s, 300), 0);
	pump();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	heard(&service);
	svc_hub_tick(service.hub, now);
	CHECK_STR(heard(&service), "closed:connection-timeout,1"); /* the older one */
	CHECK_EQ(svc_hub_nr_waiting(service.hub), 1);
	take_down();
}

/* The client leaves while the link is down, or while it resumes: the service hears of it as soon as it can. */
static void detach_waits_for_the_link(void)
{
	set_up();
	open_enabled();
	send(&a, "lost with the gateway's buffer");
	cut(&a_tip, &service_a);
	CHECK_EQ(svc_stream_detach(a.s), 0);
	heard(&a);
	heard(&service);
	reconnect(&service_a);
	CHECK_STR(heard(&a), "");
	CHECK_STR(heard(&service), "attached detached");
	CHECK_EQ(svc_link_nr_streams(a_tip.l) + svc_link_nr_streams(service_a.l), 0);
	CHECK_EQ(svc_hub_nr_waiting(a.hub), 0);
	resume_at(&b_tip, 0);
	CHECK_STR(heard(&b), "resumed:0");
	take_down();
}

static void a_resumption_ends_with_its_link(void)
{
	struct svc_resume r = { .stream_id = juliet, .bare_jid = "juliet@b.example" };

	set_up();
	open_enabled();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	pump();
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	svc_link_flush(b_tip.l, now);
	deliver_one(&b_tip);
	cut(&b_tip, &service_b);
	CHECK_STR(heard(&b), "closed:" SVC_LINK_LOST ",0");
	reconnect(&service_b);
	svc_hub_tick(service.hub, now);
	heard(&service);
	resume_at(&a_tip, 0);
	CHECK_STR(heard(&a), "resumed:0");
	take_down();
}

/* The numbers wrap at 2^32, before and after. */
static void over_the_wrap(void)
{
	set_up();
	open_client();
	a.s->out.seq = a.s->out.acked = service.s->in.received = service.s->in.row = UINT32_MAX - 1;
	service.s->out.seq = service.s->out.acked = service.s->out.reached = a.s->in.received = a.s->in.row = UINT32_MAX - 1;
	CHECK_EQ(svc_stream_enable(a.s, 300), 0);
	pump();
	heard(&a);
	for (int i = 0; i < 4; i++) {
		send(&a, "x");
		send(&service, "y");
	}
	a.keep = true;
	pump();
	CHECK_EQ(svc_stream_h(a.s), 4);
	CHECK_EQ(svc_stream_sent_h(a.s), 4);
	cut(&a_tip, &service_a);
	resume_at(&b_tip, 3);
	CHECK_EQ(svc_stream_h(b.s), 4);
	CHECK_STR(heard(&b), "resumed:4 2:y");
	take_down();
}

int main(void)
{
	RUN(counts_begin_at_enable);
	RUN(counts_go_on_past_half_and_wrap);
	RUN(enabled_keeps_its_place);
	RUN(what_came_before_is_there_first);
	RUN(a_lost_enable_is_asked_again);
	RUN(a_lost_enabled_comes_with_attached);
	RUN(detached_and_resumed_elsewhere);
	RUN(the_last_to_resume_wins);
	RUN(what_crosses_the_fence_is_dropped);
	RUN(a_late_attempt_forgets_nothing);
	RUN(resumed_only_when_all_is_handled);
	RUN(a_service_that_never_handles_it);
	RUN(who_may_not_resume);
	RUN(nobody_resumes_what_was_not_enabled);
	RUN(too_late);
	RUN(a_gateway_dies);
	RUN(kept_streams_are_bounded);
	RUN(detach_waits_for_the_link);
	RUN(a_resumption_ends_with_its_link);
	RUN(over_the_wrap);
	return check_done("svcproto/resume");
}
