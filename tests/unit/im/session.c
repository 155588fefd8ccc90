/* Who gets a session, under which resource, and how it ends. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

static struct fake f;

static void the_wanted_resource(void)
{
	fake_open(&f);
	CHECK_STR(fake_login(&f, "alice@a.example", "home")->jid, "alice@a.example/home");
	CHECK_EQ(im_nr_sessions(f.im), 1);
	fake_close(&f);
}

static void a_chosen_resource_is_not_guessable(void)
{
	fake_open(&f);
	struct client *one = fake_login(&f, "alice@a.example", NULL), *two = fake_login(&f, "alice@a.example", "");
	CHECK_EQ(strlen(one->jid), strlen("alice@a.example/") + 32);
	CHECK(strcmp(one->jid, two->jid) != 0);
	CHECK_EQ(im_nr_sessions(f.im), 2);
	fake_close(&f);
}

static void the_newest_wins(void)
{
	fake_open(&f);
	struct client *other = fake_online(&f, "alice@a.example", "work", 0);
	struct client *old = fake_online(&f, "alice@a.example", "home", 0);
	fake_read_all(&f);
	struct client *fresh = fake_login(&f, "alice@a.example", "home");
	CHECK_STR(old->closed, "conflict");
	CHECK_STR(fresh->jid, "alice@a.example/home");
	CHECK(fake_got(&f, other, "type='unavailable'", "from='alice@a.example/home'", NULL));
	fake_from(other, "<message xmlns='jabber:client' from='alice@a.example/work' to='alice@a.example/home' "
			 "type='chat'><body>x</body></message>");
	CHECK(fake_got(&f, fresh, "<body>x", NULL));
	uint64_t t = fake_from(old, "<message xmlns='jabber:client' from='alice@a.example/home' to='alice@a.example' type='chat'/>");
	CHECK(!fake_acked(&f, t)); /* it is not handled any more, so its client repeats it */
	fake_logout(old);
	CHECK_EQ(im_nr_sessions(f.im), 2);
	fake_logout(fresh);
	fake_logout(other);
	CHECK_EQ(im_nr_sessions(f.im), 0);
	CHECK_EQ(im_nr_in_flight(f.im), 0);
	fake_close(&f);
}

#define TO_HOME(body) \
	"<message xmlns='jabber:client' from='bob@a.example/x' to='alice@a.example/home' type='chat'><body>" body "</body></message>"

static bool got_message(struct client *c, const char *body)
{
	struct sent *s = fake_next(&f, c);
	while (s && !strstr(s->xml, "<message"))
		s = fake_next(&f, c);
	return s && strstr(s->xml, body);
}

static struct client *again(void)
{
	struct client *c = fake_login(&f, "alice@a.example", "home");
	fake_from(c, "<presence xmlns='jabber:client' from='alice@a.example/home'/>");
	return c;
}

