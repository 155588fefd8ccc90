/* RFC 6121 section 4: who hears what of whom, probes, directed presence, the end of a session, and clients that are slow. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

#include "services/im/store.h"

static struct fake f;

/* alice subscribes to all of these, and they to her. */
static void befriend(const char *user, const char *other)
{
	char why[128];
	struct store *s = store_open(f.path, why, sizeof why);
	struct contact c = {.jid = mem_strdup(other), .state = SUB_TO | SUB_FROM, .listed = true};
	store_contact_put(s, store_user_add(s, slice_str(user), 0), &c);
	CHECK_EQ(store_commit(s), 0);
	contact_clear(&c);
	store_close(s);
}

static void begin(void)
{
	fake_open(&f);
	im_free(f.im);
	f.im = NULL;
	befriend("alice@a.example", "bob@b.example");
	befriend("bob@b.example", "alice@a.example");
	befriend("alice@a.example", "carol@c.example");
	fake_crash(&f);
}

static void say(struct client *c, const char *attrs, const char *inner)
{
	char xml[1024];
	snprintf(xml, sizeof xml, "<presence xmlns='jabber:client' from='%s'%s>%s</presence>", c->jid, attrs, inner);
	fake_from(c, xml);
}

static void initial_presence(void)
{
	begin();
	struct client *bob = fake_online(&f, "bob@b.example", "two", 0);
	struct client *other = fake_online(&f, "alice@a.example", "other", 0);
	fake_read_all(&f);
	struct client *alice = fake_login(&f, "alice@a.example", "one");
	say(alice, "", "<show>away</show>");
	CHECK(fake_got(&f, alice, "from='alice@a.example/one'", "to='alice@a.example'", "<show>away</show>", NULL));
	CHECK(fake_got(&f, alice, "from='alice@a.example/other'", NULL));
	CHECK(fake_got(&f, alice, "from='bob@b.example/two'", "to='alice@a.example'", NULL));
	CHECK(!fake_next(&f, alice));
	CHECK(fake_got(&f, other, "from='alice@a.example/one'", NULL));
	CHECK(!fake_next(&f, other));
	CHECK(fake_got(&f, bob, "from='alice@a.example/one'", "to='bob@b.example'", "<show>away</show>", NULL));
	CHECK(fake_got(&f, NULL, "from='alice@a.example/one'", "to='carol@c.example'", NULL));
	CHECK(fake_got(&f, NULL, "type='probe'", "from='alice@a.example'", "to='carol@c.example'", NULL));
	CHECK(!fake_next(&f, NULL) && !fake_next(&f, bob));
	say(alice, "", "<show>dnd</show>"); /* later ones only tell */
	CHECK(fake_got(&f, alice, "dnd", NULL));
	CHECK(fake_got(&f, bob, "dnd", NULL));
	CHECK(fake_got(&f, NULL, "dnd", NULL));
	CHECK(!fake_next(&f, alice) && !fake_next(&f, bob) && !fake_next(&f, NULL));
	fake_close(&f);
}

static void unavailable(void)
{
	begin();
	struct client *bob = fake_online(&f, "bob@b.example", "two", 0);
	struct client *alice = fake_online(&f, "alice@a.example", "one", 0);
	fake_read_all(&f);
	say(alice, " type='unavailable'", "<status>bye</status>");
	CHECK(fake_got(&f, bob, "type='unavailable'", "bye", NULL));
	CHECK(fake_got(&f, NULL, "type='unavailable'", "to='carol@c.example'", NULL));
	fake_read_all(&f);
	fake_logout(alice); /* said already */
	CHECK(!fake_next(&f, bob) && !fake_next(&f, NULL));
	alice = fake_online(&f, "alice@a.example", "one", 0);
	fake_read_all(&f);
	fake_logout(alice); /* not said: we say it */
	CHECK(fake_got(&f, bob, "type='unavailable'", "from='alice@a.example/one'", "to='bob@b.example'", NULL));
	CHECK(fake_got(&f, NULL, "type='unavailable'", "from='alice@a.example/one'", NULL));
	fake_close(&f);
}

