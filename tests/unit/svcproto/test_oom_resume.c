/* Memory that runs out while streams lose their links, wait, are attached again and resumed: nothing crashes, leaks or lies, and with
 * memory back a client comes through. */
#include "fail.h"
#include "stage.h"

#include <stdlib.h>

#include "tests/unit/check.h"

static struct svc_stream *client(struct tip *t, uint8_t nr)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = { { nr } }, .bare_jid = "juliet@b.example" };

	return svc_stream_open(t->l, &o, NULL);
}

/* Links come back as they do for a member: whoever is down says HELLO, until memory allows it. */
static void reconnect_all(void)
{
	struct tip *tips[] = { &service_a, &service_b };

	for (int round = 0; round < 30; round++) {
		now += 1000;
		for (int i = 0; i < 2; i++)
			if (tips[i]->l->state == LINK_IDLE)
				(void)svc_link_start(tips[i]->l, now);
		for (int i = 0; i < 2; i++) {
			(void)svc_link_tick(tips[i]->l, now);
			(void)svc_link_tick(tips[i]->far->l, now);
		}
		pump();
		if (svc_link_is_up(service_a.l) && svc_link_is_up(service_b.l) && svc_link_is_up(a_tip.l) && svc_link_is_up(b_tip.l))
			return;
	}
}

static void scenario(void)
{
	struct svc_resume r = { .stream_id = { { 1 } }, .bare_jid = "juliet@b.example" };

	a.s = client(&a_tip, 1);
	pump();
	if (a.s != NULL)
		(void)svc_stream_send(a.s, "<x/>", 4, 0, NULL);
	if (a.s != NULL)
		(void)svc_stream_enable(a.s, 60);
	pump();
	if (service.s != NULL)
		for (int i = 0; i < 5; i++)
			(void)svc_stream_send(service.s, "<y/>", 4, 0, NULL);
	cut(&a_tip, &service_a);
	reconnect_all();
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	pump();
	cut(&b_tip, &service_b);
	reconnect_all();
}

static void recovers(void)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = { { 9 } }, .bare_jid = "juliet@b.example" };
	struct svc_resume r = { .stream_id = o.stream_id, .bare_jid = o.bare_jid };

	fail_countdown = -1;
	reconnect_all();
	a.s = svc_stream_open(a_tip.l, &o, NULL);
	pump();
	CHECK(a.s != NULL && svc_stream_enable(a.s, 60) == 0);
	pump();
	heard(&a);
	CHECK(svc_stream_detach(a.s) == 0);
	pump();
	heard(&b);
	b.s = svc_stream_resume(b_tip.l, &r, NULL);
	pump();
	CHECK_STR(heard(&b), "resumed:0");
}

static void one_after_another(void)
{
	long n = 0;

	do {
		fail_countdown = -1;
		set_up();
		fail_happened = false;
		fail_countdown = n++;
		scenario();
		recovers();
		if (check_bad_)
			fprintf(stderr, "with allocation %ld failing (%d)\n", n - 1, fail_for_good);
		take_down();
	} while (fail_happened && !check_bad_);
	fprintf(stderr, "%ld allocations\n", n - 1);
	CHECK(n > 50);
}

static void one_fails(void)
{
	fail_for_good = false;
	one_after_another();
}

static void all_fail_from_there(void)
{
	fail_for_good = true;
	one_after_another();
}

int main(void)
{
	RUN(one_fails);
	RUN(all_fail_from_there);
	return check_done("svcproto/oom_resume");
}
