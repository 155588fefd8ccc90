/* Merging what several registries say: who may, who is gone, and that silence erases nothing. */
#include "check.h"
#include "sample.h"
#include "svcproto/directory_feed.h"

#define KEYS "# serial 1\n" KEY_A " service example.org:client,server\n" KEY_B " service *:client,server\n" KEY_G " gateway\n"
#define OLD REG_LEASE_MAX_MS

static struct {
	struct directory *look;  /* counts what is left when something goes */
	int left;
	int gateways, gateways_gone, gateways_dead, registrations, registrations_gone, keys;
} told;

static void on_gateway(void *arg, const struct directory_gateway *g, bool gone)
{
	(void)arg;
	told.gateways += !gone;
	told.gateways_gone += gone;
	told.gateways_dead += g->dead;
}

static int count_one(void *arg, const struct directory_registration *r)
{
	(void)r;
	(*(int *)arg)++;
	return 0;
}

static void on_registration(void *arg, const struct directory_registration *r, bool gone)
{
	(void)arg;
	(void)r;
	if (gone && told.look != NULL) {
		told.left = 0;
		(void)directory_every_registration(told.look, count_one, &told.left);
	}
	told.registrations += !gone;
	told.registrations_gone += gone;
}

static void on_keys(void *arg)
{
	(void)arg;
	told.keys++;
}

static const struct directory_ops ops = { .gateway = on_gateway, .registration = on_registration, .keys = on_keys };

static int feed_keys(struct directory *d, unsigned source, const char *text)
{
	static struct reg_frame f;
	size_t half = strlen(text) / 2;
	int rc;

	memset(&f, 0, sizeof(f));
	f.serial = 1;
	f.parts = 2;
	f.keys = text;
	f.keys_n = half;
	rc = directory_feed_keys(d, source, &f);
	CHECK_EQ(rc, 0);
	f.part = 1;
	f.keys = text + half;
	f.keys_n = strlen(text) - half;
	return directory_feed_keys(d, source, &f);
}

static struct directory *directory(void)
{
	struct directory *d = directory_new(&ops, NULL);

	memset(&told, 0, sizeof(told));
	CHECK_EQ(feed_keys(d, 0, KEYS), 0);
	CHECK_EQ(told.keys, 1);
	return d;
}

static void feed(struct directory *d, unsigned source, struct entry e, uint64_t now)
{
	CHECK_EQ(directory_feed_entry(d, source, &e, now), 0);
}

static int counter(void *arg, const struct directory_registration *r)
{
	(void)r;
	(*(int *)arg)++;
	return 0;
}

static int registrations(struct directory *d, const char *domain, unsigned type)
{
	int nr = 0;

	(void)directory_each_registration(d, domain, type, counter, &nr);
	return nr;
}

static void test_permission_is_checked_again(void)
{
	struct directory *d = directory();

	feed(d, 0, sample_registration(KEY_A, 1, "example.org", 3, 1), 0);
	feed(d, 0, sample_registration(KEY_B, 2, "example.org", 3, 1), 0); /* a registry that lets everything pass */
	feed(d, 0, sample_gateway(KEY_A, 1, "tcp://evil:1", 2), 0);
	CHECK_EQ(registrations(d, "example.org", SVCPROTO_CLIENT), 1);
	CHECK_EQ(told.registrations, 1);
	CHECK_EQ(told.gateways, 0);
	CHECK(directory_may(d, KEY_A, "example.org", SVCPROTO_CLIENT));
	CHECK(!directory_may(d, KEY_B, "example.org", SVCPROTO_CLIENT));
	CHECK_EQ(directory_role(d, KEY_G), DIR_ROLE_GATEWAY);
	/* New keys: what is not authorised any more goes, what now is comes. */
	CHECK_EQ(feed_keys(d, 0, "# serial 2\n" KEY_B " service example.org:client\n"), 0);
	CHECK_EQ(registrations(d, "example.org", SVCPROTO_CLIENT), 1);
	CHECK_EQ(registrations(d, "example.org", SVCPROTO_SERVER), 0);
	CHECK_EQ(told.registrations, 2);
	CHECK_EQ(told.registrations_gone, 1);
	CHECK_EQ(directory_role(d, KEY_G), DIR_ROLE_NONE);
	directory_free(d);
}

static void test_nothing_without_keys(void)
{
	struct directory *d = directory_new(&ops, NULL);

	memset(&told, 0, sizeof(told));
	CHECK(!directory_has_keys(d));
	feed(d, 0, sample_gateway(KEY_G, 1, "tcp://h:1", 1), 0);
	CHECK_EQ(told.gateways, 0);
	CHECK_EQ(feed_keys(d, 0, KEYS), 0);
	CHECK_EQ(told.gateways, 1);
	CHECK(directory_has_keys(d));
	directory_free(d);
}

