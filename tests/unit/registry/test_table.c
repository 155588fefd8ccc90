/* Leases, versions, tombstones and permissions of the registry's table. */
#include "check.h"
#include "svcproto/fail.h"
#include "registry/table.h"
#include "sample.h"

#define KEYS \
	"# serial 1\n" KEY_A " service example.org:client,server\n" KEY_B " service b.example:server\n" \
	KEY_G " gateway\n" KEY_X " admin\n"

static struct {
	int nr, gone, expired, ended;
	char name[64];
} told;

static void on_changed(void *arg, const struct entry *e)
{
	(void)arg;
	told.nr++;
	told.gone += e->gone;
	told.expired += e->expired;
	told.ended += e->ended;
	snprintf(told.name, sizeof(told.name), "%s", e->name);
}

static const struct registry_table_ops ops = { .changed = on_changed };

static struct registry_table *table(void)
{
	struct registry_table *t = registry_table_new(&ops, NULL);

	memset(&told, 0, sizeof(told));
	registry_table_set_keys(t, sample_keys(KEYS), 0);
	return t;
}

static const char *announce(struct registry_table *t, const char *user, struct entry e, uint64_t now, struct entry *seen)
{
	static char why[256];
	struct entry other;

	return registry_table_announce(t, user, &e, now, seen != NULL ? seen : &other, why, sizeof(why));
}

static size_t count(const struct registry_table *t)
{
	const struct entry *e = NULL;
	size_t nr = 0;

	while ((e = registry_table_next(t, e)) != NULL)
		nr++;
	return nr;
}

