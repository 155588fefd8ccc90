/* Promise 1: acknowledged only when stored or when the next hop has it; and what happens when the next hop does not answer, says no, or is
 * full. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

#include <sqlite3.h>

#define MSG(from, to, type, body) \
	"<message xmlns='jabber:client' from='" from "' to='" to "' type='" type "' id='m'><body>" body "</body></message>"
#define ALICE "alice@a.example/one"
#define BOB "bob@b.example/two"

static struct fake f;
static struct client *alice, *bob;

static void begin(void)
{
	fake_open(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	bob = fake_online(&f, "bob@b.example", "two", 0);
}

static void acknowledged_when_delivered(void)
{
	begin();
	const char *xml = MSG(ALICE, BOB, "chat", "hi");
	uint64_t t = fake_from(alice, xml);
	struct sent *s = fake_next(&f, bob);
	size_t n = strlen(xml) - strlen("</message>");
	CHECK(s && strncmp(s->xml, xml, n) == 0 && strncmp(s->xml + n, "<stanza-id ", 11) == 0); /* unchanged but for what sid.c is about */
	fake_wait(&f, 999);
	CHECK(!fake_acked(&f, t));
	fake_delivered(&f, s);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	CHECK_EQ(im_nr_in_flight(f.im), 0);
	fake_close(&f);
}

static void acknowledged_after_the_commit(void)
{
	begin();
	fake_logout(bob);
	f.watch_table = "offline";
	fake_begin(&f);
	uint64_t t = fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "hi"));
	uint64_t t2 = fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "again"));
	CHECK(!fake_acked(&f, t)); /* the turn is not over */
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_end(&f);
	CHECK(fake_acked(&f, t) && fake_acked(&f, t2));
	CHECK_EQ(f.rows_at_ack, 2); /* another process saw it when the acknowledgement left */
	fake_close(&f);
}

static void nothing_of_a_dead_turn_is_acknowledged(void)
{
	begin();
	fake_logout(bob);
	fake_begin(&f);
	uint64_t t = fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "hi"));
	fake_crash(&f); /* between storing and committing */
	CHECK(!fake_acked(&f, t));
	bob = fake_online(&f, "bob@b.example", "two", 0);
	CHECK_EQ(fake_rows(&f, "offline"), 0); /* so it is alice's to repeat */
	alice = fake_online(&f, "alice@a.example", "one", 0);
	t = fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "hi"));
	CHECK(fake_got(&f, bob, "hi", NULL));
	fake_crash(&f); /* the same while it was on its way to bob */
	CHECK(!fake_acked(&f, t));
	fake_close(&f);
}

static void stored_when_the_next_hop_is_slow(void)
{
	begin();
	uint64_t t = fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "slow"));
	struct sent *s = fake_next(&f, bob);
	CHECK_EQ(f.next_ms, f.now_ms + 1000);
	f.watch_table = "offline";
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(f.rows_at_ack, 1);
	CHECK_EQ(f.next_ms, UINT64_MAX);
	fake_delivered(&f, s); /* after all: it must not come twice */
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_logout(bob);
	bob = fake_login(&f, "bob@b.example", "two");
	fake_from(bob, "<presence xmlns='jabber:client' from='" BOB "'/>");
	while ((s = fake_next(&f, bob)))
		CHECK(!strstr(s->xml, "slow"));
	fake_close(&f);
}

static void stored_when_the_session_dies(void)
{
	begin();
	uint64_t t = fake_from(alice, MSG(ALICE, BOB, "chat", "lost?"));
	fake_logout(bob);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	fake_crash(&f);
	bob = fake_login(&f, "bob@b.example", "three");
	fake_from(bob, "<presence xmlns='jabber:client' from='bob@b.example/three'/>");
	struct sent *s, *message = NULL;
	while ((s = fake_next(&f, bob))) {
		if (strstr(s->xml, "lost?"))
			message = s;
	}
	CHECK(message && strstr(message->xml, "urn:xmpp:delay"));
	CHECK_EQ(fake_rows(&f, "offline"), 1); /* still ours until bob has it */
	if (message)
		fake_delivered(&f, message);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

static void one_of_several_sessions_is_enough(void)
{
	begin();
	struct client *bob2 = fake_online(&f, "bob@b.example", "other", 0);
	fake_read_all(&f);
	uint64_t t = fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "both"));
	CHECK(fake_got(&f, bob, "both", NULL));
	struct sent *s = fake_next(&f, bob2);
	CHECK(s && strstr(s->xml, "both"));
	fake_logout(bob);
	CHECK(!fake_acked(&f, t));
	fake_delivered(&f, s);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

