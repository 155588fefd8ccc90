/* What all streams of a hub hold together: each has its share of what is left, and whoever found no room hears of it. */
#include "../check.h"
#include "stage.h"

enum { NR = 8, CROWD = 150, MAX = 100000, SIZE = 5000, WORD = 100 };

static struct svc_stream *many[CROWD];
static char xml[SIZE];
static unsigned nr_writable;
static struct svc_stream *last_writable;
static bool sends;                   /* in writable() */
static struct svc_stream *breaks_at; /* whose attached() breaks the link */

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	stage_hub_ops.closed(arg, s, condition, text);
}

static void on_writable(void *arg, struct svc_stream *s)
{
	(void)arg;
	nr_writable++;
	last_writable = s;
	if (sends)
		CHECK_EQ(svc_stream_send(s, xml, SIZE, 0, NULL), 0);
}

static void on_attached(void *arg, struct svc_stream *s, const struct svc_resume *r)
{
	(void)arg;
	(void)r;
	if (s == breaks_at)
		svc_link_break(a_tip.l, "from a callback", now);
}

static const struct svc_hub_ops ops = { .closed = on_closed, .writable = on_writable, .attached = on_attached };

/* So many streams at gateway a, whose service acknowledges nothing. */
static void begin_with(unsigned nr)
{
	set_up();
	a.hub->ops = &ops;
	a.hub->limits.held_bytes_max = MAX;
	service.keep = true;
	nr_writable = 0;
	last_writable = breaks_at = NULL;
	sends = false;
	for (unsigned i = 0; i < nr; i++) {
		struct svc_open o = { .kind = SVC_KIND_CLIENT, .stream_id = { { 0xc0, (uint8_t)i } }, .bare_jid = "juliet@b.example" };

		many[i] = svc_stream_open(a_tip.l, &o, NULL);
		CHECK(many[i] != NULL);
	}
	pump();
}

static void begin(void)
{
	begin_with(NR);
}

static unsigned fill(struct svc_stream *s)
{
	unsigned nr = 0;

	while (svc_stream_can_send(s) && svc_stream_send(s, xml, SIZE, 0, NULL) == 0)
		nr++;
	return nr;
}

static void shares_shrink(void)
{
	unsigned before = NR * MAX;

	begin();
	for (unsigned i = 0; i < NR - 1; i++) {
		unsigned nr = fill(many[i]);

		CHECK(nr > 0 && nr <= before);
		before = nr;
	}
	CHECK(many[0]->out.bytes >= MAX / 9 && many[0]->out.bytes < MAX / 9 + SIZE); /* an eighth of what it left */
	CHECK(svc_hub_held_bytes(a.hub) < MAX);
	CHECK(svc_stream_can_send(many[NR - 1])); /* there is always something for one that has nothing */
	CHECK_EQ(svc_stream_send(many[0], xml, SIZE, 0, NULL), SVCPROTO_E_FULL);
	take_down();
}

/* One stanza may be larger than all that is left; then nobody may send, and all who asked hear when there is room. */
static void all_full(void)
{
	static char big[2 * MAX];

	begin();
	CHECK_EQ(svc_stream_send(many[0], big, sizeof(big), 0, NULL), 0);
	CHECK_EQ(svc_hub_held_bytes(a.hub), sizeof(big));
	for (unsigned i = 0; i < NR; i++)
		CHECK(!svc_stream_can_send(many[i]));
	svc_hub_tick(a.hub, now);
	CHECK_EQ(nr_writable, 0);
	pump();
	CHECK_EQ(svc_stream_ack(service.s, 1), SVCPROTO_E_INVALID); /* that is another stream */
	CHECK_EQ(svc_stream_close(many[1], NULL, NULL), 0);         /* who goes waits no more */
	pump();
	CHECK_EQ(svc_stream_close(many[0], NULL, NULL), 0);
	pump();
	CHECK_EQ(svc_hub_held_bytes(a.hub), 0);
	svc_hub_tick(a.hub, now);
	CHECK_EQ(nr_writable, NR - 2);
	CHECK(last_writable == many[NR - 1]); /* in the order of their asking */
	svc_hub_tick(a.hub, now);
	CHECK_EQ(nr_writable, NR - 2);
	take_down();
}

/* Most is stuck with a service that hangs. Who has nothing outstanding has no acknowledgement to wait for, and hears of the little that
 * another one's gives back. */
static void a_little_room_is_told(void)
{
	static char big[MAX - SIZE];

	begin();
	CHECK_EQ(svc_stream_send(many[0], big, sizeof(big), 0, NULL), 0);
	CHECK_EQ(svc_stream_send(many[NR - 1], xml, SIZE, 0, NULL), 0);
	CHECK(!svc_stream_can_send(many[0]) && !svc_stream_can_send(many[2]));
	pump();
	svc_hub_tick(a.hub, now);
	CHECK_EQ(nr_writable, 0);
	CHECK_EQ(svc_stream_ack(service.s, 1), 0); /* the last that was opened */
	pump();
	svc_hub_tick(a.hub, now);
	CHECK(nr_writable == 1 && last_writable == many[2]);
	CHECK(svc_stream_can_send(many[2]) && !svc_stream_can_send(many[0]));
	take_down();
}

