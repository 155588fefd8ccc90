/* Which gateway is known to be dead: one whose end each registry that held it has told. Who only lost it may still have it. */
#include "check.h"
#include "sample.h"
#include "svcproto/directory_feed.h"

#define KEYS "# serial 1\n" KEY_G " gateway\n"
#define OLD REG_LEASE_MAX_MS

static struct {
	struct directory *d;
	struct entry living;     /* as its owner announces it */
	int gone, dead;
} world;

static void on_gateway(void *arg, const struct directory_gateway *g, bool gone)
{
	(void)arg;
	world.gone += gone;
	world.dead += gone && g->dead;
}

static const struct directory_ops ops = { .gateway = on_gateway };

static void alive_at(unsigned source, uint64_t version)
{
	world.living.version = version;
	CHECK_EQ(directory_feed_entry(world.d, source, &world.living, 0), 0);
}

static void lost_by(unsigned source, uint64_t version, bool ended)
{
	struct entry e = world.living;

	e.version = version;
	e.gone = e.expired = true;
	e.ended = ended;
	CHECK_EQ(directory_feed_entry(world.d, source, &e, 10), 0);
}

/* Registries 0 and 1 hold it. */
static void begin(void)
{
	static struct reg_frame f;

	memset(&world, 0, sizeof(world));
	memset(&f, 0, sizeof(f));
	f.serial = f.parts = 1;
	f.keys = KEYS;
	f.keys_n = strlen(KEYS);
	world.living = sample_gateway(KEY_G, 1, "tcp://h:1", 1);
	world.d = directory_new(&ops, NULL);
	CHECK_EQ(directory_feed_keys(world.d, 0, &f), 0);
	for (unsigned i = 0; i < 2; i++) {
		directory_feed_begin(world.d, i);
		alive_at(i, 1);
		directory_feed_end(world.d, i, OLD, 0);
	}
}

/* 1 when it went as dead, 0 when it went and may be there, -1 when it did not go. */
static int end(void)
{
	directory_feed_tick(world.d, 20);
	directory_free(world.d);
	return world.gone == 1 ? world.dead : -1;
}

/* Each because it ENDED or because it heard nothing more. What lives behind a link did not end. */
static int dead_when(bool ended, bool ended_too, bool linked)
{
	begin();
	CHECK_EQ(directory_set_linked(world.d, KEY_G, &world.living.owner, linked), 0);
	lost_by(0, 1, ended);
	lost_by(1, 1, ended_too);
	CHECK_EQ(directory_set_linked(world.d, KEY_G, &world.living.owner, false), 0);
	return end();
}

static void test_dead_or_out_of_reach(void)
{
	CHECK_EQ(dead_when(true, true, false), 1);
	CHECK_EQ(dead_when(true, false, false) + dead_when(false, true, false) + dead_when(false, false, false), 0);
	CHECK_EQ(dead_when(true, true, true), 0);
}

/* Whatever the others tell meanwhile. */
static void test_a_silent_registry_agrees_to_nothing(void)
{
	begin();
	directory_feed_lost(world.d, 0);
	alive_at(1, 2);
	lost_by(1, 2, true);
	CHECK_EQ(end(), 0);
	begin();
	directory_feed_lost(world.d, 0);
	directory_feed_begin(world.d, 0);
	alive_at(0, 1);
	directory_feed_end(world.d, 0, OLD, 5);
	lost_by(1, 1, true);
	lost_by(0, 1, true);
	CHECK_EQ(end(), 1);
}

static void test_missing_in_a_snapshot(void)
{
	begin();
	directory_feed_begin(world.d, 0);
	directory_feed_end(world.d, 0, OLD, 5);
	lost_by(1, 1, true);
	CHECK_EQ(end(), 0);
}

/* A registry that has missed the last change tells the end of the same process. */
static void test_an_older_version(void)
{
	begin();
	alive_at(1, 2);
	lost_by(0, 1, true);
	lost_by(1, 2, true);
	CHECK_EQ(end(), 1);
	begin();
	alive_at(1, 2);
	lost_by(0, 1, false);
	lost_by(1, 2, true);
	CHECK_EQ(end(), 0);
}

/* What was read from disk is held by no registry. */
static void test_kept(void)
{
	begin();
	alive_at(DIRECTORY_KEPT, 1);
	directory_feed_lost(world.d, DIRECTORY_KEPT);
	lost_by(0, 1, true);
	lost_by(1, 1, true);
	CHECK_EQ(end(), 1);
}

int main(void)
{
	RUN(test_dead_or_out_of_reach);
	RUN(test_a_silent_registry_agrees_to_nothing);
	RUN(test_missing_in_a_snapshot);
	RUN(test_an_older_version);
	RUN(test_kept);
	return check_done("registry.dead");
}
