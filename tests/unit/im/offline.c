/* RFC 6121 section 8.5: who gets a message of which type, and what is kept for later (XEP-0160, XEP-0203). */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

#define MSG(to, type, body) \
	"<message xmlns='jabber:client' from='alice@a.example/one' to='" to "' type='" type "' id='m'><body>" body "</body></message>"

static struct fake f;
static struct client *alice;

static void begin(void)
{
	fake_open(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
}

static struct client *bob_arrives(const char *resource, const char *priority)
{
	char xml[512];
	struct client *c = fake_login(&f, "bob@b.example", resource);
	snprintf(xml, sizeof xml, "<presence xmlns='jabber:client' from='%s'><priority>%s</priority></presence>", c->jid, priority);
	fake_from(c, xml);
	struct sent *own = fake_next(&f, c); /* its own presence comes back first */
	CHECK(own && strstr(own->xml, "<presence"));
	return c;
}

static void in_order_with_their_time(void)
{
	begin();
	fake_logout(fake_login(&f, "bob@b.example", "x")); /* he exists */
	fake_from(alice, MSG("bob@b.example", "chat", "1"));
	f.now_ms += 3000;
	fake_from(alice, MSG("bob@b.example/gone", "chat", "2"));
	fake_from(alice, "<message xmlns='jabber:client' from='alice@a.example/one' to='bob@b.example' id='m'/>");
	fake_from(alice, "<x:message xmlns:x='jabber:client' from='alice@a.example/one' to='bob@b.example'><x:body>4</x:body></x:message>");
	fake_from(alice, "<x:message xmlns:x='jabber:client' from='alice@a.example/one' to='bob@b.example' />");
	CHECK(!fake_next(&f, alice));
	struct client *bob = bob_arrives("two", "0");
	CHECK(fake_got(&f, bob, "<body>1</body><stanza-id",
		       "<delay xmlns='urn:xmpp:delay' from='b.example' stamp='2023-11-14T22:30:00Z'/></message>", NULL));
	CHECK(fake_got(&f, bob, "<body>2</body><stanza-id", "/><delay", "stamp='2023-11-14T22:30:03Z'", NULL));
	CHECK(fake_got(&f, bob, "id='m'><stanza-id", "/><delay", "/></message>", NULL));
	CHECK(fake_got(&f, bob, "<x:body>4</x:body><stanza-id", "/><delay", "/></x:message>", NULL));
	CHECK(fake_got(&f, bob, "><delay", "/></x:message>", NULL));
	CHECK(!fake_next(&f, bob));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
}

static void a_negative_priority_gets_none(void)
{
	begin();
	struct client *bob = bob_arrives("two", "-5");
	uint64_t t = fake_from(alice, MSG("bob@b.example", "chat", "wait"));
	CHECK(fake_acked(&f, t));
	CHECK(!fake_next(&f, bob));
	fake_from(alice, MSG("bob@b.example/two", "chat", "direct")); /* by its full JID it is reached */
	CHECK(fake_got(&f, bob, "direct", NULL));
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	fake_from(bob, "<presence xmlns='jabber:client' from='bob@b.example/two'/>");
	CHECK(fake_got(&f, bob, "<presence", NULL));
	CHECK(fake_got(&f, bob, "wait", NULL));
	fake_close(&f);
}

static void the_highest_priority_gets_it(void)
{
	begin();
	struct client *low = fake_online(&f, "bob@b.example", "low", 1);
	struct client *high = fake_online(&f, "bob@b.example", "high", 7);
	struct client *silent = fake_login(&f, "bob@b.example", "silent");
	fake_read_all(&f);
	fake_from(alice, MSG("bob@b.example", "normal", "n"));
	CHECK(fake_got(&f, high, "<body>n", NULL));
	fake_from(alice, MSG("bob@b.example/nobody", "chat", "c"));
	CHECK(fake_got(&f, high, "<body>c", NULL));
	fake_from(alice, MSG("bob@b.example", "headline", "h"));
	CHECK(fake_got(&f, high, "<body>h", NULL));
	CHECK(fake_got(&f, low, "<body>h", NULL)); /* to all that are not negative */
	fake_from(alice, MSG("bob@b.example/silent", "chat", "s")); /* connected is enough for a full JID */
	CHECK(fake_got(&f, silent, "<body>s", NULL));
	CHECK(!fake_next(&f, low) && !fake_next(&f, high) && !fake_next(&f, silent));
	fake_close(&f);
}

/* type, to: what alice hears, "" for nothing; and whether it is kept. */
static void nobody_there(void)
{
	static const struct { const char *type, *to, *answer; size_t rows; } cases[] = {
		{"chat", "bob@b.example", "", 1},
		{"normal", "bob@b.example", "", 1},
		{"unheard-of", "bob@b.example", "", 1},
		{"headline", "bob@b.example", "", 0},
		{"groupchat", "bob@b.example", "service-unavailable", 0},
		{"error", "bob@b.example", "", 0},
		{"chat", "bob@b.example/gone", "", 1},
		{"headline", "bob@b.example/gone", "", 0},
		{"groupchat", "bob@b.example/gone", "service-unavailable", 0},
		{"error", "bob@b.example/gone", "", 0},
		{"chat", "stranger@b.example", "service-unavailable", 0},
		{"error", "stranger@b.example", "", 0},
		{"chat", "b.example", "service-unavailable", 0},
		{"error", "b.example", "", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char xml[512];
		begin();
		fake_logout(fake_login(&f, "bob@b.example", "x"));
		snprintf(xml, sizeof xml, "<message xmlns='jabber:client' from='%s' to='%s' type='%s'/>", alice->jid, cases[i].to,
			 cases[i].type);
		uint64_t t = fake_from(alice, xml);
		struct sent *s = fake_next(&f, alice);
		CHECK_EQ(s != NULL, cases[i].answer[0] != 0);
		CHECK(!s || strstr(s->xml, cases[i].answer));
		CHECK_EQ(fake_rows(&f, "offline"), cases[i].rows);
		fake_deliver_all(&f);
		CHECK(fake_acked(&f, t));
		if (check_bad_)
			fprintf(stderr, "  case %zu: %s to %s\n", i, cases[i].type, cases[i].to);
		fake_close(&f);
	}
}

#define STATE "<composing xmlns='http://jabber.org/protocol/chatstates'/>"

/* Who was typing is no news later (XEP-0160), and a sender may ask for nothing to be kept (XEP-0334); acknowledged all the same. */
static void not_worth_keeping(void)
{
	static const struct { const char *inner; size_t rows; } cases[] = {
		{STATE, 0},
		{"<thread>t</thread>" STATE, 0},
		{STATE "<body>hi</body>", 1},
		{"<thread>t</thread>", 1},
		{"<body>secret</body><no-store xmlns='urn:xmpp:hints'/>", 0},
		{"<h:no-store xmlns:h='urn:xmpp&#58;hints'/><body>secret</body>", 0}, /* however it is written */
		{"<body>no-store, composing</body>", 1},
		{"<inactive xmlns='http://jabber.org/protocol/chatstates'/>", 0},
		{"<s:paused xmlns:s='http://jabber.org/protocol/chatstates'/>", 0},
		{"<gone xmlns='http://jabber.org/protocol/chatstates'/>", 0},
		{"<body>hi</body><no-copy xmlns='urn:xmpp:hints'/>", 1},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char xml[512];
		begin();
		struct client *bob = bob_arrives("two", "0");
		snprintf(xml, sizeof xml, "<message xmlns='jabber:client' from='%s' to='bob@b.example' type='chat'>%s</message>",
			 alice->jid, cases[i].inner);
		uint64_t t = fake_from(alice, xml);
		CHECK_EQ(fake_unread(&f, bob), 1); /* now it is news */
		fake_logout(bob);
		CHECK(fake_acked(&f, t));
		CHECK_EQ(fake_rows(&f, "offline"), cases[i].rows);
		t = fake_from(alice, xml);
		CHECK(fake_acked(&f, t));
		CHECK_EQ(fake_rows(&f, "offline"), 2 * cases[i].rows);
		CHECK(!fake_next(&f, alice));
		if (check_bad_)
			fprintf(stderr, "  case %zu: %s\n", i, cases[i].inner);
		fake_close(&f);
	}
}

static void without_to_it_is_for_oneself(void)
{
	begin();
	fake_from(alice, "<message xmlns='jabber:client' from='alice@a.example/one' type='chat'><body>note</body></message>");
	CHECK(fake_got(&f, alice, "note", NULL));
	fake_close(&f);
}

/* Bob's storage, for two, is full, and on its way to him. */
static struct client *two_are_kept(void)
{
	im_free(f.im);
	f.im = NULL;
	f.limits.offline_max = 2;
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	fake_logout(fake_login(&f, "bob@b.example", "x"));
	fake_from(alice, MSG("bob@b.example", "chat", "1"));
	fake_from(alice, MSG("bob@b.example", "chat", "2"));
	struct client *bob = bob_arrives("two", "0");
	CHECK(fake_got(&f, bob, "<body>1</body>", NULL));
	CHECK(fake_got(&f, bob, "<body>2</body>", NULL));
	CHECK_EQ(fake_rows(&f, "offline"), 2);
	return bob;
}

static void a_full_storage_bounces(void)
{
	begin();
	struct client *bob = two_are_kept();
	uint64_t t = fake_from(alice, MSG("bob@b.example", "chat", "x"));
	fake_logout(bob); /* three come back, two fit */
	CHECK_EQ(fake_rows(&f, "offline"), 2);
	CHECK(!fake_acked(&f, t));
	CHECK(fake_got(&f, alice, "service-unavailable", "type='error'", NULL));
	fake_from(alice, MSG("bob@b.example", "chat", "y"));
	CHECK(fake_got(&f, alice, "service-unavailable", NULL));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	fake_close(&f);
}

/* White space around what another instance hands over is none of it: an empty element takes its stamp all the same. */
static void blanks_around_it(void)
{
	static const char xml[] = " \n<message xmlns='jabber:client' from='alice@a.example/one' to='bob@b.example/two' id='m'/>\r\n\t ";
	begin();
	fake_logout(fake_login(&f, "bob@b.example", "two"));
	fake_from_peer(&f, "b.example", xml);
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	struct client *bob = bob_arrives("two", "0");
	CHECK(fake_got(&f, bob, "id='m'><delay", "/></message>", NULL));
	fake_deliver_all(&f);
	uint64_t t = fake_from_peer(&f, "b.example", xml);
	CHECK(fake_got(&f, bob, "id='m'/>", NULL));
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	fake_logout(bob);
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	CHECK(!fake_next(&f, alice));
	fake_close(&f);
}

/* Storage without a bound, and a message that is so large that no stamp fits: only another instance can hand one over. */
static char *begin_stampless(const char *from)
{
	enum { SIZE = (32 << 20) - 40 };
	char *xml = mem_alloc(SIZE + 1);
	begin();
	im_free(f.im);
	f.im = NULL;
	f.limits.offline_bytes_max = SIZE_MAX;
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	int n = snprintf(xml, SIZE, "<message xmlns='jabber:client' from='%s' to='bob@b.example/two' id='m'><body>", from);
	memset(xml + n, 'm', SIZE - (size_t)n);
	memcpy(xml + SIZE - 17, "</body></message>", 18);
	return xml;
}

static void what_takes_no_stamp_bounces(void)
{
	char *xml = begin_stampless("alice@a.example/one");
	fake_logout(fake_login(&f, "bob@b.example", "two"));
	fake_from_peer(&f, "b.example", xml);
	CHECK(fake_got(&f, alice, "not-acceptable", "type='error'", NULL));
	struct client *bob = bob_arrives("two", "0");
	fake_from_peer(&f, "b.example", xml);
	CHECK(fake_got(&f, bob, "id='m'>", NULL));
	fake_logout(bob); /* it comes back */
	CHECK(fake_got(&f, alice, "service-unavailable", "type='error'", NULL));
	bob = bob_arrives("two", "0");
	uint64_t t = fake_from_peer(&f, "b.example", xml);
	CHECK(fake_got(&f, bob, "id='m'>", NULL));
	fake_wait(&f, 1000); /* what is acknowledged is stored, or its sender has been told */
	CHECK(fake_acked(&f, t));
	CHECK(fake_got(&f, alice, "not-acceptable", "type='error'", NULL));
	fake_logout(bob);
	CHECK(!fake_next(&f, alice)); /* once is enough */
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_close(&f);
	free(xml);
}

/* Its error takes its place, to be kept until the other server has it. */
static void what_takes_no_stamp_bounces_to_a_server(void)
{
	char *xml = begin_stampless("carol@c.example/x");
	struct client *bob = bob_arrives("two", "0");
	uint64_t t = fake_from_peer(&f, "b.example", xml);
	CHECK(fake_got(&f, bob, "id='m'>", NULL));
	fake_logout(bob);
	CHECK(fake_got(&f, NULL, "service-unavailable", "to='carol@c.example/x'", NULL));
	CHECK(!fake_acked(&f, t));
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "passing"), 1);
	bob = bob_arrives("two", "0");
	t = fake_from_peer(&f, "b.example", xml);
	CHECK(fake_got(&f, bob, "id='m'>", NULL));
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK(fake_got(&f, NULL, "not-acceptable", "to='carol@c.example/x'", NULL));
	CHECK_EQ(fake_rows(&f, "passing"), 2);
	fake_logout(bob);
	CHECK(!fake_next(&f, NULL));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "passing") + fake_rows(&f, "offline"), 0);
	fake_close(&f);
	free(xml);
}

