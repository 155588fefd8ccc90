/* A worker's own entry in the cluster: what it says of load and room, and when it says it anew. Under a clock of the test's own, and with
 * registries that take all and say nothing. */
#include "check.h"
#include "common/log.h"
#include "member.h"
#include "svcproto/directory_feed.h"

#define KEY "gggggggggggggggggggggggggggggggggggggggg"
#define KEYS "# serial 1\n" KEY " gateway\n"
#define SOON_MS 2000         /* so long after the last word there may be another */
#define LATER_MS 15000       /* or there is one, if anything has changed at all */
#define ANY UINT32_MAX

static struct loop *loop;
static struct member *member;
static uint64_t now_ms;
static uint32_t load, room;
static unsigned nr_ticks;
static struct {
	unsigned nr;
	uint32_t load, room;
	bool has_room, draining;
} told;

/* --- instead of the registries and the clock, linked by --wrap ------------ */

static char somewhere;       /* what stands for an announcer */

struct announcer *__wrap_announcer_new(const struct announcer_options *o, struct directory *d, const struct announcer_ops *ops, void *arg,
				       int *error);
void __wrap_announcer_free(struct announcer *a);
size_t __wrap_announcer_sockets(struct announcer *a, void **zsocks, size_t max);
bool __wrap_announcer_dispatch(struct announcer *a, uint64_t at_ms);
uint64_t __wrap_announcer_heard_at(const struct announcer *a);
uint64_t __wrap_announcer_tick(struct announcer *a, uint64_t at_ms);
int __wrap_announcer_set_gateway(struct announcer *a, const struct directory_gateway *g);
uint64_t __wrap_loop_now_ms(struct loop *l);

struct announcer *__wrap_announcer_new(const struct announcer_options *o, struct directory *d, const struct announcer_ops *ops, void *arg,
				       int *error)
{
	(void)o;
	(void)d;
	(void)ops;
	(void)arg;
	*error = 0;
	return (struct announcer *)&somewhere;
}

void __wrap_announcer_free(struct announcer *a)
{
	(void)a;
}

size_t __wrap_announcer_sockets(struct announcer *a, void **zsocks, size_t max)
{
	(void)a;
	(void)zsocks;
	(void)max;
	return 0;
}

bool __wrap_announcer_dispatch(struct announcer *a, uint64_t at_ms)
{
	(void)a;
	(void)at_ms;
	return false;
}

uint64_t __wrap_announcer_heard_at(const struct announcer *a)
{
	(void)a;
	return 0;
}

/* At once again, so that every turn has one. */
uint64_t __wrap_announcer_tick(struct announcer *a, uint64_t at_ms)
{
	(void)a;
	nr_ticks++;
	return at_ms;
}

int __wrap_announcer_set_gateway(struct announcer *a, const struct directory_gateway *g)
{
	(void)a;
	told.nr++;
	told.load = g->load;
	told.room = g->room;
	told.has_room = g->has_room;
	told.draining = g->draining;
	return 0;
}

uint64_t __wrap_loop_now_ms(struct loop *l)
{
	(void)l;
	return now_ms;
}

/* --- the worker ------------------------------------------------------------ */

static void ignore(void *arg)
{
	(void)arg;
}

static void on_secrets(void *arg, const struct secrets *s)
{
	(void)arg;
	(void)s;
}

static void on_restricted(void *arg, const char *domain)
{
	(void)arg;
	(void)domain;
}

static void on_gone(void *arg, const char *key, const struct svc_id *instance)
{
	(void)arg;
	(void)key;
	(void)instance;
}

static uint32_t load_of(void *arg)
{
	(void)arg;
	return load;
}

static uint32_t room_of(void *arg)
{
	(void)arg;
	return room;
}

static void on_heard(void *arg, uint64_t at_ms)
{
	(void)arg;
	(void)at_ms;
}

static const struct member_ops ops = {
	.keys = ignore, .synced = ignore, .secrets = on_secrets, .restricted = on_restricted, .gone = on_gone,
	.load = load_of, .room = room_of, .heard = on_heard};

static void learn_keys(void)
{
	struct reg_frame f = {.serial = 1, .parts = 1, .keys = KEYS, .keys_n = sizeof KEYS - 1};

	CHECK_EQ(directory_feed_keys(member_directory(member), 0, &f), 0);
}

/* Not announced yet: nobody has told who may link. */
static void join(uint32_t with_load, uint32_t with_room)
{
	static const struct svc_key key = {.public_z85 = KEY, .secret_z85 = KEY};
	char why[200];

	now_ms = 1000000;
	load = with_load;
	room = with_room;
	memset(&told, 0, sizeof told);
	loop = loop_new();
	const struct member_options o = {.loop = loop, .registries = "tcp://127.0.0.1:1=" KEY, .key = &key, .incarnation = 1,
					 .public_host = "gw.example", .client_port = 5222};

	member = member_new(&o, &ops, NULL);
	CHECK_EQ(member_join(member, "tcp://127.0.0.1:2", why, sizeof why), 0);
	CHECK_EQ(told.nr, 0);
}

