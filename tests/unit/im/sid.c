/* XEP-0359: the ids that messages to our users get, and keep. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

#define NS "urn:xmpp:sid:0"
#define ALICE "alice@a.example/one"
#define BOB "bob@b.example/two"
#define HEAD(to) "<message xmlns='jabber:client' from='" ALICE "' to='" to "' type='chat' id='m'>"
#define ID(by) "<stanza-id xmlns='" NS "' id='forged' by='" by "'/>"

static struct fake f;
static struct client *alice, *bob;

static void begin(void)
{
	fake_open(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	bob = fake_online(&f, "bob@b.example", "two", 0);
}

/* The id that the stanza has by `by`: 36 characters, NUL-terminated; "" when there is none, or more than one. */
static const char *id_in(const struct sent *s, const char *by)
{
	static char id[4][37];
	static unsigned turn;
	char want[128];
	const char *at = NULL, *p = s ? s->xml : "";

	snprintf(want, sizeof want, "' by='%s'/>", by);
	while ((p = strstr(p, "<stanza-id xmlns='" NS "' id='"))) {
		p += strlen("<stanza-id xmlns='" NS "' id='");
		if (strlen(p) < 36 || strncmp(p + 36, want, strlen(want)) != 0)
			continue;
		if (at)
			return "";
		at = p;
	}
	if (!at)
		return "";
	turn = (turn + 1) % 4;
	snprintf(id[turn], sizeof id[turn], "%.36s", at);
	return id[turn];
}

static struct sent *send_to_bob(const char *xml)
{
	fake_from(alice, xml);
	return fake_next(&f, bob);
}

static void each_has_its_own(void)
{
	begin();
	struct sent *one = send_to_bob(HEAD("bob@b.example") "<body>hi</body></message>");
	struct sent *two = send_to_bob(HEAD(BOB) "<body>hi</body></message>");
	char first[37];
	snprintf(first, sizeof first, "%s", id_in(one, "bob@b.example"));
	const char *second = id_in(two, "bob@b.example");
	CHECK_EQ(strlen(first), 36);
	CHECK_EQ(first[14], '4'); /* a random UUID */
	CHECK(strchr("89ab", first[19]) != NULL);
	CHECK_EQ(strlen(second), 36);
	CHECK(strcmp(first, second) != 0);
	/* Nothing else has changed. */
	CHECK(strncmp(one->xml, HEAD("bob@b.example") "<body>hi</body><stanza-id ",
		      strlen(HEAD("bob@b.example") "<body>hi</body><stanza-id ")) == 0);
	for (int i = 0; i < 100; i++) {
		struct sent *s = send_to_bob(HEAD(BOB) "<body>hi</body></message>");
		CHECK_EQ(strlen(id_in(s, "bob@b.example")), 36);
		CHECK(strcmp(id_in(s, "bob@b.example"), first) != 0);
		fake_delivered(&f, s);
	}
	struct sent *empty = send_to_bob("<message xmlns='jabber:client' from='" ALICE "' to='" BOB "'/>");
	CHECK_EQ(strlen(id_in(empty, "bob@b.example")), 36);
	CHECK(strstr(empty->xml, "/></message>") != NULL);
	fake_close(&f);
}

static void to_all_sessions_the_same(void)
{
	begin();
	struct client *other = fake_online(&f, "bob@b.example", "other", 0);
	fake_from(alice, HEAD("bob@b.example") "<body>hi</body></message>");
	struct sent *one = fake_next(&f, bob), *two = fake_next(&f, other);
	CHECK_EQ(strlen(id_in(one, "bob@b.example")), 36);
	CHECK_STR(id_in(two, "bob@b.example"), id_in(one, "bob@b.example"));
	fake_close(&f);
}

static void to_oneself(void)
{
	begin();
	fake_from(alice, "<message xmlns='jabber:client' from='" ALICE "' type='chat'><body>note</body></message>");
	CHECK_EQ(strlen(id_in(fake_next(&f, alice), "alice@a.example")), 36);
	fake_close(&f);
}

