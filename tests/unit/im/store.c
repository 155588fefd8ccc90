/* The store alone: what lasts, what goes with an open transaction, whose file it is. With AMBROSIA_TEST_DATABASE, a connection string, what
 * holds for both databases is tried on PostgreSQL, in a schema of its own for each test; then instances that share one. */
#include "services/im/store.h"
#include "tests/unit/check.h"
#include "tests/unit/im/database.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char why[256];

struct rows {
	int64_t v[4];
	size_t nr, bytes;
	int64_t at;            /* of the last one, as its ends are */
	char ends[4200];
};

static void note(void *arg, const struct store_passing *p)
{
	struct rows *r = arg;
	ASSERT(r->nr < ARRAY_LEN(r->v));
	r->bytes += p->bytes;
	r->at = p->at;
	snprintf(r->ends, sizeof r->ends, "%.*s %.*s", (int)p->sender.n, p->sender.p, (int)p->recipient.n, p->recipient.p);
	r->v[r->nr++] = p->row;
}

static void end(struct store *s)
{
	store_close(s);
	database_drop();
}

static struct store *again(struct store *s)
{
	store_close(s);
	s = store_open(database, why, sizeof why);
	if (!s)
		fprintf(stderr, "%s\n", why);
	ASSERT(s);
	return s;
}

static void users(void)
{
	database_make();
	struct store *s = again(NULL);
	CHECK_EQ(store_user_find(s, SLICE("a@x")), 0);
	CHECK(!store_dirty(s));
	int64_t a = store_user_add(s, SLICE("a@x"), 5), b = store_user_add(s, SLICE("b@x"), 5);
	CHECK(store_dirty(s) && a && b && a != b);
	CHECK_EQ(store_user_add(s, SLICE("a@x"), 6), a);
	CHECK_EQ(store_commit(s), 0);
	CHECK(!store_dirty(s));
	store_user_add(s, SLICE("c@x"), 5); /* not committed */
	s = again(s);
	CHECK_EQ(store_user_find(s, SLICE("a@x")), a);
	CHECK_EQ(store_user_find(s, SLICE("c@x")), 0);
	end(s);
}

static void contacts(void)
{
	database_make();
	struct store *s = again(NULL);
	int64_t u = store_user_add(s, SLICE("a@x"), 5);
	struct contact c = {.jid = mem_strdup("b@x"),
			    .name = mem_strdup("B'); DROP TABLE users; --"),
			    .state = SUB_FROM | SUB_PENDING_OUT,
			    .listed = true};
	c.groups = mem_alloc(2 * sizeof *c.groups);
	c.groups[0] = mem_strdup("one");
	c.groups[1] = mem_strdup("two");
	c.nr_groups = 2;
	store_contact_put(s, u, &c);
	contact_clear(&c);
	c = (struct contact){.jid = mem_strdup("c@x"), .state = SUB_TO, .request = mem_strdup("<x/>"), .request_n = 4};
	store_contact_put(s, u, &c);
	contact_clear(&c);
	CHECK_EQ(store_commit(s), 0);
	s = again(s);
	CHECK(store_contact_get(s, u, SLICE("b@x"), &c));
	CHECK_STR(c.name, "B'); DROP TABLE users; --");
	CHECK_EQ(c.state, SUB_FROM | SUB_PENDING_OUT);
	CHECK(c.listed && c.nr_groups == 2 && !c.request);
	free(c.groups[--c.nr_groups]);
	store_contact_put(s, u, &c); /* replaces the groups */
	contact_clear(&c);
	CHECK(!store_contact_get(s, u + 1, SLICE("b@x"), &c));
	struct contact_list l;
	store_contacts(s, u, 0, &l);
	CHECK_EQ(l.nr, 2);
	for (size_t i = 0; i < l.nr; i++) {
		CHECK_EQ(l.v[i].nr_groups, strcmp(l.v[i].jid, "b@x") == 0 ? 1 : 0);
		CHECK(l.v[i].nr_groups == 0 || strcmp(l.v[i].groups[0], "one") == 0 || strcmp(l.v[i].groups[0], "two") == 0);
	}
	contact_list_clear(&l);
	store_contacts(s, u, SUB_TO, &l);
	CHECK_EQ(l.nr, 1);
	CHECK_STR(l.v[0].jid, "c@x");
	CHECK_STR(l.v[0].request, "<x/>");
	contact_list_clear(&l);
	CHECK_EQ(store_contact_count(s, u), 2);
	CHECK_EQ(store_contact_state(s, u, SLICE("c@x")), SUB_TO);
	CHECK_EQ(store_contact_state(s, u, SLICE("d@x")), 0);
	CHECK_EQ(store_contact_state(s, u + 1, SLICE("c@x")), 0);
	store_contact_del(s, u, SLICE("b@x"));
	CHECK_EQ(store_contact_count(s, u), 1);
	CHECK(!store_contact_get(s, u, SLICE("b@x"), &c));
	end(s);
}

