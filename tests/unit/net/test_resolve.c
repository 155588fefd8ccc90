/* Resolving against a name server of the test's own. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "../check.h"
#include "ca.h"
#include "dns_fake.h"
#include "net/resolve.h"
#include "pair.h"

#define S(domain) "_xmpp-server._tcp." domain
#define D(domain) "_xmpps-server._tcp." domain

static const struct fake_record zone[] = {
	{S("two.example"), 33, "10 1 5270 x1.two.example", 0},
	{S("two.example"), 33, "5 1 5269 X2.two.example", 0},
	{S("two.example"), 33, "20 1 5269 nowhere.two.example", 0},
	{"x1.two.example", 1, "192.0.2.1", 0},
	{"x1.two.example", 28, "2001:db8::1", 0},
	{"x2.two.example", 1, "192.0.2.2", 0},
	{"x2.two.example", 1, "192.0.2.3", 0},
	{"plain.example", 1, "192.0.2.4", 0},
	{"nodata.example", 16, NULL, 0},
	{S("nodata.example"), 16, NULL, 0},
	{S("closed.example"), 33, "0 0 0 .", 0},
	{"closed.example", 1, "192.0.2.5", 0},
	{S("broken.example"), 0, NULL, 2},
	{"broken.example", 1, "192.0.2.6", 0},
	{S("silent.example"), 0, NULL, -1},
	{"silent.example", 1, "192.0.2.7", 0},
	{S("half.example"), 33, "1 1 5269 good.half.example", 0},
	{S("half.example"), 33, "2 1 5269 mute.half.example", 0},
	{"good.half.example", 1, "192.0.2.8", 0},
	{"good.half.example", 28, NULL, 0},
	{"mute.half.example", 0, NULL, -1},
	{S("failing.example"), 33, "1 1 5269 x.failing.example", 0},
	{"x.failing.example", 0, NULL, 2},
	{S("alias.example"), 33, "1 1 5269 c1.alias.example", 0},
	{"c1.alias.example", 5, "c2.alias.example", 0},
	{"c2.alias.example", 1, "192.0.2.9", 0},
	{S("srvalias.example"), 5, S("two.example"), 0},
	{S("many.example"), 33, "1 0 5269 plain.example", 0},
	{"many6.example", 28, "2001:db8::11", 0},
	{"many6.example", 28, "2001:db8::12", 0},
	{"many6.example", 28, "2001:db8::13", 0},
	{"many6.example", 28, "2001:db8::14", 0},
	{"many6.example", 28, "2001:db8::15", 0},
	{"many6.example", 28, "2001:db8::16", 0},
	{"many6.example", 1, "192.0.2.10", 0},
	{S("both.example"), 33, "10 0 5269 x1.two.example", 0},
	{D("both.example"), 33, "5 0 5270 x1.two.example", 0},
	{D("both.example"), 33, "20 0 443 x2.two.example", 0},
	{S("tlsonly.example"), 33, "0 0 0 .", 0},
	{D("tlsonly.example"), 33, "1 1 5270 x1.two.example", 0},
	{S("notls.example"), 33, "1 1 5269 x1.two.example", 0},
	{D("notls.example"), 33, "0 0 0 .", 0},
	{D("neither.example"), 33, "0 0 0 .", 0},
	{"neither.example", 1, "192.0.2.12", 0},
	{S("halfsets.example"), 33, "1 1 5269 x1.two.example", 0},
	{D("halfsets.example"), 0, NULL, 2},
	{S("otherhalf.example"), 0, NULL, 2},
	{D("otherhalf.example"), 33, "1 1 5270 x1.two.example", 0},
	{D("mutehalf.example"), 0, NULL, -1},
	{S("mutehalf.example"), 33, "1 1 5269 x1.two.example", 0},
	{D("muteplain.example"), 0, NULL, -1},
	{"muteplain.example", 1, "192.0.2.13", 0},
	{D("failplain.example"), 0, NULL, 2},
	{"failplain.example", 1, "192.0.2.14", 0},
	{S("odd.example"), 33, "1 1 0 plain.example", 0},
	{"odd.example", 1, "192.0.2.11", 0},
	{NULL, 0, NULL, 0},
};

static struct fake *fake;
static struct resolver *resolver;
static unsigned nr_done;
static enum resolve_status status;
static struct resolve_target targets[RESOLVE_TARGETS_MAX];
static size_t nr_targets;
static char why[300];
static bool inside;

static void on_done(void *arg, enum resolve_status s, const struct resolve_target *t, size_t nr, const char *text)
{
	(void)arg;
	CHECK(!inside); /* never inside the call that asked */
	nr_done++;
	status = s;
	nr_targets = nr;
	if (nr != 0)
		memcpy(targets, t, nr * sizeof *t);
	snprintf(why, sizeof why, "%s", text ? text : "");
	CHECK((s == RESOLVE_OK) == (nr > 0));
	CHECK((s == RESOLVE_OK) == (text == NULL));
}

