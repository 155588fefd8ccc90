#include "check.h"
#include "common/hash.h"

/* The reference vectors of the SipHash paper: key 00..0f, input 00..(n-1). */
static void test_vectors(void)
{
	static const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	char in[64];

	for (int i = 0; i < 64; i++)
		in[i] = (char)i;
	CHECK(hash_siphash(key, (struct slice){in, 0}) == 0x726fdb47dd0e0e31);
	CHECK(hash_siphash(key, (struct slice){in, 1}) == 0x74f839c593dc67fd);
	CHECK(hash_siphash(key, (struct slice){in, 8}) == 0x93f5f5799a932462);
	CHECK(hash_siphash(key, (struct slice){in, 15}) == 0xa129ca6149be45e5);
	CHECK(hash_siphash(key, SLICE_NONE) == 0x726fdb47dd0e0e31);
}

static void test_stable(void)
{
	CHECK(hash_bytes(SLICE("a")) == hash_bytes(SLICE("a")));
	CHECK(hash_bytes(SLICE("a")) != hash_bytes(SLICE("b")));
}

static void test_put_get_del(void)
{
	struct hash *h = hash_new();
	int one, two;
	char key[] = "key";

	CHECK(hash_get(h, SLICE("key")) == NULL);
	CHECK(hash_del(h, SLICE("key")) == NULL);
	CHECK(hash_put(h, slice_str(key), &one) == NULL);
	key[0] = 'X'; /* the table has a copy */
	CHECK(hash_get(h, SLICE("key")) == &one);
	CHECK(hash_get(h, SLICE("ke")) == NULL);
	CHECK(hash_get(h, SLICE("Xey")) == NULL);
	CHECK(hash_put(h, SLICE("key"), &two) == &one);
	CHECK_EQ(hash_count(h), 1);
	CHECK(hash_put(h, SLICE_NONE, &one) == NULL); /* an empty key is a key */
	CHECK(hash_get(h, SLICE("")) == &one);
	CHECK(hash_put(h, (struct slice){"a\0b", 3}, &one) == NULL);
	CHECK(hash_get(h, (struct slice){"a\0c", 3}) == NULL);
	CHECK(hash_del(h, SLICE("key")) == &two);
	CHECK(hash_get(h, SLICE("key")) == NULL);
	CHECK_EQ(hash_count(h), 2);
	hash_free(h);
	hash_free(NULL);
}

enum { MANY = 20000 };
static char values[MANY];

static void test_many(void)
{
	struct hash *h = hash_new();

	for (uint64_t i = 0; i < MANY; i++)
		CHECK(hash_put(h, hash_u64_key(&i), &values[i]) == NULL);
	CHECK_EQ(hash_count(h), MANY);
	for (uint64_t i = 0; i < MANY; i++)
		CHECK(hash_get(h, hash_u64_key(&i)) == &values[i]);
	for (uint64_t i = 0; i < MANY; i++)
		if (i % 100 != 0)
			CHECK(hash_del(h, hash_u64_key(&i)) == &values[i]);
	CHECK_EQ(hash_count(h), MANY / 100);
	for (uint64_t i = 0; i < MANY; i++)
		CHECK(hash_get(h, hash_u64_key(&i)) == (i % 100 ? NULL : &values[i]));
	hash_free(h);
}

struct walk {
	struct hash *h;
	int seen[MANY];
	int nr, stop_after;
};

static int on_entry(void *arg, struct slice key, void *value)
{
	struct walk *w = arg;
	uint64_t id;

	memcpy(&id, key.p, sizeof id);
	CHECK(value == &values[id]);
	w->seen[id]++;
	if (id % 2)
		CHECK(hash_del(w->h, key) == value);
	return ++w->nr == w->stop_after ? 77 : 0;
}

static void test_delete_while_walking(void)
{
	static struct walk w;

	w.h = hash_new();
	for (uint64_t i = 0; i < 1000; i++)
		hash_put(w.h, hash_u64_key(&i), &values[i]);
	CHECK_EQ(hash_each(w.h, on_entry, &w), 0);
	CHECK_EQ(w.nr, 1000);
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(w.seen[i], 1);
	CHECK_EQ(hash_count(w.h), 500);
	w.nr = 0;
	w.stop_after = 10;
	CHECK_EQ(hash_each(w.h, on_entry, &w), 77);
	CHECK_EQ(w.nr, 10);
	hash_free(w.h);
}

static int on_put_more(void *arg, struct slice key, void *value)
{
	struct walk *w = arg;
	uint64_t id;

	(void)value;
	memcpy(&id, key.p, sizeof id);
	w->seen[id]++;
	for (uint64_t i = 0; i < 50; i++) {
		uint64_t more = 1000 + i;

		hash_put(w->h, hash_u64_key(&more), &values[more]);
	}
	return 0;
}

static void test_put_while_walking(void)
{
	static struct walk w;

	w.h = hash_new();
	for (uint64_t i = 0; i < 8; i++)
		hash_put(w.h, hash_u64_key(&i), &values[i]);
	CHECK_EQ(hash_each(w.h, on_put_more, &w), 0);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(w.seen[i], 1);
	CHECK_EQ(hash_count(w.h), 58);
	hash_free(w.h);
}

int main(void)
{
	RUN(test_vectors);
	RUN(test_stable);
	RUN(test_put_get_del);
	RUN(test_many);
	RUN(test_delete_while_walking);
	RUN(test_put_while_walking);
	return check_done("unit.common.hash");
}