static void queues(void)
{
	database_make();
	struct store *s = again(NULL);
	struct buf xml;
	size_t nr, bytes;
	buf_init(&xml, 100);
	int64_t one = store_offline_add(s, 7, 1, SLICE("<a/>")), two = store_offline_add(s, 7, 1, SLICE("<bb/>"));
	store_offline_add(s, 8, 1, SLICE("<c/>"));
	CHECK_EQ(store_offline_next(s, 7, 0, &xml), one);
	CHECK(slice_is(buf_slice(&xml), "<a/>"));
	CHECK_EQ(store_offline_next(s, 7, one, &xml), two);
	CHECK_EQ(store_offline_next(s, 7, two, &xml), 0);
	store_offline_size(s, 7, &nr, &bytes);
	CHECK_EQ(nr, 2);
	CHECK_EQ(bytes, 9);
	store_offline_del(s, two);
	CHECK(store_offline_add(s, 7, 1, SLICE("<d/>")) > two); /* numbers are not used again: they tell the order */
	int64_t p = store_passing_add(s, 5, SLICE("a@x"), SLICE("b@x"), SLICE("<p/>")), at;
	CHECK(store_passing_get(s, p, &xml, &at) && slice_is(buf_slice(&xml), "<p/>"));
	CHECK_EQ(at, 5);
	struct rows r = {0};
	store_passing_all(s, note, &r);
	CHECK(r.nr == 1 && r.v[0] == p);
	CHECK_EQ(r.bytes, 4);
	CHECK_EQ(r.at, 5);
	CHECK_STR(r.ends, "a@x b@x");
	CHECK(!store_passing_others(s, SLICE("a@x"), SLICE("b@x"), p + 1, 5)); /* it is ours */
	store_passing_del(s, p);
	CHECK(!store_passing_get(s, p, &xml, &at));
	CHECK_EQ(store_commit(s), 0);
	buf_clear(&xml);
	end(s);
}

/* Letters that do not repeat: PostgreSQL compresses what does. */
static char *long_text(size_t n)
{
	static uint32_t state = 1;
	char *text = mem_alloc(n + 1);
	for (size_t i = 0; i < n; i++) {
		state = state * 1664525 + 1013904223;
		text[i] = (char)('a' + (state >> 24) % 26);
	}
	text[n] = '\0';
	return text;
}

/* Another instance finds the row by its ends, all of them. */
static void seen_by_another(char *sender, char *recipient, int64_t row)
{
	struct store *s = store_open(database, why, sizeof why);
	ASSERT(s);
	CHECK(store_passing_others(s, slice_str(sender), slice_str(recipient), row + 1, 5));
	CHECK(store_passing_others(s, slice_str(sender), SLICE(""), row + 1, 5));
	recipient[2046] ^= 1;
	CHECK(!store_passing_others(s, slice_str(sender), slice_str(recipient), row + 1, 5));
	sender[2046] ^= 1;
	CHECK(!store_passing_others(s, slice_str(sender), SLICE(""), row + 1, 5));
	store_close(s);
}

/* The longest addresses that there are fit into every index, and are told apart by their last byte. */
static void long_addresses(void)
{
	database_make();
	struct store *s = again(NULL);
	char *sender = long_text(2047), *recipient = long_text(2047);
	sender[1023] = recipient[1023] = '@';
	int64_t u = store_user_add(s, slice_str(sender), 5);
	CHECK(u && store_user_find(s, slice_str(sender)) == u);
	int64_t row = store_passing_add(s, 5, slice_str(sender), slice_str(recipient), SLICE("<p/>"));
	CHECK(row > 0);
	CHECK_EQ(store_commit(s), 0);
	if (database_is_postgres())
		seen_by_another(sender, recipient, row);
	struct contact c = {.jid = sender, .listed = true, .groups = mem_alloc(sizeof *c.groups), .nr_groups = 1};
	c.groups[0] = long_text(2500 - 2047); /* what roster.c lets through */
	store_contact_put(s, u, &c);
	CHECK_EQ(store_commit(s), 0);
	CHECK_STR(store_why(s), "");
	contact_clear(&c);
	free(recipient);
	end(s);
}