static void begin(const struct resolver_options *o)
{
	char text[200];

	pair_begin();
	fake = fake_new(loop, zone);
	struct resolver_options with = *o;
	if (with.server == NULL && with.resolv_conf == NULL)
		with.server = fake_address(fake);
	resolver = resolver_new(loop, &with, text, sizeof text);
	CHECK(resolver != NULL);
}

static void end(void)
{
	resolver_free(resolver);
	fake_free(fake);
	pair_end();
}

static struct resolve *ask(const char *domain)
{
	nr_done = 0;
	inside = true;
	struct resolve *q = resolve_server(resolver, domain, SLICE_NONE, on_done, NULL);
	inside = false;
	return q;
}

static void resolve(const char *domain)
{
	(void)ask(domain);
	CHECK(run_until(&nr_done, 1));
	CHECK_EQ(nr_done, 1);
}

static const char *text_of(size_t target, unsigned addr)
{
	static char out[4][80];
	static unsigned turn;
	char ip[INET6_ADDRSTRLEN] = "?", *to = out[turn++ % 4];
	const struct sockaddr_storage *at = &targets[target].addrs[addr];

	if (at->ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const void *)at;
		snprintf(to, sizeof out[0], "[%s]:%u", inet_ntop(AF_INET6, &six->sin6_addr, ip, sizeof ip), ntohs(six->sin6_port));
	} else {
		const struct sockaddr_in *four = (const void *)at;
		snprintf(to, sizeof out[0], "%s:%u", inet_ntop(AF_INET, &four->sin_addr, ip, sizeof ip), ntohs(four->sin_port));
	}
	return to;
}

