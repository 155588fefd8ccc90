/* IQs: rosters (RFC 6121 section 2), who answers which (section 8.5), disco, ping, and those that clients send each other. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

static struct fake f;
static struct client *alice;

static void begin(void)
{
	fake_open(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
}

static uint64_t iq(struct client *c, const char *type, const char *to, const char *payload)
{
	char xml[2048];
	snprintf(xml, sizeof xml, "<iq xmlns='jabber:client' from='%s'%s type='%s' id='q1'>%s</iq>", c->jid, to, type, payload);
	return fake_from(c, xml);
}

#define QUERY(inner) "<query xmlns='jabber:iq:roster'>" inner "</query>"

static void a_roster(void)
{
	begin();
	uint64_t t = iq(alice, "get", "", QUERY(""));
	CHECK(fake_got(&f, alice, "type='result'", "id='q1'", "<query xmlns='jabber:iq:roster'/>", NULL));
	CHECK(!fake_acked(&f, t));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	struct client *other = fake_online(&f, "alice@a.example", "other", 0);
	struct client *third = fake_online(&f, "alice@a.example", "third", 0);
	iq(other, "get", " to='alice@a.example'", QUERY(""));
	fake_read_all(&f);
	iq(alice, "set", "",
	   QUERY("<item jid='Bob@B.example/x' name='Bob &amp; &quot;co&quot;' "
		 "subscription='both'><group>&lt;Friends&gt;</group><group>Work</group></item>"));
	const char *item = "<item jid='bob@b.example' subscription='none' name='Bob &amp; "
			   "&quot;co&quot;'><group>&lt;Friends&gt;</group><group>Work</group></item>";
	CHECK(fake_got(&f, alice, "type='set'", "to='alice@a.example/one'", item,
		       NULL)); /* what a client writes as subscription counts nothing */
	CHECK(fake_got(&f, alice, "type='result'", "id='q1'", NULL));
	CHECK(fake_got(&f, other, "type='set'", item, NULL));
	CHECK(!fake_next(&f, third)); /* it never asked */
	iq(other, "result", "", "");
	fake_crash(&f);
	alice = fake_login(&f, "alice@a.example", "one");
	iq(alice, "get", "", QUERY(""));
	CHECK(fake_got(&f, alice, item, NULL));
	iq(alice, "set", "", QUERY("<item jid='bob@b.example'/>"));
	CHECK(fake_got(&f, alice, "<item jid='bob@b.example' subscription='none'/>", NULL));
	CHECK(fake_got(&f, alice, "type='result'", NULL));
	iq(alice, "set", "", QUERY("<item jid='bob@b.example' subscription='remove'/>"));
	CHECK(fake_got(&f, alice, "<item jid='bob@b.example' subscription='remove'/>", NULL));
	CHECK(fake_got(&f, alice, "type='result'", NULL));
	iq(alice, "get", "", QUERY(""));
	CHECK(fake_got(&f, alice, "<query xmlns='jabber:iq:roster'/>", NULL));
	CHECK(!fake_next(&f, NULL));
	fake_close(&f);
}

static void removing_a_contact_ends_the_subscriptions(void)
{
	begin();
	struct client *bob = fake_online(&f, "bob@b.example", "two", 0);
	iq(alice, "get", "", QUERY(""));
	iq(bob, "get", "", QUERY(""));
	fake_from(alice, "<presence xmlns='jabber:client' from='alice@a.example/one' type='subscribe' to='bob@b.example'/>");
	fake_from(bob, "<presence xmlns='jabber:client' from='bob@b.example/two' type='subscribed' to='alice@a.example'/>");
	fake_from(bob, "<presence xmlns='jabber:client' from='bob@b.example/two' type='subscribe' to='alice@a.example'/>");
	fake_from(alice, "<presence xmlns='jabber:client' from='alice@a.example/one' type='subscribed' to='bob@b.example'/>");
	fake_read_all(&f);
	iq(alice, "set", "", QUERY("<item jid='bob@b.example' subscription='remove'/>"));
	CHECK(fake_got(&f, alice, "subscription='remove'", NULL));
	CHECK(fake_got(&f, bob, "type='unsubscribe'", "from='alice@a.example'", NULL));
	CHECK(fake_got(&f, bob, "subscription='to'", NULL));
	CHECK(fake_got(&f, bob, "type='unavailable'", "from='alice@a.example/one'", NULL));
	CHECK(fake_got(&f, bob, "type='unsubscribed'", NULL));
	CHECK(fake_got(&f, bob, "subscription='none'", NULL));
	CHECK(fake_got(&f, alice, "type='unavailable'", "from='bob@b.example/two'", NULL));
	CHECK(fake_got(&f, alice, "type='result'", NULL));
	CHECK(!fake_next(&f, bob) && !fake_next(&f, alice));
	fake_close(&f);
}

