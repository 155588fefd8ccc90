/* ADMIN and ADMIN_REPLY through two engines: there, back in parts, and what neither side takes. */
#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"

static struct pair p;

static const struct svcproto_property args[] = { { "domain", "example.org" }, { "limit", "" } };

static void begin(void)
{
	pair_init(&p, NULL, NULL);
	pair_up(&p);
}

static void a_question_and_its_answer(void)
{
	static const struct svcproto_property row[] = { { "jid", "juliet@example.org/na\xc3\xafve" } };

	begin();
	CHECK_EQ(svc_link_admin(p.sv.l, 7, "streams", args, 2), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.gw), "admin streams domain=example.org limit=");
	CHECK_EQ(svc_link_admin_reply(p.gw.l, 7, true, NULL, row, 1), 0);
	CHECK_EQ(svc_link_admin_reply(p.gw.l, 7, true, NULL, NULL, 0), 0);
	CHECK_EQ(svc_link_admin_reply(p.gw.l, 7, false, "too many", NULL, 0), 0);
	pair_pump(&p);
	CHECK_STR(pair_log(&p.sv), "reply 7 more jid=juliet@example.org/na\xc3\xafve; reply 7 more; reply 7 too many");
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

static void nobody_asks_from_the_wrong_side(void)
{
	begin();
	CHECK_EQ(svc_link_admin(p.gw.l, 1, "status", NULL, 0), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_admin_reply(p.sv.l, 1, false, NULL, NULL, 0), SVCPROTO_E_INVALID);
	svc_link_break(p.sv.l, "by hand", p.now);
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "status", NULL, 0), SVCPROTO_E_CLOSED);
	pair_clear(&p);
}

static void what_the_peer_would_not_take_is_not_sent(void)
{
	char *value = malloc(SVC_ADMIN_VALUE_MAX + 2);
	struct svcproto_property many[SVC_ADMIN_PROPS_MAX + 1], one = { "name", "value" };
	static const struct svcproto_property twice[] = { { "a", "1" }, { "a", "2" } };

	begin();
	if (value == NULL)
		return;
	CHECK_EQ(svc_link_admin(p.sv.l, 0, "status", NULL, 0), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "", NULL, 0), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "a-command-that-is-longer-than-it-may", NULL, 0), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "status", twice, 2), SVCPROTO_E_INVALID);
	for (size_t i = 0; i <= SVC_ADMIN_PROPS_MAX; i++)
		many[i] = one;
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "status", many, SVC_ADMIN_PROPS_MAX + 1), SVCPROTO_E_INVALID);
	static const char *const bad[] = { "", "Name", "na me", "!name", "command", "error", "a-name-that-is-longer-than-it-may-be" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		one.name = bad[i];
		CHECK_EQ(svc_link_admin(p.sv.l, 1, "status", &one, 1), SVCPROTO_E_INVALID);
	}
	one = (struct svcproto_property){ "name", "\xff" };
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "status", &one, 1), SVCPROTO_E_INVALID);
	memset(value, 'v', SVC_ADMIN_VALUE_MAX + 1);
	value[SVC_ADMIN_VALUE_MAX + 1] = '\0';
	one.value = value;
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "status", &one, 1), SVCPROTO_E_INVALID);
	value[SVC_ADMIN_VALUE_MAX] = '\0';
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "status", &one, 1), 0);
	for (int i = 0; i < 3; i++) /* more than a body holds */
		many[i] = (struct svcproto_property){ i == 0 ? "n0" : i == 1 ? "n1" : "n2", value };
	CHECK_EQ(svc_link_admin(p.sv.l, 1, "status", many, 3), SVCPROTO_E_INVALID);
	CHECK_EQ(svc_link_admin_reply(p.gw.l, 1, true, "an error that is not the last part", NULL, 0), SVCPROTO_E_INVALID);
	pair_pump(&p);
	CHECK(svc_link_is_up(p.gw.l) && svc_link_is_up(p.sv.l));
	free(value);
	pair_clear(&p);
}

/* One hand-made frame to the gateway; true if the epoch ended by it. */
static bool breaks(uint8_t flags, uint32_t request, const char *body, size_t n)
{
	bool up;

	begin();
	pair_inject(&p, &p.gw, WIRE_ADMIN, flags, 0, request, body, (uint32_t)n);
	up = svc_link_is_up(p.gw.l);
	pair_clear(&p);
	return !up;
}

static void broken_frames_end_the_epoch(void)
{
	CHECK(!breaks(0, 1, "\7command\0\0\0\6status", 18));
	CHECK(breaks(0, 0, "\7command\0\0\0\6status", 18));                        /* no request number */
	CHECK(breaks(1, 1, "\7command\0\0\0\6status", 18));                        /* MORE is the answer's */
	CHECK(breaks(0, 1, "", 0));                                                /* no command */
	CHECK(breaks(0, 1, "\7command\0\0\0\0", 12));                              /* an empty one */
	CHECK(breaks(0, 1, "\7command\0\0\0\6status\1a\0\0\0\0011\1a\0\0\0\0012", 32)); /* twice */
	CHECK(breaks(0, 1, "\7command\0\0\0\6status\1a\0\0\0\1\xff", 25));         /* no UTF-8 */
	CHECK(breaks(0, 1, "\7command\0\0\0\6status\2!a\0\0\0\1b", 26));           /* critical */
	CHECK(breaks(0, 1, "\7command\0\0\0\6status\1a\0\0\0\2b", 25));            /* cut */
}

static void too_many_properties_end_the_epoch(void)
{
	char body[1024] = "\7command\0\0\0\6status";
	size_t n = 18;

	for (unsigned i = 0; i <= SVC_ADMIN_PROPS_MAX; i++) {
		body[n++] = 2;
		body[n++] = (char)('a' + i / 10);
		body[n++] = (char)('0' + i % 10);
		memset(body + n, 0, 4);
		n += 4;
		CHECK_EQ(breaks(0, 1, body, n), i == SVC_ADMIN_PROPS_MAX);
	}
}

static void answers_belong_to_the_gateway(void)
{
	begin();
	pair_inject(&p, &p.gw, WIRE_ADMIN_REPLY, 0, 0, 1, NULL, 0);
	CHECK(!svc_link_is_up(p.gw.l));
	pair_clear(&p);
	begin();
	pair_inject(&p, &p.sv, WIRE_ADMIN_REPLY, WIRE_MORE, 0, 1, "\5error\0\0\0\2no", 12);
	CHECK(!svc_link_is_up(p.sv.l));
	pair_clear(&p);
}

int main(void)
{
	RUN(a_question_and_its_answer);
	RUN(nobody_asks_from_the_wrong_side);
	RUN(what_the_peer_would_not_take_is_not_sent);
	RUN(broken_frames_end_the_epoch);
	RUN(too_many_properties_end_the_epoch);
	RUN(answers_belong_to_the_gateway);
	return check_done("svcproto/admin");
}
