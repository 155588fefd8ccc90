/* Databases that older versions have filled: written as those wrote them, opened by this one, which finds everything, and has afterwards
 * the same tables as in a new one. On PostgreSQL with AMBROSIA_TEST_DATABASE. Never change the old SQL: it is what is out there. */
#include "services/im/store.h"
#include "tests/unit/check.h"
#include "tests/unit/im/database.h"

#include <stdlib.h>

#define MARK(version) "PRAGMA application_id = 1095582290; PRAGMA user_version = " #version ";"

static const char sqlite_1[] =
	"CREATE TABLE users (id INTEGER PRIMARY KEY, jid TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);"
	"CREATE TABLE contacts (user INTEGER NOT NULL, jid TEXT NOT NULL, name TEXT, state INTEGER NOT NULL, listed INTEGER NOT NULL,"
	" request TEXT, PRIMARY KEY (user, jid)) WITHOUT ROWID;"
	"CREATE TABLE contact_groups (user INTEGER NOT NULL, jid TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (user, jid, name)) WITHOUT "
	"ROWID;"
	"CREATE TABLE offline (id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL, at INTEGER NOT NULL, xml BLOB NOT NULL);"
	"CREATE INDEX offline_user ON offline (user, id);"
	"CREATE TABLE passing (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, xml BLOB NOT NULL);" MARK(1);

static const char sqlite_2[] =
    "CREATE TABLE users (id INTEGER PRIMARY KEY, jid TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);"
    "CREATE TABLE contacts (owner INTEGER NOT NULL, jid TEXT NOT NULL, name TEXT, state INTEGER NOT NULL, listed INTEGER NOT NULL,"
    " request TEXT, PRIMARY KEY (owner, jid)) WITHOUT ROWID;"
    "CREATE TABLE contact_groups (owner INTEGER NOT NULL, jid TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (owner, jid, name)) "
    "WITHOUT ROWID;"
    "CREATE TABLE offline (id INTEGER PRIMARY KEY AUTOINCREMENT, owner INTEGER NOT NULL, at INTEGER NOT NULL, xml BLOB NOT NULL);"
    "CREATE INDEX offline_user ON offline (owner, id);"
    "CREATE TABLE passing (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, xml BLOB NOT NULL, owner INTEGER NOT NULL DEFAULT "
    "0);" MARK(2);

#define POSTGRES_1 \
	"CREATE TABLE ambrosia_im (version int NOT NULL);" \
	"CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, jid text NOT NULL UNIQUE, created bigint NOT NULL);" \
	"CREATE TABLE contacts (owner bigint NOT NULL, jid text NOT NULL, name text, state bigint NOT NULL, listed bigint NOT NULL," \
	" request text, PRIMARY KEY (owner, jid));" \
	"CREATE TABLE contact_groups (owner bigint NOT NULL, jid text NOT NULL, name text NOT NULL, PRIMARY KEY (owner, jid, name));" \
	"CREATE TABLE offline (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner bigint NOT NULL, at bigint NOT NULL, xml bytea " \
	"NOT NULL);" \
	"CREATE INDEX offline_owner ON offline (owner, id);" \
	"CREATE TABLE passing (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner bigint NOT NULL, at bigint NOT NULL, xml bytea " \
	"NOT NULL);" \
	"CREATE INDEX passing_owner ON passing (owner, id);" \
	"CREATE TABLE instances (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"

static const char postgres_1[] = POSTGRES_1 "INSERT INTO ambrosia_im VALUES (1);";
static const char postgres_2[] = POSTGRES_1 "ALTER TABLE passing ADD COLUMN sender text; ALTER TABLE passing ADD COLUMN recipient text;"
					    "CREATE INDEX passing_sender ON passing (sender, recipient, id);"
					    "INSERT INTO ambrosia_im VALUES (2);";