static void bad_roster_sets(void)
{
	static const struct { const char *query, *condition; } cases[] = {
		{QUERY(""), "bad-request"},
		{QUERY("<item/>"), "bad-request"},
		{QUERY("<item jid='a@b.example'/><item jid='c@b.example'/>"), "bad-request"},
		{QUERY("<other jid='a@b.example'/>"), "bad-request"},
		{QUERY("<item jid='@@'/>"), "jid-malformed"},
		{QUERY("<item jid='alice@a.example'/>"), "not-allowed"},
		{QUERY("<item jid='a@b.example'><group/></item>"), "not-acceptable"},
		{QUERY("<item jid='a@b.example'><group>x</group><group>x</group></item>"), "bad-request"},
		{QUERY("<item jid='a@b.example' subscription='remove'/>"), "item-not-found"},
	};
	begin();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		iq(alice, "set", "", cases[i].query);
		CHECK(fake_got(&f, alice, "type='error'", "id='q1'", cases[i].condition, NULL));
	}
	CHECK_EQ(fake_rows(&f, "contacts"), 0);
	im_free(f.im);
	f.im = NULL;
	f.limits.contacts_max = 1;
	fake_crash(&f);
	alice = fake_login(&f, "alice@a.example", "one");
	iq(alice, "set", "", QUERY("<item jid='one@b.example'/>"));
	CHECK(fake_got(&f, alice, "type='result'", NULL));
	iq(alice, "set", "", QUERY("<item jid='two@b.example'/>"));
	CHECK(fake_got(&f, alice, "resource-constraint", NULL));
	iq(alice, "set", "", QUERY("<item jid='one@b.example' name='again'/>"));
	CHECK(fake_got(&f, alice, "type='result'", NULL));
	fake_from(alice, "<presence xmlns='jabber:client' from='alice@a.example/one' type='subscribe' to='two@b.example'/>");
	CHECK(fake_got(&f, alice, "resource-constraint", "<presence", NULL));
	fake_close(&f);
}

