/* svcproto_admin() against a fake gateway: answers in parts, refusals, limits, and a link that ends before the answer does. */
#include "check.h"
#include "svcclient/fake_gateway.h"

static struct cluster c;
static struct fake_gateway g;
static struct service s;
static const struct turn all = { .fn = fake_gateway_turn, .arg = &g, .services = { &s } };

static unsigned rows, ends, lasts;
static char error[256], value[64], answered_by[40];

static void on_reply(void *arg, const struct svcproto_reply *r)
{
	(void)arg;
	rows += r->more;
	ends += !r->more;
	snprintf(error, sizeof(error), "%s", r->error != NULL ? r->error : "");
	snprintf(answered_by, sizeof(answered_by), "%s", r->gateway);
	if (svcproto_reply_get(r, "domain") != NULL)
		snprintf(value, sizeof(value), "%s", svcproto_reply_get(r, "domain"));
	lasts += svcproto_reply_get(r, "none") != NULL;
}

static char id[40];
static bool is_linked;

static void on_gateway(void *arg, const struct svcproto_gateway *gw)
{
	(void)arg;
	snprintf(id, sizeof(id), "%s", gw->id);
	is_linked = gw->linked;
	CHECK_STR(gw->endpoint, g.endpoint);
}

static bool linked(void *arg)
{
	(void)arg;
	is_linked = false;
	return svcproto_each_gateway(s.sp, on_gateway, NULL) == 1 && is_linked;
}

static bool ended(void *arg)
{
	return ends >= *(unsigned *)arg;
}

static bool wait_for_ends(unsigned n)
{
	return turn_until(&all, ended, &n, 10000);
}

static void start(void)
{
	cluster_start(&c);
	fake_gateway_start(&g, &c, "tcp://127.0.0.1:*");
	rows = ends = lasts = 0;
	CHECK_EQ(service_start(&s, &c, cluster_path(&c, "admin.key")), 0);
	CHECK_EQ(svcproto_each_gateway(s.sp, NULL, NULL), SVCPROTO_E_NOREGISTRY);
	CHECK(turn_until(&all, linked, NULL, 10000));
	CHECK_EQ(strlen(id), 32);
}

static void stop(void)
{
	service_stop(&s);
	fake_gateway_stop(&g);
	cluster_stop(&c);
}

static const struct svcproto_property args[] = { { "domain", "example.org" } };

static void an_answer_in_parts(void)
{
	start();
	g.admin_rows = 3;
	CHECK_EQ(svcproto_admin(s.sp, id, "streams", args, 1, on_reply, NULL), 0);
	CHECK(wait_for_ends(1));
	CHECK(rows == 3 && ends == 1 && lasts == 0);
	CHECK_STR(g.asked_command, "streams");
	CHECK_STR(value, "example.org");
	CHECK_STR(answered_by, id);
	CHECK_STR(error, "");
	g.admin_error = "no";
	CHECK_EQ(svcproto_admin(s.sp, id, "kick", NULL, 0, on_reply, NULL), 0);
	CHECK(wait_for_ends(2));
	CHECK_STR(error, "no");
	stop();
}

static void what_is_not_asked(void)
{
	struct svcproto_property bad = { "Name", "x" };

	start();
	CHECK_EQ(svcproto_admin(s.sp, "00000000000000000000000000000000", "status", NULL, 0, on_reply, NULL), SVCPROTO_E_CLOSED);
	CHECK_EQ(svcproto_admin(s.sp, id, "status", &bad, 1, on_reply, NULL), SVCPROTO_E_INVALID);
	CHECK_EQ(svcproto_admin(s.sp, id, "", NULL, 0, on_reply, NULL), SVCPROTO_E_INVALID);
	g.admin_silent = true;
	for (int i = 0; i < 256; i++)
		CHECK_EQ(svcproto_admin(s.sp, id, "status", NULL, 0, on_reply, NULL), 0);
	CHECK_EQ(svcproto_admin(s.sp, id, "status", NULL, 0, on_reply, NULL), SVCPROTO_E_FULL);
	CHECK_EQ(ends, 0);
	stop(); /* with 256 open: none is called back */
	CHECK_EQ(ends, 0);
}

static bool asked(void *arg)
{
	(void)arg;
	return g.asked > 0;
}

static void a_link_that_ends(void)
{
	start();
	g.admin_silent = true;
	CHECK_EQ(svcproto_admin(s.sp, id, "status", NULL, 0, on_reply, NULL), 0);
	CHECK(turn_until(&all, asked, NULL, 10000));
	svc_link_break(fake_gateway_peer(&g)->engine, "restarting", test_now_ms());
	CHECK(wait_for_ends(1));
	CHECK_STR(error, "restarting");
	CHECK(turn_until(&all, linked, NULL, 10000)); /* and may be asked again */
	g.admin_silent = false;
	CHECK_EQ(svcproto_admin(s.sp, id, "status", NULL, 0, on_reply, NULL), 0);
	CHECK(wait_for_ends(2));
	CHECK_STR(error, "");
	stop();
}

int main(void)
{
	RUN(an_answer_in_parts);
	RUN(what_is_not_asked);
	RUN(a_link_that_ends);
	return check_done("svcclient.admin");
}