/* It asked while it had something outstanding, and is told all the same when that is acknowledged and others leave nothing at that time. */
static void who_becomes_empty_is_told(void)
{
	static char big[MAX - 12000], rest[12000];

	begin();
	CHECK_EQ(svc_stream_send(many[0], big, sizeof(big), 0, NULL), 0);
	CHECK_EQ(svc_stream_send(many[NR - 1], xml, SIZE, 0, NULL), 0);
	CHECK(!svc_stream_can_send(many[NR - 1]));
	CHECK_EQ(svc_stream_send(many[1], rest, sizeof(rest), 0, NULL), 0);
	pump();
	CHECK_EQ(svc_stream_ack(service.s, 1), 0);
	pump();
	svc_hub_tick(a.hub, now);
	CHECK_EQ(nr_writable, 0);
	CHECK_EQ(svc_stream_send(many[2], xml, SIZE, 0, NULL), SVCPROTO_E_FULL);
	CHECK_EQ(svc_stream_close(many[1], NULL, NULL), 0);
	pump();
	svc_hub_tick(a.hub, now);
	CHECK_EQ(nr_writable, 2);
	CHECK(last_writable == many[2]);
	take_down();
}

/* A turn tells no more than some, and the next ones the rest. */
static void a_crowd_is_told_by_and_by(void)
{
	static char big[MAX];
	unsigned before, turns = 0;

	begin_with(CROWD);
	CHECK_EQ(svc_stream_send(many[0], big, sizeof(big), 0, NULL), 0);
	for (unsigned i = 1; i < CROWD; i++)
		CHECK(!svc_stream_can_send(many[i]));
	CHECK_EQ(svc_stream_close(many[0], NULL, NULL), 0);
	pump();
	do {
		before = nr_writable;
		turns++;
		CHECK((svc_hub_tick(a.hub, now) <= now) == (nr_writable < CROWD - 1));
	} while (nr_writable > before && nr_writable < CROWD - 1);
	CHECK_EQ(nr_writable, CROWD - 1);
	CHECK(last_writable == many[CROWD - 1]);
	CHECK(turns > 1);
	take_down();
}

/* What they send when they hear of room, they send in turn: nobody is told of room that somebody before it has taken. */
static void whoever_is_told_can_send(void)
{
	static char big[MAX - SIZE];

	begin();
	CHECK_EQ(svc_stream_send(many[0], big, sizeof(big), 0, NULL), 0);
	CHECK_EQ(svc_stream_send(many[NR - 1], xml, SIZE, 0, NULL), 0);
	for (unsigned i = 1; i < NR - 1; i++)
		CHECK_EQ(svc_stream_send(many[i], xml, SIZE, 0, NULL), SVCPROTO_E_FULL);
	pump();
	sends = true;
	CHECK_EQ(svc_stream_ack(service.s, 1), 0); /* the last that was opened */
	pump();
	svc_hub_tick(a.hub, now);
	CHECK(nr_writable == 1 && last_writable == many[1]);
	CHECK(svc_hub_tick(a.hub, now) > now); /* the others wait for more */
	for (unsigned i = 1; i < NR - 2; i++) {
		CHECK_EQ(svc_stream_close(many[i], NULL, NULL), 0);
		pump();
		svc_hub_tick(a.hub, now);
		CHECK(nr_writable == i + 1 && last_writable == many[i + 1]);
	}
	CHECK_EQ(svc_hub_held_bytes(a.hub), MAX);
	take_down();
}

/* Its end was told, and its owner may be gone, while the far end has not answered the CLOSE. */
static void who_was_closed_hears_no_more(void)
{
	struct wire_frame credit = { .type = WIRE_CREDIT, .sequence = UINT32_MAX };
	static char big[MAX - SIZE];

	begin();
	CHECK_EQ(svc_stream_send(many[0], big, sizeof(big), 0, NULL), 0);
	CHECK_EQ(svc_stream_send(many[NR - 1], xml, SIZE, 0, NULL), 0);
	CHECK(!svc_stream_can_send(many[2]));
	pump();
	heard(&a);
	credit.stream = many[2]->handle;
	CHECK_EQ(link_put_frame(service_a.l, &credit), 0);
	CHECK_EQ(svc_stream_ack(service.s, 1), 0);
	flush_all();
	while (service_a.head != service_a.tail)
		deliver_one(&service_a);
	CHECK_STR(heard(&a), "closed:policy-violation,0 acked:1");
	CHECK_EQ(many[2]->state, STREAM_CLOSING);
	CHECK(svc_hub_held_bytes(a.hub) < MAX);
	svc_hub_tick(a.hub, now);
	CHECK_EQ(nr_writable, 0);
	take_down();
}

