/* Memory that runs out at any single allocation, or for good: nothing crashes, leaks or lies, and with memory back the link goes on. */
#include "fail.h"
#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"

static struct pair p;
static char big[100000];

static void scenario(void)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .bare_jid = "a@b" };
	struct svc_stream *s[8];

	(void)svc_link_start(p.sv.l, p.now);
	pair_pump(&p);
	for (int i = 0; i < 8; i++)
		if ((s[i] = svc_stream_open(p.gw.l, &o, NULL)) != NULL) {
			(void)svc_stream_send(s[i], "<x/>", 4, 0, NULL);
			(void)svc_stream_send_reject(s[i], big, sizeof(big), "cancel", "conflict", NULL);
		}
	pair_pump(&p);
	if (p.sv.last != NULL) {
		for (int i = 0; i < 100; i++)
			(void)svc_stream_send(p.sv.last, "<y/>", 4, 0, NULL);
		(void)svc_stream_send(p.sv.last, big, sizeof(big), 0, NULL);
	}
	p.gw.auto_ack = false;
	pair_pump(&p);
	if (p.gw.last != NULL)
		for (uint32_t i = 101; i > 0; i--)
			(void)svc_stream_ack(p.gw.last, i);
	pair_pump(&p);
	p.gw.auto_ack = true;
	if (p.sv.last != NULL)
		(void)svc_stream_close(p.sv.last, "conflict", "replaced");
	pair_pump(&p);
}

/* With memory back: one stream, one stanza there, one back. */
static void recovers(void)
{
	struct svc_stream *s;
	int i;

	fail_countdown = -1;
	for (i = 0; i < 40 && !(i > 2 && svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l)); i++) {
		if (i == 20 && !svc_link_is_up(p.sv.l))
			(void)svc_link_start(p.sv.l, p.now);
		pair_tick(&p, 500);
		pair_pump(&p);
	}
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	s = pair_open(&p, "z@z");
	CHECK(s != NULL && p.sv.last != NULL);
	if (s == NULL || p.sv.last == NULL)
		return;
	pair_log(&p.sv);
	pair_log(&p.gw);
	CHECK_EQ(svc_stream_send(s, "<a/>", 4, 0, NULL) + svc_stream_send(p.sv.last, "<b/>", 4, 0, NULL), 0);
	pair_pump(&p);
	CHECK(strstr(pair_log(&p.sv), "stanza 1 <a/>:4") != NULL);
	CHECK(strstr(pair_log(&p.gw), "stanza 1 <b/>:4") != NULL);
}

static void one_after_another(void)
{
	long n = 0;

	memset(big, 'x', sizeof(big));
	do {
		fail_countdown = -1;
		pair_init(&p, NULL, NULL);
		fail_happened = false;
		fail_countdown = n++;
		scenario();
		recovers();
		if (check_bad_)
			fprintf(stderr, "with allocation %ld failing (%d)\n", n - 1, fail_for_good);
		pair_clear(&p);
	} while (fail_happened && !check_bad_);
	fprintf(stderr, "%ld allocations\n", n - 1);
	CHECK(n > 100);
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

static void no_link(void)
{
	fail_for_good = false;
	fail_countdown = 0;
	CHECK(svc_link_new(SVC_GATEWAY, &(struct svc_hello){ .name = "x" }, NULL, NULL) == NULL);
}

int main(void)
{
	RUN(no_link);
	RUN(one_fails);
	RUN(all_fail_from_there);
	return check_done("svcproto/oom");
}