static void whose_file(void)
{
	database_make();
	struct store *s = again(NULL);
	CHECK(!store_open(database, why, sizeof why));
	CHECK(strstr(why, "another process"));
	store_close(s);
	database_sql("PRAGMA user_version = 99");
	CHECK(!store_open(database, why, sizeof why));
	CHECK(strstr(why, "newer"));
	database_sql("PRAGMA user_version = 1; PRAGMA application_id = 1");
	CHECK(!store_open(database, why, sizeof why));
	CHECK(strstr(why, "another program"));
	end(NULL);
	CHECK(!store_open("/nonexistent/im.sqlite", why, sizeof why));
	CHECK(strstr(why, "lock file"));
}

static void not_a_database(void)
{
	database_make();
	FILE *file = fopen(database, "w");
	fprintf(file, "this is not what it should be, but it is longer than a header of a database would have to be, which is one hundred "
		      "bytes\n");
	fclose(file);
	CHECK(!store_open(database, why, sizeof why));
	CHECK(strstr(why, "not a database"));
	end(NULL);
}

/* What one stored for a user of another's, that one hears of when it is committed; and not of what it said itself. */
static void told(void)
{
	database_make();
	struct store *a = again(NULL), *b = store_open(database, why, sizeof why);
	struct buf bare;
	int64_t row = 0;

	ASSERT(b);
	buf_init(&bare, 100);
	store_tell(a, SLICE("u@x"), 9);
	store_tell(a, SLICE("u@x"), 7); /* from there on */
	store_tell(a, SLICE("u@x"), 8);
	CHECK(!store_told(b, &bare, &row));
	CHECK_EQ(store_commit(a), 0);
	bool heard = false;
	for (int i = 0; i < 1000 && !(heard = store_told(b, &bare, &row)); i++)
		usleep(10000);
	CHECK(heard && slice_is(buf_slice(&bare), "u@x"));
	CHECK_EQ(row, 7);
	CHECK(!store_told(b, &bare, &row));
	CHECK(!store_told(a, &bare, &row));
	buf_clear(&bare);
	store_close(a);
	end(b);
}

/* Two instances on one database: each has its own passing stanzas, and the one that lives takes over what the other left. */
static void instances(void)
{
	database_make();
	struct store *a = again(NULL), *b = store_open(database, why, sizeof why);
	struct buf xml;

	ASSERT(b);
	buf_init(&xml, 100);
	int64_t u = store_user_add(a, SLICE("u@x"), 1);
	CHECK_EQ(store_commit(a), 0);
	CHECK_EQ(store_user_add(b, SLICE("u@x"), 2), u);
	int64_t one = store_passing_add(a, 5, SLICE("u@x"), SLICE("v@x"), SLICE("<a1/>")), at,
		two = store_passing_add(a, 1, SLICE("u@x"), SLICE("v@x"), SLICE("<a2/>"));
	CHECK_EQ(store_commit(a), 0);
	int64_t own = store_passing_add(b, 1, SLICE("u@x"), SLICE("v@x"), SLICE("<b/>"));
	CHECK_EQ(store_commit(b), 0);
	CHECK(one < two && two < own);
	CHECK(store_passing_others(b, SLICE("u@x"), SLICE("v@x"), own, 5) && store_passing_others(b, SLICE("u@x"), SLICE(""), two, 5));
	CHECK(!store_passing_others(b, SLICE("u@x"), SLICE("v@x"), one, 0) && !store_passing_others(b, SLICE("u@x"), SLICE("v@x"), own, 6));
	struct rows r = {0};
	store_passing_adopt(b, note, &r); /* a is alive */
	CHECK_EQ(r.nr, 0);
	store_close(a);
	for (int i = 0; i < 1000 && r.nr == 0; i++) { /* the server sees a's end in its own time */
		store_passing_adopt(b, note, &r);
		usleep(10000);
	}
	CHECK(r.nr == 2 && r.v[0] + r.v[1] == one + two);
	CHECK_EQ(r.bytes, 10);
	CHECK_STR(r.ends, "u@x v@x");
	store_passing_adopt(b, note, &r);
	CHECK_EQ(r.nr, 2);
	CHECK(store_passing_get(b, one, &xml, &at) && slice_is(buf_slice(&xml), "<a1/>"));
	CHECK_EQ(at, 5);
	r = (struct rows){0};
	store_passing_all(b, note, &r);
	CHECK(r.nr == 3 && r.v[0] == one && r.v[1] == two && r.v[2] == own);
	a = store_open(database, why, sizeof why); /* another life: nothing of the first is its own */
	ASSERT(a);
	r = (struct rows){0};
	store_passing_all(a, note, &r);
	CHECK_EQ(r.nr, 0);
	buf_clear(&xml);
	store_close(a);
	end(b);
}

