/* Subscriptions through the core: between two users of ours and with another server, from every state, and what the rosters say of it. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

#include "services/im/store.h"
#include "services/im/subscription_table.h"

static struct fake f;
static struct client *alice, *bob;

static void roster(struct client *c)
{
	fake_from(c, "<iq xmlns='jabber:client' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
	fake_deliver_all(&f);
	fake_read_all(&f);
}

static void begin(void)
{
	fake_open(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	bob = fake_online(&f, "bob@b.example", "two", 0);
	roster(alice);
	roster(bob);
}

static uint64_t say(struct client *c, const char *type, const char *to)
{
	char xml[1024];
	snprintf(xml, sizeof xml, "<presence xmlns='jabber:client' from='%s' type='%s' to='%s'/>", c->jid, type, to);
	return fake_from(c, xml);
}

static uint64_t remote_says(const char *type)
{
	char xml[512];
	snprintf(xml, sizeof xml, "<presence xmlns='jabber:client' from='carol@c.example/x' type='%s' to='alice@a.example'/>", type);
	return fake_from_server(&f, "c.example", xml);
}

static void two_of_ours(void)
{
	begin();
	uint64_t t = say(alice, "subscribe", "bob@b.example/whatever");
	CHECK(fake_got(&f, alice, "jabber:iq:roster", "jid='bob@b.example'", "subscription='none'", "ask='subscribe'", NULL));
	CHECK(fake_got(&f, bob, "type='subscribe'", "from='alice@a.example'", "to='bob@b.example'", NULL));
	CHECK(!fake_next(&f, bob)); /* who only asks is not in the roster */
	CHECK(!fake_acked(&f, t));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	say(bob, "subscribed", "alice@a.example");
	CHECK(fake_got(&f, bob, "jid='alice@a.example'", "subscription='from'", NULL));
	CHECK(fake_got(&f, alice, "type='subscribed'", "from='bob@b.example'", NULL));
	CHECK(fake_got(&f, alice, "jid='bob@b.example'", "subscription='to'", NULL));
	CHECK(fake_got(&f, alice, "<presence", "from='bob@b.example/two'", "to='alice@a.example'", NULL));
	say(bob, "subscribe", "alice@a.example");
	say(alice, "subscribed", "bob@b.example");
	CHECK(fake_got(&f, alice, "type='subscribe'", NULL));
	CHECK(fake_got(&f, alice, "subscription='both'", NULL));
	fake_read_all(&f);
	say(alice, "subscribe", "bob@b.example"); /* again, by mistake: bob's server says so itself */
	CHECK(!fake_next(&f, bob));
	fake_read_all(&f);
	say(bob, "unsubscribed", "alice@a.example");
	CHECK(fake_got(&f, alice, "type='unavailable'", "from='bob@b.example/two'", NULL));
	CHECK(fake_got(&f, alice, "type='unsubscribed'", NULL));
	CHECK(fake_got(&f, alice, "subscription='from'", NULL));
	CHECK(fake_got(&f, bob, "subscription='to'", NULL));
	say(bob, "unsubscribe", "alice@a.example");
	CHECK(fake_got(&f, bob, "subscription='none'", NULL));
	CHECK(fake_got(&f, bob, "type='unavailable'", "from='alice@a.example/one'", NULL));
	CHECK(fake_got(&f, alice, "type='unsubscribe'", NULL));
	CHECK(fake_got(&f, alice, "subscription='none'", NULL));
	fake_close(&f);
}

static void a_request_waits_for_its_answer(void)
{
	begin();
	fake_logout(bob);
	uint64_t t = say(alice, "subscribe", "bob@b.example");
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	fake_crash(&f);
	for (int i = 0; i < 2; i++) { /* at every login until it is answered */
		bob = fake_login(&f, "bob@b.example", "two");
		say(bob, "subscribe", "bob@b.example"); /* to oneself: nothing */
		fake_from(bob, "<presence xmlns='jabber:client' from='bob@b.example/two'/>");
		CHECK(fake_got(&f, bob, "<presence", "from='bob@b.example/two'", NULL));
		CHECK(fake_got(&f, bob, "type='subscribe'", "from='alice@a.example'", NULL));
		CHECK(!fake_next(&f, bob));
		fake_logout(bob);
	}
	bob = fake_online(&f, "bob@b.example", "two", 0);
	say(bob, "unsubscribed", "alice@a.example");
	fake_logout(bob);
	bob = fake_login(&f, "bob@b.example", "two");
	fake_from(bob, "<presence xmlns='jabber:client' from='bob@b.example/two'/>");
	CHECK(fake_got(&f, bob, "<presence", "from='bob@b.example/two'", NULL));
	CHECK(!fake_next(&f, bob));
	fake_close(&f);
}

