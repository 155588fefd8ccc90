/* Redirects: the store, who may set them at a registry, and what a directory makes of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/keep.h"
#include "registry/table.h"
#include "sample.h"
#include "svcproto/directory_feed.h"
#include "svcproto/redirects.h"
#include "check.h"

#define DAY_MS 86400000u
#define KEYS "# serial 1\n" KEY_A " service example.org:client\n" KEY_B " service example.net:client\n" KEY_X " admin\n" KEY_G " gateway\n"

static struct redirect of(const char *name, const char *host, uint64_t version, uint64_t until_ms)
{
	return (struct redirect){ .name = name, .host = host, .key = KEY_A, .version = version, .until_ms = until_ms };
}

static int put(struct redirects *rs, struct redirect r, uint64_t now_ms)
{
	return redirects_put(rs, &r, now_ms);
}

static void versions_and_ends(void)
{
	struct redirects *rs = redirects_new();
	struct redirect r;

	CHECK_EQ(put(rs, of("a@example.org", "one.example", 5, 1000), 0), 1);
	CHECK_EQ(put(rs, of("a@example.org", "one.example", 5, 9000), 0), 0); /* no renewal */
	CHECK_EQ(put(rs, of("a@example.org", "zero.example", 4, 9000), 0), 0);
	CHECK(redirects_get(rs, "a@example.org", 999, &r));
	CHECK_STR(r.host, "one.example");
	CHECK(!redirects_get(rs, "a@example.org", 1000, &r));
	CHECK_EQ(put(rs, of("a@example.org", "zero.example", 4, 9000), 1000), 1); /* what has ended holds nobody back */
	CHECK_EQ(put(rs, of("a@example.org", "two.example", 6, 5000), 1000), 1);
	CHECK_EQ(redirects_count(rs), 1);
	CHECK_EQ(redirects_of_key(rs, KEY_A), 1);
	/* Two setters with one version: the same one counts everywhere. */
	CHECK_EQ(put(rs, of("a@example.org", "three.example", 6, 5000), 1000), 0);
	CHECK_EQ(put(rs, of("a@example.org", "z.example", 6, 5000), 1000), 1);
	redirects_free(rs);
}

static void removal_lasts(void)
{
	struct redirects *rs = redirects_new();
	struct redirect r;

	CHECK_EQ(put(rs, of("a@example.org", "one.example", 5, DAY_MS), 0), 1);
	CHECK_EQ(put(rs, of("a@example.org", NULL, 6, 0), 0), 1);
	CHECK(redirects_get(rs, "a@example.org", DAY_MS - 1, &r) && r.host == NULL);
	CHECK_EQ(put(rs, of("a@example.org", "one.example", 5, DAY_MS), 1000), 0); /* a registry that missed the removal */
	CHECK(!redirects_get(rs, "a@example.org", DAY_MS, &r));
	CHECK_EQ(put(rs, of("b@example.org", NULL, 1, 0), 0), 1);
	CHECK(redirects_get(rs, "b@example.org", REDIRECT_TOMBSTONE_MS - 1, &r));
	CHECK(!redirects_get(rs, "b@example.org", REDIRECT_TOMBSTONE_MS, &r));
	for (unsigned i = 0; i < 64; i++)
		redirects_tick(rs, DAY_MS + i * 1000);
	CHECK_EQ(redirects_count(rs), 0);
	CHECK_EQ(redirects_of_key(rs, KEY_A), 0);
	redirects_free(rs);
}

/* 100,000 of ordinary length: what each costs, everything counted, and that all of it comes back. */
static void memory_is_bounded(void)
{
	struct redirects *rs = redirects_new();
	size_t empty = redirects_bytes(rs), each;
	char name[64], host[64];
	struct redirect r;

	for (unsigned i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "user%06u@users.example.org", i);
		snprintf(host, sizeof(host), "gw%u.example.org:15222", i % 7);
		CHECK_EQ(put(rs, of(name, host, 1, DAY_MS), 0), 1);
	}
	CHECK_EQ(redirects_count(rs), 100000);
	each = redirects_bytes(rs) / 100000;
	printf("a redirect costs %zu bytes\n", each);
	CHECK(each <= 160);
	CHECK(redirects_get(rs, "user099999@users.example.org", 1, &r));
	CHECK_STR(r.host, "gw4.example.org:15222");
	for (unsigned i = 0; i < 64; i++)
		redirects_tick(rs, DAY_MS + i * 1000);
	CHECK_EQ(redirects_count(rs), 0);
	CHECK(redirects_bytes(rs) - empty < 100000 * 20); /* the hash's own array */
	redirects_free(rs);
}