/* While a client may have it, its sender is told nothing, and it is stored all the same. */
static void a_full_storage_takes_what_was_sent(void)
{
	begin();
	struct client *bob = two_are_kept();
	uint64_t t = fake_from(alice, MSG("bob@b.example", "chat", "x"));
	struct sent *s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "<body>x</body>"));
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 3);
	CHECK(!fake_next(&f, alice));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	CHECK(!fake_next(&f, alice) && !fake_next(&f, bob));
	fake_close(&f);
}

/* So what is on its way has a bound too, in number and bytes, which is that of storage. */
static void what_was_sent_has_a_bound(void)
{
	for (int in_bytes = 0; in_bytes <= 1; in_bytes++) {
		begin();
		struct client *bob = two_are_kept();
		f.limits.offline_max = in_bytes ? 1000 : 2;
		f.limits.offline_bytes_max = in_bytes ? 5 * strlen(MSG("bob@b.example", "chat", "x")) : SIZE_MAX;
		fake_crash(&f);
		alice = fake_online(&f, "alice@a.example", "one", 0);
		bob = bob_arrives("two", "0");
		fake_read_all(&f); /* two are in flight, of storage */
		fake_from(alice, MSG("bob@b.example", "chat", "x"));
		fake_from(alice, MSG("bob@b.example", "chat", "x"));
		CHECK_EQ(fake_unread(&f, bob), 2);
		CHECK_EQ(fake_rows(&f, "offline"), 2);
		fake_from(alice, MSG("bob@b.example", "chat", "y"));
		CHECK_EQ(fake_unread(&f, bob), 2);
		CHECK(fake_got(&f, alice, "service-unavailable", NULL));
		fake_wait(&f, 1000);
		CHECK_EQ(fake_rows(&f, "offline"), 4);
		fake_deliver_all(&f);
		CHECK_EQ(fake_rows(&f, "offline"), 0);
		fake_close(&f);
	}
}