static void to_somebody_unknown(void)
{
	begin();
	say(alice, "subscribe", "nobody@b.example");
	CHECK(fake_got(&f, alice, "ask='subscribe'", NULL));
	CHECK(!fake_next(&f, alice)); /* nobody learns who exists */
	fake_close(&f);
}

static void with_another_server(void)
{
	begin();
	f.watch_table = "passing";
	say(alice, "subscribe", "carol@c.example");
	CHECK(fake_got(&f, alice, "ask='subscribe'", NULL));
	CHECK_EQ(fake_rows(&f, "passing"), 1); /* said only what is stored */
	struct sent *s = fake_next(&f, NULL);
	CHECK(s && strstr(s->xml, "from='alice@a.example'") && strstr(s->xml, "to='carol@c.example'"));
	CHECK_STR(s->to_domain, "c.example");
	fake_delivered(&f, s);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	remote_says("subscribed");
	CHECK(fake_got(&f, alice, "type='subscribed'", "from='carol@c.example'", NULL));
	CHECK(fake_got(&f, alice, "subscription='to'", NULL));
	uint64_t t = remote_says("subscribe");
	CHECK(fake_got(&f, alice, "type='subscribe'", NULL));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	say(alice, "subscribed", "carol@c.example");
	CHECK(fake_got(&f, NULL, "type='subscribed'", NULL));
	CHECK(fake_got(&f, NULL, "<presence", "from='alice@a.example/one'", "to='carol@c.example'", NULL));
	CHECK(fake_got(&f, alice, "subscription='both'", NULL));
	remote_says("subscribe"); /* once more: approved already */
	CHECK(fake_got(&f, NULL, "type='subscribed'", "from='alice@a.example'", NULL));
	CHECK(!fake_next(&f, alice));
	remote_says("unsubscribe");
	CHECK(fake_got(&f, NULL, "type='unavailable'", "from='alice@a.example/one'", NULL));
	CHECK(fake_got(&f, alice, "type='unsubscribe'", NULL));
	CHECK(fake_got(&f, alice, "subscription='to'", NULL));
	remote_says("unsubscribed");
	CHECK(fake_got(&f, alice, "type='unsubscribed'", NULL));
	CHECK(fake_got(&f, alice, "subscription='none'", NULL));
	fake_close(&f);
}

static void another_server_that_is_not_there(void)
{
	begin();
	say(alice, "subscribe", "carol@c.example");
	fake_read_all(&f);
	struct sent *s = NULL;
	for (size_t i = 0; i < f.nr_sent; i++) {
		if (!f.sent[i].to)
			s = &f.sent[i];
	}
	fake_undeliverable(&f, s, "cancel", "remote-server-not-found");
	CHECK(fake_got(&f, alice, "<presence", "type='error'", "remote-server-not-found", "from='carol@c.example'", NULL));
	CHECK_EQ(fake_rows(&f, "passing"), 1); /* until alice has the bad news */
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	f.server_room = 0;
	say(alice, "unsubscribe", "carol@c.example");
	CHECK(fake_got(&f, alice, "subscription='none'", NULL));
	CHECK(fake_got(&f, alice, "type='error'", "resource-constraint", NULL));
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	fake_close(&f);
}