static void probes(void)
{
	begin();
	struct client *alice = fake_online(&f, "alice@a.example", "one", 0);
	fake_read_all(&f);
	fake_from_server(&f, "c.example", "<presence xmlns='jabber:client' type='probe' from='carol@c.example' to='alice@a.example'/>");
	CHECK(fake_got(&f, NULL, "from='alice@a.example/one'", "to='carol@c.example'", "<priority>", NULL));
	fake_from_server(&f, "c.example", "<presence xmlns='jabber:client' type='probe' from='eve@c.example' to='alice@a.example'/>");
	CHECK(fake_got(&f, NULL, "type='unsubscribed'", "from='alice@a.example'", "to='eve@c.example'", NULL));
	fake_from_server(&f, "c.example", "<presence xmlns='jabber:client' type='probe' from='eve@c.example' to='nobody@a.example'/>");
	CHECK(fake_got(&f, NULL, "type='unsubscribed'", NULL)); /* the same as for one who exists */
	fake_logout(alice);
	fake_read_all(&f);
	fake_from_server(&f, "c.example", "<presence xmlns='jabber:client' type='probe' from='carol@c.example' to='alice@a.example'/>");
	CHECK(fake_got(&f, NULL, "type='unavailable'", "from='alice@a.example'", NULL));
	fake_close(&f);
}

static void inbound(void)
{
	begin();
	struct client *one = fake_online(&f, "alice@a.example", "one", 0), *two = fake_online(&f, "alice@a.example", "two", -1);
	struct client *silent = fake_login(&f, "alice@a.example", "silent");
	fake_read_all(&f);
	uint64_t t = fake_from_server(&f, "c.example", "<presence xmlns='jabber:client' from='carol@c.example/x' to='alice@a.example'/>");
	CHECK(fake_got(&f, one, "carol@c.example/x", NULL));
	CHECK(fake_got(&f, two, "carol@c.example/x", NULL));
	CHECK(!fake_next(&f, silent));
	CHECK(!fake_acked(&f, t));
	fake_wait(&f, 1000); /* presence is dropped rather than stored */
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "passing") + fake_rows(&f, "offline"), 0);
	fake_from_server(&f, "c.example", "<presence xmlns='jabber:client' from='room@c.example/x' to='alice@a.example/silent'/>");
	CHECK(fake_got(&f, silent, "room@c.example/x", NULL));
	CHECK(!fake_next(&f, one));
	fake_close(&f);
}

static void directed(void)
{
	begin();
	struct client *alice = fake_online(&f, "alice@a.example", "one", 0);
	struct client *dave = fake_online(&f, "dave@b.example", "d", 0);
	fake_read_all(&f);
	say(alice, " to='room@c.example/nick'", "");
	CHECK(fake_got(&f, NULL, "to='room@c.example/nick'", NULL));
	say(alice, " to='dave@b.example'", "");
	CHECK(fake_got(&f, dave, "from='alice@a.example/one'", "to='dave@b.example'", NULL));
	say(alice, " to='gone@c.example'", "");
	say(alice, " type='unavailable' to='gone@c.example'", "");
	fake_read_all(&f);
	fake_logout(alice);
	CHECK(fake_got(&f, NULL, "type='unavailable'", "to='room@c.example/nick'", NULL));
	CHECK(fake_got(&f, dave, "type='unavailable'", "to='dave@b.example'", NULL));
	CHECK(fake_got(&f, NULL, "type='unavailable'", "to='carol@c.example'", NULL));
	CHECK(!fake_next(&f, NULL)); /* nothing to gone@ */
	fake_close(&f);
}

static void directed_bounces(void)
{
	begin();
	struct client *alice = fake_online(&f, "alice@a.example", "one", 0);
	fake_read_all(&f);
	say(alice, " to='room@c.example/nick'", "");
	fake_undeliverable(&f, fake_next(&f, NULL), "cancel", "remote-server-not-found");
	CHECK(fake_got(&f, alice, "type='error'", "remote-server-not-found", "from='room@c.example/nick'", NULL));
	fake_close(&f);
}

static void broadcasts_do_not_bounce(void)
{
	begin();
	struct client *alice = fake_login(&f, "alice@a.example", "one");
	say(alice, "", "");
	fake_read_all(&f);
	for (size_t i = 0; i < f.nr_sent; i++) {
		if (!f.sent[i].to && !f.sent[i].answered)
			fake_undeliverable(&f, &f.sent[i], "cancel", "remote-server-not-found");
	}
	CHECK(!fake_next(&f, alice));
	fake_close(&f);
}

