/* What strangers have us ask the DNS: bounded, also when they have left, and nothing that we ask waits for it. */
#include "../check.h"
#include "dns_fake.h"
#include "net/resolver_int.h"
#include "pair.h"

#define S(domain) "_xmpp-server._tcp." domain

enum { EVIL = 16, EVIL_TARGETS = 16 };

/* Domains with sixteen targets each, of which no name server says anything. */
static const struct fake_record *evil_zone(void)
{
	static char srv[EVIL][64], data[EVIL * EVIL_TARGETS][96], host[EVIL * EVIL_TARGETS][64];
	static struct fake_record records[2 * EVIL * EVIL_TARGETS + 4];
	struct fake_record *r = records;

	for (unsigned i = 0; i < EVIL * EVIL_TARGETS; i++) {
		snprintf(srv[i / EVIL_TARGETS], sizeof srv[0], S("x%u.evil.example"), i / EVIL_TARGETS);
		snprintf(host[i], sizeof host[0], "t%u.x%u.evil.example", i % EVIL_TARGETS, i / EVIL_TARGETS);
		snprintf(data[i], sizeof data[0], "1 1 5269 t%u.x%u.evil.example", i % EVIL_TARGETS, i / EVIL_TARGETS);
		*r++ = (struct fake_record){srv[i / EVIL_TARGETS], 33, data[i], 0};
		*r++ = (struct fake_record){host[i], 0, NULL, -1};
	}
	*r++ = (struct fake_record){S("honest.example"), 33, "1 1 5269 x.honest.example", 0};
	*r++ = (struct fake_record){"x.honest.example", 1, "192.0.2.1", 0};
	*r++ = (struct fake_record){S("also.example"), 33, "1 1 5269 x.honest.example", 0};
	return records;
}

static struct fake *fake;
static struct resolver *resolver;
static unsigned nr_done;
static enum resolve_status status;

static void on_done(void *arg, enum resolve_status s, const struct resolve_target *targets, size_t nr, const char *why)
{
	(void)arg, (void)targets;
	CHECK((s == RESOLVE_OK) == (nr > 0) && (s == RESOLVE_OK) == (why == NULL));
	nr_done++;
	status = s;
}

static void begin(unsigned timeout_ms)
{
	char why[200];

	pair_begin();
	fake = fake_new(loop, evil_zone());
	resolver = resolver_new(loop, &(struct resolver_options){.server = fake_address(fake), .timeout_ms = timeout_ms}, why, sizeof why);
	CHECK(resolver != NULL);
}

static void end(void)
{
	resolver_free(resolver);
	fake_free(fake);
	pair_end();
}

/* Empty: ourselves. */
static struct resolve *ask_for(const char *who, const char *domain)
{
	nr_done = 0;
	return resolve_server(resolver, domain, slice_str(who), on_done, NULL);
}

static enum resolve_status outcome(const char *who, const char *domain)
{
	(void)ask_for(who, domain);
	CHECK(run_until(&nr_done, 1));
	CHECK_EQ(nr_done, 1);
	return status;
}

/* Shows a key of the domain, stays until its SRV records are here, and leaves. */
static void come_and_go(const char *who, unsigned domain)
{
	char name[64];

	snprintf(name, sizeof name, "x%u.evil.example", domain % EVIL);
	struct resolve *q = ask_for(who, name);
	run_for(domain < EVIL ? 10 : 1);
	resolve_cancel(q);
}

static void test_stranger(void)
{
	begin(3000);
	for (unsigned i = 0; i < 200; i++)
		come_and_go("evil", i);
	/* nobody waits for them, and they cost what they cost */
	CHECK(resolver_nr_open(resolver) >= 4);
	CHECK(resolver_nr_open(resolver) <= 8);
	CHECK_EQ(outcome("", "honest.example"), RESOLVE_OK);
	CHECK_EQ(outcome("another", "honest.example"), RESOLVE_OK);
	end();
}

/* Not to have been asked in time is not to have had no answer. */
static void test_crowded(void)
{
	begin(300);
	come_and_go("evil", 0);
	CHECK_EQ(outcome("evil", "x1.evil.example"), RESOLVE_CROWDED);
	/* the addresses of sixteen are more than may be asked for at a time */
	CHECK_EQ(outcome("another", "x1.evil.example"), RESOLVE_CROWDED);
	CHECK_EQ(outcome("", "x1.evil.example"), RESOLVE_TIMEOUT);
	CHECK_EQ(outcome("a third", "honest.example"), RESOLVE_OK);
	end();
}

static void test_many_strangers(void)
{
	char who[16];

	begin(3000);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(who, sizeof who, "evil%u", i);
		come_and_go(who, i);
	}
	CHECK(resolver_nr_open(resolver) > 32);
	CHECK(resolver_nr_open(resolver) <= 64);
	CHECK_EQ(outcome("", "honest.example"), RESOLVE_OK);
	end();
}

/* A stranger with more to ask than he may at a time: it all is asked in the end. */
static void test_patient_stranger(void)
{
	struct resolve *all[6];

	begin(3000);
	nr_done = 0;
	for (unsigned i = 0; i < 6; i++)
		all[i] = resolve_server(resolver, i % 2 ? "honest.example" : "also.example", SLICE("patient"), on_done, NULL);
	CHECK(resolver_nr_open(resolver) <= 8);
	resolve_cancel(all[5]); /* among them one that waits */
	CHECK(run_until(&nr_done, 5));
	CHECK_EQ(status, RESOLVE_OK);
	CHECK_EQ(resolver_nr_open(resolver), 0);
	end();
}

int main(void)
{
	RUN(test_stranger);
	RUN(test_crowded);
	RUN(test_many_strangers);
	RUN(test_patient_stranger);
	return check_done("net_strangers");
}