/* The request was stored when its process ended, and the way is full: what takes it back finds room, and goes behind it all the same. */
static void nothing_overtakes_a_request_that_waits(void)
{
	begin();
	for (int room = 0; room <= 1; room++) {
		say(alice, "subscribe", "carol@c.example");
		f.servers_full = true;
		f.limits.offline_max = room ? 2 : 1;
		fake_crash(&f);
		f.servers_full = false;
		alice = fake_online(&f, "alice@a.example", "one", 0);
		f.server_room = SIZE_MAX;
		say(alice, "unsubscribe", "carol@c.example");
		CHECK(!fake_next(&f, NULL));
		CHECK_EQ(fake_rows(&f, "passing"), room ? 2 : 1);
		CHECK_EQ(fake_unread(&f, alice), room ? 0 : 1);
		CHECK(room || fake_got(&f, alice, "type='error'", "resource-constraint", "from='carol@c.example'", NULL));
		fake_wait(&f, 400);
		CHECK(fake_got(&f, NULL, "type='subscribe'", "to='carol@c.example'", NULL));
		CHECK(!room || fake_got(&f, NULL, "type='unsubscribe'", "to='carol@c.example'", NULL));
		CHECK(!fake_next(&f, NULL));
		fake_deliver_all(&f);
		CHECK_EQ(fake_rows(&f, "passing"), 0);
	}
	fake_close(&f);
}

/* Presence belongs behind the approval that it follows, which waits; and an approval that was taken back is followed by none. */
static void nothing_overtakes_an_approval_that_waits(void)
{
	for (int back = 0; back <= 1; back++) {
		begin();
		remote_says("subscribe");
		say(alice, "subscribe", "carol@c.example");
		f.servers_full = true;
		fake_crash(&f);
		alice = fake_online(&f, "alice@a.example", "one", 0);
		f.server_room = SIZE_MAX;
		say(alice, "subscribed", "carol@c.example");
		CHECK(!fake_next(&f, NULL));
		if (back) {
			say(alice, "unsubscribed", "carol@c.example");
			CHECK(fake_got(&f, NULL, "type='unavailable'", "from='alice@a.example/one'", NULL));
			CHECK(!fake_next(&f, NULL));
		}
		CHECK_EQ(fake_rows(&f, "passing"), back ? 3 : 2);
		fake_wait(&f, 400);
		CHECK(fake_got(&f, NULL, "type='subscribe'", "to='carol@c.example'", NULL));
		CHECK(fake_got(&f, NULL, "type='subscribed'", "to='carol@c.example'", NULL));
		if (back)
			CHECK(fake_got(&f, NULL, "type='unsubscribed'", "to='carol@c.example'", NULL));
		else
			CHECK(fake_got(&f, NULL, "<priority>0</priority>", "from='alice@a.example/one'", "to='carol@c.example'", NULL));
		CHECK(!fake_next(&f, NULL));
		fake_deliver_all(&f);
		CHECK_EQ(fake_rows(&f, "passing"), 0);
		fake_close(&f);
	}
}

/* Every state times every type, both directions, against the table: what the store holds afterwards and whether it went on. */

static const unsigned states[] = {
	0, SUB_PENDING_OUT, SUB_PENDING_IN, SUB_PENDING_OUT | SUB_PENDING_IN, SUB_TO, SUB_TO | SUB_PENDING_IN, SUB_FROM,
	SUB_FROM | SUB_PENDING_OUT, SUB_TO | SUB_FROM,
};

static void prepare(unsigned state, const char *jid)
{
	char why[128];
	im_free(f.im);
	f.im = NULL;
	struct store *s = store_open(f.path, why, sizeof why);
	struct contact c = {.jid = mem_strdup(jid), .state = state, .listed = true};
	store_contact_put(s, store_user_find(s, SLICE("alice@a.example")), &c);
	CHECK_EQ(store_commit(s), 0);
	contact_clear(&c);
	store_close(s);
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	roster(alice);
}

static unsigned state_now(const char *jid)
{
	char why[128];
	struct contact c;
	im_free(f.im);
	f.im = NULL;
	struct store *s = store_open(f.path, why, sizeof why);
	bool there = store_contact_get(s, store_user_find(s, SLICE("alice@a.example")), slice_str(jid), &c);
	unsigned state = there ? c.state : 0;
	if (there)
		contact_clear(&c);
	store_close(s);
	return state;
}

/* True when a stanza of this type went to the client or server. */
static bool passed_on(struct client *to, enum sub_type type)
{
	char want[32];
	struct sent *s;
	bool found = false;
	snprintf(want, sizeof want, "type='%s'", sub_type_name(type));
	while ((s = fake_next(&f, to)))
		found |= strstr(s->xml, want) != NULL;
	return found;
}