static void names(void)
{
	CHECK(redirect_name_ok("example.org") && redirect_name_ok("a@example.org") && redirect_name_ok("b\xc3\xbc@example.org"));
	CHECK(!redirect_name_ok("") && !redirect_name_ok("@example.org") && !redirect_name_ok("a@"));
	CHECK(!redirect_name_ok("a b@example.org"));
	CHECK(!redirect_name_ok("a@example.org/r") && !redirect_name_ok("a@b@example.org") && !redirect_name_ok("*.example.org"));
	CHECK_STR(redirect_domain("a@example.org"), "example.org");
	CHECK_STR(redirect_domain("example.org"), "example.org");
}

/* ---- at a registry ---- */

static struct entry published;
static unsigned nr_published;

static void on_changed(void *arg, const struct entry *e)
{
	(void)arg;
	published = *e;
	nr_published++;
}

static const struct registry_table_ops table_ops = { .changed = on_changed };

static struct registry_table *table(void)
{
	struct registry_table *t = registry_table_new(&table_ops, NULL);

	registry_table_set_keys(t, sample_keys(KEYS), 0);
	nr_published = 0;
	return t;
}

static const char *announce(struct registry_table *t, struct entry e, uint64_t now_ms, uint64_t *seen_version)
{
	static char why[256];
	struct entry seen;
	const char *no = registry_table_announce(t, e.key, &e, now_ms, &seen, why, sizeof(why));

	*seen_version = seen.version;
	return no;
}

static void who_may(void)
{
	struct registry_table *t = table();
	uint64_t v;

	CHECK(announce(t, sample_redirect(KEY_A, "a@example.org", "gw.example", 1), 0, &v) == NULL);
	CHECK(announce(t, sample_redirect(KEY_A, "example.org", "gw.example", 1), 0, &v) == NULL);
	CHECK(announce(t, sample_redirect(KEY_X, "a@example.net", "gw.example", 1), 0, &v) == NULL); /* an administrator: any domain */
	CHECK_STR(announce(t, sample_redirect(KEY_A, "a@example.net", "gw.example", 9), 0, &v),
		  "this key may not redirect users of example.net");
	CHECK_STR(announce(t, sample_redirect(KEY_G, "a@example.org", "gw.example", 9), 0, &v),
		  "this key may not redirect users of example.org");
	CHECK_STR(announce(t, sample_redirect(KEY_A, "a@example.org", "no host", 9), 0, &v),
		  "the redirect's host is none that a client can be sent to");
	CHECK(announce(t, sample_redirect(KEY_A, "a@b@example.org", "gw.example", 9), 0, &v) != NULL);
	CHECK_EQ(nr_published, 3);
	/* What another set may be replaced and removed by whoever may set it. */
	CHECK(announce(t, sample_redirect(KEY_X, "a@example.org", NULL, 2), 0, &v) == NULL);
	CHECK(published.gone && published.kind == DIR_REDIRECT);
	CHECK_STR(published.key, KEY_X);
	registry_table_free(t);
}

static void setters_hear_of_later_ones(void)
{
	struct registry_table *t = table();
	uint64_t v;

	CHECK(announce(t, sample_redirect(KEY_A, "a@example.org", "one.example", 100), 0, &v) == NULL);
	CHECK_EQ(v, 100);
	CHECK(announce(t, sample_redirect(KEY_X, "a@example.org", "two.example", 40), 0, &v) == NULL);
	CHECK_EQ(v, 100);
	CHECK(announce(t, sample_redirect(KEY_X, "a@example.org", "a.example", 100), 0, &v) == NULL);
	CHECK(v > 100);
	CHECK(announce(t, sample_redirect(KEY_A, "a@example.org", "one.example", 100), 30000, &v) == NULL);
	CHECK_EQ(v, 100);
	CHECK_EQ(nr_published, 1);
	registry_table_free(t);
}

