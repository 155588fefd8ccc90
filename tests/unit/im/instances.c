/* What was acknowledged on its way to another instance, when that one or this one dies: it is stored at every moment. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

#include <sqlite3.h>

#define ALICE "alice@a.example/one"
#define BOB "bob@b.example"
#define MSG(type, body) \
	"<message xmlns='jabber:client' from='" ALICE "' to='" BOB "' type='" type "' id='m'><body>" body "</body></message>"

static struct fake f;
static struct client *alice;

/* Bob is at the other instance, as the policy has it. */
static void begin(void)
{
	fake_open(&f);
	f.several = true;
	fake_crash(&f);
	f.away = BOB;
	alice = fake_online(&f, "alice@a.example", "one", 0);
}

static struct client *bob_comes(void)
{
	f.away = NULL;
	struct client *bob = fake_login(&f, BOB, "two");
	fake_from(bob, "<presence xmlns='jabber:client' from='" BOB "/two'/>");
	return bob;
}

static struct sent *message_to(struct client *c)
{
	struct sent *s = fake_next(&f, c);
	while (s && !strstr(s->xml, "<message"))
		s = fake_next(&f, c);
	return s;
}

static void stored_when_the_other_one_dies(void)
{
	begin();
	uint64_t t = fake_from(alice, MSG("chat", "hi"));
	struct sent *s = fake_next(&f, NULL);
	CHECK(s && strcmp(s->to_domain, BOB) == 0);
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "passing"), 1);
	struct client *bob = bob_comes();
	fake_undeliverable(&f, s, "cancel", "recipient-unavailable"); /* the policy gives the user to us */
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	s = message_to(bob);
	CHECK(s && strstr(s->xml, "<body>hi</body>") && strstr(s->xml, "urn:xmpp:delay"));
	fake_crash(&f); /* before bob had it */
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	bob = bob_comes();
	s = message_to(bob);
	CHECK(s && strstr(s->xml, "<body>hi</body>"));
	if (s)
		fake_delivered(&f, s);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

