/* Snapshots are paced, shared, never older than the request, and one member that does not read holds up nobody for long. */
#include "check.h"
#include "registry/snapshots.h"

#include "svcproto/wire.h"

#define MEMBERS 200u
#define PIECES 3u

static struct {
	uint64_t number, builds;
	bool full[MEMBERS], gone[MEMBERS], no_memory;
	unsigned pieces[MEMBERS];      /* of the snapshot that is coming */
	unsigned whole[MEMBERS];       /* snapshots */
	uint64_t built_as[MEMBERS], echoed[MEMBERS];
} world;

/* Each message says which building it is of, and which piece. */
static bool build(void *arg, bool (*add)(void *to, const struct reg_message *m), void *to)
{
	static struct reg_message m;

	(void)arg;
	world.builds++;
	for (uint8_t i = 0; i < PIECES; i++) {
		reg_begin(&m, 1, 0);
		m.b[m.n++] = (uint8_t)world.builds;
		m.b[m.n++] = i;
		if (world.no_memory || !add(to, &m))
			return false;
	}
	return true;
}

static uint64_t number(void *arg)
{
	(void)arg;
	return world.number;
}

static enum snapshots_sent send_to(void *arg, const void *route, size_t route_n, const struct reg_message *m)
{
	uint8_t i = *(const uint8_t *)route;
	const uint8_t *p = m->b;
	struct wire_batch b;
	size_t n = m->n;

	(void)arg;
	CHECK_EQ(route_n, 1);
	if (world.gone[i])
		return SNAPSHOTS_GONE;
	if (world.full[i])
		return SNAPSHOTS_FULL;
	CHECK_EQ(reg_header(&p, &n, &b), 0);
	world.echoed[i] = b.number;
	world.built_as[i] = p[0];
	world.pieces[i] = p[1] == 0 ? 1 : world.pieces[i] + 1;
	CHECK_EQ(world.pieces[i], p[1] + 1);
	world.whole[i] += p[1] == PIECES - 1;
	return SNAPSHOTS_SENT;
}

static const struct snapshots_ops ops = { .build = build, .number = number, .send = send_to };

static struct snapshots *fresh(void)
{
	memset(&world, 0, sizeof(world));
	return snapshots_new(&ops, NULL);
}

static void ask(struct snapshots *s, uint8_t member, uint64_t request, uint64_t now)
{
	snapshots_ask(s, &member, 1, request, now);
}

static void run(struct snapshots *s, uint64_t now)
{
	while (snapshots_advance(s, now) <= now)
		;
}

static void test_all_at_once(void)
{
	struct snapshots *s = fresh();

	for (unsigned i = 0; i < MEMBERS; i++)
		ask(s, (uint8_t)i, 1000 + i, 0);
	run(s, 0);
	for (unsigned i = 0; i < MEMBERS; i++) {
		CHECK_EQ(world.whole[i], 1);
		CHECK_EQ(world.echoed[i], 1000 + i);
	}
	CHECK(world.builds <= MEMBERS / SNAPSHOTS_ACTIVE + 1);
	CHECK(snapshots_advance(s, 1) == UINT64_MAX);
	snapshots_free(s);
}

static void test_few_at_a_time(void)
{
	struct snapshots *s = fresh();
	unsigned taken = 0;

	memset(world.full, true, sizeof(world.full));
	for (unsigned i = 0; i < MEMBERS; i++)
		ask(s, (uint8_t)i, 1, 0);
	CHECK_EQ(snapshots_advance(s, 0), SNAPSHOTS_RETRY_MS);
	memset(world.full, false, sizeof(world.full));
	(void)snapshots_advance(s, 1);
	for (unsigned i = 0; i < MEMBERS; i++)
		taken += world.whole[i];
	CHECK_EQ(taken, SNAPSHOTS_ACTIVE);
	run(s, 2);
	snapshots_free(s);
}

static void test_never_older_than_the_request(void)
{
	struct snapshots *s = fresh();

	world.full[0] = world.full[1] = world.full[2] = true;
	ask(s, 0, 1, 0);
	run(s, 0);
	CHECK_EQ(world.builds, 1);
	ask(s, 1, 1, 0); /* nothing has changed: the same one */
	run(s, 0);
	CHECK_EQ(world.builds, 1);
	world.number++;
	ask(s, 2, 1, 0);
	run(s, 0);
	CHECK_EQ(world.builds, 2);
	world.full[0] = world.full[1] = world.full[2] = false;
	run(s, 1);
	CHECK_EQ(world.built_as[0], 1);
	CHECK_EQ(world.built_as[1], 1);
	CHECK_EQ(world.built_as[2], 2);
	snapshots_free(s);
}

static void test_asked_again(void)
{
	struct snapshots *s = fresh();

	world.full[0] = true;
	ask(s, 0, 1, 0);
	run(s, 0);
	world.number++;
	ask(s, 0, 2, 3000); /* the first part of 1 may have come: all of it anew, and as new as this */
	world.full[0] = false;
	run(s, 3000);
	CHECK_EQ(world.whole[0], 1);
	CHECK_EQ(world.echoed[0], 2);
	CHECK_EQ(world.built_as[0], 2);
	snapshots_free(s);
}

static void test_who_does_not_read(void)
{
	struct snapshots *s = fresh();

	for (unsigned i = 0; i < SNAPSHOTS_ACTIVE; i++) {
		world.full[i] = true;
		ask(s, (uint8_t)i, 1, 0);
	}
	world.gone[SNAPSHOTS_ACTIVE] = true;
	ask(s, SNAPSHOTS_ACTIVE, 1, 0);
	ask(s, SNAPSHOTS_ACTIVE + 1, 1, 0);
	run(s, SNAPSHOTS_STALL_MS - 1);
	run(s, 2 * SNAPSHOTS_STALL_MS);
	run(s, 2 * SNAPSHOTS_STALL_MS);
	CHECK_EQ(world.whole[0], 0);
	CHECK_EQ(world.whole[SNAPSHOTS_ACTIVE], 0);
	CHECK_EQ(world.whole[SNAPSHOTS_ACTIVE + 1], 1);
	CHECK(snapshots_advance(s, 2 * SNAPSHOTS_STALL_MS) == UINT64_MAX);
	snapshots_free(s);
}

static void test_shortages(void)
{
	struct snapshots *s = fresh();

	world.no_memory = true;
	ask(s, 0, 1, 0);
	run(s, 0);
	CHECK(snapshots_advance(s, 0) == UINT64_MAX); /* it asks again */
	world.no_memory = false;
	ask(s, 0, 2, 0);
	run(s, 0);
	CHECK_EQ(world.whole[0], 1);
	world.full[1] = true;
	ask(s, 1, 1, 0);
	run(s, 0);
	snapshots_clear(s);
	CHECK(snapshots_advance(s, 0) == UINT64_MAX);
	snapshots_free(s);
}

int main(void)
{
	RUN(test_all_at_once);
	RUN(test_few_at_a_time);
	RUN(test_never_older_than_the_request);
	RUN(test_asked_again);
	RUN(test_who_does_not_read);
	RUN(test_shortages);
	return check_done("registry.snapshots");
}