static void test_permissions(void)
{
	struct registry_table *t = table();

	CHECK(announce(t, KEY_A, sample_registration(KEY_A, 1, "example.org", 3, 1), 0, NULL) == NULL);
	CHECK_STR(announce(t, KEY_A, sample_registration(KEY_A, 1, "b.example", 2, 2), 0, NULL),
		  "domain b.example is not authorised for this key");
	CHECK_STR(announce(t, KEY_B, sample_registration(KEY_B, 2, "b.example", 3, 1), 0, NULL),
		  "domain b.example is not authorised for this key as type client");
	CHECK_STR(announce(t, KEY_A, sample_registration(KEY_B, 2, "b.example", 2, 1), 0, NULL),
		  "the entry names another key than the connection's");
	CHECK_STR(announce(t, KEY_A, sample_gateway(KEY_A, 1, "tcp://h:1", 3), 0, NULL), "role service may not announce a gateway");
	CHECK_STR(announce(t, KEY_G, sample_registration(KEY_G, 3, "example.org", 1, 3), 0, NULL),
		  "role gateway may not announce a registration");
	CHECK_STR(announce(t, KEY_X, sample_registration(KEY_X, 3, "example.org", 1, 3), 0, NULL),
		  "role admin may not announce a registration");
	CHECK_STR(announce(t, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
			   sample_gateway("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 1, "tcp://h:1", 1), 0, NULL),
		  "the registry does not know the key zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
	CHECK_STR(announce(t, KEY_A, sample_registration(KEY_A, 1, "example.org", 0, 9), 0, NULL),
		  "the registration has no type that is known");
	CHECK(announce(t, KEY_G, sample_gateway(KEY_G, 3, "ipc://x", 1), 0, NULL) != NULL);
	CHECK(announce(t, KEY_G, sample_gateway(KEY_G, 3, "tcp://h:1", 1), 0, NULL) == NULL);
	CHECK_EQ(count(t), 2);
	registry_table_free(t);
}

static void test_leases(void)
{
	struct registry_table *t = table();
	struct svc_id owner;
	uint64_t version;

	memset(owner.b, 1, sizeof(owner.b));
	CHECK(announce(t, KEY_A, sample_registration(KEY_A, 1, "example.org", 3, 5), 1000, NULL) == NULL);
	CHECK_EQ(told.nr, 1);
	CHECK_EQ(registry_table_tick(t, 1000), 1000 + REG_LEASE_MS);
	CHECK_EQ(registry_table_renew(t, KEY_A, &owner, 7, 9000, &version), 1);
	CHECK_EQ(version, 5);
	CHECK_EQ(registry_table_renew(t, KEY_A, &owner, 6, 9000, &version), 0);
	CHECK_EQ(registry_table_renew(t, KEY_B, &owner, 7, 9000, &version), 0); /* another key renews nothing */
	registry_table_tick(t, 9000 + REG_LEASE_MS - 1);
	CHECK_EQ(count(t), 1);
	registry_table_tick(t, 9000 + REG_LEASE_MS);
	CHECK_EQ(count(t), 0);
	CHECK_EQ(told.expired, 1);
	CHECK_EQ(told.ended, 0);
	/* It was only slow: the same version is welcome. */
	CHECK(announce(t, KEY_A, sample_registration(KEY_A, 1, "example.org", 3, 5), 30000, NULL) == NULL);
	CHECK_EQ(count(t), 1);
	CHECK_EQ(told.nr, 3);
	registry_table_free(t);
}

static void test_end(void)
{
	struct registry_table *t = table();
	struct svc_id owner;

	memset(owner.b, 1, sizeof(owner.b));
	CHECK(announce(t, KEY_A, sample_registration(KEY_A, 1, "example.org", 3, 5), 1000, NULL) == NULL);
	CHECK(announce(t, KEY_A, sample_registration(KEY_A, 2, "example.org", 3, 5), 1000, NULL) == NULL);
	CHECK_EQ(registry_table_end(t, KEY_B, &owner, true, 2000), 0); /* another key ends nothing */
	CHECK_EQ(registry_table_end(t, KEY_A, &owner, true, 2000), 1);
	CHECK_EQ(registry_table_end(t, KEY_A, &owner, true, 2000), 0);
	CHECK_EQ(count(t), 1);
	CHECK_EQ(told.expired, 1);
	CHECK_EQ(told.ended, 1);
	/* It was not dead after all: as after a lease that ran out. */
	CHECK(announce(t, KEY_A, sample_registration(KEY_A, 1, "example.org", 3, 5), 3000, NULL) == NULL);
	CHECK_EQ(count(t), 2);
	registry_table_free(t);
}

static void test_versions(void)
{
	struct registry_table *t = table();
	struct entry seen, e = sample_registration(KEY_A, 1, "example.org", 3, 5);

	CHECK(announce(t, KEY_A, e, 0, NULL) == NULL);
	CHECK(announce(t, KEY_A, e, 1, NULL) == NULL); /* again: a renewal, no news */
	CHECK_EQ(told.nr, 1);
	e.version = 4;
	CHECK(announce(t, KEY_A, e, 2, &seen) == NULL);
	CHECK_EQ(seen.version, 5);
	CHECK_EQ(told.nr, 1);
	e.version = 1;
	e.incarnation = 8; /* a later life of the owner */
	CHECK(announce(t, KEY_A, e, 3, &seen) == NULL);
	CHECK_EQ(told.nr, 2);
	CHECK_EQ(seen.version, 1);
	e.version = 100;
	e.incarnation = 7;
	CHECK(announce(t, KEY_A, e, 4, &seen) == NULL);
	CHECK_EQ(seen.incarnation, 8);
	CHECK_EQ(told.nr, 2);
	registry_table_free(t);
}

static void test_tombstones(void)
{
	struct registry_table *t = table();
	struct entry seen, e = sample_registration(KEY_A, 1, "example.org", 3, 5), gone = e;

	gone.gone = true;
	gone.version = 6;
	CHECK(announce(t, KEY_A, e, 0, NULL) == NULL);
	CHECK(announce(t, KEY_A, gone, 10, NULL) == NULL);
	CHECK_EQ(count(t), 0);
	CHECK_EQ(told.gone, 1);
	CHECK(announce(t, KEY_A, e, 20, &seen) == NULL); /* comes late, by another way */
	CHECK_EQ(count(t), 0);
	e.version = 6;
	CHECK(announce(t, KEY_A, e, 20, &seen) == NULL);
	CHECK_EQ(count(t), 0);
	CHECK(seen.version > 6);
	registry_table_tick(t, REG_LEASE_MAX_MS + 20);
	e.version = 5;
	CHECK(announce(t, KEY_A, e, REG_LEASE_MAX_MS + 20, NULL) == NULL); /* the tombstone outlives the longest lease */
	CHECK_EQ(count(t), 0);
	registry_table_tick(t, REG_TOMBSTONE_MS + 20000);
	CHECK(announce(t, KEY_A, e, REG_TOMBSTONE_MS + 20000, NULL) == NULL);
	CHECK_EQ(count(t), 1);
	/* Withdrawing what is not there is no news. */
	told.nr = 0;
	gone.name = "example.org";
	memset(gone.owner.b, 9, sizeof(gone.owner.b));
	CHECK(announce(t, KEY_A, gone, 1, NULL) == NULL);
	CHECK_EQ(told.nr, 0);
	registry_table_free(t);
}

static void test_keys_change(void)
{
	struct registry_table *t = table();

	CHECK(announce(t, KEY_A, sample_registration(KEY_A, 1, "example.org", 3, 1), 0, NULL) == NULL);
	CHECK(announce(t, KEY_B, sample_registration(KEY_B, 2, "b.example", 2, 1), 0, NULL) == NULL);
	registry_table_set_keys(t, sample_keys("# serial 2\n" KEY_B " service b.example:server\n"), 5);
	CHECK_EQ(count(t), 1);
	CHECK_EQ(told.gone, 1);
	CHECK_STR(told.name, "example.org");
	registry_table_free(t);
}

/* One key cannot keep the others out; and what renews a lease looks at its owner's entries only, or this would take minutes. */
static void test_full(void)
{
	struct registry_table *t = table();
	char name[64];
	struct entry e;
	uint64_t version;
	size_t renewed = 0;

	registry_table_set_keys(t, sample_keys("# serial 2\n" KEY_A " service *:client\n" KEY_G " gateway\n"), 0);
	for (unsigned i = 0; i < TABLE_ENTRIES_PER_KEY; i++) {
		snprintf(name, sizeof(name), "d%u.example", i);
		e = sample_registration(KEY_A, (uint8_t)(i % 200), name, 1, i + 1);
		memcpy(e.owner.b, &(uint32_t){ i / 100 }, 4);
		if (announce(t, KEY_A, e, 0, NULL) != NULL)
			break;
	}
	CHECK_EQ(count(t), TABLE_ENTRIES_PER_KEY);
	CHECK_STR(announce(t, KEY_A, sample_registration(KEY_A, 1, "one.more.example", 1, 1), 0, NULL), "the registry is full");
	CHECK(announce(t, KEY_A, e, 0, NULL) == NULL); /* what it has it may change */
	CHECK(announce(t, KEY_G, sample_gateway(KEY_G, 3, "tcp://h:1", 1), 0, NULL) == NULL);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < TABLE_ENTRIES_PER_KEY; i++) {
			e.owner = sample_registration(KEY_A, (uint8_t)(i % 200), "x", 1, 1).owner;
			memcpy(e.owner.b, &(uint32_t){ i / 100 }, 4);
			if (i % 100 < 2)
				renewed += registry_table_renew(t, KEY_A, &e.owner, 7, 1000, &version);
		}
	}
	CHECK_EQ(renewed, 10 * TABLE_ENTRIES_PER_KEY / 50);
	(void)registry_table_tick(t, 1000 + REG_LEASE_MS);
	CHECK_EQ(count(t), 0);
	(void)registry_table_tick(t, 1000 + REG_LEASE_MS + REG_TOMBSTONE_MS);
	CHECK(announce(t, KEY_A, sample_registration(KEY_A, 1, "one.more.example", 1, 1), 100000, NULL) == NULL);
	registry_table_free(t);
}

/* An entry for which there was no memory uses up nothing of its key's share. */
static void test_no_memory(void)
{
	struct registry_table *t = table();
	struct entry e = sample_registration(KEY_A, 1, "example.org", 3, 1);

	CHECK(announce(t, KEY_A, e, 0, NULL) == NULL);
	e.owner.b[15] = 9;
	for (unsigned i = 0; i < TABLE_ENTRIES_PER_KEY; i++) {
		fail_countdown = 0;
		if (announce(t, KEY_A, e, 0, NULL) == NULL)
			break;
	}
	fail_countdown = -1;
	CHECK(fail_happened);
	CHECK_EQ(count(t), 1);
	CHECK(announce(t, KEY_A, e, 0, NULL) == NULL);
	CHECK_EQ(count(t), 2);
	registry_table_free(t);
}

int main(void)
{
	RUN(test_permissions);
	RUN(test_leases);
	RUN(test_end);
	RUN(test_versions);
	RUN(test_tombstones);
	RUN(test_keys_change);
	RUN(test_full);
	RUN(test_no_memory);
	return check_done("registry.table");
}