/* What is not acknowledged yet need not be stored, and says nothing of a delay. */
static void not_stored_before_it_must_be(void)
{
	begin();
	uint64_t t = fake_from(alice, MSG("chat", "hi"));
	struct sent *s = fake_next(&f, NULL);
	struct client *bob = bob_comes();
	if (s)
		fake_undeliverable(&f, s, "cancel", "recipient-unavailable");
	s = message_to(bob);
	CHECK(s && strstr(s->xml, "<body>hi</body>") && !strstr(s->xml, "urn:xmpp:delay"));
	CHECK(!fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	if (s)
		fake_delivered(&f, s);
	CHECK(fake_acked(&f, t));
	fake_close(&f);
}

/* The user comes here while earlier messages are on their way to the other instance, which has died. */
static void nothing_overtakes_what_is_on_its_way(void)
{
	begin();
	fake_from(alice, MSG("chat", "one"));
	struct sent *one = fake_next(&f, NULL);
	struct client *bob = bob_comes();
	fake_from(alice, MSG("chat", "two"));
	CHECK(!message_to(bob));
	struct sent *two = fake_next(&f, NULL);
	CHECK(two && strstr(two->xml, "<body>two</body>") && strcmp(two->to_domain, BOB) == 0);
	fake_undeliverable(&f, one, "cancel", "recipient-unavailable");
	if (two)
		fake_undeliverable(&f, two, "cancel", "recipient-unavailable");
	struct sent *first = message_to(bob), *second = message_to(bob);
	CHECK(first && strstr(first->xml, "<body>one</body>") && second && strstr(second->xml, "<body>two</body>"));
	fake_from(alice, MSG("chat", "three")); /* nothing is before it any more */
	second = message_to(bob);
	CHECK(second && strstr(second->xml, "<body>three</body>"));
	CHECK_EQ(fake_unread(&f, NULL), 0);
	/* What somebody says to nobody but himself goes nowhere. */
	fake_from(bob, "<message xmlns='jabber:client' from='" BOB "/two' type='chat'><body>note</body></message>");
	second = message_to(bob);
	CHECK(second && strstr(second->xml, "<body>note</body>"));
	fake_close(&f);
}

/* This instance dies, and whoever takes its stanzas over has the user by then. */
static void taken_over_for_a_user_who_is_here(void)
{
	begin();
	fake_logout(bob_comes()); /* known from an earlier day */
	f.away = BOB;
	fake_read_all(&f);
	fake_from(alice, MSG("chat", "one"));
	fake_from(alice, MSG("normal", "two"));
	fake_from(alice, "<iq xmlns='jabber:client' from='" ALICE "' to='" BOB "/two' type='get' id='q'><x xmlns='y'/></iq>");
	fake_wait(&f, 1000);
	CHECK_EQ(fake_rows(&f, "passing"), 3);
	f.now_ms += 3600000;
	f.away = NULL;
	fake_crash(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	CHECK_EQ(fake_rows(&f, "offline"), 2);
	CHECK_EQ(fake_unread(&f, NULL), 0);
	struct client *bob = bob_comes();
	struct sent *one = message_to(bob), *two = message_to(bob);
	CHECK(one && strstr(one->xml, "<body>one</body>") && two && strstr(two->xml, "<body>two</body>"));
	/* Since when it waits, not since when it was found. */
	CHECK(one && strstr(one->xml, "stamp='2023-11-14T22:30:0"));
	fake_close(&f);
}

/* Whoever takes them over has just started, and the registries have not told it who belongs to whom. */
static void taken_over_before_it_is_known_whose(void)
{
	begin();
	fake_logout(bob_comes());
	f.away = BOB;
	fake_read_all(&f);
	fake_from(alice, MSG("chat", "one"));
	fake_wait(&f, 1000);
	CHECK_EQ(fake_rows(&f, "passing"), 1);
	fake_read_all(&f);
	f.unknown = true;
	fake_crash(&f);
	fake_wait(&f, 100);
	CHECK_EQ(fake_rows(&f, "passing"), 1);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	CHECK_EQ(fake_unread(&f, NULL), 0);
	CHECK(f.next_ms <= f.now_ms + 100); /* looks again soon */
	f.unknown = false;
	fake_wait(&f, 100);
	struct sent *s = fake_next(&f, NULL);
	CHECK(s && strcmp(s->to_domain, BOB) == 0 && strstr(s->xml, "<body>one</body>"));
	if (s)
		fake_delivered(&f, s);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	fake_close(&f);
}

/* Nobody is lost without a word: who was never here has no storage. */
static void taken_over_for_nobody(void)
{
	begin();
	f.away = "carol@b.example";
	fake_from(alice,
		  "<message xmlns='jabber:client' from='" ALICE "' to='carol@b.example' type='chat' id='m'><body>x</body></message>");
	fake_wait(&f, 1000);
	CHECK_EQ(fake_rows(&f, "passing"), 1);
	f.away = "alice@a.example"; /* she is at another one by now, and hears it there */
	fake_crash(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	struct sent *s = fake_next(&f, NULL);
	CHECK(s && strstr(s->xml, "type='error'") && strcmp(s->to_domain, "alice@a.example") == 0);
	CHECK_EQ(fake_rows(&f, "passing"), 1); /* the error: her message was acknowledged, so it must not be lost either */
	fake_crash(&f);
	s = fake_next(&f, NULL);
	CHECK(s && strstr(s->xml, "type='error'") && strcmp(s->to_domain, "alice@a.example") == 0);
	if (s)
		fake_delivered(&f, s);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	fake_close(&f);
}

/* Left by another process: xml from sender to recipient. */
static void left(const char *xml, const char *sender, const char *recipient)
{
	sqlite3 *db;
	char *sql = sqlite3_mprintf("INSERT INTO passing (owner, at, xml, sender, recipient) VALUES (0, 1700000999, CAST(%Q AS BLOB), "
				    "%Q, %Q)", xml, sender, recipient);
	CHECK_EQ(sqlite3_open(f.path, &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_free(sql);
	sqlite3_close(db);
}

#define NOTE(body) "<message xmlns='jabber:client' from='" ALICE "' type='chat'><body>" body "</body></message>"

/* A message without `to` is for one's own account, also when it waits behind others. */
static void taken_over_for_oneself(void)
{
	begin();
	left(NOTE("one"), "alice@a.example", "alice@a.example");
	f.unknown = true;
	fake_crash(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 1);
	f.unknown = false;
	alice = fake_login(&f, "alice@a.example", "one");
	uint64_t t = fake_from(alice, NOTE("two"));
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "passing"), 2);
	t = fake_from(alice, NOTE("three"));
	CHECK(fake_acked(&f, t));
	fake_wait(&f, 50);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	fake_from(alice, "<presence xmlns='jabber:client' from='" ALICE "'/>");
	struct sent *one = message_to(alice), *two = message_to(alice), *three = message_to(alice);
	CHECK(one && strstr(one->xml, "<body>one</body>") && two && strstr(two->xml, "<body>two</body>"));
	CHECK(three && strstr(three->xml, "<body>three</body>"));
	fake_close(&f);
}

/* It would be looked at again with every start, for ever. */
static void what_cannot_be_read_is_deleted(void)
{
	static const char *const rows[] = {
		"<message xmlns='jabber:client' to='" BOB "'/>",
		"<message xmlns='jabber:client' from='@@' to='" BOB "'/>",
		"<message xmlns='jabber:client' from='" ALICE "' to='@@'/>",
		"<message",
	};
	begin();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		left(rows[i], "", "");
	fake_crash(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	CHECK_EQ(fake_unread(&f, NULL), 0);
	fake_close(&f);
}

int main(void)
{
	RUN(stored_when_the_other_one_dies);
	RUN(not_stored_before_it_must_be);
	RUN(nothing_overtakes_what_is_on_its_way);
	RUN(taken_over_for_a_user_who_is_here);
	RUN(taken_over_before_it_is_known_whose);
	RUN(taken_over_for_nobody);
	RUN(taken_over_for_oneself);
	RUN(what_cannot_be_read_is_deleted);
	return check_done("im.instances");
}
