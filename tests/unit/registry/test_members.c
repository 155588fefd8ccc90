/* Who is known to be gone, by connections that end. */
#include "check.h"
#include "registry/members.h"
#include "sample.h"

static struct {
	int asked, gone, died;
	char connected[8];      /* the routing ids, each a letter, that lead somewhere */
	uint8_t owner;          /* of the last that was gone */
	char key[41];
} world;

static bool connected(void *arg, const void *route, size_t route_n)
{
	(void)arg;
	world.asked++;
	return route_n == 1 && strchr(world.connected, *(const char *)route) != NULL;
}

static void gone(void *arg, const struct svc_id *owner, const char *key, bool died)
{
	(void)arg;
	world.gone++;
	world.died += died;
	world.owner = owner->b[0];
	snprintf(world.key, sizeof(world.key), "%s", key);
}

static const struct members_ops ops = { .connected = connected, .gone = gone };

static struct members *begin(const char *routes)
{
	memset(&world, 0, sizeof(world));
	snprintf(world.connected, sizeof(world.connected), "%s", routes);
	return members_new(&ops, NULL);
}

static void spoke_at(struct members *m, uint8_t owner, const char *key, char route, int fd, uint64_t now_ms)
{
	struct svc_id id;

	memset(id.b, owner, sizeof(id.b));
	members_spoke(m, &id, key, &route, 1, fd, now_ms);
}

static void spoke(struct members *m, uint8_t owner, const char *key, char route, int fd)
{
	spoke_at(m, owner, key, route, fd, 0);
}

static void test_dead(void)
{
	struct members *m = begin("b");

	spoke(m, 1, KEY_A, 'a', 10);
	spoke(m, 2, KEY_B, 'b', 11);
	CHECK_EQ(members_tick(m, 1000), UINT64_MAX);
	members_ended(m, 10, 1000);
	CHECK_EQ(members_tick(m, 1000), 1000 + MEMBERS_GONE_MS);
	members_ended(m, 10, 1500); /* another one at that place: no new time */
	CHECK_EQ(members_tick(m, 1000 + MEMBERS_GONE_MS - 1), 1000 + MEMBERS_GONE_MS);
	CHECK_EQ(world.gone, 0);
	CHECK_EQ(members_tick(m, 1000 + MEMBERS_GONE_MS), UINT64_MAX);
	CHECK_EQ(world.gone, 1);
	CHECK_EQ(world.owner, 1);
	CHECK_STR(world.key, KEY_A);
	members_ended(m, 10, 9000); /* it is told of once */
	CHECK_EQ(members_tick(m, 20000), UINT64_MAX);
	CHECK_EQ(world.gone, 1);
	members_free(m);
}

static void test_back_by_another_connection(void)
{
	struct members *m = begin("c");

	spoke(m, 1, KEY_A, 'a', 10);
	members_ended(m, 10, 1000);
	spoke(m, 1, KEY_A, 'a', 10); /* sent before the end, read after it */
	CHECK_EQ(members_tick(m, 1001), 1000 + MEMBERS_GONE_MS);
	spoke(m, 1, KEY_A, 'c', 12);
	CHECK_EQ(members_tick(m, 1000 + MEMBERS_GONE_MS), UINT64_MAX);
	members_ended(m, 10, 4000);
	CHECK_EQ(members_tick(m, 10000), UINT64_MAX);
	CHECK_EQ(world.gone, 0);
	/* And its second connection may end as the first did. */
	world.connected[0] = '\0';
	members_ended(m, 12, 10000);
	members_tick(m, 10000 + MEMBERS_GONE_MS);
	CHECK_EQ(world.gone, 1);
	members_free(m);
}

static void test_descriptor_of_another(void)
{
	struct members *m = begin("b");

	/* 'a' ended, 'b' got its descriptor and spoke before we heard of that. */
	spoke(m, 1, KEY_A, 'a', 10);
	spoke(m, 2, KEY_A, 'b', 10);
	members_ended(m, 10, 1000);
	members_tick(m, 1000 + MEMBERS_GONE_MS);
	CHECK_EQ(world.asked, 2);
	CHECK_EQ(world.gone, 1);
	CHECK_EQ(world.owner, 1);
	members_free(m);
}