static void a_quota_for_each_key(void)
{
	struct registry_table *t = table();
	char name[64];
	uint64_t v;
	unsigned i;

	for (i = 0; i <= 200000; i++) {
		snprintf(name, sizeof(name), "u%u@example.org", i);
		if (announce(t, sample_redirect(KEY_A, name, "gw.example", 1), 0, &v) != NULL)
			break;
	}
	CHECK_EQ(i, 200000);
	CHECK_STR(announce(t, sample_redirect(KEY_A, "more@example.org", "gw.example", 1), 0, &v), "there are too many redirects");
	CHECK(announce(t, sample_redirect(KEY_A, "u7@example.org", "other.example", 2), 0, &v) == NULL); /* a replacement is none more */
	CHECK(announce(t, sample_redirect(KEY_B, "a@example.net", "gw.example", 1), 0, &v) == NULL);
	registry_table_free(t);
}

/* ---- on disk ---- */

struct file {
	uint8_t p[1 << 16];
	size_t n;
};

static bool write_piece(void *arg, const void *p, size_t n)
{
	struct file *f = arg;

	CHECK(f->n + n <= sizeof(f->p));
	memcpy(f->p + f->n, p, n);
	f->n += n;
	return true;
}

static bool is_at(const struct registry_table *t, const char *name, uint64_t now_ms, const char *host)
{
	struct redirect r;

	return redirects_get(registry_table_redirects(t), name, now_ms, &r) &&
	       (host != NULL ? r.host != NULL && strcmp(r.host, host) == 0 : r.host == NULL);
}

/* Version, setter and end are as they were, by the time of day: 10 s pass between two clocks that have nothing in common. */
static void a_restart_forgets_nothing(void)
{
	struct registry_table *t = table(), *again = table();
	struct entry longer = sample_redirect(KEY_A, "a@example.org", "one.example", 7),
		     shorter = sample_redirect(KEY_B, "b@example.net", "two.example", 7);
	struct file f = { .n = 0 };
	struct redirect r;
	uint64_t v;

	longer.lease_ms = 60000;
	shorter.lease_ms = 9000;
	CHECK(announce(t, longer, 500, &v) == NULL);
	CHECK(announce(t, shorter, 500, &v) == NULL);
	CHECK(announce(t, sample_redirect(KEY_X, "gone@example.org", "one.example", 1), 500, &v) == NULL);
	CHECK(announce(t, sample_redirect(KEY_X, "gone@example.org", NULL, 2), 500, &v) == NULL);
	CHECK(keep_write(registry_table_redirects(t), 500, 1700000000000, write_piece, &f));
	for (size_t n = 0; n < f.n; n++) /* cut anywhere it is nothing, or what stands before a whole message */
		CHECK(keep_read(again, f.p, n, 900000, 1700000010000) != 0 || n == 12);
	CHECK_EQ(redirects_count(registry_table_redirects(again)), 0);
	CHECK_EQ(keep_read(again, f.p, f.n, 900000, 1700000010000), 0);
	CHECK(redirects_get(registry_table_redirects(again), "a@example.org", 900000, &r));
	CHECK_STR(r.host, "one.example");
	CHECK_STR(r.key, KEY_A);
	CHECK(r.version == 7 && r.until_ms == 950000);
	CHECK(!is_at(again, "b@example.net", 900000, "two.example")); /* it has ended meanwhile */
	CHECK(is_at(again, "gone@example.org", 900000, NULL));
	CHECK(announce(again, sample_redirect(KEY_X, "gone@example.org", "one.example", 1), 900000, &v) == NULL);
	CHECK(is_at(again, "gone@example.org", 900000, NULL)); /* what missed the removal does not come back */
	f.p[f.n - 1] ^= 0x80;
	f.p[14] ^= 1;
	CHECK_EQ(keep_read(again, f.p, f.n, 900000, 1700000010000), SVCPROTO_E_INVALID);
	registry_table_free(t);
	registry_table_free(again);
}

