/* Messages in a database that instances share: whoever has no session of the user's tells the others what it has for him; and what waits
 * costs no more than it must. */
#include "services/im/store.h"
#include "tests/unit/check.h"
#include "tests/unit/im/fake.h"
#include "tests/unit/im/shared.h"

#define BOB "bob@b.example"
#define MSG "<message xmlns='jabber:client' from='alice@a.example/one' to='" BOB "' type='chat' id='m'><body>hi</body></message>"

static struct fake f;
static struct client *alice, *bob;
static struct store *other;   /* of another instance */

static void begin(void)
{
	char database[128], why[256];
	fake_open(&f);
	im_free(f.im);
	f.im = NULL;
	shared_reset();
	f.shared = f.several = true;
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	bob = fake_online(&f, BOB, "two", 0);
	snprintf(database, sizeof database, "shared=%s", f.path);
	other = store_open(database, why, sizeof why);
	CHECK(other);
}

static void end(void)
{
	store_close(other); /* NULL is allowed */
	fake_close(&f);
}

static size_t nr_heard;       /* by the last heard() */

/* The lowest row that the other instance heard of since it was asked last; 0: none. */
static int64_t heard(void)
{
	struct buf bare;
	int64_t row, lowest = 0;
	buf_init(&bare, 100);
	for (nr_heard = 0; store_told(other, &bare, &row); nr_heard++) {
		CHECK(slice_is(buf_slice(&bare), BOB));
		lowest = lowest && lowest < row ? lowest : row;
	}
	buf_clear(&bare);
	return lowest;
}

/* It was stored since his client was slow, and he was here. */
static struct sent *slow_message(void)
{
	uint64_t t = fake_from(alice, MSG);
	struct sent *s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "hi"));
	fake_wait(&f, 1000);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	CHECK_EQ(heard(), 0);
	return s;
}

static void when_the_session_leaves(void)
{
	begin();
	struct sent *s = slow_message();
	fake_login(&f, BOB, "two"); /* in conflict; and it gets no messages yet */
	CHECK_STR(bob->closed, "conflict");
	CHECK_EQ(heard(), 1);
	fake_undeliverable(&f, s, "wait", "recipient-unavailable");
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	end();
}

/* As often as there is somebody to hear of, not as there are messages. */
static void once_for_all_of_a_user(void)
{
	enum { NR = 20 };
	begin();
	for (int i = 0; i < NR; i++)
		fake_from(alice, MSG);
	fake_wait(&f, 1000);
	CHECK_EQ(fake_rows(&f, "offline"), NR);
	fake_from(bob, "<presence xmlns='jabber:client' from='" BOB "/two' type='unavailable'/>");
	CHECK_EQ(heard(), 0);
	fake_logout(bob); /* all come back in one turn */
	CHECK_EQ(heard(), 1);
	CHECK_EQ(nr_heard, 1);
	end();
}

static void when_it_comes_back(void)
{
	begin();
	struct sent *s = slow_message();
	fake_from(bob, "<presence xmlns='jabber:client' from='" BOB "/two' type='unavailable'/>");
	CHECK_EQ(heard(), 0); /* the client may have it */
	fake_undeliverable(&f, s, "wait", "recipient-unavailable");
	CHECK_EQ(heard(), 1);
	end();
}

/* The same of one for a session that gets its own messages alone: it had none told when it was stored either. */
static void not_while_a_client_may_have_it(void)
{
	static const char low[] = "<presence xmlns='jabber:client' from='" BOB "/two'><priority>-1</priority></presence>";
	begin();
	fake_from(bob, low);
	fake_read_all(&f);
	fake_from(alice, "<message xmlns='jabber:client' from='alice@a.example/one' to='" BOB "/two' id='m'><body>hi</body></message>");
	struct sent *s = fake_next(&f, bob);
	CHECK(s && strstr(s->xml, "hi"));
	fake_wait(&f, 1000);
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	CHECK_EQ(heard(), 0);
	fake_undeliverable(&f, s, "wait", "recipient-unavailable");
	CHECK_EQ(heard(), 1);
	end();
}

/* Rows that nobody was sent yet, when their session gets messages no more. */
static void what_waits(const char *presence)
{
	begin();
	bob->room = 1;
	fake_from(alice, MSG);
	fake_from(alice, MSG);
	fake_from(alice, MSG);
	CHECK_EQ(fake_rows(&f, "offline"), 3);
	CHECK_EQ(heard(), 0);
	if (presence)
		fake_from(bob, presence);
	else
		fake_login(&f, BOB, "two");
	CHECK_EQ(heard(), presence ? 2 : 1); /* while he is connected his client may have the first */
	end();
}

static void what_waits_when_the_session_leaves(void)
{
	what_waits(NULL);
}

static void what_waits_when_it_is_unavailable(void)
{
	what_waits("<presence xmlns='jabber:client' from='" BOB "/two' type='unavailable'/>");
}

static void what_waits_when_it_wants_none(void)
{
	what_waits("<presence xmlns='jabber:client' from='" BOB "/two'><priority>-1</priority></presence>");
}