/* Nothing of a turn in which the disk is full is there afterwards, and it is known before anything is acknowledged. */
static void no_room_on_the_disk(void)
{
	struct rlimit all, few;
	database_make();
	struct store *s = again(NULL);
	struct buf xml;
	size_t nr, bytes;
	buf_init(&xml, 4u << 20);
	int err = 0;
	for (int i = 0; i < 1 << 18 && err == 0; i++)
		err = buf_add_str(&xml, "<a/>");
	CHECK_EQ(err, 0);
	CHECK(store_offline_add(s, 7, 1, SLICE("<before/>")));
	CHECK_EQ(store_commit(s), 0);
	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &all), 0);
	few = (struct rlimit){.rlim_cur = 1u << 19, .rlim_max = all.rlim_max};
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &few), 0);
	(void)store_offline_add(s, 7, 1, buf_slice(&xml));
	CHECK(store_commit(s) < 0);
	CHECK(store_why(s)[0] != '\0');
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &all), 0);
	CHECK_EQ(store_offline_add(s, 7, 1, SLICE("<after/>")), 0); /* for good */
	CHECK(store_dirty(s) && store_commit(s) < 0);
	s = again(s);
	store_offline_size(s, 7, &nr, &bytes);
	CHECK(nr == 1 && bytes == 9);
	buf_clear(&xml);
	end(s);
}

/* Of everybody. */
static void cut_connections(void)
{
	database_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> "
		     "pg_backend_pid()");
}

/* A server that goes in the middle of a turn, and between two. */
static void a_connection_that_is_lost(void)
{
	struct buf bare;
	int64_t row;
	database_make();
	struct store *s = again(NULL);
	CHECK(store_user_add(s, SLICE("a@x"), 5));
	cut_connections();
	(void)store_offline_add(s, 7, 1, SLICE("<a/>"));
	store_tell(s, SLICE("a@x"), 1);
	CHECK(store_commit(s) < 0);
	CHECK(store_why(s)[0] != '\0');
	CHECK_EQ(store_user_find(s, SLICE("a@x")), 0);
	CHECK_EQ(store_user_add(s, SLICE("a@x"), 5), 0);
	CHECK(store_dirty(s) && store_commit(s) < 0);
	s = again(s);
	CHECK_EQ(store_user_find(s, SLICE("a@x")), 0); /* nothing of that turn */
	CHECK(!store_dirty(s));
	buf_init(&bare, 100);
	cut_connections();
	for (int i = 0; i < 1000 && !store_dirty(s); i++) {
		CHECK(!store_told(s, &bare, &row)); /* a turn begins */
		usleep(10000);
	}
	CHECK(store_dirty(s) && store_commit(s) < 0);
	buf_clear(&bare);
	end(s);
}

static void no_server(void)
{
	CHECK(!store_open("host=/nonexistent dbname=x", why, sizeof why));
	CHECK(why[0] && !strchr(why, '\n'));
}

int main(void)
{
	RUN(users);
	RUN(contacts);
	RUN(queues);
	RUN(long_addresses);
	RUN(no_server);
	if (database_is_postgres()) {
		RUN(instances);
		RUN(told);
		RUN(a_connection_that_is_lost);
		return check_done("im.store (PostgreSQL)");
	}
	RUN(whose_file);
	RUN(not_a_database);
	RUN(no_room_on_the_disk);
	return check_done("im.store");
}