static void what_the_server_answers(void)
{
	static const struct { const char *type, *to, *payload, *answer;
	} cases[] = {
		{"get", " to='a.example'", "<ping xmlns='urn:xmpp:ping'/>", "type='result'"},
		{"get", "", "<ping xmlns='urn:xmpp:ping'/>", "type='result'"},
		{"get", " to='b.example'", "<query xmlns='http://jabber.org/protocol/disco#info'/>",
		 "<identity category='server' type='im'"},
		{"get", " to='a.example'", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "<feature var='urn:xmpp:ping'/>"},
		{"get", " to='a.example'", "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>", "item-not-found"},
		{"get", " to='a.example'", "<query xmlns='http://jabber.org/protocol/disco#items'/>",
		 "<query xmlns='http://jabber.org/protocol/disco#items'/>"},
		{"get", " to='alice@a.example'", "<query xmlns='http://jabber.org/protocol/disco#info'/>",
		 "<identity category='account' type='registered'/>"},
		{"get", "", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "type='result'"},
		{"get", " to='bob@b.example'", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "service-unavailable"},
		{"get", " to='nobody@b.example'", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "service-unavailable"},
		{"get", " to='bob@b.example'", QUERY(""), "service-unavailable"},
		{"set", " to='bob@b.example'", QUERY("<item jid='x@b.example'/>"), "service-unavailable"},
		{"set", "", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>", "type='result'"},
		{"get", "", "<vCard xmlns='vcard-temp'/>", "service-unavailable"},
		{"get", "", "<query xmlns='jabber:iq:private'/>", "service-unavailable"},
		{"get", " to='a.example/res'", "<ping xmlns='urn:xmpp:ping'/>", "service-unavailable"},
		{"get", " to='bob@b.example/gone'", "<ping xmlns='urn:xmpp:ping'/>", "service-unavailable"},
		{"get", "", "", "bad-request"},
	};
	begin();
	fake_online(&f, "bob@b.example", "two", 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t t = iq(alice, cases[i].type, cases[i].to, cases[i].payload);
		CHECK(fake_got(&f, alice, "id='q1'", "to='alice@a.example/one'", cases[i].answer, NULL));
		CHECK(!fake_next(&f, alice));
		fake_deliver_all(&f);
		CHECK(fake_acked(&f, t));
	}
	uint64_t t = iq(alice, "result", " to='bob@b.example/gone'", "");
	CHECK(fake_acked(&f, t) && !fake_next(&f, alice)); /* no answer to an answer */
	t = iq(alice, "error", " to='a.example'", "<x xmlns='x'/>");
	CHECK(fake_acked(&f, t) && !fake_next(&f, alice));
	fake_close(&f);
}

static void from_another_server(void)
{
	begin();
	fake_from_server(
		&f, "c.example",
		"<iq xmlns='jabber:client' from='carol@c.example/x' to='a.example' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>");
	CHECK(fake_got(&f, NULL, "type='result'", "from='a.example'", "to='carol@c.example/x'", NULL));
	fake_from_server(&f, "c.example",
			 "<iq xmlns='jabber:client' from='carol@c.example/x' to='alice@a.example' type='get' id='1'>" QUERY("") "</iq>");
	CHECK(fake_got(&f, NULL, "type='error'", "service-unavailable", NULL));
	fake_close(&f);
}

static void from_client_to_client(void)
{
	begin();
	struct client *bob = fake_online(&f, "bob@b.example", "two", 0);
	uint64_t t = iq(alice, "get", " to='bob@b.example/two'", "<q xmlns='x'/>");
	struct sent *s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "<q xmlns='x'/>"));
	CHECK(!fake_acked(&f, t));
	fake_logout(bob); /* before it had it */
	CHECK(fake_got(&f, alice, "type='error'", "service-unavailable", "from='bob@b.example/two'", NULL));
	CHECK(!fake_acked(&f, t));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));

	bob = fake_online(&f, "bob@b.example", "two", 0);
	bob->room = 0;
	t = iq(alice, "get", " to='bob@b.example/two'", "<q xmlns='x'/>");
	CHECK(fake_got(&f, alice, "type='error'", "resource-constraint", NULL));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	iq(alice, "result", " to='bob@b.example/two'",
	   "<answer xmlns='x'/>"); /* an answer waits for room: nobody could be told of its loss */
	bob->room = SIZE_MAX;
	fake_wait(&f, 200);
	CHECK(fake_got(&f, bob, "<answer", NULL));
	fake_close(&f);
}

static void set_group(const char *jid, size_t n)
{
	char group[1024], payload[4096], xml[8192];
	memset(group, 'g', n);
	group[n] = '\0';
	snprintf(payload, sizeof payload, QUERY("<item jid='%s'><group>%s</group></item>"), jid, group);
	snprintf(xml, sizeof xml, "<iq xmlns='jabber:client' from='%s' type='set' id='q1'>%s</iq>", alice->jid, payload);
	fake_from(alice, xml);
}

/* Each is allowed alone, but address and group are one key in the database. A label may be longer in UTF-8 than DNS has it. */
static void too_long_together(void)
{
	char jid[2048];
	size_t n = 1023;
	begin();
	memset(jid, 'l', n);
	jid[n++] = '@';
	for (size_t label = 0; label < 4; label++) {
		for (size_t i = 0; i < 50; i++, n += 3)
			memcpy(jid + n, "\xe3\x81\x82", 3);
		jid[n++] = '.';
	}
	memcpy(jid + n, "example", 8);
	set_group(jid, 1023);
	CHECK(fake_got(&f, alice, "type='error'", "not-acceptable", NULL));
	CHECK_EQ(fake_rows(&f, "contact_groups"), 0);
	set_group(jid, 800);
	CHECK(fake_got(&f, alice, "type='result'", NULL));
	CHECK_EQ(fake_rows(&f, "contact_groups"), 1);
	fake_close(&f);
}

int main(void)
{
	RUN(a_roster);
	RUN(removing_a_contact_ends_the_subscriptions);
	RUN(bad_roster_sets);
	RUN(too_long_together);
	RUN(what_the_server_answers);
	RUN(from_another_server);
	RUN(from_client_to_client);
	return check_done("im.roster_iq");
}
