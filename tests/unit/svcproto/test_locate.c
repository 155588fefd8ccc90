/* LOCATE and LOCATED: there and back, by the right sides only, and never across epochs. */
#include "pair.h"

#include <string.h>

#include "tests/unit/check.h"

static struct pair p;

static void asked_and_answered(void)
{
	struct svc_located m = { .request = 7, .see_other_host = "gw2.example.org:5222" };

	pair_init(&p, NULL, NULL);
	CHECK_EQ(svc_link_locate(p.gw.l, 7, "juliet@example.org"), SVCPROTO_E_CLOSED);
	pair_up(&p);
	CHECK_EQ(svc_link_locate(p.gw.l, 7, "juliet@example.org"), 0);
	CHECK_EQ(svc_link_locate(p.gw.l, 8, "romeo@example.org"), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "locate 7 juliet@example.org; locate 8 romeo@example.org");
	CHECK_EQ(svc_link_located(p.sv.l, &(struct svc_located){ .request = 8, .here = true }), 0);
	CHECK_EQ(svc_link_located(p.sv.l, &m), 0);
	CHECK_EQ(svc_link_located(p.sv.l, &(struct svc_located){ .request = 9 }), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "located 8 - here; located 7 gw2.example.org:5222; located 9 -");
	pair_clear(&p);
}

static void wrong_sides(void)
{
	char jid[2049];

	pair_init(&p, NULL, NULL);
	pair_up(&p);
	memset(jid, 'j', sizeof(jid) - 1);
	jid[sizeof(jid) - 1] = '\0';
	CHECK_EQ(svc_link_locate(p.sv.l, 1, "a@b"), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_located(p.gw.l, &(struct svc_located){ .request = 1 }), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_locate(p.gw.l, 1, NULL), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_locate(p.gw.l, 0, "a@b"), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_located(p.sv.l, &(struct svc_located){ .request = 0 }), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_locate(p.gw.l, 1, jid), SVCPROTO_E_INVALID);
	pair_inject(&p, &p.gw, WIRE_LOCATE, 0, 0, 1, NULL, 0);
	CHECK_STR(pair_log(&p.gw), "down a frame that only the other side may send");
	pair_clear(&p);
}

static void broken_bodies(void)
{
	pair_init(&p, NULL, NULL);
	pair_up(&p);
	pair_inject(&p, &p.sv, WIRE_LOCATE, 0, 0, 1, NULL, 0);
	CHECK_STR(pair_log(&p.sv), "down a required property is missing");
	pair_clear(&p);
}

/* The service's program that does not know the question answers at once. */
static void nobody_to_ask(void)
{
	struct svc_link_ops mute;

	pair_init(&p, NULL, NULL);
	mute = *p.sv.l->ops;
	mute.locate = NULL;
	p.sv.l->ops = &mute;
	pair_up(&p);
	CHECK_EQ(svc_link_locate(p.gw.l, 3, "a@b"), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "located 3 -");
	pair_clear(&p);
}

int main(void)
{
	RUN(asked_and_answered);
	RUN(wrong_sides);
	RUN(broken_bodies);
	RUN(nobody_to_ask);
	return check_done("svcproto/locate");
}