static void another_session_takes_over(void)
{
	begin();
	struct client *low = fake_online(&f, "bob@b.example", "low", -1);
	struct client *next = fake_online(&f, "bob@b.example", "next", 5);
	fake_read_all(&f);
	fake_from(alice, MSG(ALICE, BOB, "chat", "first"));
	fake_from(alice, MSG(ALICE, BOB, "chat", "second"));
	fake_logout(bob); /* both come back, in order, and go to the session that is there */
	CHECK(fake_got(&f, next, "unavailable", NULL));
	CHECK(fake_got(&f, next, "first", NULL));
	CHECK(fake_got(&f, next, "second", NULL));
	CHECK(fake_got(&f, low, "unavailable", NULL));
	CHECK(!fake_next(&f, low));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

static void a_full_session_gets_the_rest_in_order(void)
{
	begin();
	bob->room = 1;
	uint64_t t1 = fake_from(alice, MSG(ALICE, BOB, "chat", "m1"));
	uint64_t t2 = fake_from(alice, MSG(ALICE, BOB, "chat", "m2"));
	uint64_t t3 = fake_from(alice, MSG(ALICE, "bob@b.example", "normal", "m3"));
	CHECK(!fake_acked(&f, t1));
	CHECK(fake_acked(&f, t2) && fake_acked(&f, t3) && fake_rows(&f, "offline") == 3); /* at once, and what is on its way before */
	struct sent *s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "m1") && !fake_next(&f, bob));
	fake_delivered(&f, s);
	CHECK(fake_acked(&f, t1));
	s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "m2") && !fake_next(&f, bob));
	uint64_t t4 = fake_from(alice, MSG(ALICE, BOB, "chat", "m4")); /* may not overtake m3 */
	CHECK(fake_acked(&f, t4));
	bob->room = SIZE_MAX;
	fake_delivered(&f, s);
	CHECK(fake_got(&f, bob, "m3", NULL));
	CHECK(fake_got(&f, bob, "m4", NULL));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	uint64_t t5 = fake_from(alice, MSG(ALICE, BOB, "chat", "m5"));
	CHECK(!fake_acked(&f, t5)); /* the backlog is gone: directly again */
	CHECK(fake_got(&f, bob, "m5", NULL));
	fake_close(&f);
}

/* Room appears in the same turn in which another message comes: it may not overtake what waits. */
static void nothing_overtakes_the_backlog(void)
{
	static const char *const to[] = {"bob@b.example", BOB};
	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		char late[256];
		snprintf(late, sizeof late, "<message xmlns='jabber:client' from='" ALICE "' to='%s'><body>late</body></message>", to[i]);
		begin();
		bob->room = 1;
		fake_from(alice, MSG(ALICE, BOB, "chat", "first"));
		fake_from(alice, MSG(ALICE, BOB, "chat", "waits"));
		struct sent *s = fake_next(&f, bob);
		fake_begin(&f);
		bob->room = 5;
		fake_delivered(&f, s);
		fake_from(alice, late);
		fake_end(&f);
		CHECK(fake_got(&f, bob, "waits", NULL));
		CHECK(fake_got(&f, bob, "late", NULL));
		fake_close(&f);
	}
}

/* Stored because it took long, but still on its way: another session that comes gets it only once the first is dead. */
static void in_flight_is_not_sent_twice(void)
{
	begin();
	fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "once"));
	fake_wait(&f, 1000);
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	struct client *better = fake_login(&f, "bob@b.example", "better");
	fake_from(better, "<presence xmlns='jabber:client' from='bob@b.example/better'><priority>9</priority></presence>");
	struct sent *s;
	while ((s = fake_next(&f, better)))
		CHECK(strstr(s->xml, "<presence"));
	fake_logout(bob);
	CHECK(fake_got(&f, better, "unavailable", NULL));
	CHECK(fake_got(&f, better, "once", "urn:xmpp:delay", NULL));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

