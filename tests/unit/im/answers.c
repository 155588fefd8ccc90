/* What answers another server's stanza is as safe as the stanza was. */
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"

#define BOB "bob@b.example/two"
#define ASKS "<iq xmlns='jabber:client' from='carol@c.example/x' to='" BOB "' type='get' id='r'><q xmlns='x'/></iq>"

static struct fake f;
static struct client *bob;

static void begin(void)
{
	fake_open(&f);
	bob = fake_online(&f, "bob@b.example", "two", 0);
}

/* Handled is not enough: who asked from another server still has nothing when we die before the answer is there. */
static void answers_to_another_server_survive(void)
{
	static const struct { const char *xml, *answer;
	} cases[] = {
		{"<message xmlns='jabber:client' from='carol@c.example/x' to='nobody@b.example' id='r'><body>?</body></message>",
		 "type='error'"},
		{"<iq xmlns='jabber:client' from='carol@c.example/x' to='b.example' type='get' id='r'><ping xmlns='urn:xmpp:ping'/></iq>",
		 "type='result'"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin();
		uint64_t t = fake_from_server(&f, "c.example", cases[i].xml);
		struct sent *s = fake_next(&f, NULL);
		CHECK(s && strstr(s->xml, cases[i].answer) && !fake_acked(&f, t));
		f.watch_table = "passing";
		fake_wait(&f, 1000);
		CHECK(fake_acked(&f, t));
		CHECK_EQ(f.rows_at_ack, 1);
		fake_crash(&f);
		s = fake_next(&f, NULL);
		CHECK(s && strstr(s->xml, cases[i].answer) && strstr(s->xml, "to='carol@c.example/x'"));
		if (s)
			fake_undeliverable(&f, s, "wait", "remote-server-timeout"); /* tried, and nobody is to be told */
		CHECK(!fake_next(&f, NULL));
		CHECK_EQ(fake_rows(&f, "passing"), 0);
		fake_close(&f);
	}
}

/* There is no room for the answers when what they answer is acknowledged and leaves the store: they take its place. */
static void answers_wait_for_room(void)
{
	enum { NR = 64 }; /* as many as there is room to wait for at first */
	for (int crash = 0; crash <= 1; crash++) {
		begin();
		for (int i = 0; i < NR; i++)
			fake_from_server(&f, "c.example", ASKS);
		fake_wait(&f, 1000);
		CHECK_EQ(fake_rows(&f, "passing"), NR);
		f.servers_full = true;
		f.server_room = 0;
		if (crash)
			fake_crash(&f);
		else
			fake_logout(bob);
		fake_wait(&f, 1000);
		CHECK_EQ(fake_rows(&f, "passing"), NR);
		CHECK(!fake_next(&f, NULL));
		f.server_room = SIZE_MAX;
		fake_wait(&f, 1000);
		for (int i = 0; i < NR; i++)
			CHECK(fake_got(&f, NULL, "type='error'", "service-unavailable", "to='carol@c.example/x'", NULL));
		CHECK(!fake_next(&f, NULL));
		fake_deliver_all(&f);
		CHECK_EQ(fake_rows(&f, "passing"), 0);
		f.servers_full = false;
		fake_close(&f);
	}
}

/* The same for what is answered at once: it is acknowledged when its answer is stored. So many, and no more, for one address of ours. */
static void an_answer_without_room_is_stored(void)
{
	enum { NR = 3 };
	uint64_t t;
	begin();
	im_free(f.im);
	f.im = NULL;
	f.limits.offline_max = NR;
	f.servers_full = true;
	fake_crash(&f);
	f.watch_table = "passing";
	for (size_t i = 1; i <= NR + 1; i++) {
		t = fake_from_server(&f, "c.example",
				     "<message xmlns='jabber:client' from='carol@c.example/x' to='nobody@b.example' id='m'/>");
		CHECK(fake_acked(&f, t));
		CHECK_EQ(f.rows_at_ack, i <= NR ? i : NR);
	}
	t = fake_from_server(&f, "c.example", "<iq xmlns='jabber:client' from='carol@c.example/x' to='b.example' type='get' id='p'>"
					      "<ping xmlns='urn:xmpp:ping'/></iq>");
	CHECK(fake_acked(&f, t));
	CHECK_EQ(f.rows_at_ack, NR + 1);
	fake_crash(&f);
	CHECK(!fake_next(&f, NULL));
	f.server_room = SIZE_MAX;
	fake_wait(&f, 400);
	for (int i = 0; i < NR; i++)
		CHECK(fake_got(&f, NULL, "type='error'", "from='nobody@b.example'", "to='carol@c.example/x'", NULL));
	CHECK(fake_got(&f, NULL, "type='result'", "to='carol@c.example/x'", NULL));
	CHECK(!fake_next(&f, NULL));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	fake_close(&f);
}

static void expect_in_order(unsigned nr)
{
	char id[16];
	for (unsigned i = 1; i <= nr; i++) {
		snprintf(id, sizeof id, "id='%u'", i);
		CHECK(fake_got(&f, NULL, "type='error'", id, "to='carol@c.example/x'", NULL));
	}
	CHECK(!fake_next(&f, NULL));
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
}

/* There is room when the second answer comes, and the first has not tried again yet. */
static void an_answer_does_not_overtake_one_that_waits(void)
{
	static const char *const asks[] = {
		"<message xmlns='jabber:client' from='carol@c.example/x' to='nobody@b.example' id='1'/>",
		"<message xmlns='jabber:client' from='carol@c.example/x' to='nobody@b.example' id='2'/>",
	};
	begin();
	f.server_room = 0;
	fake_from_server(&f, "c.example", asks[0]);
	f.server_room = SIZE_MAX;
	fake_from_server(&f, "c.example", asks[1]);
	CHECK(!fake_next(&f, NULL));
	fake_wait(&f, 400);
	expect_in_order(2);
	fake_close(&f);
}

/* What is answered was left by another process, and is more than is looked at in a turn: there is room from the second one on. */
static void answers_to_what_was_left_keep_their_order(void)
{
	enum { NR = 201 };
	char xml[256];
	begin();
	for (unsigned i = 1; i <= NR; i++) {
		snprintf(xml, sizeof xml,
			 "<iq xmlns='jabber:client' from='carol@c.example/x' to='" BOB "' type='get' id='%u'><q xmlns='x'/></iq>", i);
		fake_from_server(&f, "c.example", xml);
	}
	fake_wait(&f, 1000);
	CHECK_EQ(fake_rows(&f, "passing"), NR);
	f.servers_full = true;
	fake_crash(&f);
	CHECK(!fake_next(&f, NULL));
	f.server_room = SIZE_MAX;
	for (int i = 0; i < 4; i++)
		fake_wait(&f, 400);
	expect_in_order(NR);
	fake_close(&f);
}

int main(void)
{
	RUN(answers_to_another_server_survive);
	RUN(answers_wait_for_room);
	RUN(an_answer_without_room_is_stored);
	RUN(an_answer_does_not_overtake_one_that_waits);
	RUN(answers_to_what_was_left_keep_their_order);
	return check_done("im.answers");
}