/* Who never takes anything, and comes again and again, makes storage no larger than that. */
static void what_was_sent_is_stored_beyond_the_limit_once(void)
{
	enum { MAX = 16, ROUNDS = 4 };
	begin();
	im_free(f.im);
	f.im = NULL;
	f.limits.offline_max = MAX;
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct client *low = bob_arrives("low", "-1");
		for (int k = 0; k < 4 * MAX; k++)
			fake_from(alice, MSG("bob@b.example/low", "chat", "x"));
		fake_wait(&f, 1000);
		CHECK(fake_rows(&f, "offline") >= MAX && fake_rows(&f, "offline") <= 2 * MAX);
		CHECK(fake_unread(&f, low) <= (i ? 0 : 2 * MAX));
		fake_logout(low);
		fake_wait(&f, 1000);
	}
	CHECK(fake_got(&f, alice, "service-unavailable", "type='error'", NULL));
	struct client *bob = bob_arrives("two", "0");
	fake_deliver_all(&f); /* he takes it: there is room again */
	fake_read_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_from(alice, MSG("bob@b.example/two", "chat", "y"));
	CHECK(fake_got(&f, bob, "<body>y</body>", NULL));
	fake_close(&f);
}

/* What is on its way gets its row before one that comes later, so that rows are in order whoever comes for them. */
static void what_was_sent_stays_before_what_is_stored(void)
{
	static const char *const texts[] = {"1", "2", "3", "4", "5", NULL};
	begin();
	struct client *low = bob_arrives("low", "-1"), *bob;
	fake_from(alice, MSG("bob@b.example/low", "chat", "1")); /* by its full JID it is reached */
	fake_from(alice, MSG("bob@b.example/low", "chat", "2"));
	CHECK_EQ(fake_unread(&f, low), 2);
	fake_from(alice, MSG("bob@b.example", "chat", "3"));
	fake_from(alice, MSG("bob@b.example/low", "chat", "4"));
	struct client *other = bob_arrives("other", "-1");
	fake_from(alice, MSG("bob@b.example/other", "chat", "5"));
	fake_logout(other);
	fake_logout(low);
	CHECK_EQ(fake_rows(&f, "offline"), 5);
	bob = bob_arrives("two", "0");
	for (size_t i = 0; texts[i]; i++) {
		char body[32];
		snprintf(body, sizeof body, "<body>%s</body>", texts[i]);
		CHECK(fake_got(&f, bob, body, NULL));
	}
	fake_close(&f);
}