/* The session that was given the stored messages dies: they go to the next one, all and in order. */
static void stored_ones_change_the_session(void)
{
	begin();
	fake_logout(bob);
	for (int i = 0; i < 100; i++) { /* more than leave in one turn */
		char xml[256];
		snprintf(xml, sizeof xml, "<message xmlns='jabber:client' from='" ALICE "' to='bob@b.example'><body>%d</body></message>",
			 i);
		fake_from(alice, xml);
	}
	bob = fake_login(&f, "bob@b.example", "two");
	fake_from(bob, "<presence xmlns='jabber:client' from='" BOB "'/>");
	struct client *next = fake_login(&f, "bob@b.example", "next");
	fake_from(next, "<presence xmlns='jabber:client' from='bob@b.example/next'/>");
	CHECK_EQ(fake_rows(&f, "offline"), 100);
	fake_read_all(&f);
	fake_logout(bob);
	CHECK(fake_got(&f, next, "unavailable", NULL));
	for (int i = 0; i < 100; i++) {
		char body[32];
		snprintf(body, sizeof body, "<body>%d</body>", i);
		CHECK(fake_got(&f, next, body, NULL));
		fake_deliver_all(&f);
	}
	CHECK(!fake_next(&f, next));
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

static void all_in_flight_is_bounded(void)
{
	begin();
	im_free(f.im); /* again with a small bound */
	f.im = NULL;
	f.limits.sends_max = 8;
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	bob = fake_online(&f, "bob@b.example", "two", 0);
	for (int i = 0; i < 20; i++)
		fake_from(alice, MSG(ALICE, BOB, "chat", "x"));
	CHECK_EQ(im_nr_in_flight(f.im), 8);
	CHECK_EQ(fake_rows(&f, "offline"), 20);
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	CHECK_EQ(fake_unread(&f, bob), 20);
	fake_close(&f);
}

static void to_another_server(void)
{
	begin();
	uint64_t t = fake_from(alice, MSG(ALICE, "carol@c.example/x", "chat", "over"));
	struct sent *s = fake_next(&f, NULL);
	CHECK(s);
	CHECK_STR(s->from_domain, "a.example");
	CHECK_STR(s->to_domain, "c.example");
	CHECK(!fake_acked(&f, t));
	fake_delivered(&f, s);
	CHECK(fake_acked(&f, t));

	t = fake_from(alice, MSG(ALICE, "carol@c.example/x", "chat", "connecting")); /* a new connection takes its time */
	s = fake_next(&f, NULL);
	f.watch_table = "passing";
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(f.rows_at_ack, 1);
	fake_delivered(&f, s);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	fake_close(&f);
}

static void another_server_that_is_not_there(void)
{
	begin();
	uint64_t t = fake_from(alice, MSG(ALICE, "carol@c.example", "chat", "void"));
	fake_undeliverable(&f, fake_next(&f, NULL), "cancel", "remote-server-not-found");
	CHECK(!fake_acked(&f, t)); /* until alice has the error */
	CHECK(fake_got(&f, alice, "remote-server-not-found", "type='error'", "from='carol@c.example'", "to='" ALICE "'", "id='m'", NULL));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "passing"), 0);

	t = fake_from(alice, MSG(ALICE, "carol@c.example", "chat", "void")); /* the news comes after the second */
	struct sent *s = fake_next(&f, NULL);
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	fake_undeliverable(&f, s, "wait", "remote-server-timeout");
	CHECK(fake_got(&f, alice, "remote-server-timeout", "type='wait'", NULL));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 0);

	t = fake_from(alice, MSG(ALICE, "carol@c.example", "chat", "void")); /* for good: the type is the gateway's word */
	fake_undeliverable(&f, fake_next(&f, NULL), "cancel", "remote-server-timeout");
	CHECK(fake_got(&f, alice, "remote-server-timeout", "type='cancel'", NULL));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));

	t = fake_from(alice, MSG(ALICE, "carol@c.example", "error", "void"));
	fake_undeliverable(&f, fake_next(&f, NULL), "cancel", "remote-server-not-found");
	CHECK(!fake_next(&f, alice)); /* never an error for an error */
	CHECK(fake_acked(&f, t));

	f.server_room = 0;
	t = fake_from(alice, MSG(ALICE, "carol@c.example", "chat", "full"));
	CHECK(fake_got(&f, alice, "resource-constraint", "type='error'", NULL));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	fake_close(&f);
}

static void stored_on_its_way_survives(void)
{
	begin();
	fake_from(alice, MSG(ALICE, "carol@c.example", "chat", "survives"));
	fake_from(alice, "<presence xmlns='jabber:client' from='" ALICE "' to='room@c.example/nick'/>");
	fake_from(alice, "<iq xmlns='jabber:client' from='" ALICE "' to='" BOB "' type='get' id='i'><q xmlns='x'/></iq>");
	uint64_t t = fake_from_server(
		&f, "c.example", "<iq xmlns='jabber:client' from='carol@c.example/x' to='" BOB "' type='get' id='r'><q xmlns='x'/></iq>");
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "passing"), 4);
	fake_crash(&f);
	struct sent *s = fake_next(&f, NULL);
	CHECK(s && strstr(s->xml, "survives"));
	CHECK(fake_got(&f, NULL, "type='error'", "service-unavailable", "to='carol@c.example/x'",
		       NULL)); /* bob's session went with the process */
	CHECK(!fake_next(&f, NULL)); /* a presence of a session that is no more says nothing */
	CHECK_EQ(fake_rows(&f, "passing"), 2); /* the error too */
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	fake_close(&f);
}

