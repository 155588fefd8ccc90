/* The stanza that finds no room: it waits as it was, alone, and goes once there is some. Two engines in memory; what the link's owner does
 * with a stanza (links_send) is here. */
#include "check.h"
#include "role/kept.h"
#include "tests/unit/svcproto/pair.h"

enum { ROOM = 2 }; /* stanzas that may be unacknowledged */

static struct pair pair;
static struct link_end end;
static struct kept *kept;
static unsigned nr_offers, nr_touches;
static bool others_have_it; /* the room that there is */

int links_send(struct links *ls, struct link_end *e, struct slice xml)
{
	(void)ls;
	nr_offers++;
	return others_have_it ? SVCPROTO_E_FULL : svc_stream_send(e->stream, xml.p, xml.n, 0, NULL);
}

void links_touch(struct links *ls)
{
	(void)ls;
	nr_touches++;
}

static void start(void)
{
	struct svc_hello gw = {.unacked_stanzas_max = ROOM};

	pair_init(&pair, &gw, NULL);
	pair_up(&pair);
	pair.sv.auto_ack = false;
	end = (struct link_end){.stream = pair_open(&pair, "juliet@a.example")};
	CHECK(end.stream != NULL);
	pair_log(&pair.gw);
	pair_log(&pair.sv);
	nr_offers = nr_touches = 0;
	others_have_it = false;
}

static void stop(void)
{
	CHECK(kept == NULL);
	pair_clear(&pair);
}

static const char *service_has(void)
{
	pair_pump(&pair);
	return pair_log(&pair.sv);
}

/* What is passed is nobody's afterwards: it is overwritten. */
static int pass(const struct policy_result *r, const char *xml)
{
	char bytes[100];
	size_t n = strlen(xml);
	int err;

	memcpy(bytes, xml, n);
	err = kept_pass(&kept, NULL, &end, r, (struct slice){bytes, n});
	memset(bytes, '?', sizeof bytes);
	return err;
}

static const struct policy_result passes = {.verdict = POLICY_PASS};
static const struct policy_result rejected = {.verdict = POLICY_REJECT, .type = "modify", .condition = "jid-malformed"};

static void fill(void)
{
	for (int i = 0; i < ROOM; i++)
		CHECK_EQ(pass(&passes, "<a/>"), 0);
	CHECK_STR(service_has(), "stanza 1 <a/>:4; stanza 2 <a/>:4");
}

static void make_room(void)
{
	CHECK_EQ(svc_stream_ack_through(pair.sv.last, ROOM), 0);
	pair_pump(&pair);
}

static void test_room(void)
{
	start();
	CHECK_EQ(kept_again(&kept, NULL, &end), 0);
	CHECK_EQ(nr_offers, 0);
	CHECK(!kept_is_full(&end));
	CHECK_EQ(pass(&passes, "<a/>"), 0);
	CHECK(!kept_is_full(&end)); /* there is room for one more */
	CHECK_EQ(pass(&rejected, "<b/>"), 0);
	CHECK(kept == NULL && kept_bytes(kept) == 0);
	CHECK_EQ(nr_touches, 2);
	CHECK_STR(service_has(), "stanza 1 <a/>:4; stanza 2 reject modify jid-malformed <b/>:4");
	stop();
}

/* r: as what it goes. */
static void waits(const struct policy_result *r, const char *arrives)
{
	start();
	fill();
	CHECK(kept_is_full(&end));
	nr_offers = 0;
	CHECK_EQ(pass(r, "<waits/>"), SVCPROTO_E_FULL);
	CHECK_EQ(nr_offers, r->verdict == POLICY_PASS); /* once */
	CHECK(kept != NULL && kept_bytes(kept) > strlen("<waits/>"));
	CHECK_EQ(kept_again(&kept, NULL, &end), SVCPROTO_E_FULL);
	CHECK(kept != NULL);
	CHECK_STR(service_has(), "");
	make_room();
	CHECK(!kept_is_full(&end));
	CHECK_STR(pair_log(&pair.gw), "acked 2; writable");
	CHECK_EQ(kept_again(&kept, NULL, &end), 0);
	CHECK(kept == NULL);
	CHECK_EQ(kept_again(&kept, NULL, &end), 0);
	CHECK_STR(service_has(), arrives);
	stop();
}

static void test_waits(void)
{
	waits(&passes, "stanza 3 <waits/>:8");
	waits(&rejected, "stanza 3 reject modify jid-malformed <waits/>:8");
}

/* Nothing of this stream's own is in the way: it does not look full, and what finds no room waits all the same. */
static void test_others_have_the_room(void)
{
	start();
	others_have_it = true;
	CHECK(!kept_is_full(&end));
	CHECK_EQ(pass(&passes, "<waits/>"), SVCPROTO_E_FULL);
	CHECK(kept != NULL && !kept_is_full(&end));
	CHECK_EQ(kept_again(&kept, NULL, &end), SVCPROTO_E_FULL);
	others_have_it = false;
	CHECK_EQ(kept_again(&kept, NULL, &end), 0);
	CHECK_STR(service_has(), "stanza 1 <waits/>:8");
	stop();
}

/* The stream ends meanwhile: said once, and nothing waits any more. */
static void test_lost(void)
{
	start();
	fill();
	CHECK_EQ(pass(&passes, "<waits/>"), SVCPROTO_E_FULL);
	CHECK_EQ(svc_stream_close(end.stream, NULL, NULL), 0);
	CHECK_EQ(kept_again(&kept, NULL, &end), SVCPROTO_E_CLOSED);
	CHECK(kept == NULL);
	CHECK_EQ(pass(&passes, "<late/>"), SVCPROTO_E_CLOSED);
	CHECK(kept == NULL);
	stop();
	start();
	fill();
	CHECK_EQ(pass(&rejected, "<waits/>"), SVCPROTO_E_FULL);
	end.stream = NULL;
	nr_offers = 0;
	CHECK_EQ(kept_again(&kept, NULL, &end), SVCPROTO_E_CLOSED);
	CHECK_EQ(nr_offers, 0);
	CHECK_EQ(kept_again(&kept, NULL, &end), 0);
	stop();
}

static void test_dropped(void)
{
	start();
	fill();
	CHECK_EQ(pass(&passes, "<waits/>"), SVCPROTO_E_FULL);
	kept_drop(&kept);
	kept_drop(&kept);
	make_room();
	CHECK_EQ(kept_again(&kept, NULL, &end), 0);
	CHECK_STR(service_has(), "");
	stop();
}

int main(void)
{
	RUN(test_room);
	RUN(test_waits);
	RUN(test_others_have_the_room);
	RUN(test_lost);
	RUN(test_dropped);
	return check_done("unit.role.kept");
}