/* Two rows of `offline` and `passing` each were there and are gone: their numbers are not used again. */
static const char rows[] =
	"INSERT INTO users (jid, created) VALUES ('alice@a.example', 1600000000), ('bob@b.example', 1600000001);"
	"INSERT INTO contacts VALUES (1, 'bob@b.example', 'B''ob', 3, 1, NULL);"
	"INSERT INTO contacts VALUES (2, 'alice@a.example', NULL, 8, 0, '<presence/>');"
	"INSERT INTO contact_groups VALUES (1, 'bob@b.example', 'Friends'), (1, 'bob@b.example', 'Work');";
static const char offline_sqlite[] =
	"INSERT INTO offline VALUES (1, 2, 1600000002, X'3c612f3e'), (2, 2, 1600000003, X'3c62622f3e'), (4, 2, 0, X'3c632f3e');"
	"DELETE FROM offline WHERE id = 4;";
static const char passing_sqlite_1[] = "INSERT INTO passing VALUES (1, 1600000004, X'3c702f3e'), (4, 0, X'3c712f3e');"
				       "DELETE FROM passing WHERE id = 4;";
static const char passing_sqlite_2[] = "INSERT INTO passing VALUES (1, 1600000004, X'3c702f3e', 0), (4, 0, X'3c712f3e', 0);"
				       "DELETE FROM passing WHERE id = 4;";
static const char offline_postgres[] =
	"INSERT INTO offline (owner, at, xml) VALUES (2, 1600000002, '<a/>'), (2, 1600000003, '<bb/>'), (2, 0, '<c/>'), (2, 0, '<c/>');"
	"DELETE FROM offline WHERE id > 2; INSERT INTO instances DEFAULT VALUES;";
static const char passing_postgres_1[] =
	"INSERT INTO passing (owner, at, xml) VALUES (1, 1600000004, '<p/>'), (1, 0, '<q/>'), (1, 0, '<q/>'), (1, 0, '<q/>');"
	"DELETE FROM passing WHERE id > 1;";
static const char passing_postgres_2[] =
	"INSERT INTO passing (owner, at, xml, sender, recipient) VALUES (1, 1600000004, '<p/>', 'alice@a.example', 'bob@b.example'),"
	" (1, 0, '<q/>', 'x', 'y'), (1, 0, '<q/>', 'x', 'y'), (1, 0, '<q/>', 'x', 'y'); DELETE FROM passing WHERE id > 1;";

static struct store *open_store(void)
{
	char why[256] = "";
	struct store *s = store_open(database, why, sizeof why);
	CHECK_STR(why, "");
	ASSERT(s);
	return s;
}

/* Tables with their columns, indexes with what is in them. */
static char *tables(void)
{
	return database_rows(
	    database_is_postgres()
		? "SELECT * FROM (SELECT table_name::text, column_name::text, ordinal_position::text, data_type::text, is_nullable::text,"
		  " is_identity::text FROM information_schema.columns WHERE table_schema = current_schema()"
		  " UNION ALL SELECT tablename::text, indexname::text, '', regexp_replace(indexdef, ' ON [^ .]+[.]', ' ON '), '', ''"
		  " FROM pg_indexes WHERE schemaname = current_schema()) AS all_of_them ORDER BY 1, 2, 3"
		: "SELECT m.name, c.cid, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk FROM sqlite_master m, pragma_table_info(m.name)"
		  " c WHERE m.type = 'table' UNION ALL SELECT m.name, i.seqno, i.name, m.tbl_name, i.\"desc\", i.coll, i.key FROM "
		  "sqlite_master m, pragma_index_xinfo(m.name) i WHERE m.type = 'index' ORDER BY 1, 2");
}

static char *tables_of_a_new_one(void)
{
	database_make();
	store_close(open_store());
	char *all = tables();
	CHECK(strstr(all, "users") && strstr(all, "passing_sender") && strstr(all, "offline"));
	database_drop();
	return all;
}

struct left {
	size_t nr;
	struct store_passing p;
	char ends[64];
};

static void note(void *arg, const struct store_passing *p)
{
	struct left *l = arg;
	l->nr++;
	l->p = *p;
	snprintf(l->ends, sizeof l->ends, "%.*s %.*s", (int)p->sender.n, p->sender.p, (int)p->recipient.n, p->recipient.p);
}