/* A key that has lost its line meanwhile has set nothing; a clock that was set back makes nothing last longer. */
static void a_restart_asks_again_who_may(void)
{
	struct registry_table *t = table(), *again = table();
	struct file f = { .n = 0 };
	struct redirect r;
	uint64_t v;

	CHECK(announce(t, sample_redirect(KEY_A, "a@example.org", "one.example", 1), 0, &v) == NULL);
	CHECK(announce(t, sample_redirect(KEY_B, "b@example.net", "two.example", 1), 0, &v) == NULL);
	CHECK(keep_write(registry_table_redirects(t), 0, 1700000000000, write_piece, &f));
	registry_table_set_keys(again, sample_keys("# serial 2\n" KEY_B " service example.net:client\n"), 0);
	CHECK_EQ(keep_read(again, f.p, f.n, 0, 1600000000000), 0);
	CHECK_EQ(redirects_count(registry_table_redirects(again)), 1);
	CHECK(redirects_get(registry_table_redirects(again), "b@example.net", 0, &r) &&
	      r.until_ms == sample_redirect(KEY_B, "x", "y", 1).lease_ms);
	registry_table_free(t);
	registry_table_free(again);
}

/* ---- in a directory ---- */

static void feed_keys(struct directory *d, const char *text)
{
	struct reg_frame f = { .type = REG_KEYS, .serial = 1, .part = 0, .parts = 1, .keys = text, .keys_n = strlen(text) };

	CHECK_EQ(directory_feed_keys(d, 0, &f), 0);
}

static int count(void *arg, const struct directory_redirect *r)
{
	(void)r;
	++*(unsigned *)arg;
	return 0;
}

static void who_is_sent(void)
{
	struct directory *d = directory_new(NULL, NULL);
	struct entry user = sample_redirect(KEY_A, "a@example.org", "one.example", 1);
	struct entry all = sample_redirect(KEY_A, "example.org", "all.example", 1);
	struct entry forged = sample_redirect(KEY_A, "a@example.net", "evil.example", 1);
	struct entry gone = sample_redirect(KEY_A, "a@example.org", NULL, 2);
	struct entry late = sample_redirect(KEY_A, "c@example.org", "c.example", 9);
	unsigned nr = 0;

	feed_keys(d, KEYS);
	CHECK_EQ(directory_feed_entry(d, 0, &user, 0), 0);
	CHECK_EQ(directory_feed_entry(d, 0, &all, 0), 0);
	CHECK_EQ(directory_feed_entry(d, 0, &forged, 0), 0);
	CHECK_STR(directory_redirect(d, "a@example.org", 1), "one.example");
	CHECK_STR(directory_redirect(d, "b@example.org", 1), "all.example");
	CHECK(directory_redirect(d, "a@example.net", 1) == NULL); /* the registry let pass what the key may not */
	CHECK_EQ(directory_each_redirect(d, 1, count, &nr), 0);
	CHECK_EQ(nr, 2);
	/* Registries come and go, empty ones too: nothing ends. */
	directory_feed_lost(d, 0);
	directory_feed_begin(d, 0);
	directory_feed_end(d, 0, 3600000, 30000);
	CHECK_STR(directory_redirect(d, "a@example.org", 30000), "one.example");
	CHECK_EQ(directory_feed_entry(d, 1, &gone, 30000), 0);
	CHECK_STR(directory_redirect(d, "a@example.org", 30001), "all.example");
	CHECK(directory_redirect(d, "a@example.org", 60001) == NULL);
	/* The key loses its line. */
	CHECK_EQ(directory_feed_entry(d, 0, &late, 61000), 0);
	CHECK_STR(directory_redirect(d, "c@example.org", 61001), "c.example");
	feed_keys(d, "# serial 2\n" KEY_G " gateway\n");
	CHECK(directory_redirect(d, "c@example.org", 61001) == NULL);
	directory_free(d);
}

int main(void)
{
	RUN(versions_and_ends);
	RUN(removal_lasts);
	RUN(memory_is_bounded);
	RUN(names);
	RUN(who_may);
	RUN(setters_hear_of_later_ones);
	RUN(a_quota_for_each_key);
	RUN(a_restart_forgets_nothing);
	RUN(a_restart_asks_again_who_may);
	RUN(who_is_sent);
	return check_done("registry.redirects");
}