static void of_others_only_ours(void)
{
	begin();
	/* Whatever way it is written: another prefix, an address that is not prepared, references, content, several. */
	static const char *const forged[] = {
		ID("bob@b.example"),
		ID("BOB@b.EXAMPLE"),
		ID("bob&#64;b.example"),
		"<x:stanza-id xmlns:x='" NS "' id='forged' by='bob@b.example'/>",
		"<stanza-id\n\txmlns='" NS "' id='forged' by='bob@b.example'/>",
		"<stanza-id xmlns='urn:xmpp:sid&#58;0' id='forged' by='bob@b.example'/>",
		"<stanza-id by='bob@b.example' id='forged' xmlns='" NS "'>forged</stanza-id>",
		ID("bob@b.example") "<body>in</body>" ID("bob@b.example"),
	};
	for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
		char xml[1024];
		snprintf(xml, sizeof xml, HEAD(BOB) "<body>before</body>%s<thread>behind</thread></message>", forged[i]);
		struct sent *s = send_to_bob(xml);
		CHECK_EQ(strlen(id_in(s, "bob@b.example")), 36);
		CHECK(s && !strstr(s->xml, "forged") && strstr(s->xml, "before") && strstr(s->xml, "behind</thread><stanza-id"));
	}
	/* Another's ids stay (MUST NOT strip), also the sender's own, and what only looks like one. */
	struct sent *s =
	    send_to_bob(HEAD(BOB) ID("room@muc.example") "<origin-id xmlns='" NS "' id='mine'/><stanza-id xmlns='else' by='bob@b.example'/>"
							 "<x xmlns='y'>" ID("bob@b.example") "</x><body>stanza-id</body></message>");
	CHECK_EQ(strlen(id_in(s, "bob@b.example")), 36);
	CHECK(s && strstr(s->xml, ID("room@muc.example") "<origin-id xmlns='" NS "' id='mine'/><stanza-id xmlns='else' by='bob@b.example'/>"
					       "<x xmlns='y'>" ID("bob@b.example") "</x><body>stanza-id</body><stanza-id"));
	fake_close(&f);
}

/* What looks like a tag in there begins none, and hides none. */
static void cdata_hides_nothing(void)
{
	begin();
	static const char *const text[] = {
		"<![CDATA[<]]>", "<![CDATA[</body><x]]>", "<![CDATA[<a b='stanza-id]]>", "<![CDATA[<<<]]]]><![CDATA[>]]>",
		"<![CDATA[<stanza-id xmlns='" NS "' id='mine' by='bob@b.example'/>]]>",
	};
	for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
		char xml[1024], kept[256];
		snprintf(kept, sizeof kept, "<body>%s</body><thread>", text[i]);
		snprintf(xml, sizeof xml, HEAD(BOB) "<body>%s</body>" ID("bob@b.example") "<thread>behind</thread></message>", text[i]);
		struct sent *s = send_to_bob(xml);
		CHECK_EQ(strlen(id_in(s, "bob@b.example")), 36);
		CHECK(s && !strstr(s->xml, "forged") && strstr(s->xml, kept));
	}
	fake_close(&f);
}

static void only_messages_to_users(void)
{
	begin();
	fake_from(alice, HEAD("x@elsewhere.example") ID("x@elsewhere.example") "<body>hi</body></message>");
	struct sent *s = fake_next(&f, NULL);
	CHECK(s && strstr(s->xml, "forged") && !strstr(strstr(s->xml, "forged") + 1, "stanza-id")); /* not ours to say */
	fake_from(alice, "<iq xmlns='jabber:client' from='" ALICE "' to='" BOB "' type='get' id='q'><x xmlns='y'/></iq>");
	s = fake_next(&f, bob);
	CHECK(s && !strstr(s->xml, "stanza-id"));
	fake_from_server(&f, "elsewhere.example",
			 "<message xmlns='jabber:client' from='x@elsewhere.example/r' to='bob@b.example'>" ID(
			     "bob@b.example") "<body>hi</body></message>");
	s = fake_next(&f, bob);
	CHECK_EQ(strlen(id_in(s, "bob@b.example")), 36);
	CHECK(s && !strstr(s->xml, "forged"));
	fake_close(&f);
}