static void test_local(void)
{
	struct directory *d = directory();

	CHECK(directory_is_local(d, "example.org"));
	CHECK(!directory_is_local(d, "free.example")); /* a bare star makes nothing local */
	feed(d, 0, sample_registration(KEY_B, 2, "free.example", 3, 1), 0);
	CHECK(directory_is_local(d, "free.example"));
	struct entry gone = sample_registration(KEY_B, 2, "free.example", 3, 2);
	gone.gone = true;
	feed(d, 0, gone, 0);
	CHECK_EQ(registrations(d, "free.example", SVCPROTO_CLIENT), 0);
	CHECK(directory_is_local(d, "free.example")); /* what was ever registered is */
	CHECK(!directory_is_local(d, "other.example"));
	directory_free(d);
}

static void test_an_empty_registry_erases_nothing(void)
{
	struct directory *d = directory();

	directory_feed_begin(d, 0);
	feed(d, 0, sample_gateway(KEY_G, 1, "tcp://h:1", 1), 100);
	directory_feed_end(d, 0, 5 * OLD, 100);
	directory_feed_lost(d, 0);
	directory_feed_tick(d, 10 * OLD);
	CHECK_EQ(told.gateways_gone, 0); /* silence says nothing */
	directory_feed_begin(d, 0);       /* it restarted and is empty */
	directory_feed_end(d, 0, 10, 10 * OLD);
	CHECK_EQ(told.gateways_gone, 0);
	CHECK_EQ(directory_feed_tick(d, 10 * OLD), 11 * OLD - 10);
	directory_feed_tick(d, 11 * OLD - 11);
	CHECK_EQ(told.gateways_gone, 0);
	directory_feed_tick(d, 11 * OLD - 10);
	CHECK_EQ(told.gateways_gone, 1); /* old enough to know */
	directory_free(d);
}

static void test_two_registries(void)
{
	struct directory *d = directory();
	struct entry g = sample_gateway(KEY_G, 1, "tcp://h:1", 1), expired = g;

	expired.gone = expired.expired = true;
	for (unsigned i = 0; i < 2; i++) {
		directory_feed_begin(d, i);
		feed(d, i, g, 0);
		directory_feed_end(d, i, 5 * OLD, 0);
	}
	CHECK_EQ(told.gateways, 1);
	feed(d, 0, expired, 10);
	CHECK_EQ(told.gateways_gone, 0); /* the other still hears of it */
	feed(d, 1, expired, 20);
	CHECK_EQ(told.gateways_gone, 1);
	/* It comes back; one registry has gone for good: the other's word is enough. */
	feed(d, 0, g, 30);
	feed(d, 1, g, 30);
	CHECK_EQ(told.gateways, 2);
	directory_feed_lost(d, 0);
	feed(d, 1, expired, 40);
	CHECK_EQ(told.gateways_gone, 2);
	directory_free(d);
}

/* That was the last of it: who asks then must not find it any more, however it went. */
static void test_what_goes_is_not_found(void)
{
	struct directory *d = directory();
	struct entry one = sample_registration(KEY_A, 1, "example.org", 3, 1), other = sample_registration(KEY_B, 2, "b.example", 3, 1);

	told.look = d;
	directory_feed_begin(d, 0);
	feed(d, 0, one, 0);
	feed(d, 0, other, 0);
	directory_feed_end(d, 0, 5 * OLD, 0);
	one.gone = one.expired = true;
	feed(d, 0, one, 10);
	CHECK_EQ(told.registrations_gone, 1);
	CHECK_EQ(told.left, 1);
	other.gone = true;
	other.version = 2;
	feed(d, 0, other, 20);
	CHECK_EQ(told.registrations_gone, 2);
	CHECK_EQ(told.left, 0);
	directory_free(d);
}

/* The owner reaches one registry only for a while: the other one's older version counts as a sign of life, and its end as one of none. */
static void test_a_registry_that_missed_the_news(void)
{
	struct directory *d = directory();
	struct entry old = sample_gateway(KEY_G, 1, "tcp://h:1", 1), new = old, expired = old;

	new.version = 2;
	expired.gone = expired.expired = true;
	for (unsigned i = 0; i < 2; i++) {
		directory_feed_begin(d, i);
		feed(d, i, old, 0);
		directory_feed_end(d, i, 5 * OLD, 0);
	}
	feed(d, 0, new, 10);
	directory_feed_begin(d, 1); /* a new snapshot still has the old one */
	feed(d, 1, old, 20);
	directory_feed_end(d, 1, 5 * OLD, 20);
	directory_feed_lost(d, 0);
	directory_feed_tick(d, 30);
	CHECK_EQ(told.gateways_gone, 0);
	feed(d, 1, expired, 40);
	directory_feed_tick(d, 50);
	CHECK_EQ(told.gateways_gone, 1);
	/* The other way round: the registry that is up to date loses it last. */
	directory_feed_begin(d, 0);
	feed(d, 0, new, 60);
	feed(d, 1, old, 60);
	directory_feed_end(d, 0, 5 * OLD, 60);
	feed(d, 1, expired, 70);
	CHECK_EQ(told.gateways_gone, 1);
	expired.version = 2;
	feed(d, 0, expired, 80);
	CHECK_EQ(told.gateways_gone, 2);
	directory_free(d);
}

