/* Secure, insecure and bogus, against the zones of dnssec.sh. Arguments: the server, the anchor file. */
#include <netinet/in.h>

#include "../check.h"
#include "net/resolve.h"
#include "pair.h"

static const char *server, *anchor;
static unsigned nr_done;
static enum resolve_status status;
static struct resolve_target target;
static struct tlsa_set tlsa;
static size_t nr_targets;
static char why[300];

static void on_done(void *arg, enum resolve_status s, const struct resolve_target *t, size_t nr, const char *text)
{
	(void)arg;
	nr_done++;
	status = s;
	nr_targets = nr;
	target = nr ? t[0] : (struct resolve_target){.port = 0};
	tlsa = target.tlsa ? *target.tlsa : (struct tlsa_set){.nr = 0};
	snprintf(why, sizeof why, "%s", text ? text : "");
}

static void resolve_with(const char *anchors, const char *domain)
{
	char text[200];
	struct resolver *r;

	pair_begin();
	r = resolver_new(loop, &(struct resolver_options){.server = server, .trust_anchor = anchors}, text, sizeof text);
	CHECK(r != NULL);
	nr_done = 0;
	(void)resolve_server(r, domain, SLICE_NONE, on_done, NULL);
	CHECK(run_until(&nr_done, 1));
	resolver_free(r);
	pair_end();
}

static void test_secure(void)
{
	resolve_with(anchor, "secure.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_STR(target.host, "host.secure.example");
	CHECK_EQ(target.nr_addrs, 2); /* the signatures beside them are none */
	CHECK(target.secure);
	resolve_with(anchor, "sub.secure.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK(target.secure);
	/* the absence of SRV records is proven as well */
	resolve_with(anchor, "direct.secure.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_STR(target.host, "direct.secure.example");
	CHECK(target.secure);
	resolve_with(anchor, "absent.secure.example");
	CHECK_EQ(status, RESOLVE_NO_DOMAIN);
}

/* A chain is as secure as its weakest link. */
static void test_half_secure(void)
{
	resolve_with(anchor, "out.secure.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_STR(target.host, "host.plain.example");
	CHECK(!target.secure);
}

static void test_insecure(void)
{
	resolve_with(anchor, "plain.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK(!target.secure);
}

static void test_bogus(void)
{
	const char *const domains[] = {"bogus.example", "direct.bogus.example", "absent.bogus.example"};

	for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
		resolve_with(anchor, domains[i]);
		CHECK_EQ(status, RESOLVE_BOGUS);
		CHECK(strstr(why, "DNSSEC") != NULL);
	}
}

/* No anchor: the same zones are just insecure. (The system's own anchor, if there is one, ends at the root, which proves nothing here.) */
static void test_no_anchor(void)
{
	resolve_with("/dev/null", "bogus.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK(!target.secure);
}

/* Of the target's host and port, where all of the way to it is proven. */
static void test_tlsa(void)
{
	resolve_with(anchor, "secure.example");
	CHECK(target.tlsa != NULL);
	CHECK_EQ(tlsa.nr, 2); /* the short digest is no record */
	CHECK_EQ(tlsa.v[0].usage + tlsa.v[1].usage, 5);
	CHECK_EQ(tlsa.v[0].n, 32);
	resolve_with(anchor, "direct.secure.example");
	CHECK(target.secure && target.tlsa == NULL); /* proven to be none */
	resolve_with(anchor, "plain.example");
	CHECK(target.tlsa == NULL);
	resolve_with("/dev/null", "secure.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK(target.tlsa == NULL);
}

/* Records that are there and cannot be proven: not the same as none. */
static void test_tlsa_denied(void)
{
	resolve_with(anchor, "denied.secure.example");
	CHECK(status == RESOLVE_BOGUS || status == RESOLVE_TIMEOUT);
	CHECK_EQ(nr_targets, 0);
	resolve_with(anchor, "partly.secure.example");
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_EQ(nr_targets, 1);
	CHECK_STR(target.host, "host.secure.example");
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	server = argv[1];
	anchor = argv[2];
	RUN(test_secure);
	RUN(test_half_secure);
	RUN(test_insecure);
	RUN(test_bogus);
	RUN(test_no_anchor);
	RUN(test_tlsa);
	RUN(test_tlsa_denied);
	return check_done("net_dnssec");
}