static void nobody_is_told_of_what_is_delivered(void)
{
	begin();
	struct sent *s = slow_message();
	fake_delivered(&f, s);
	fake_logout(bob);
	CHECK_EQ(heard(), 0);
	end();
}

static size_t reads_in(uint64_t ms)
{
	size_t nr = shared_nr_started(STMT_PASSING_GET);
	fake_wait(&f, ms);
	return shared_nr_started(STMT_PASSING_GET) - nr;
}

/* Of each pair, only the first row that waits is read and tried. */
static void what_waits_behind_another_is_not_read(void)
{
	enum { ROWS = 20 };
	begin();
	fake_logout(bob);
	for (int i = 0; i < ROWS; i++)
		CHECK(store_passing_add(other, 1700000999, SLICE("alice@a.example"), SLICE(BOB), SLICE(MSG)));
	CHECK_EQ(store_commit(other), 0);
	store_close(other); /* it dies, and nobody knows yet who is whose */
	other = NULL;
	f.unknown = true;
	fake_wait(&f, 5000);
	CHECK_EQ(reads_in(0), 1);
	CHECK_EQ(reads_in(50), 1);
	CHECK_EQ(reads_in(50), 0); /* nothing moved: the pause grows */
	CHECK_EQ(reads_in(50), 1);
	CHECK_EQ(reads_in(199), 0);
	CHECK_EQ(reads_in(1), 1);
	CHECK_EQ(reads_in(400), 1);
	CHECK_EQ(reads_in(400), 1); /* but not for ever */
	CHECK_EQ(fake_rows(&f, "passing"), ROWS);
	f.unknown = false;
	CHECK_EQ(reads_in(400), ROWS);
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	CHECK_EQ(fake_rows(&f, "offline"), ROWS);
	end();
}

/* Alice comes from another instance, which has something of hers on its way. */
static void alice_is_behind(void)
{
	CHECK(store_passing_add(other, 1700000000 + (int64_t)(f.now_ms / 1000), SLICE("alice@a.example"), SLICE(BOB), SLICE(MSG)));
	CHECK_EQ(store_commit(other), 0);
	alice = fake_online(&f, "alice@a.example", "one", 0);
}

/* One sender fills what all share no further than his own bound; and it is his, not one of each session. */
static void one_sender_has_a_bound_behind_others(void)
{
	enum { ROWS = 5 };
	begin();
	f.limits.offline_max = ROWS;
	fake_crash(&f);
	bob = fake_online(&f, BOB, "two", 0);
	alice_is_behind();
	struct client *third = fake_online(&f, "carol@a.example", "x", 0), *second = fake_online(&f, "alice@a.example", "second", 0);
	for (int i = 0; i < ROWS; i++)
		CHECK(fake_acked(&f, fake_from(i % 2 ? alice : second, MSG)));
	CHECK_EQ(fake_rows(&f, "passing"), 1 + ROWS);
	CHECK_EQ(fake_unread(&f, alice) + fake_unread(&f, second), 0);
	uint64_t t = fake_from(second, MSG);
	CHECK(fake_got(&f, second, "type='error'", "<error type='wait'", "resource-constraint", NULL));
	fake_deliver_all(&f);
	CHECK(fake_acked(&f, t));
	CHECK_EQ(fake_rows(&f, "passing"), 1 + ROWS);
	fake_from(third, "<message xmlns='jabber:client' from='carol@a.example/x' to='" BOB "'><body>of another</body></message>");
	CHECK(fake_got(&f, bob, "of another", NULL));
	fake_deliver_all(&f);
	/* What was in the way has gone: hers follow, and there is room. */
	store_passing_del(other, 1);
	CHECK_EQ(store_commit(other), 0);
	fake_wait(&f, 400);
	for (int i = 0; i < ROWS; i++)
		CHECK(fake_got(&f, bob, "<body>hi</body>", NULL));
	CHECK(!fake_next(&f, bob));
	CHECK_EQ(fake_rows(&f, "passing"), 0);
	fake_deliver_all(&f);
	fake_from(alice, MSG);
	CHECK(fake_got(&f, bob, "<body>hi</body>", NULL));
	end();
}

/* The same in bytes, and for what an instance that died had left of the sender's. */
static void the_bound_counts_bytes_and_what_was_left(void)
{
	begin();
	f.limits.offline_bytes_max = 4 * strlen(MSG);
	fake_crash(&f);
	bob = fake_online(&f, BOB, "two", 0);
	alice_is_behind();
	CHECK(store_passing_add(other, 1700000000 + (int64_t)(f.now_ms / 1000), SLICE("alice@a.example"), SLICE(BOB), SLICE(MSG)));
	CHECK_EQ(store_commit(other), 0);
	store_close(other); /* two rows are ours now */
	other = NULL;
	f.unknown = true;
	fake_logout(bob);
	fake_wait(&f, 5000);
	CHECK_EQ(fake_rows(&f, "passing"), 2);
	fake_from(alice, MSG); /* with a stanza id it is more than a fourth */
	CHECK_EQ(fake_rows(&f, "passing"), 3);
	CHECK_EQ(fake_unread(&f, alice), 0);
	fake_from(alice, MSG);
	CHECK(fake_got(&f, alice, "type='error'", "resource-constraint", NULL));
	CHECK_EQ(fake_rows(&f, "passing"), 3);
	end();
}