static void from_another_server(void)
{
	begin();
	fake_logout(fake_login(&f, "bob@b.example", "x"));
	uint64_t t = fake_from_server(&f, "c.example",
				      "<message xmlns='jabber:client' from='carol@c.example/x' to='bob@b.example' type='chat'/>");
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	t = fake_from_server(&f, "c.example", "<message xmlns='jabber:client' from='carol@c.example/x' to='nobody@b.example' id='7'/>");
	CHECK(fake_got(&f, NULL, "service-unavailable", "to='carol@c.example/x'", "from='nobody@b.example'", "id='7'", NULL));
	CHECK(!fake_acked(&f, t));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	t = fake_from_server(&f, "c.example", "<message xmlns='jabber:client' from='carol@c.example/x' to='dave@d.example'/>");
	CHECK(fake_acked(&f, t) && !fake_next(&f, NULL)); /* no relay */
	t = fake_from_server(&f, "c.example", "<message xmlns='jabber:client' from='@@' to='bob@b.example'/>");
	CHECK(fake_acked(&f, t));
	t = fake_from_server(&f, "c.example", "<message xmlns='jabber:client' from='carol@c.example/x'");
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	fake_close(&f);
}

int main(void)
{
	RUN(in_order_with_their_time);
	RUN(a_negative_priority_gets_none);
	RUN(the_highest_priority_gets_it);
	RUN(nobody_there);
	RUN(not_worth_keeping);
	RUN(without_to_it_is_for_oneself);
	RUN(a_full_storage_bounces);
	RUN(blanks_around_it);
	RUN(what_takes_no_stamp_bounces);
	RUN(what_takes_no_stamp_bounces_to_a_server);
	RUN(a_full_storage_takes_what_was_sent);
	RUN(what_was_sent_has_a_bound);
	RUN(what_was_sent_is_stored_beyond_the_limit_once);
	RUN(what_was_sent_stays_before_what_is_stored);
	RUN(from_another_server);
	return check_done("im.offline");
}
