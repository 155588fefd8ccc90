/* An ACK that waits for company when its stream leaves the link; and one that does not wait, since no share is left for its sender. */
#include "stage.h"

#include "tests/unit/check.h"

static bool waits(const struct tip *t)
{
	return !TAILQ_EMPTY(&t->l->lazy);
}

/* The next stanza each way has come, is handled, and neither sender has heard of that. */
static void both_wait(void)
{
	a.keep = service.keep = true;
	send(&a, "x");
	send(&service, "x");
	exchange();
	CHECK_EQ(svc_stream_ack_through(a.s, a.s->in.received), 0);
	CHECK_EQ(svc_stream_ack_through(service.s, service.s->in.received), 0);
	exchange();
	CHECK(waits(&a_tip) && waits(&service_a));
	CHECK_EQ(a.s->out.nr, 1);
	CHECK_EQ(service.s->out.nr, 1);
	heard(&a);
	heard(&service);
}

/* It goes down with the link; the position says it instead, and once. */
static void reattached(void)
{
	set_up();
	open_client();
	both_wait();
	cut(&a_tip, &service_a);
	CHECK(!waits(&a_tip) && !waits(&service_a));
	CHECK_STR(heard(&a), "detached");
	CHECK_STR(heard(&service), "detached");
	now += 10000;
	CHECK_EQ(svc_link_start(service_a.l, now), 0);
	exchange();
	CHECK_STR(heard(&a), "attached acked:1");
	CHECK_STR(heard(&service), "attached acked:1");
	CHECK(!waits(&a_tip) && !waits(&service_a));
	both_wait(); /* from there on as before */
	pump();
	CHECK_STR(heard(&a), "acked:2");
	CHECK_STR(heard(&service), "acked:2");
	take_down();
}

/* The gateway that is fenced hears it before the CLOSE, and what it has to say itself comes too late to count: the client says it again. */
static void resumed_elsewhere(void)
{
	struct svc_resume r = { .stream_id = juliet, .bare_jid = "juliet@b.example" };

	set_up();
	open_enabled();
	both_wait();
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	CHECK(b.s != NULL);
	exchange();
	CHECK_STR(heard(&a), "acked:2 closed:conflict,0");
	CHECK_STR(heard(&service), "detached back");
	CHECK_STR(heard(&b), "resumed:1 2:x");
	CHECK(!waits(&a_tip) && !waits(&service_a));
	pump();
	CHECK_STR(heard(&service), "acked:2");
	take_down();
}

/* The gateway's goes before DETACH. The service's has nobody to go to, and is in the count when the client comes back. */
static void detached(void)
{
	set_up();
	open_enabled();
	both_wait();
	CHECK_EQ(svc_stream_detach(a.s), 0);
	exchange();
	CHECK_STR(heard(&a), "");
	CHECK_STR(heard(&service), "acked:2 detached");
	CHECK(!waits(&a_tip) && !waits(&service_a));
	resume_at(&b_tip, 1);
	CHECK_STR(heard(&b), "resumed:1");
	CHECK_STR(heard(&service), "back");
	take_down();
}

/* A service that hangs leaves so little for all others that they may have one stanza on the way: what they then wait for does not wait. */
static void without_a_share(void)
{
	enum { MAX = 10000, HOG = 9000, SIZE = 200 };
	static const char xml[HOG];
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = { { 0xc0 } }, .bare_jid = "romeo@b.example" };
	struct svc_stream *hog, *far;

	set_up();
	a.hub->limits.held_bytes_max = MAX;
	service.keep = true;
	open_client();
	far = service.s;
	hog = svc_stream_open(a_tip.l, &o, NULL);
	CHECK(hog != NULL);
	pump();
	CHECK_EQ(svc_stream_send(hog, xml, HOG, 0, NULL), 0);

	send(&a, "small"); /* a score like this may be on the way */
	CHECK(svc_stream_can_send(a.s));
	exchange();
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	exchange();
	CHECK_EQ(a.s->out.acked, 0);
	pump();
	CHECK_EQ(a.s->out.acked, 1);

	for (uint32_t i = 2; i < 5; i++) {
		CHECK_EQ(svc_stream_send(a.s, xml, SIZE, 0, NULL), 0);
		CHECK(!svc_stream_can_send(a.s));
		exchange();
		CHECK_EQ(svc_stream_ack(far, i), 0);
		exchange();
		CHECK_EQ(a.s->out.acked, i);
	}
	CHECK_EQ(svc_stream_close(hog, NULL, NULL), 0);
	pump();
	CHECK_EQ(svc_hub_held_bytes(a.hub), 0);
	CHECK_EQ(svc_stream_send(a.s, xml, SIZE, 0, NULL), 0);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 5), 0);
	exchange();
	CHECK_EQ(a.s->out.acked, 4);
	take_down();
}

int main(void)
{
	RUN(reattached);
	RUN(resumed_elsewhere);
	RUN(detached);
	RUN(without_a_share);
	return check_done("svcproto/waiting");
}
