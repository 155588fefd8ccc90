/* What a service answers to LOCATE serves every gateway for a time: it becomes a redirect, but in nobody's place. */
#include "check.h"
#include "svcclient/fake_gateway.h"

#include "svcproto/redirects.h"

static struct cluster c;
static struct fake_gateway g;
static struct service s;

static const struct turn all = { .fn = fake_gateway_turn, .arg = &g, .services = { &s } };

static bool linked(void *arg)
{
	(void)arg;
	return s.nr_gateways > 0 && fake_gateway_nr_up(&g) > 0;
}

static bool wait_for(const unsigned *counter, unsigned value)
{
	return turn_until_reached(&all, counter, value, 10000);
}

static void start(void)
{
	memset(&g, 0, sizeof(g));
	memset(&s, 0, sizeof(s));
	cluster_start(&c);
	fake_gateway_start(&g, &c, "tcp://127.0.0.1:*");
	CHECK_EQ(service_start(&s, &c, NULL), 0);
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, linked, NULL, 10000));
}

static void stop(void)
{
	service_stop(&s);
	fake_gateway_stop(&g);
	cluster_stop(&c);
}

static void ask(const char *bare_jid)
{
	static uint32_t number;

	CHECK_EQ(svc_link_locate(fake_gateway_peer(&g)->engine, ++number, bare_jid), 0);
	CHECK(wait_for(&s.nr_asked, s.nr_asked + 1));
	CHECK_STR(s.bare_jid, bare_jid);
}

static void answer(const char *host, uint32_t seconds, bool here)
{
	CHECK_EQ(svcproto_located(s.sp, s.asked, host, seconds, here), 0);
	CHECK(wait_for(&g.located, g.located + 1));
}

static bool none_pending(void *arg)
{
	(void)arg;
	return svcproto_nr_redirects_pending(s.sp) == 0;
}

/* The gateway, which may hear of it after the registry. */
static bool is_refused(void *arg)
{
	(void)arg;
	return g.refused[0] != '\0';
}

static const char *known(const char *bare_jid)
{
	const char *host = directory_redirect(g.directory, bare_jid, test_now_ms());

	return host != NULL ? host : "";
}

/* Also at the service, whose directory hears of it as the gateway's does. */
static bool is_known(void *bare_jid)
{
	return *known(bare_jid) != '\0' && svcproto_each_redirect(s.sp, NULL, NULL) > 0;
}

static int left(void *arg, const struct directory_redirect *r)
{
	*(uint64_t *)arg = r->left_ms;
	return 1;
}

static void test_a_host_serves_all(void)
{
	uint64_t left_ms = 0;

	start();
	ask("moved@a.example");
	answer("gw9.example:15222", 60, false);
	CHECK_STR(g.located_host, "gw9.example:15222");
	CHECK(turn_until(&all, is_known, (void *)"moved@a.example", 10000));
	CHECK_STR(known("moved@a.example"), "gw9.example:15222");
	CHECK(directory_each_redirect(g.directory, test_now_ms(), left, &left_ms) == 1 && left_ms > 40000 && left_ms <= 60000);
	CHECK_EQ(svcproto_located(s.sp, s.asked, "gw8.example", 60, false), 0); /* twice: nobody listens */
	CHECK(turn_until(&all, none_pending, NULL, 10000));
	CHECK_STR(known("moved@a.example"), "gw9.example:15222");
	ask("other@a.example");
	answer("gw9.example", 0, false);
	CHECK(turn_until(&all, is_known, (void *)"other@a.example", 10000));
	stop();
}

static void test_without_a_host_nothing_is_set(void)
{
	start();
	ask("here@a.example");
	answer(NULL, 0, true);
	CHECK(g.located_here);
	ask("nowhere@a.example");
	answer(NULL, 60, false);
	ask("odd@a.example");
	CHECK_EQ(svcproto_located(s.sp, s.asked, "2001:db8::1", 0, false), SVCPROTO_E_INVALID);
	CHECK_EQ(svcproto_located(s.sp, s.asked, "gw9.example", REDIRECT_MAX_MS / 1000 + 1, false), SVCPROTO_E_INVALID);
	CHECK_EQ(svcproto_nr_redirects_pending(s.sp), 0);
	stop();
}

static void test_what_was_set_stays(void)
{
	start();
	CHECK_EQ(svcproto_set_redirect(s.sp, "moved@a.example", "gw1.example", 3600), 0);
	ask("moved@a.example"); /* the registry may not have heard of the redirect yet */
	answer("gw9.example", 0, false);
	CHECK(turn_until(&all, is_known, (void *)"moved@a.example", 10000) && turn_until(&all, none_pending, NULL, 10000));
	ask("moved@a.example");
	answer("gw9.example", 0, false);
	CHECK_EQ(svcproto_nr_redirects_pending(s.sp), 0);
	CHECK_STR(known("moved@a.example"), "gw1.example");
	stop();
}

/* What a session is refused with holds everywhere as well. */
static void test_a_refused_session_serves_all(void)
{
	start();
	s.hold = true;
	CHECK(fake_gateway_open_client(&g, "moved@a.example", "phone") != NULL);
	CHECK(wait_for(&s.opened, 1));
	CHECK_EQ(svcproto_redirect(s.session, "2001:db8::1"), SVCPROTO_E_INVALID);
	CHECK_EQ(svcproto_redirect(s.session, "gw9.example:15222"), 0);
	CHECK(turn_until(&all, is_known, (void *)"moved@a.example", 10000) && turn_until(&all, none_pending, NULL, 10000));
	CHECK_STR(known("moved@a.example"), "gw9.example:15222");
	CHECK(turn_until(&all, is_refused, NULL, 10000));
	CHECK_STR(g.refused, "see-other-host");
	s.hold = false;
	CHECK(fake_gateway_open_client(&g, "here@a.example", "phone") != NULL);
	CHECK(wait_for(&g.accepted, 1));
	CHECK_EQ(svcproto_redirect(s.session, "gw9.example"), SVCPROTO_E_CLOSED); /* it has its session */
	CHECK_STR(known("here@a.example"), "");
	stop();
}

int main(void)
{
	RUN(test_a_host_serves_all);
	RUN(test_without_a_host_nothing_is_set);
	RUN(test_what_was_set_stays);
	RUN(test_a_refused_session_serves_all);
	return check_done("svcclient.locate");
}
