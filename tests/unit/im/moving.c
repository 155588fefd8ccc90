/* Users whom another instance has now: their sessions end here, after a while, and not over and over. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

static struct fake f;

static void begin(void)
{
	fake_open(&f);
	f.several = true;
	fake_crash(&f);
}

static void wait_seconds(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fake_wait(&f, 1000);
}

static void who_belongs_elsewhere_is_sent(void)
{
	begin();
	struct client *home = fake_online(&f, "alice@a.example", "home", 0), *work = fake_online(&f, "alice@a.example", "work", 0);
	struct client *bob = fake_online(&f, "bob@a.example", "home", 0);
	wait_seconds(20);
	CHECK_STR(home->closed, "");
	f.away = "alice@a.example";
	wait_seconds(3);
	CHECK_STR(home->closed, "");
	fake_from(bob, "<message xmlns='jabber:client' from='bob@a.example/home' to='alice@a.example/home' type='chat'>"
		       "<body>x</body></message>");
	CHECK(fake_got(&f, home, "<body>x", NULL)); /* hers as long as she is here */
	wait_seconds(4);
	CHECK_STR(home->closed, ""); /* it is on its way: a moment's patience */
	CHECK_STR(work->closed, "reset");
	wait_seconds(5);
	CHECK_STR(home->closed, "reset");
	CHECK_STR(bob->closed, "");
	CHECK(f.next_ms > f.now_ms && f.next_ms <= f.now_ms + 1000);
	fake_logout(work);
	fake_logout(home); /* what it never got was stored meanwhile, and is the new owner's to deliver */
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	fake_read_all(&f);
	fake_from(bob, "<message xmlns='jabber:client' from='bob@a.example/home' to='alice@a.example' type='chat'>"
		       "<body>y</body></message>");
	struct sent *s = fake_next(&f, NULL);
	CHECK(s != NULL && strcmp(s->to_domain, "alice@a.example") == 0 && strstr(s->xml, "<body>y") != NULL);
	fake_close(&f);
}

static void a_moment_is_no_reason(void)
{
	begin();
	struct client *alice = fake_online(&f, "alice@a.example", "home", 0);
	for (unsigned i = 0; i < 5; i++) {
		f.away = "alice@a.example";
		wait_seconds(4);
		f.away = NULL;
		wait_seconds(2);
	}
	CHECK_STR(alice->closed, "");
	fake_close(&f);
}

/* The gateways do not reach the instance that the registries know: nobody is sent round and round. */
static void who_was_given_to_us_stays(void)
{
	begin();
	f.away = "alice@a.example";
	struct client *alice = fake_online(&f, "alice@a.example", "home", 0);
	wait_seconds(200);
	CHECK_STR(alice->closed, "");
	wait_seconds(110);
	CHECK_STR(alice->closed, "reset");
	struct client *again = fake_online(&f, "alice@a.example", "home", 0);
	f.away = NULL;
	wait_seconds(2);
	f.away = "alice@a.example"; /* it was ours meanwhile */
	wait_seconds(7);
	CHECK_STR(again->closed, "reset");
	fake_close(&f);
}

/* She was given to us because the instance that the policy picked was dead already: what holds for that one does not for the next. */
static void who_belongs_to_a_third_is_sent(void)
{
	begin();
	f.away = "alice@a.example";
	f.away_to = 1;
	struct client *alice = fake_online(&f, "alice@a.example", "home", 0);
	wait_seconds(10);
	CHECK_STR(alice->closed, "");
	f.away_to = 2;
	wait_seconds(4);
	CHECK_STR(alice->closed, "");
	wait_seconds(3);
	CHECK_STR(alice->closed, "reset");
	fake_close(&f);
}

/* The new owner looks into the store when she comes, which may be long before her gateway says what she had. */
static void what_she_did_not_get_is_stored_before_she_goes(void)
{
	char xml[300];
	uint64_t last = 0;
	unsigned n = 0;
	begin();
	struct client *alice = fake_online(&f, "alice@a.example", "home", 0), *bob = fake_online(&f, "bob@a.example", "home", 0);
	f.away = "alice@a.example";
	for (; n < 200 && !*alice->closed; n++) { /* which she never answers */
		snprintf(xml, sizeof xml, "<message xmlns='jabber:client' from='bob@a.example/home' to='alice@a.example/home' type='chat'>"
			 "<body>%u</body></message>", n);
		last = fake_from(bob, xml);
		fake_wait(&f, 100);
	}
	CHECK_STR(alice->closed, "reset");
	CHECK_EQ(fake_rows(&f, "offline"), n);
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, last));
	fake_read_all(&f);
	fake_logout(alice);
	CHECK_EQ(fake_rows(&f, "offline"), n);
	CHECK_EQ(fake_unread(&f, NULL), 0);
	fake_close(&f);
}

#define TO_ALICE(to, body) \
	"<message xmlns='jabber:client' from='bob@a.example/home' to='" to "' type='chat'><body>" body "</body></message>"