static void test_withdrawn_stays_withdrawn(void)
{
	struct directory *d = directory();
	struct entry g = sample_gateway(KEY_G, 1, "tcp://h:1", 1), gone = g;

	gone.gone = true;
	gone.version = 2;
	feed(d, 0, g, 0);
	feed(d, 0, gone, 5);
	CHECK_EQ(told.gateways_dead, 1);
	feed(d, 1, g, 6); /* a registry that has not heard it yet */
	CHECK_EQ(told.gateways, 1);
	g.version = 3;
	feed(d, 1, g, 7);
	CHECK_EQ(told.gateways, 2);
	directory_free(d);
}

static void test_a_live_link_keeps_its_entry(void)
{
	struct directory *d = directory();
	struct entry g = sample_gateway(KEY_G, 1, "tcp://h:1", 1), expired = g;

	expired.gone = expired.expired = true;
	directory_feed_begin(d, 0);
	feed(d, 0, g, 0);
	directory_feed_end(d, 0, OLD, 0);
	CHECK_EQ(directory_set_linked(d, KEY_G, &g.owner, true), 0);
	feed(d, 0, expired, 10);
	directory_feed_tick(d, 20);
	CHECK_EQ(told.gateways_gone, 0);
	CHECK_EQ(directory_set_linked(d, KEY_A, &g.owner, false), 0); /* somebody who says to be it */
	directory_feed_tick(d, 25);
	CHECK_EQ(told.gateways_gone, 0);
	CHECK_EQ(directory_set_linked(d, KEY_G, &g.owner, false), 0);
	directory_feed_tick(d, 30);
	CHECK_EQ(told.gateways_gone, 1);
	directory_free(d);
}

/* It came back at one registry and died before it could tell the other: that one's word on what it withdrew holds nothing. */
static void test_back_at_one_registry_only(void)
{
	struct directory *d = directory();
	struct entry r = sample_registration(KEY_A, 1, "example.org", 3, 1);

	feed(d, 0, r, 0);
	feed(d, 1, r, 0);
	r.version = 2;
	r.gone = true;
	feed(d, 0, r, 10);
	feed(d, 1, r, 10);
	CHECK_EQ(registrations(d, "example.org", SVCPROTO_CLIENT), 0);
	r.version = 3;
	r.gone = false;
	feed(d, 0, r, 20);
	CHECK_EQ(registrations(d, "example.org", SVCPROTO_CLIENT), 1);
	r.gone = r.expired = true;
	feed(d, 0, r, 30);
	CHECK_EQ(registrations(d, "example.org", SVCPROTO_CLIENT), 0);
	directory_free(d);
}

/* Who first hears of an entry that it was withdrawn does not take it from a registry that has missed that. */
static void test_withdrawn_before_it_was_known(void)
{
	struct directory *d = directory();
	struct entry r = sample_registration(KEY_A, 1, "example.org", 3, 2);

	r.gone = true;
	feed(d, 0, r, 10);
	r.gone = false;
	r.version = 1;
	feed(d, 1, r, 20);
	CHECK_EQ(registrations(d, "example.org", SVCPROTO_CLIENT), 0);
	CHECK_EQ(told.registrations + told.registrations_gone, 0);
	directory_feed_tick(d, 10 + REG_TOMBSTONE_MS);
	r.version = 3;
	feed(d, 1, r, 20 + REG_TOMBSTONE_MS);
	CHECK_EQ(registrations(d, "example.org", SVCPROTO_CLIENT), 1);
	directory_free(d);
}

/* A link of somebody who says to be it, with another key. */
static void test_a_strangers_link_keeps_nothing(void)
{
	struct directory *d = directory();
	struct entry g = sample_gateway(KEY_G, 1, "tcp://h:1", 1), expired = g;

	expired.gone = expired.expired = true;
	directory_feed_begin(d, 0);
	feed(d, 0, g, 0);
	directory_feed_end(d, 0, OLD, 0);
	CHECK_EQ(directory_set_linked(d, KEY_A, &g.owner, true), 0);
	feed(d, 0, expired, 10);
	directory_feed_tick(d, 20);
	CHECK_EQ(told.gateways_gone, 1);
	directory_free(d);
}

struct walked {
	unsigned gateways, registrations;
	char names[256];
};