/* The one who should get it is gone, and too much is stored: the error is what is kept then. */
static void a_late_error_to_another_server_survives(void)
{
	begin();
	im_free(f.im);
	f.im = NULL;
	f.limits.offline_max = 1;
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	bob = fake_login(&f, "bob@b.example", "two");
	fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "one"));
	fake_from(bob, "<presence xmlns='jabber:client' from='" BOB "'/>"); /* it is on its way, of storage */
	fake_read_all(&f);
	uint64_t t = fake_from_server(&f, "c.example", "<message xmlns='jabber:client' from='carol@c.example/x' to='" BOB "' id='r'/>");
	CHECK(fake_got(&f, bob, "carol@c.example/x", NULL));
	fake_logout(bob);
	f.watch_table = "passing";
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(f.rows_at_ack, 1);
	struct sent *s = fake_next(&f, NULL);
	CHECK(s && strstr(s->xml, "type='error'") && strstr(s->xml, "to='carol@c.example/x'"));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	CHECK_EQ(im_nr_in_flight(f.im), 0);
	fake_close(&f);
}

static void a_waiting_row_goes_when_there_is_room(void)
{
	begin();
	fake_from(alice, MSG(ALICE, "carol@c.example", "chat", "1"));
	fake_from(alice, MSG(ALICE, "carol@c.example", "chat", "2"));
	fake_wait(&f, 1000);
	im_free(f.im);
	f.im = NULL;
	f.limits.sends_max = 1;
	fake_crash(&f);
	CHECK_EQ(fake_unread(&f, NULL), 1);
	CHECK_EQ(fake_rows(&f, "passing"), 2);
	fake_delivered(&f, fake_next(&f, NULL));
	CHECK(f.next_ms <= f.now_ms + 100);
	fake_wait(&f, 100);
	CHECK(fake_got(&f, NULL, "<body>2</body>", NULL));
	fake_close(&f);
}

/* What no gateway takes goes back, and nothing waits behind it. */
static void too_large_for_the_gateway(void)
{
	static const char *const to[] = {"bob@b.example", BOB, "carol@c.example"};
	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		char xml[1024];
		begin();
		f.stanza_max = 500;
		snprintf(xml, sizeof xml, "<message xmlns='jabber:client' from='" ALICE "' to='%s'><body>%0500d</body></message>", to[i],
			 0);
		uint64_t t = fake_from(alice, xml);
		f.stanza_max = SIZE_MAX;
		if (i < 2) { /* the error quotes nothing, so it fits */
			fake_from(alice, MSG(ALICE, BOB, "chat", "next"));
			CHECK(fake_got(&f, bob, "next", NULL));
		}
		CHECK(fake_got(&f, alice, "type='error'", "not-acceptable", NULL));
		fake_deliver_all(&f);
		CHECK(fake_acked(&f, t));
		CHECK_EQ(fake_rows(&f, "offline") + fake_rows(&f, "passing"), 0);
		fake_close(&f);
	}
}

/* A writer who holds the file longer than we wait: the commit can't be had. */
static void a_dead_store_acknowledges_nothing(void)
{
	sqlite3 *db;
	begin();
	fake_logout(bob);
	CHECK_EQ(sqlite3_open(f.path, &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, "BEGIN IMMEDIATE; CREATE TABLE x (y)", NULL, NULL, NULL), SQLITE_OK);
	uint64_t t = fake_from(alice, MSG(ALICE, "bob@b.example", "chat", "hi"));
	CHECK(f.end_err < 0);
	CHECK(!fake_acked(&f, t));
	CHECK(strstr(im_why(f.im), "locked"));
	sqlite3_close(db);
	fake_close(&f);
}

int main(void)
{
	RUN(acknowledged_when_delivered);
	RUN(acknowledged_after_the_commit);
	RUN(nothing_of_a_dead_turn_is_acknowledged);
	RUN(stored_when_the_next_hop_is_slow);
	RUN(stored_when_the_session_dies);
	RUN(one_of_several_sessions_is_enough);
	RUN(another_session_takes_over);
	RUN(a_full_session_gets_the_rest_in_order);
	RUN(nothing_overtakes_the_backlog);
	RUN(in_flight_is_not_sent_twice);
	RUN(stored_ones_change_the_session);
	RUN(all_in_flight_is_bounded);
	RUN(to_another_server);
	RUN(another_server_that_is_not_there);
	RUN(stored_on_its_way_survives);
	RUN(a_late_error_to_another_server_survives);
	RUN(a_waiting_row_goes_when_there_is_room);
	RUN(too_large_for_the_gateway);
	RUN(a_dead_store_acknowledges_nothing);
	return check_done("im.delivery");
}