static void begin(uint32_t with_load, uint32_t with_room)
{
	join(with_load, with_room);
	learn_keys();
	CHECK_EQ(told.nr, 1);
}

static void end(void)
{
	member_free(member);
	loop_free(loop);
}

static void pass(uint64_t ms)
{
	unsigned before = nr_ticks;

	now_ms += ms;
	while (nr_ticks == before)
		loop_turn(loop);
}

/* What is told of this much room. */
static uint32_t told_of(uint32_t r)
{
	room = r;
	pass(SOON_MS);
	return told.room;
}

static void test_told_when_keys_are_known(void)
{
	join(5, 100);
	pass(SOON_MS);
	CHECK_EQ(told.nr, 0);
	learn_keys();
	CHECK_EQ(told.nr, 1);
	CHECK_EQ(told.load, 5);
	CHECK(told.has_room);
	CHECK_EQ(told.room, 64); /* a power of two */
	CHECK(!told.draining);
	end();
}

static void test_load(void)
{
	begin(80, ANY);
	load = 90;
	pass(LATER_MS - 1);
	CHECK_EQ(told.nr, 1);
	pass(1);
	CHECK_EQ(told.nr, 2);
	CHECK_EQ(told.load, 90);
	load = 102; /* more than an eighth */
	pass(SOON_MS - 1);
	CHECK_EQ(told.nr, 2);
	pass(1);
	CHECK_EQ(told.nr, 3);
	CHECK_EQ(told.load, 102);
	end();
}

static void test_draining_is_told_at_once(void)
{
	begin(5, 100);
	member_set_draining(member, true);
	CHECK_EQ(told.nr, 2);
	CHECK(told.draining);
	member_set_draining(member, true);
	CHECK_EQ(told.nr, 2);
	member_set_draining(member, false);
	CHECK_EQ(told.nr, 3);
	CHECK(!told.draining);
	end();
}

/* Where 64 were told and 42 fit, half as many again would come as come in. */
static void test_less_room_is_news(void)
{
	begin(5, 64);
	room = 42;
	pass(SOON_MS - 1);
	CHECK_EQ(told.nr, 1);
	pass(1);
	CHECK_EQ(told.nr, 2);
	CHECK_EQ(told.room, 32);
	CHECK_EQ(told_of(31), 16);
	CHECK_EQ(told_of(1), 1);
	CHECK_EQ(told.nr, 4);
	end();
}

static void test_more_room_is_news_by_two_steps(void)
{
	begin(5, 32);
	CHECK_EQ(told_of(127), 32);
	CHECK_EQ(told.nr, 1);
	CHECK_EQ(told_of(128), 128);
	CHECK_EQ(told.nr, 2);
	end();
}

/* About a power of two it is told of once, and what there is less of counts. With another word of ours goes what there is. */
static void test_wavering_is_no_news(void)
{
	begin(5, 64);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(told_of(63), 32);
		CHECK_EQ(told_of(64), 32);
	}
	CHECK_EQ(told.nr, 2);
	load = 50;
	pass(SOON_MS);
	CHECK_EQ(told.nr, 3);
	CHECK_EQ(told.room, 64);
	end();
}

static void test_marks(void)
{
	begin(5, 1);
	CHECK_EQ(told_of(0), 0); /* for nobody */
	CHECK(told.has_room);
	CHECK_EQ(told_of(1), 1);
	(void)told_of(ANY);
	CHECK(!told.has_room);
	CHECK_EQ(told_of(ANY - 1), 1u << 31);
	CHECK(told.has_room);
	CHECK_EQ(told.nr, 5);
	end();
}

/* Whatever comes, what was told is never more than there was when it could be told last, nor less than a fourth of it. */
static void test_never_too_much(void)
{
	uint32_t seed = 7;

	begin(5, 1000);
	for (int i = 0; i < 1000; i++) {
		seed = seed * 1664525 + 1013904223;
		uint32_t r = (seed >> 16) >> ((seed >> 12) & 15), is = told_of(r);

		CHECK(is <= r);
		CHECK(is > r / 4 || r == 0);
	}
	end();
}

int main(void)
{
	log_set_level(LOG_ERROR);
	RUN(test_told_when_keys_are_known);
	RUN(test_load);
	RUN(test_draining_is_told_at_once);
	RUN(test_less_room_is_news);
	RUN(test_more_room_is_news_by_two_steps);
	RUN(test_wavering_is_no_news);
	RUN(test_marks);
	RUN(test_never_too_much);
	return check_done("gateway_member");
}