static void check_case(enum sub_direction d, enum sub_type type, unsigned state)
{
	struct sub_step want = sub_step(d, type, state);
	begin();
	prepare(state, "carol@c.example");
	if (d == SUB_OUTBOUND)
		say(alice, sub_type_name(type), "carol@c.example");
	else
		remote_says(sub_type_name(type));
	bool passed = passed_on(d == SUB_OUTBOUND ? NULL : alice, type);
	CHECK_EQ(passed, want.pass);
	CHECK_EQ(state_now("carol@c.example"), want.next);
	if (check_bad_)
		fprintf(stderr, "  %s %s from state %x\n", d == SUB_OUTBOUND ? "outbound" : "inbound", sub_type_name(type), state);
	fake_close(&f);
}

static void every_state_and_type_with_another_server(void)
{
	for (unsigned d = SUB_OUTBOUND; d <= SUB_INBOUND; d++) {
		for (unsigned t = 0; t < SUB_TYPE_MAX_; t++) {
			for (size_t i = 0; i < ARRAY_LEN(states) && !check_bad_; i++)
				check_case((enum sub_direction)d, (enum sub_type)t, states[i]);
		}
	}
}

/* The other's state that fits: my To is their From, my Out their In. */
static unsigned mirror(unsigned s)
{
	return ((s & SUB_TO) ? SUB_FROM : 0u) | ((s & SUB_FROM) ? SUB_TO : 0u) | ((s & SUB_PENDING_OUT) ? SUB_PENDING_IN : 0u) |
	       ((s & SUB_PENDING_IN) ? SUB_PENDING_OUT : 0u);
}

static void put(const char *user, const char *jid, unsigned state)
{
	char why[128];
	struct store *s = store_open(f.path, why, sizeof why);
	struct contact c = {.jid = mem_strdup(jid), .state = state, .listed = true};
	store_contact_put(s, store_user_find(s, slice_str(user)), &c);
	CHECK_EQ(store_commit(s), 0);
	contact_clear(&c);
	store_close(s);
}

static unsigned get(const char *user, const char *jid)
{
	char why[128];
	struct contact c;
	struct store *s = store_open(f.path, why, sizeof why);
	unsigned state = store_contact_get(s, store_user_find(s, slice_str(user)), slice_str(jid), &c) ? c.state : ~0u;
	if (state != ~0u)
		contact_clear(&c);
	store_close(s);
	return state;
}

static void every_state_and_type_among_ours(void)
{
	for (unsigned t = 0; t < SUB_TYPE_MAX_; t++) {
		for (size_t i = 0; i < ARRAY_LEN(states) && !check_bad_; i++) {
			enum sub_type type = (enum sub_type)t;
			struct sub_step out = sub_step(SUB_OUTBOUND, type, states[i]);
			struct sub_step in = sub_step(SUB_INBOUND, type, mirror(states[i]));
			begin();
			im_free(f.im);
			f.im = NULL;
			put("alice@a.example", "bob@b.example", states[i]);
			put("bob@b.example", "alice@a.example", mirror(states[i]));
			fake_crash(&f);
			alice = fake_online(&f, "alice@a.example", "one", 0);
			bob = fake_online(&f, "bob@b.example", "two", 0);
			roster(alice);
			roster(bob);
			say(alice, sub_type_name(type), "bob@b.example");
			CHECK_EQ(passed_on(bob, type), out.pass && in.pass);
			im_free(f.im);
			f.im = NULL;
			CHECK_EQ(get("alice@a.example", "bob@b.example"), out.next);
			CHECK_EQ(get("bob@b.example", "alice@a.example"), out.pass ? in.next : mirror(states[i]));
			CHECK_EQ(mirror(get("alice@a.example", "bob@b.example")), get("bob@b.example", "alice@a.example")); /* they agree */
			if (check_bad_)
				fprintf(stderr, "  %s from state %x\n", sub_type_name(type), states[i]);
			fake_close(&f);
		}
	}
}

int main(void)
{
	RUN(two_of_ours);
	RUN(a_request_waits_for_its_answer);
	RUN(to_somebody_unknown);
	RUN(with_another_server);
	RUN(another_server_that_is_not_there);
	RUN(nothing_overtakes_a_request_that_waits);
	RUN(nothing_overtakes_an_approval_that_waits);
	RUN(every_state_and_type_with_another_server);
	RUN(every_state_and_type_among_ours);
	return check_done("im.subscription");
}
