/* A directory as bytes: what was known is known again, held by nobody; cut or changed bytes are no directory. */
#include "check.h"
#include "sample.h"

#include <stdlib.h>

#include "svcproto/directory_keep.h"

#define KEYS "# serial 5\n" KEY_A " service *.example.org:client,server\n" KEY_G " gateway\n"

static uint8_t bytes[1u << 20];
static uint8_t before[sizeof(bytes)];
static size_t nr_bytes, nr_before, limit;

static bool put(void *arg, const void *p, size_t n)
{
	(void)arg;
	if (nr_bytes + n > limit)
		return false;
	memcpy(bytes + nr_bytes, p, n);
	nr_bytes += n;
	return true;
}

static bool keep(const struct directory *d)
{
	nr_bytes = 0;
	return directory_keep_write(d, put, NULL);
}

static void feed_keys(struct directory *d, unsigned source, const char *text)
{
	struct keyset *k = sample_keys(text);
	struct reg_frame f = { .serial = keyset_serial(k), .parts = 1, .keys = text, .keys_n = strlen(text) };

	CHECK_EQ(directory_feed_keys(d, source, &f), 0);
	keyset_free(k);
}

/* 500 registrations and a gateway, enough for several messages. */
static struct directory *full_directory(void)
{
	struct directory *d = directory_new(NULL, NULL);
	struct entry e = sample_gateway(KEY_G, 1, "tcp://h:1", 1);
	char name[64];

	feed_keys(d, 0, KEYS);
	CHECK_EQ(directory_feed_entry(d, 0, &e, 0), 0);
	for (unsigned i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "d%u.example.org", i);
		e = sample_registration(KEY_A, 2, name, 3, i + 1);
		CHECK_EQ(directory_feed_entry(d, 0, &e, 0), 0);
	}
	e = sample_registration(KEY_A, 3, "foreign.example", 3, 1); /* not its key's: not shown, not kept */
	CHECK_EQ(directory_feed_entry(d, 0, &e, 0), 0);
	return d;
}

static size_t count(const struct directory *d)
{
	const struct entry *e = NULL;
	size_t nr = 0;

	while ((e = directory_feed_next(d, e)) != NULL)
		nr++;
	return nr;
}

static void test_there_and_back(void)
{
	struct directory *d = full_directory(), *again = directory_new(NULL, NULL);
	struct entry e = sample_gateway(KEY_G, 1, "tcp://h:1", 2);

	limit = sizeof(bytes);
	CHECK(keep(d));
	CHECK(nr_bytes > SVC_BATCH_MAX);
	CHECK_EQ(directory_keep_read(again, bytes, nr_bytes, 0), 0);
	CHECK_EQ(count(d), 501);
	CHECK_EQ(count(again), 501);
	CHECK_EQ(directory_role(again, KEY_G), DIR_ROLE_GATEWAY);
	CHECK_EQ(keyset_serial(directory_keys(again)), 5);
	/* Loads and rooms change nothing in it. */
	memcpy(before, bytes, nr_before = nr_bytes);
	e.load = 99;
	e.has_room = true;
	e.room = 64;
	CHECK_EQ(directory_feed_entry(d, 0, &e, 0), 0);
	CHECK(keep(d));
	CHECK(nr_bytes == nr_before && memcmp(bytes, before, nr_bytes) == 0);
	directory_free(d);
	directory_free(again);
}

/* It counts until a registry knows better: at once for keys with a higher serial, after a lease's time for who is gone. */
static void test_held_by_nobody(void)
{
	struct directory *d = full_directory(), *again = directory_new(NULL, NULL);
	struct entry e = sample_gateway(KEY_G, 1, "tcp://h:1", 1);

	limit = sizeof(bytes);
	CHECK(keep(d));
	CHECK_EQ(directory_keep_read(again, bytes, nr_bytes, 0), 0);
	directory_feed_tick(again, 100 * REG_LEASE_MAX_MS);
	CHECK_EQ(count(again), 501);
	directory_feed_begin(again, 0);
	CHECK_EQ(directory_feed_entry(again, 0, &e, 0), 0);
	directory_feed_end(again, 0, 1000, 0);
	CHECK_EQ(count(again), 501);
	directory_feed_tick(again, REG_LEASE_MAX_MS);
	CHECK_EQ(count(again), 1);
	/* An older list of a registry does not bring a removed key back; one that is as new takes over. */
	feed_keys(again, 0, "# serial 4\n" KEY_B " admin\n");
	CHECK_EQ(directory_role(again, KEY_B), DIR_ROLE_NONE);
	feed_keys(again, 0, "# serial 5\n" KEY_B " admin\n");
	CHECK_EQ(directory_role(again, KEY_B), DIR_ROLE_ADMIN);
	directory_free(d);
	directory_free(again);
}

static void test_broken(void)
{
	struct directory *d = full_directory();

	limit = 1000;
	CHECK(!keep(d));
	limit = sizeof(bytes);
	CHECK(keep(d));
	for (size_t cut = 1; cut < nr_bytes; cut += 3001) {
		struct directory *again = directory_new(NULL, NULL);
		int rc = directory_keep_read(again, bytes, cut, 0);

		CHECK(rc == SVCPROTO_E_INVALID);
		CHECK(!directory_has_keys(again) && count(again) == 0);
		directory_free(again);
	}
	for (unsigned i = 0; i < 300; i++) {
		struct directory *again = directory_new(NULL, NULL);
		size_t at = i * 50021u % nr_bytes;

		bytes[at] ^= (uint8_t)(1u << i % 8);
		(void)directory_keep_read(again, bytes, nr_bytes, 0); /* the sanitizers watch */
		bytes[at] ^= (uint8_t)(1u << i % 8);
		directory_free(again);
	}
	directory_free(d);
	d = directory_new(NULL, NULL);
	CHECK(!keep(d)); /* nothing is known */
	CHECK_EQ(directory_keep_read(d, bytes, 0, 0), 0);
	directory_free(d);
}

int main(void)
{
	RUN(test_there_and_back);
	RUN(test_held_by_nobody);
	RUN(test_broken);
	return check_done("registry.keep");
}