static void check_roster(struct store *s)
{
	struct contact c;
	CHECK_EQ(store_user_find(s, SLICE("alice@a.example")), 1);
	CHECK_EQ(store_user_find(s, SLICE("bob@b.example")), 2);
	CHECK(store_contact_get(s, 1, SLICE("bob@b.example"), &c));
	CHECK_STR(c.name, "B'ob");
	CHECK(c.state == (SUB_TO | SUB_FROM) && c.listed && !c.request && c.nr_groups == 2);
	contact_clear(&c);
	CHECK(store_contact_get(s, 2, SLICE("alice@a.example"), &c));
	CHECK_STR(c.request, "<presence/>");
	CHECK(c.state == SUB_PENDING_IN && !c.listed && !c.name && c.nr_groups == 0);
	store_contact_put(s, 2, &c); /* the keys are what a statement of today expects */
	contact_clear(&c);
	CHECK_EQ(store_contact_count(s, 1), 1);
}

static void check_offline(struct store *s, int64_t next)
{
	struct buf xml;
	size_t nr, bytes;
	buf_init(&xml, 100);
	store_offline_size(s, 2, &nr, &bytes);
	CHECK(nr == 2 && bytes == 9);
	CHECK(store_offline_next(s, 2, 0, &xml) == 1 && slice_is(buf_slice(&xml), "<a/>"));
	CHECK(store_offline_next(s, 2, 1, &xml) == 2 && slice_is(buf_slice(&xml), "<bb/>"));
	CHECK_EQ(store_offline_next(s, 2, 2, &xml), 0);
	int64_t row = store_offline_add(s, 2, 1, SLICE("<d/>"));
	CHECK_EQ(row, next);
	store_offline_del(s, row);
	buf_clear(&xml);
}

/* The instance that left it is dead; where none share a database, it is ours at once. */
static void check_passing(struct store *s, const char *ends, int64_t next)
{
	struct left l = {0};
	struct buf xml;
	int64_t at = 0;
	buf_init(&xml, 100);
	if (store_shared(s))
		store_passing_adopt(s, note, &l);
	else
		store_passing_all(s, note, &l);
	CHECK(l.nr == 1 && l.p.row == 1 && l.p.at == 1600000004 && l.p.bytes == 4);
	CHECK_STR(l.ends, ends);
	CHECK(store_passing_get(s, 1, &xml, &at) && slice_is(buf_slice(&xml), "<p/>") && at == 1600000004);
	l.nr = 0;
	store_passing_all(s, note, &l);
	CHECK_EQ(l.nr, 1);
	int64_t row = store_passing_add(s, 1, SLICE("a@x"), SLICE("b@x"), SLICE("<d/>"));
	CHECK_EQ(row, next);
	store_passing_del(s, row);
	buf_clear(&xml);
}

static void check_all(const char *ends, int64_t next)
{
	struct store *s = open_store();
	check_roster(s);
	check_offline(s, next);
	CHECK_EQ(store_commit(s), 0);
	check_passing(s, ends, next);
	CHECK_EQ(store_commit(s), 0);
	store_close(s);
}

static void filled(const char *schema, const char *passing, const char *ends)
{
	char *now, *fresh = tables_of_a_new_one();
	database_make();
	database_sql(schema);
	database_sql(rows);
	database_sql(database_is_postgres() ? offline_postgres : offline_sqlite);
	database_sql(passing);
	check_all(ends, 5);
	now = tables();
	CHECK_STR(now, fresh);
	check_all(ends, 6); /* once more, as a start like any other */
	database_drop();
	free(now);
	free(fresh);
}

static void from_version_1(void)
{
	if (database_is_postgres())
		filled(postgres_1, passing_postgres_1, " ");
	else
		filled(sqlite_1, passing_sqlite_1, " ");
}

static void from_version_2(void)
{
	if (database_is_postgres())
		filled(postgres_2, passing_postgres_2, "alice@a.example bob@b.example");
	else
		filled(sqlite_2, passing_sqlite_2, " ");
}

int main(void)
{
	RUN(from_version_1);
	RUN(from_version_2);
	return check_done(database_is_postgres() ? "im.schema (PostgreSQL)" : "im.schema");
}