/* The acknowledgement is the position's, and the link is gone again before that is told: it waits as one that has nothing outstanding. */
static void who_becomes_empty_by_a_position_is_told(void)
{
	static char big[MAX - SIZE];

	begin();
	CHECK_EQ(svc_stream_send(many[0], big, sizeof(big), 0, NULL), 0);
	CHECK_EQ(svc_stream_send(many[NR - 1], xml, SIZE, 0, NULL), 0);
	CHECK(!svc_stream_can_send(many[NR - 1]));
	pump();
	CHECK_EQ(svc_stream_ack(service.s, 1), 0);
	cut(&a_tip, &service_a);
	breaks_at = many[NR - 1];
	reconnect(&service_a);
	CHECK(svc_stream_link(many[NR - 1]) == NULL);
	CHECK_EQ(svc_hub_held_bytes(a.hub), sizeof(big));
	svc_hub_tick(a.hub, now);
	CHECK(nr_writable == 1 && last_writable == many[NR - 1]);
	take_down();
}

/* Those that have something outstanding are not behind those that have nothing, and do not wait for anything else to happen. */
static void both_kinds_are_told_in_each_turn(void)
{
	static char big[MAX];
	unsigned nr_hungry = CROWD - 1 - 64, told = 0, turns = 0; /* the others are as many as one turn tells */

	begin_with(CROWD);
	for (unsigned i = 1; i <= nr_hungry; i++)
		CHECK_EQ(svc_stream_send(many[i], xml, WORD, 0, NULL), 0);
	CHECK_EQ(svc_stream_send(many[0], big, sizeof(big), 0, NULL), 0);
	for (unsigned i = 1; i < CROWD; i++)
		CHECK(!svc_stream_can_send(many[i]));
	CHECK_EQ(svc_stream_close(many[0], NULL, NULL), 0);
	pump();
	CHECK(svc_hub_tick(a.hub, now) <= now);
	for (unsigned i = 1; i <= nr_hungry; i++)
		told += !many[i]->hungry;
	CHECK(told > 0 && told < nr_hungry && nr_writable > told);
	while (svc_hub_tick(a.hub, now) <= now && turns++ < CROWD)
		;
	CHECK_EQ(nr_writable, CROWD - 1);
	take_down();
}

/* There is much, but not for them: nobody asks them without end. */
static void who_has_too_much_waits(void)
{
	begin();
	CHECK(fill(many[0]) > 0 && fill(many[1]) > 0);
	CHECK(svc_hub_held_bytes(a.hub) < MAX / 2);
	CHECK(svc_hub_tick(a.hub, now) > now);
	CHECK_EQ(nr_writable, 0);
	CHECK(many[0]->hungry && many[1]->hungry);
	CHECK_EQ(svc_stream_close(many[1], NULL, NULL), 0);
	pump();
	CHECK(svc_hub_tick(a.hub, now) > now);
	CHECK_EQ(nr_writable, 0); /* what the other gave back is an eighth of too little */
	take_down();
}

/* However a stream ends, or its stanzas are acknowledged, what it held is given back. */
static void counted(void)
{
	begin();
	for (unsigned i = 0; i < NR; i++)
		CHECK_EQ(svc_stream_send(many[i], xml, SIZE, 0, NULL), 0);
	CHECK_EQ(svc_hub_held_bytes(a.hub), NR * SIZE);
	pump();
	CHECK_EQ(svc_stream_ack(service.s, 1), 0); /* the last that was opened */
	pump();
	CHECK_EQ(svc_hub_held_bytes(a.hub), (NR - 1) * SIZE);
	CHECK_EQ(svc_stream_close(many[0], "policy-violation", NULL), 0);
	pump();
	CHECK_EQ(svc_hub_held_bytes(a.hub), (NR - 2) * SIZE);
	cut(&a_tip, &service_a);
	CHECK_EQ(svc_hub_held_bytes(a.hub), (NR - 2) * SIZE); /* it waits for its link */
	pass(SVC_WAIT_GATEWAY_MS + 2000);
	CHECK_EQ(svc_hub_held_bytes(a.hub), 0);
	take_down();
}

int main(void)
{
	RUN(shares_shrink);
	RUN(all_full);
	RUN(a_little_room_is_told);
	RUN(who_becomes_empty_is_told);
	RUN(a_crowd_is_told_by_and_by);
	RUN(whoever_is_told_can_send);
	RUN(who_was_closed_hears_no_more);
	RUN(who_becomes_empty_by_a_position_is_told);
	RUN(both_kinds_are_told_in_each_turn);
	RUN(who_has_too_much_waits);
	RUN(counted);
	return check_done("svcproto/held");
}