static void test_srv(void)
{
	begin(&(struct resolver_options){0});
	resolve("two.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_EQ(nr_targets, 2); /* the one without an address is left out */
	CHECK_STR(targets[0].host, "x2.two.example");
	CHECK_EQ(targets[0].priority, 5);
	CHECK_EQ(targets[0].nr_addrs, 2);
	CHECK_STR(targets[1].host, "x1.two.example");
	CHECK_EQ(targets[1].nr_addrs, 2);
	CHECK_STR(text_of(1, 0), "[2001:db8::1]:5270");
	CHECK_STR(text_of(1, 1), "192.0.2.1:5270");
	CHECK(!targets[0].secure);
	CHECK_EQ(fake_asked(fake, "two.example", 1), 0);
	unsigned before = fake_asked(fake, S("two.example"), 33);
	resolve("two.example"); /* from the cache: the callback comes inside the call */
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_EQ(nr_targets, 2);
	CHECK_EQ(fake_asked(fake, S("two.example"), 33), before);
	end();
}

static void test_fallback(void)
{
	begin(&(struct resolver_options){0});
	resolve("plain.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_EQ(nr_targets, 1);
	CHECK_STR(targets[0].host, "plain.example");
	CHECK_STR(text_of(0, 0), "192.0.2.4:5269");
	resolve("nodata.example");
	CHECK_EQ(status, RESOLVE_NO_DOMAIN);
	resolve("nxdomain.example");
	CHECK_EQ(status, RESOLVE_NO_DOMAIN);
	CHECK(why[0] != '\0');
	resolve("odd.example"); /* port 0: no usable record */
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_STR(text_of(0, 0), "192.0.2.11:5269");
	end();
}

static void test_no_service(void)
{
	begin(&(struct resolver_options){0});
	resolve("closed.example");
	CHECK_EQ(status, RESOLVE_NO_SERVICE);
	CHECK_EQ(fake_asked(fake, "closed.example", 1), 0); /* never fallen back to */
	end();
}

static void test_direct_tls(void)
{
	begin(&(struct resolver_options){0});
	resolve("both.example");
	CHECK_EQ(nr_targets, 3); /* one list, by priority */
	CHECK(targets[0].direct_tls && !targets[1].direct_tls && targets[2].direct_tls);
	CHECK_STR(text_of(0, 0), "[2001:db8::1]:5270");
	CHECK_STR(text_of(1, 1), "192.0.2.1:5269");
	CHECK_STR(targets[2].host, "x2.two.example");
	resolve("tlsonly.example");
	CHECK_EQ(nr_targets, 1);
	CHECK(targets[0].direct_tls);
	resolve("notls.example");
	CHECK_EQ(nr_targets, 1);
	CHECK(!targets[0].direct_tls);
	/* no direct TLS is said, of STARTTLS nothing: RFC 6120 section 3.2.2 */
	resolve("neither.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK(!targets[0].direct_tls);
	CHECK_STR(text_of(0, 0), "192.0.2.12:5269");
	end();
}

/* One set cannot be had: the other counts. */
static void test_half_of_the_sets(void)
{
	static const char *const domains[] = {"halfsets.example", "otherhalf.example", "mutehalf.example"};

	begin(&(struct resolver_options){0});
	for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
		resolve(domains[i]);
		CHECK_EQ(status, RESOLVE_OK);
		CHECK_EQ(nr_targets, 1);
		CHECK_EQ(targets[0].direct_tls, i == 1);
	}
	resolve("muteplain.example");
	CHECK_STR(text_of(0, 0), "192.0.2.13:5269");
	resolve("failplain.example");
	CHECK_STR(text_of(0, 0), "192.0.2.14:5269");
	end();
}

static void test_servers_fail(void)
{
	begin(&(struct resolver_options){0});
	resolve("broken.example");
	CHECK_EQ(status, RESOLVE_TIMEOUT);
	CHECK(strstr(why, "SERVFAIL") != NULL);
	CHECK_EQ(fake_asked(fake, "broken.example", 1), 0);
	resolve("failing.example");
	CHECK_EQ(status, RESOLVE_TIMEOUT);
	end();
}

static void test_timeout(void)
{
	begin(&(struct resolver_options){.timeout_ms = 300});
	uint64_t since = loop_now_ms(loop);
	resolve("silent.example");
	CHECK_EQ(status, RESOLVE_TIMEOUT);
	CHECK(loop_now_ms(loop) - since < 10000); /* libunbound alone takes 17 s and more */
	CHECK(strstr(why, "in time") != NULL);
	end(); /* with the question still open at libunbound */
}

/* One target's name server is dead: the other's addresses are not held up for the whole time. */
static void test_grace(void)
{
	begin(&(struct resolver_options){.timeout_ms = 60000});
	resolve("half.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_EQ(nr_targets, 1);
	CHECK_STR(text_of(0, 0), "192.0.2.8:5269");
	end();
}

static void test_cname(void)
{
	begin(&(struct resolver_options){0});
	resolve("alias.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_STR(targets[0].host, "c1.alias.example");
	CHECK_STR(text_of(0, 0), "192.0.2.9:5269");
	resolve("srvalias.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_EQ(nr_targets, 2);
	end();
}

/* IPv6 must not crowd out IPv4. */
static void test_many_addresses(void)
{
	begin(&(struct resolver_options){0});
	resolve("many6.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_EQ(targets[0].nr_addrs, 5);
	CHECK_EQ(targets[0].addrs[0].ss_family, AF_INET6);
	CHECK_STR(text_of(0, 1), "192.0.2.10:5269"); /* RFC 8305 section 4: by turns */
	CHECK_EQ(targets[0].addrs[2].ss_family, AF_INET6);
	end();
}

/* The root's key, and a server that knows nothing of DNSSEC, as home routers don't. */
static void test_dnssec_stripped(void)
{
	const char *path = ca_path(ca_folder(), "root.key");

	ca_write_text(path, ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n");
	begin(&(struct resolver_options){.system_anchor = path});
	CHECK(resolver_validates(resolver));
	for (int i = 0; i < 10 && resolver_validates(resolver); i++)
		run_for(200);
	CHECK(!resolver_validates(resolver));
	resolve("two.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK(!targets[0].secure);
	end();
	/* who asked for the anchor means it */
	begin(&(struct resolver_options){.trust_anchor = path});
	resolve("two.example");
	CHECK_EQ(status, RESOLVE_BOGUS);
	resolve("two.example");
	CHECK_EQ(status, RESOLVE_BOGUS);
	CHECK(resolver_validates(resolver));
	end();
}

static void test_literals(void)
{
	begin(&(struct resolver_options){0});
	resolve("192.0.2.77");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_STR(text_of(0, 0), "192.0.2.77:5269");
	resolve("[2001:db8::77]");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_STR(text_of(0, 0), "[2001:db8::77]:5269");
	end();
}

static void test_impossible_names(void)
{
	char big[300];

	begin(&(struct resolver_options){0});
	memset(big, 'a', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	const char *const names[] = {"", ".", "a..example", ".example", "example.", big, big + 235};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		resolve(names[i]);
		CHECK_EQ(status, RESOLVE_NO_DOMAIN);
	}
	/* fits by itself, but not with the service in front: straight to the addresses */
	for (size_t i = 49; i < 245; i += 50)
		big[i] = '.';
	memcpy(big + 240, ".example", 9);
	resolve(big);
	CHECK_EQ(status, RESOLVE_NO_DOMAIN);
	CHECK_EQ(fake_asked(fake, big, 1), 1);
	end();
}

static void test_cancel(void)
{
	begin(&(struct resolver_options){0});
	resolve_cancel(ask("two.example"));
	resolve_cancel(ask("192.0.2.1"));
	struct resolve *late = ask("silent.example");
	run_for(50);
	resolve_cancel(late);
	run_for(50);
	CHECK_EQ(nr_done, 0);
	(void)ask("silent.example"); /* open when the resolver goes */
	end();
	CHECK_EQ(nr_done, 0);
}

static void test_no_server(void)
{
	const char *path = ca_path(ca_folder(), "resolv.conf");

	ca_write_text(path, "# nothing\nsearch example\nnameserver not-an-address\n");
	begin(&(struct resolver_options){.resolv_conf = path});
	resolve("plain.example");
	CHECK_EQ(status, RESOLVE_TIMEOUT);
	CHECK(strstr(why, "resolv.conf") != NULL);
	resolve("192.0.2.1");
	CHECK_EQ(status, RESOLVE_OK);
	end();
	begin(&(struct resolver_options){.resolv_conf = "/nonexistent/resolv.conf"});
	resolve("plain.example");
	CHECK_EQ(status, RESOLVE_TIMEOUT);
	end();
}

static void test_bad_options(void)
{
	const char *const bad[] = {"",    "x",     "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:53x", "localhost:53",
				   ":53", "[::1]:"};
	char text[200];

	pair_begin();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		text[0] = '\0';
		CHECK(resolver_new(loop, &(struct resolver_options){.server = bad[i]}, text, sizeof text) == NULL);
		CHECK(strstr(text, "--resolver") != NULL);
	}
	const char *const good[] = {"127.0.0.1", "127.0.0.1:5353", "::1", "[::1]:53"};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct resolver *r = resolver_new(loop, &(struct resolver_options){.server = good[i]}, text, sizeof text);

		CHECK(r != NULL);
		resolver_free(r);
	}
	CHECK(resolver_new(loop, &(struct resolver_options){.server = "127.0.0.1", .trust_anchor = "/nonexistent"}, text, sizeof text) ==
	      NULL);
	CHECK(strstr(text, "--trust-anchor") != NULL);
	pair_end();
}

int main(void)
{
	RUN(test_srv);
	RUN(test_fallback);
	RUN(test_no_service);
	RUN(test_direct_tls);
	RUN(test_half_of_the_sets);
	RUN(test_servers_fail);
	RUN(test_timeout);
	RUN(test_grace);
	RUN(test_cname);
	RUN(test_many_addresses);
	RUN(test_dnssec_stripped);
	RUN(test_literals);
	RUN(test_impossible_names);
	RUN(test_cancel);
	RUN(test_no_server);
	RUN(test_bad_options);
	return check_done("net_resolve");
}