/* What was sent to the session before may come back only when its gateway answers: until then nothing overtakes it. */
static void what_the_old_one_had_comes_first(void)
{
	fake_open(&f);
	struct client *bob = fake_online(&f, "bob@a.example", "x", 0), *old = fake_online(&f, "alice@a.example", "home", 0);
	fake_from(bob, TO_HOME("one"));
	CHECK(got_message(old, "<body>one"));
	struct client *fresh = again();
	CHECK_STR(old->closed, "conflict");
	CHECK_EQ(fake_rows(&f, "offline"), 1); /* should we die now, or she go to another instance */
	fake_from(bob, TO_HOME("two"));
	fake_wait(&f, 2000);
	CHECK(!got_message(fresh, ""));
	fake_logout(old);
	CHECK(got_message(fresh, "<body>one") && got_message(fresh, "<body>two"));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

/* It had come before the end: nothing comes twice. */
static void what_the_old_one_has_does_not_come_again(void)
{
	fake_open(&f);
	struct client *bob = fake_online(&f, "bob@a.example", "x", 0), *old = fake_online(&f, "alice@a.example", "home", 0);
	fake_from(bob, TO_HOME("one"));
	struct sent *one = fake_next(&f, old);
	struct client *fresh = again();
	fake_from(bob, TO_HOME("two"));
	fake_delivered(&f, one);
	CHECK(got_message(fresh, "<body>two"));
	fake_logout(old);
	fake_deliver_all(&f);
	CHECK(!got_message(fresh, ""));
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

static void refused(void)
{
	fake_open(&f);
	CHECK_STR(fake_login(&f, "alice@c.example", "x")->refused, "not-allowed");
	CHECK_STR(fake_login(&f, "a.example", "x")->refused, "not-allowed");
	CHECK_STR(fake_login(&f, "@", "x")->refused, "jid-malformed");
	CHECK_STR(fake_login(&f, "alice@a.example", "\x01")->refused, "bad-request");
	CHECK_EQ(im_nr_sessions(f.im), 0);
	CHECK_EQ(fake_rows(&f, "users"), 0);
	fake_close(&f);
}

static void too_many(void)
{
	fake_open(&f);
	im_free(f.im);
	f.im = NULL;
	f.limits.sessions_max = 2;
	fake_crash(&f);
	fake_login(&f, "alice@a.example", "1");
	struct client *two = fake_login(&f, "alice@a.example", "2");
	CHECK_STR(fake_login(&f, "alice@a.example", "3")->refused, "resource-constraint");
	CHECK_STR(fake_login(&f, "bob@a.example", "3")->jid, "bob@a.example/3");
	CHECK_STR(fake_login(&f, "alice@a.example", "2")->jid, "alice@a.example/2"); /* takes the place of the old one */
	CHECK_STR(two->closed, "conflict");
	fake_close(&f);
}

static void answers_after_the_end(void)
{
	fake_open(&f);
	struct client *alice = fake_login(&f, "alice@a.example", "1");
	fake_from(alice, "<iq xmlns='jabber:client' from='alice@a.example/1' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
	struct sent *s = fake_next(&f, alice);
	fake_begin(&f);
	alice->open = false;
	im_session_closed(alice->session); /* before its stanzas come back */
	fake_end(&f);
	CHECK_EQ(im_nr_in_flight(f.im), 1);
	fake_undeliverable(&f, s, "wait", "recipient-unavailable");
	CHECK_EQ(im_nr_in_flight(f.im), 0);
	fake_begin(&f);
	im_delivered(f.im, s->cookie); /* one that is not known any more */
	im_undeliverable(f.im, 4711, "wait", "recipient-unavailable", "<x/>", 4);
	fake_end(&f);
	fake_close(&f);
}

/* Storage for one. */
static void begin_full(void)
{
	fake_open(&f);
	im_free(f.im);
	f.im = NULL;
	f.limits.offline_max = 1;
	fake_crash(&f);
}

#define TO_BOB(from) \
	"<message xmlns='jabber:client' from='" from "@a.example/x' to='bob@a.example' type='chat'><body>hi</body></message>"

/* Two sessions were sent it: when one leaves, the other may still get it. */
static void not_back_while_another_may_get_it(void)
{
	begin_full();
	struct client *alice = fake_online(&f, "alice@a.example", "x", 0);
	struct client *one = fake_online(&f, "bob@a.example", "one", 0), *two = fake_online(&f, "bob@a.example", "two", 0);
	fake_read_all(&f);
	fake_stored(&f, "bob@a.example", TO_BOB("alice"));
	uint64_t t = fake_from(alice, TO_BOB("alice"));
	struct sent *first = fake_next(&f, one), *second = fake_next(&f, two);
	CHECK(first && second);
	fake_login(&f, "bob@a.example", "one");
	CHECK_STR(one->closed, "conflict");
	CHECK_EQ(fake_unread(&f, alice), 0);
	fake_undeliverable(&f, first, "wait", "recipient-unavailable");
	CHECK_EQ(fake_unread(&f, alice), 0);
	fake_delivered(&f, second);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_unread(&f, alice), 0);
	fake_close(&f);
}

/* When nobody gets it, it does go back. */
static void back_when_nobody_may(void)
{
	begin_full();
	struct client *alice = fake_online(&f, "alice@a.example", "x", 0), *bob = fake_online(&f, "bob@a.example", "one", 0);
	fake_read_all(&f);
	fake_stored(&f, "bob@a.example", TO_BOB("alice"));
	fake_from(alice, TO_BOB("alice"));
	struct sent *s = fake_next(&f, bob);
	fake_login(&f, "bob@a.example", "one");
	CHECK_EQ(fake_unread(&f, alice), 0);
	fake_undeliverable(&f, s, "wait", "recipient-unavailable");
	CHECK(fake_got(&f, alice, "service-unavailable", NULL));
	fake_close(&f);
}

/* The error that goes back to a sender who leaves holds up nobody but him. */
static void an_error_in_flight_is_its_senders(void)
{
	begin_full();
	struct client *alice = fake_online(&f, "alice@a.example", "x", 0), *carol = fake_online(&f, "carol@a.example", "x", 0);
	struct client *bob = fake_online(&f, "bob@a.example", "one", 0);
	fake_read_all(&f);
	fake_stored(&f, "bob@a.example", TO_BOB("alice"));
	fake_from(alice, TO_BOB("alice"));
	struct sent *s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "<body>hi"));
	fake_undeliverable(&f, s, "wait", "recipient-unavailable");
	CHECK_EQ(fake_unread(&f, alice), 1);
	fake_login(&f, "alice@a.example", "x");
	CHECK_STR(alice->closed, "conflict");
	fake_from(carol, TO_BOB("carol"));
	CHECK(fake_got(&f, bob, "from='carol@a.example/x'", "<body>hi", NULL));
	CHECK_EQ(fake_unread(&f, carol), 0);
	fake_close(&f);
}

int main(void)
{
	RUN(the_wanted_resource);
	RUN(a_chosen_resource_is_not_guessable);
	RUN(the_newest_wins);
	RUN(what_the_old_one_had_comes_first);
	RUN(what_the_old_one_has_does_not_come_again);
	RUN(refused);
	RUN(too_many);
	RUN(answers_after_the_end);
	RUN(not_back_while_another_may_get_it);
	RUN(back_when_nobody_may);
	RUN(an_error_in_flight_is_its_senders);
	return check_done("im.session");
}