/* A roster costs as many statements with many contacts as with few. */
static void a_roster_is_read_at_once(void)
{
	enum { NR = 30 };
	begin();
	for (int i = 0; i < NR; i++) {
		char xml[256];
		snprintf(xml, sizeof xml,
			 "<iq xmlns='jabber:client' from='" BOB "/two' type='set' id='r'><query xmlns='jabber:iq:roster'><item "
			 "jid='c%d@a.example'><group>g%d</group></item></query></iq>", i, i);
		fake_from(bob, xml);
	}
	fake_deliver_all(&f);
	fake_read_all(&f);
	size_t nr = shared_nr_started(STMT_GROUP_ALL) + shared_nr_started(STMT_GROUP_EACH);
	fake_from(bob, "<iq xmlns='jabber:client' from='" BOB "/two' type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
	CHECK(fake_got(&f, bob, "c0@a.example", "<group>g0</group>", "c29@a.example", "<group>g29</group>", NULL));
	CHECK_EQ(shared_nr_started(STMT_GROUP_ALL) + shared_nr_started(STMT_GROUP_EACH), nr + 1);
	end();
}

/* Storage is measured once in a while, not for each message; but nothing is refused while there is room. */
static void storage_is_measured_once(void)
{
	enum { NR = 10 };
	begin();
	f.limits.offline_max = NR;
	fake_crash(&f);
	alice = fake_online(&f, "alice@a.example", "one", 0);
	size_t nr = shared_nr_started(STMT_OFFLINE_SIZE);
	for (int i = 0; i < NR; i++)
		fake_from(alice, MSG);
	CHECK_EQ(fake_rows(&f, "offline"), NR);
	CHECK_EQ(fake_unread(&f, alice), 0);
	for (int i = 0; i < NR; i++)
		fake_from(alice, MSG);
	CHECK_EQ(fake_unread(&f, alice), NR); /* errors */
	CHECK_EQ(shared_nr_started(STMT_OFFLINE_SIZE), nr + 1);
	fake_read_all(&f);
	bob = fake_login(&f, BOB, "two");
	fake_from(bob, "<presence xmlns='jabber:client' from='" BOB "/two'/>");
	fake_deliver_all(&f);
	CHECK_EQ(fake_rows(&f, "offline"), 0);
	fake_logout(bob);
	fake_from(alice, MSG);
	CHECK_EQ(fake_unread(&f, alice), 0);
	CHECK_EQ(fake_rows(&f, "offline"), 1);
	for (int i = 1; i < NR; i++)
		fake_from(alice, MSG);
	CHECK_EQ(shared_nr_started(STMT_OFFLINE_SIZE), nr + 2);
	/* What another instance stored counts when the next measure is taken. */
	CHECK(store_offline_add(other, store_user_find(other, SLICE(BOB)), 1700000999, SLICE(MSG)));
	CHECK_EQ(store_commit(other), 0);
	fake_wait(&f, 1000);
	fake_from(alice, MSG);
	CHECK(fake_got(&f, alice, "type='error'", "service-unavailable", NULL));
	CHECK_EQ(shared_nr_started(STMT_OFFLINE_SIZE), nr + 3);
	end();
}

static size_t starts_in_message(enum db_stmt id)
{
	size_t nr = shared_nr_started(id);
	fake_from(alice, MSG);
	return shared_nr_started(id) - nr;
}

/* What waits here is known without a question to the database. */
static void being_behind_what_waits_here_costs_no_query(void)
{
	begin();
	fake_crash(&f);
	bob = fake_online(&f, BOB, "two", 0);
	alice_is_behind();
	CHECK_EQ(starts_in_message(STMT_PASSING_OTHERS), 1);
	CHECK_EQ(starts_in_message(STMT_PASSING_OTHERS), 0);
	CHECK_EQ(fake_rows(&f, "passing"), 3);
	end();
}

int main(void)
{
	RUN(when_the_session_leaves);
	RUN(when_it_comes_back);
	RUN(not_while_a_client_may_have_it);
	RUN(once_for_all_of_a_user);
	RUN(what_waits_when_the_session_leaves);
	RUN(what_waits_when_it_is_unavailable);
	RUN(what_waits_when_it_wants_none);
	RUN(nobody_is_told_of_what_is_delivered);
	RUN(what_waits_behind_another_is_not_read);
	RUN(one_sender_has_a_bound_behind_others);
	RUN(the_bound_counts_bytes_and_what_was_left);
	RUN(being_behind_what_waits_here_costs_no_query);
	RUN(storage_is_measured_once);
	RUN(a_roster_is_read_at_once);
	return check_done("im.telling");
}