/* The next message among what a client that logs in gets. */
static struct sent *message_to(struct client *c)
{
	struct sent *s = fake_next(&f, c);
	while (s && !strstr(s->xml, "<message"))
		s = fake_next(&f, c);
	return s;
}

static struct client *bob_again(void)
{
	struct client *c = fake_login(&f, "bob@b.example", "two");
	fake_from(c, "<presence xmlns='jabber:client' from='" BOB "'/>");
	return c;
}

static void a_repetition_has_the_same(void)
{
	char id[37];
	begin();
	struct sent *s = send_to_bob(HEAD(BOB) "<body>hi</body></message>");
	snprintf(id, sizeof id, "%s", id_in(s, "bob@b.example"));
	CHECK_EQ(strlen(id), 36);
	fake_wait(&f, 1000); /* it is stored: bob may have it or not */
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	fake_crash(&f);
	bob = bob_again();
	s = message_to(bob);
	CHECK_STR(id_in(s, "bob@b.example"), id);
	fake_logout(bob); /* the session ends before it has it */
	bob = bob_again();
	s = message_to(bob);
	CHECK_STR(id_in(s, "bob@b.example"), id);
	if (s)
		fake_delivered(&f, s);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

static void one_for_all_instances(void)
{
	char id[37];
	begin();
	f.several = true;
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	/* The first that takes it gives the id … */
	f.away = "bob@b.example";
	fake_from(alice, HEAD("bob@b.example") "<body>over</body></message>");
	struct sent *s = fake_next(&f, NULL);
	snprintf(id, sizeof id, "%s", id_in(s, "bob@b.example"));
	CHECK_EQ(strlen(id), 36);
	fake_from_server(&f, "elsewhere.example",
			 "<message xmlns='jabber:client' from='x@elsewhere.example/r' to='bob@b.example'>" ID(
			     "bob@b.example") "<body>hi</body></message>");
	struct sent *passed = fake_next(&f, NULL);
	CHECK_EQ(strlen(id_in(passed, "bob@b.example")), 36);
	CHECK(passed && !strstr(passed->xml, "forged"));
	/* … it is the same when the other instance dies and the user comes here … */
	f.away = NULL;
	bob = bob_again();
	if (s)
		fake_undeliverable(&f, s, "cancel", "recipient-unavailable");
	CHECK_STR(id_in(message_to(bob), "bob@b.example"), id);
	/* … and the others keep it. */
	fake_from_peer(&f, "b.example",
		       HEAD("bob@b.example") "<stanza-id xmlns='" NS
					     "' id='01234567-89ab-4cde-8f01-23456789abcd' by='bob@b.example'/></message>");
	CHECK_STR(id_in(fake_next(&f, bob), "bob@b.example"), "01234567-89ab-4cde-8f01-23456789abcd");
	fake_close(&f);
}

static void announced(void)
{
	begin();
	static const char *const to[] = {"b.example", "alice@a.example"};
	for (size_t i = 0; i < 2; i++) {
		char xml[300];
		snprintf(xml, sizeof xml,
			 "<iq xmlns='jabber:client' from='" ALICE
			 "' to='%s' type='get' id='q'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
			 to[i]);
		fake_from(alice, xml);
		CHECK(fake_got(&f, alice, "<feature var='" NS "'/>", NULL));
	}
	fake_close(&f);
}

int main(void)
{
	RUN(each_has_its_own);
	RUN(to_all_sessions_the_same);
	RUN(to_oneself);
	RUN(of_others_only_ours);
	RUN(cdata_hides_nothing);
	RUN(only_messages_to_users);
	RUN(a_repetition_has_the_same);
	RUN(one_for_all_instances);
	RUN(announced);
	return check_done("im.sid");
}