static void bad_ones(void)
{
	static const char *const inner[] = {
		"<priority>128</priority>",
		"<priority>-129</priority>",
		"<priority>x</priority>",
		"<priority/>",
		"<priority>99999999999999999999</priority>",
	};
	begin();
	struct client *alice = fake_login(&f, "alice@a.example", "one");
	for (size_t i = 0; i < ARRAY_LEN(inner); i++) {
		say(alice, "", inner[i]);
		CHECK(fake_got(&f, alice, "type='error'", "bad-request", NULL));
	}
	say(alice, " type='subscribe'", "");
	CHECK(fake_got(&f, alice, "type='error'", "bad-request", NULL));
	say(alice, " to='a@@b'", "");
	CHECK(fake_got(&f, alice, "type='error'", "jid-malformed", NULL));
	im_free(f.im);
	f.im = NULL;
	f.limits.presence_bytes_max = 100;
	f.limits.directed_max = 1;
	fake_crash(&f);
	alice = fake_login(&f, "alice@a.example", "one");
	say(alice, "", "<status>much too long for the limit of this test, really</status>");
	CHECK(fake_got(&f, alice, "type='error'", "policy-violation", NULL));
	say(alice, " to='x@c.example'", "");
	say(alice, " to='x@c.example'", "");
	CHECK(!fake_next(&f, alice));
	say(alice, " to='y@c.example'", "");
	CHECK(fake_got(&f, alice, "type='error'", "resource-constraint", NULL));
	fake_close(&f);
}

/* A full session gets its presence later, all of it and in order; messages go to storage meanwhile. */
static void a_slow_session(void)
{
	begin();
	struct client *bob = fake_online(&f, "bob@b.example", "two", 0);
	struct client *alice = fake_online(&f, "alice@a.example", "one", 0);
	fake_read_all(&f);
	bob->room = 1;
	say(alice, "", "<status>1</status>");
	say(alice, "", "<status>2</status>");
	fake_from(alice,
		  "<message xmlns='jabber:client' from='alice@a.example/one' to='bob@b.example' type='chat'><body>3</body></message>");
	say(alice, "", "<status>4</status>");
	struct sent *s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "<status>1<"));
	CHECK(!fake_next(&f, bob));
	fake_delivered(&f, s);
	s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "<status>2<"));
	CHECK(!fake_next(&f, bob));
	fake_begin(&f);
	bob->room = SIZE_MAX;
	fake_delivered(&f, s);
	say(alice, "", "<status>5</status>"); /* there is room already, but others wait */
	fake_end(&f);
	CHECK(fake_got(&f, bob, "<status>4<", NULL));
	CHECK(fake_got(&f, bob, "<status>5<", NULL));
	CHECK(fake_got(&f, bob, "<body>3<", NULL));
	CHECK_STR(bob->closed, "");
	fake_close(&f);
}

static void a_session_that_does_not_read(void)
{
	begin();
	im_free(f.im);
	f.im = NULL;
	f.limits.overflow_bytes_max = 4096;
	fake_crash(&f);
	struct client *bob = fake_online(&f, "bob@b.example", "two", 0);
	struct client *alice = fake_online(&f, "alice@a.example", "one", 0);
	fake_read_all(&f);
	bob->room = 0;
	for (int i = 0; i < 100 && !bob->closed[0]; i++)
		say(alice, "", "<status>something of some length that adds up</status>");
	CHECK_STR(bob->closed, "resource-constraint");
	fake_read_all(&f);
	say(alice, "", "");
	CHECK(fake_got(&f, alice, "<presence", NULL)); /* others go on */
	fake_logout(bob);
	fake_close(&f);
}

int main(void)
{
	RUN(initial_presence);
	RUN(unavailable);
	RUN(probes);
	RUN(inbound);
	RUN(directed);
	RUN(directed_bounces);
	RUN(broadcasts_do_not_bounce);
	RUN(bad_ones);
	RUN(a_slow_session);
	RUN(a_session_that_does_not_read);
	return check_done("im.presence");
}