static void test_another_key(void)
{
	struct members *m = begin("a");

	/* Whoever claims the owner id of somebody else with a key of its own, and ends, takes nobody along. */
	spoke(m, 1, KEY_A, 'a', 10);
	spoke(m, 1, KEY_B, 'b', 11);
	members_ended(m, 11, 1000);
	members_tick(m, 1000 + MEMBERS_GONE_MS);
	CHECK_EQ(world.gone, 1);
	CHECK_STR(world.key, KEY_B);
	members_free(m);
}

/* A process that ends takes its connection along at once; a network that breaks leaves it to the kernel's patience. */
static void test_died_or_silent(void)
{
	struct members *m = begin("");

	spoke_at(m, 1, KEY_A, 'a', 10, 1000);
	spoke_at(m, 1, KEY_A, 'a', 10, 4000);
	spoke_at(m, 2, KEY_B, 'b', 11, 4000);
	members_ended(m, 10, 4000 + MEMBERS_SPEAK_MS - 1);
	members_tick(m, 4000 + MEMBERS_SPEAK_MS - 1 + MEMBERS_GONE_MS);
	CHECK_EQ(world.gone, 1);
	CHECK_EQ(world.died, 1);
	members_ended(m, 11, 4000 + MEMBERS_SPEAK_MS);
	members_tick(m, 4000 + MEMBERS_SPEAK_MS + MEMBERS_GONE_MS);
	CHECK_EQ(world.gone, 2);
	CHECK_EQ(world.died, 1);
	members_free(m);
}

/* After a pause of ours an old word and the end come together: which was first by how much, nobody knows. */
static void test_late_ourselves(void)
{
	struct members *m = begin("");

	members_turn(m, 1000);
	members_turn(m, 1000 + 2 * MEMBERS_TURN_MS);
	spoke_at(m, 1, KEY_A, 'a', 10, 1600);
	members_turn(m, 1700);
	members_ended(m, 10, 1700);
	spoke_at(m, 2, KEY_B, 'b', 11, 9000); /* sent at 3000, say */
	members_turn(m, 9000);
	members_ended(m, 11, 9000);
	members_tick(m, 9000 + MEMBERS_GONE_MS);
	CHECK_EQ(world.gone, 2);
	CHECK_EQ(world.died, 1);
	for (uint64_t at = 9000; at <= 9000 + MEMBERS_SPEAK_MS; at += MEMBERS_TURN_MS)
		members_turn(m, at);
	spoke_at(m, 3, KEY_A, 'c', 12, 9000 + MEMBERS_SPEAK_MS);
	members_ended(m, 12, 9000 + MEMBERS_SPEAK_MS);
	members_tick(m, 20000);
	CHECK_EQ(world.gone, 3);
	CHECK_EQ(world.died, 2);
	members_free(m);
}

static void test_our_own_doing(void)
{
	struct members *m = begin("");

	spoke(m, 1, KEY_A, 'a', 10);
	spoke(m, 2, KEY_B, 'b', 11);
	members_ended(m, 10, 1000);
	members_clear(m); /* all connections were ended here */
	members_ended(m, 11, 1000);
	CHECK_EQ(members_tick(m, 10000), UINT64_MAX);
	CHECK_EQ(world.gone, 0);
	members_free(m);
}

static void test_bounds(void)
{
	static uint8_t route[300];
	struct members *m = begin("");
	struct svc_id id = { { 0 } };

	members_spoke(m, &id, "short", "a", 1, 10, 0);
	members_spoke(m, &id, KEY_A, route, sizeof(route), 10, 0);
	for (uint32_t i = 0; i < MEMBERS_MAX + 10; i++) {
		memcpy(id.b, &i, sizeof(i));
		members_spoke(m, &id, KEY_A, "a", 1, 10, 0);
	}
	members_ended(m, 10, 0);
	members_tick(m, MEMBERS_GONE_MS);
	CHECK_EQ(world.gone, MEMBERS_MAX);
	members_free(m);
}

int main(void)
{
	RUN(test_dead);
	RUN(test_back_by_another_connection);
	RUN(test_descriptor_of_another);
	RUN(test_another_key);
	RUN(test_died_or_silent);
	RUN(test_late_ourselves);
	RUN(test_our_own_doing);
	RUN(test_bounds);
	return check_done("registry.members");
}