static bool got_body(struct client *c, const char *body)
{
	struct sent *s = fake_next(&f, c);
	while (s && !strstr(s->xml, "<message"))
		s = fake_next(&f, c);
	if (s)
		fake_delivered(&f, s);
	return s && strstr(s->xml, body);
}

/* The new owner got a message while she was still here, and stored it: it goes before what comes in here. */
static void what_the_new_owner_stored_goes_first(void)
{
	begin();
	struct client *alice = fake_online(&f, "alice@a.example", "home", 0), *bob = fake_online(&f, "bob@a.example", "home", 0);
	f.away = "alice@a.example";
	fake_stored(&f, "alice@a.example", TO_ALICE("alice@a.example", "one"));
	fake_from(bob, TO_ALICE("alice@a.example", "two"));
	CHECK(got_body(alice, "<body>one") && got_body(alice, "<body>two"));
	fake_from(bob, TO_ALICE("alice@a.example", "three")); /* nothing waits: neither stored nor late */
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	CHECK(got_body(alice, "<body>three"));
	fake_stored(&f, "alice@a.example", TO_ALICE("alice@a.example/home", "four"));
	fake_from(bob, TO_ALICE("alice@a.example/home", "five"));
	CHECK(got_body(alice, "<body>four") && got_body(alice, "<body>five"));
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

/* What she has not acknowledged would come to her twice, and what she did not hear of she would say twice. */
static void who_is_away_has_time_to_come_back(void)
{
	begin();
	struct client *alice = fake_online(&f, "alice@a.example", "home", 0), *bob = fake_online(&f, "bob@a.example", "home", 0);
	struct client *carol = fake_online(&f, "carol@a.example", "home", 0);
	f.away = "alice@a.example";
	im_session_detached(alice->session, true);
	fake_from(bob, TO_ALICE("alice@a.example/home", "one"));
	wait_seconds(50);
	CHECK_STR(alice->closed, "");
	im_session_detached(alice->session, false);
	wait_seconds(8);
	CHECK_STR(alice->closed, ""); /* as long as anybody with stanzas in flight */
	CHECK(got_body(alice, "<body>one"));
	wait_seconds(2);
	CHECK_STR(alice->closed, "reset");
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	f.away = "carol@a.example";
	im_session_detached(carol->session, true);
	wait_seconds(55);
	CHECK_STR(carol->closed, "");
	wait_seconds(7);
	CHECK_STR(carol->closed, "reset");
	fake_close(&f);
}

/* It stored one and died, and she is ours again: she needs not log in anew to get it. */
static void what_a_dead_owner_stored_comes(void)
{
	begin();
	struct client *alice = fake_online(&f, "alice@a.example", "home", 0), *bob = fake_online(&f, "bob@a.example", "home", 0);
	f.away = "alice@a.example";
	wait_seconds(2);
	fake_stored(&f, "alice@a.example", TO_ALICE("alice@a.example", "one"));
	f.away = NULL;
	fake_from(bob, TO_ALICE("alice@a.example", "two"));
	CHECK(got_body(alice, "<body>one") && got_body(alice, "<body>two"));
	f.away = "alice@a.example";
	wait_seconds(2);
	fake_stored(&f, "alice@a.example", TO_ALICE("alice@a.example", "three"));
	f.away = NULL;
	wait_seconds(2);
	CHECK(got_body(alice, "<body>three"));
	CHECK_STR(alice->closed, "");
	fake_close(&f);
}

static size_t nr_sent_away(void)
{
	size_t n = 0;
	for (size_t i = 0; i < f.nr_clients; i++)
		n += strcmp(f.clients[i].closed, "reset") == 0;
	return n;
}

static void some_at_a_time(void)
{
	char resource[8];
	begin();
	for (unsigned i = 0; i < 60; i++) {
		snprintf(resource, sizeof resource, "%u", i);
		fake_login(&f, "alice@a.example", resource);
	}
	f.away = "alice@a.example";
	for (unsigned i = 0; i < 20 && nr_sent_away() == 0; i++)
		wait_seconds(1);
	CHECK_EQ(nr_sent_away(), 50);
	wait_seconds(1);
	CHECK_EQ(nr_sent_away(), 60);
	CHECK_EQ(im_nr_sessions(f.im), 0);
	CHECK_EQ(f.next_ms, UINT64_MAX); /* nobody is here: nothing to look for */
	fake_close(&f);
}

int main(void)
{
	RUN(who_belongs_elsewhere_is_sent);
	RUN(a_moment_is_no_reason);
	RUN(who_was_given_to_us_stays);
	RUN(who_belongs_to_a_third_is_sent);
	RUN(what_she_did_not_get_is_stored_before_she_goes);
	RUN(what_the_new_owner_stored_goes_first);
	RUN(who_is_away_has_time_to_come_back);
	RUN(what_a_dead_owner_stored_comes);
	RUN(some_at_a_time);
	return check_done("im.moving");
}