static void walked_gateway(void *arg, const struct directory_gateway *g)
{
	(void)g;
	((struct walked *)arg)->gateways++;
}

static void walked_registration(void *arg, const struct directory_registration *r)
{
	struct walked *w = arg;

	w->registrations++;
	w->names[strlen(w->names)] = r->domain[0];
}

/* A part at a time: what goes, changes and comes in between harms it not. */
static void test_a_walk_goes_on(void)
{
	static const struct directory_walk_ops both = { .gateway = walked_gateway, .registration = walked_registration };
	static const struct directory_walk_ops gateways = { .gateway = walked_gateway };
	static const char *const domains[] = { "a.example.org", "b.example.org", "c.example.org", "d.example.org", "e.example.org" };
	struct directory *d = directory();
	struct directory_walk walk, other;
	struct walked seen = { .gateways = 0 };
	struct entry r[5];

	CHECK_EQ(feed_keys(d, 0, "# serial 2\n" KEY_A " service *:client\n" KEY_G " gateway\n"), 0);
	directory_feed_begin(d, 0);
	feed(d, 0, sample_gateway(KEY_G, 9, "tcp://h:1", 1), 0);
	for (unsigned i = 0; i < 5; i++)
		feed(d, 0, r[i] = sample_registration(KEY_A, 1, domains[i], 1, 1), 0);
	directory_feed_end(d, 0, OLD, 0);
	directory_walk_begin(&walk, d);
	directory_walk_begin(&other, d);
	CHECK(directory_walk(&walk, 2, &both, &seen));
	CHECK(directory_walk(&other, 2, &gateways, &seen));
	CHECK_EQ(seen.gateways, 2);
	CHECK_STR(seen.names, "a");
	r[1].gone = r[1].expired = r[0].gone = r[0].expired = true; /* the one that both stand on, and one that is past */
	feed(d, 0, r[1], 1);
	feed(d, 0, r[0], 1);
	r[2].version = 2;
	r[2].weight = 7;
	feed(d, 0, r[2], 1);
	directory_walk_end(&other);
	feed(d, 0, sample_registration(KEY_A, 1, "f.example.org", 1, 1), 1);
	CHECK(directory_walk(&walk, 1, &both, &seen));
	CHECK_STR(seen.names, "ac");
	CHECK(!directory_walk(&walk, 100, &both, &seen));
	CHECK_STR(seen.names, "acdef");
	directory_walk_end(&walk);
	directory_free(d);
}

static void test_changes_are_told_once(void)
{
	struct directory *d = directory();
	struct entry r = sample_registration(KEY_A, 1, "example.org", 3, 1);

	feed(d, 0, r, 0);
	feed(d, 1, r, 0);
	r.version = 2; /* nothing else changed */
	feed(d, 0, r, 0);
	CHECK_EQ(told.registrations, 1);
	r.version = 3;
	r.weight = 5;
	feed(d, 0, r, 0);
	feed(d, 1, r, 0);
	CHECK_EQ(told.registrations, 2);
	r.version = 4;
	r.reopens = true;
	feed(d, 0, r, 0);
	CHECK_EQ(told.registrations, 3);
	directory_free(d);
}

static void test_highest_serial_wins(void)
{
	struct directory *d = directory();

	CHECK_EQ(feed_keys(d, 1, "# serial 9\n" KEY_A " admin\n"), 0);
	CHECK_EQ(directory_role(d, KEY_A), DIR_ROLE_ADMIN);
	CHECK_EQ(directory_role(d, KEY_G), DIR_ROLE_NONE);
	CHECK_EQ(feed_keys(d, 0, "# serial 3\n" KEY_G " admin\n"), 0);
	CHECK_EQ(directory_role(d, KEY_A), DIR_ROLE_ADMIN);
	CHECK_EQ(feed_keys(d, 0, "broken\n"), SVCPROTO_E_INVALID);
	CHECK_EQ(directory_role(d, KEY_A), DIR_ROLE_ADMIN);
	directory_free(d);
}

int main(void)
{
	RUN(test_permission_is_checked_again);
	RUN(test_nothing_without_keys);
	RUN(test_local);
	RUN(test_an_empty_registry_erases_nothing);
	RUN(test_two_registries);
	RUN(test_withdrawn_before_it_was_known);
	RUN(test_back_at_one_registry_only);
	RUN(test_what_goes_is_not_found);
	RUN(test_a_registry_that_missed_the_news);
	RUN(test_withdrawn_stays_withdrawn);
	RUN(test_a_live_link_keeps_its_entry);
	RUN(test_a_strangers_link_keeps_nothing);
	RUN(test_a_walk_goes_on);
	RUN(test_changes_are_told_once);
	RUN(test_highest_serial_wins);
	return check_done("registry.directory");
}
