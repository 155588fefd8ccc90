/*
 * PostgreSQL, shared by the instances of a domain. Each holds an advisory lock on its owner number for as long as its connection lives, so
 * that the others see when it is dead and take its rows over. Calls wait for the server: a turn of the service is a handful of statements.
 * A connection that breaks is a failure like any other: the process ends, nothing was acknowledged that is not committed, the next start
 * goes on.
 */
#include "services/im/db.h"

#include <libpq-fe.h>

#define SCHEMA_VERSION 3
#define LOCK_SCHEMA "1095582290, 0"  /* advisory ("AMBR"): one instance makes the schema */
#define CHANNEL "ambrosia_im"        /* where instances tell each other */
#define LOCK_INSTANCE "1095582291"   /* with the owner number: held while that instance lives */

enum { OID_INT8 = 20, OID_TEXT = 25, OID_BYTEA = 17 }; /* pg_type.h; fixed for ever */

/* Step n brings a database of version n to n + 1. Never change one that was released: add another. */
static const char *const schema[SCHEMA_VERSION] = {
	"CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, jid text NOT NULL UNIQUE, created bigint NOT NULL);"
	"CREATE TABLE contacts (owner bigint NOT NULL, jid text NOT NULL, name text, state bigint NOT NULL, listed bigint NOT NULL,"
	" request text, PRIMARY KEY (owner, jid));"
	"CREATE TABLE contact_groups (owner bigint NOT NULL, jid text NOT NULL, name text NOT NULL, PRIMARY KEY (owner, jid, name));"
	"CREATE TABLE offline (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner bigint NOT NULL, at bigint NOT NULL, xml bytea "
	"NOT NULL);"
	"CREATE INDEX offline_owner ON offline (owner, id);"
	"CREATE TABLE passing (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner bigint NOT NULL, at bigint NOT NULL, xml bytea "
	"NOT NULL);"
	"CREATE INDEX passing_owner ON passing (owner, id);"
	"CREATE TABLE instances (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);",
	"ALTER TABLE passing ADD COLUMN sender text; ALTER TABLE passing ADD COLUMN recipient text;"
	"CREATE INDEX passing_sender ON passing (sender, recipient, id);",
	/* an entry of an index has 2704 bytes at most, and a character has four: two addresses would not fit */
	"DROP INDEX passing_sender;"
	"CREATE INDEX passing_sender ON passing (substr(sender, 1, 250), substr(recipient, 1, 250), id);",
};

struct pg {
	struct db db; /* first */
	PGconn *conn;
	struct {
		PGresult *rows;
		int at; /* the present row; -1 before the first */
	} stmts[DB_STMT_MAX_];
	int64_t owner;
};

static struct pg *pg_of(const struct db *d)
{
	return container_of((struct db *)d, struct pg, db);
}

/* libpq's words are lines; the first says it. */
static bool fail(struct pg *g)
{
	char line[200];

	snprintf(line, sizeof line, "%.*s", (int)strcspn(PQerrorMessage(g->conn), "\n"), PQerrorMessage(g->conn));
	return db_fail(&g->db, line[0] != '\0' ? line : "PostgreSQL: out of memory");
}

static bool check(struct pg *g, PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || fail(g);
}

static bool run(struct db *d, const char *sql)
{
	PGresult *r = PQexec(pg_of(d)->conn, sql);
	bool ok = check(pg_of(d), r);

	PQclear(r);
	return ok;
}

/* The number that a query without parameters gives, as text, in its first column; `none` without a row. */
static int64_t number(struct pg *g, const char *sql, int64_t none)
{
	PGresult *r = PQexec(g->conn, sql);
	int64_t n = check(g, r) && PQntuples(r) > 0 ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : none;

	PQclear(r);
	return n;
}

static void end(struct db *d, enum db_stmt id)
{
	PQclear(pg_of(d)->stmts[id].rows);
	pg_of(d)->stmts[id].rows = NULL;
}

static void put_int(char out[8], int64_t n)
{
	for (int i = 0; i < 8; i++)
		out[i] = (char)((uint64_t)n >> (56 - 8 * i));
}

static bool start(struct db *d, enum db_stmt id, const struct db_value *v)
{
	static const int binary[DB_PARAMS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};
	const char *kinds = db_statements[id].kinds, *values[DB_PARAMS_MAX];
	int lengths[DB_PARAMS_MAX], nr = (int)strlen(kinds);
	char numbers[DB_PARAMS_MAX][8], name[16];
	struct pg *g = pg_of(d);

	end(d, id);
	for (int i = 0; i < nr; i++) {
		values[i] = kinds[i] == 'i' ? numbers[i] : v[i].bytes.p;
		lengths[i] = kinds[i] == 'i' ? 8 : (int)v[i].bytes.n;
		put_int(numbers[i], v[i].n);
	}
	snprintf(name, sizeof name, "s%d", (int)id);
	g->stmts[id].rows = PQexecPrepared(g->conn, name, nr, values, lengths, binary, 1);
	g->stmts[id].at = -1;
	if (check(g, g->stmts[id].rows))
		return true;
	end(d, id);
	return false;
}

static bool row(struct db *d, enum db_stmt id)
{
	struct pg *g = pg_of(d);

	if (g->stmts[id].rows != NULL && ++g->stmts[id].at < PQntuples(g->stmts[id].rows))
		return true;
	end(d, id);
	return false;
}

static struct slice column(const struct db *d, enum db_stmt id, int at)
{
	const struct pg *g = pg_of(d);
	const PGresult *r = g->stmts[id].rows;
	int row_at = g->stmts[id].at;

	if (PQgetisnull(r, row_at, at))
		return SLICE_NONE;
	return (struct slice){PQgetvalue(r, row_at, at), (size_t)PQgetlength(r, row_at, at)};
}

/* int4 and int8 come as so many bytes, big-endian. */
static int64_t column_int(const struct db *d, enum db_stmt id, int at)
{
	struct slice s = column(d, id, at);
	uint64_t n = s.n > 0 && ((unsigned char)s.p[0] & 0x80) != 0 ? UINT64_MAX : 0;

	ASSERT(s.n <= 8);
	for (size_t i = 0; i < s.n; i++)
		n = n << 8 | (unsigned char)s.p[i];
	return (int64_t)n;
}

static int64_t owner(const struct db *d)
{
	return pg_of(d)->owner;
}

/* Its advisory lock is free when its connection is gone, and ours until the commit. */
static bool take(struct pg *g, int64_t dead)
{
	char sql[120];

	snprintf(sql, sizeof sql, "SELECT pg_try_advisory_xact_lock(" LOCK_INSTANCE ", %lld)::int", (long long)dead);
	if (number(g, sql, 0) != 1)
		return false;
	snprintf(sql, sizeof sql, "DELETE FROM instances WHERE id = %lld", (long long)dead);
	return run(&g->db, sql);
}

static int64_t next_dead(struct db *d, int64_t after)
{
	struct pg *g = pg_of(d);
	char sql[120];

	do {
		snprintf(sql, sizeof sql, "SELECT id FROM instances WHERE id <> %lld AND id > %lld ORDER BY id LIMIT 1",
			 (long long)g->owner, (long long)after);
		after = number(g, sql, 0);
	} while (after != 0 && !d->failed && !take(g, after));
	return d->failed ? 0 : after;
}

/* "ROW BARE" */
static bool tell(struct db *d, struct slice bare, int64_t row)
{
	struct pg *g = pg_of(d);
	char *text = mem_alloc(bare.n + 24);
	const char *value = text;
	PGresult *r;
	bool ok;

	snprintf(text, bare.n + 24, "%lld %.*s", (long long)row, (int)bare.n, bare.p);
	r = PQexecParams(g->conn, "SELECT pg_notify('" CHANNEL "', $1)", 1, NULL, &value, NULL, NULL, 0);
	ok = check(g, r);
	PQclear(r);
	free(text);
	return ok;
}

static bool told(struct db *d, struct buf *bare, int64_t *row)
{
	struct pg *g = pg_of(d);
	bool others = false;
	PGnotify *n;
	char *end;

	if (PQconsumeInput(g->conn) == 0)
		return fail(g);
	while (!others && (n = PQnotifies(g->conn)) != NULL) {
		buf_reset(bare);
		*row = strtoll(n->extra, &end, 10);
		others = n->be_pid != PQbackendPID(g->conn) && *end == ' ' && buf_add_str(bare, end + 1) == 0;
		PQfreemem(n);
	}
	return others;
}

/* An end in good order leaves nothing for others to take over, unless stanzas are still on their way. */
static void leave(struct pg *g)
{
	char sql[160];

	snprintf(sql, sizeof sql,
		 "ROLLBACK; DELETE FROM instances WHERE id = %lld AND NOT EXISTS (SELECT 1 FROM passing WHERE owner = %lld)",
		 (long long)g->owner, (long long)g->owner);
	(void)run(&g->db, sql);
}

static void close_pg(struct db *d)
{
	struct pg *g = pg_of(d);

	if (g->owner != 0 && !d->failed)
		leave(g);
	for (size_t i = 0; i < DB_STMT_MAX_; i++)
		end(d, (enum db_stmt)i);
	PQfinish(g->conn);
	free(g);
}

static const struct db_ops ops = {
	.run = run,
	.start = start,
	.row = row,
	.column_int = column_int,
	.column = column,
	.end = end,
	.next_dead = next_dead,
	.tell = tell,
	.told = told,
	.owner = owner,
	.close = close_pg,
};

static bool migrate_locked(struct pg *g)
{
	int64_t version;
	char mark[96];

	if (!run(&g->db, "CREATE TABLE IF NOT EXISTS ambrosia_im (version int NOT NULL)"))
		return false;
	version = number(g, "SELECT version FROM ambrosia_im", 0);
	if (version > SCHEMA_VERSION)
		return db_fail(&g->db, "it was written by a newer ambrosia-im");
	for (; version < SCHEMA_VERSION && !g->db.failed; version++)
		(void)run(&g->db, schema[version]);
	snprintf(mark, sizeof mark, "DELETE FROM ambrosia_im; INSERT INTO ambrosia_im VALUES (%d)", SCHEMA_VERSION);
	return !g->db.failed && run(&g->db, mark);
}

static bool migrate(struct pg *g)
{
	return run(&g->db, "BEGIN; SELECT pg_advisory_xact_lock(" LOCK_SCHEMA ")") && migrate_locked(g) && run(&g->db, "COMMIT");
}

/* The number and its lock in one transaction, so that no other instance sees the one without the other. */
static bool become_instance(struct pg *g)
{
	char sql[100];

	if (!run(&g->db, "BEGIN"))
		return false;
	g->owner = number(g, "INSERT INTO instances DEFAULT VALUES RETURNING id", 0);
	snprintf(sql, sizeof sql, "SELECT pg_advisory_lock(" LOCK_INSTANCE ", %lld)", (long long)g->owner);
	return !g->db.failed && run(&g->db, sql) && run(&g->db, "COMMIT; LISTEN " CHANNEL);
}

static bool prepare(struct pg *g, enum db_stmt id)
{
	const struct db_statement *st = &db_statements[id];
	int nr = (int)strlen(st->kinds);
	Oid types[DB_PARAMS_MAX];
	char name[16];
	PGresult *r;
	bool ok;

	ASSERT(nr <= DB_PARAMS_MAX);
	for (int i = 0; i < nr; i++)
		types[i] = st->kinds[i] == 'i' ? OID_INT8 : st->kinds[i] == 't' ? OID_TEXT : OID_BYTEA;
	snprintf(name, sizeof name, "s%d", (int)id);
	r = PQprepare(g->conn, name, st->sql, nr, types);
	ok = check(g, r);
	PQclear(r);
	return ok;
}

/* A notice is for people at a terminal. */
static void on_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

static bool open_all(struct pg *g, const char *conninfo)
{
	g->conn = PQconnectdb(conninfo);
	if (PQstatus(g->conn) != CONNECTION_OK)
		return fail(g);
	PQsetNoticeReceiver(g->conn, on_notice, NULL);
	if (PQsetClientEncoding(g->conn, "UTF8") != 0)
		return fail(g);
	/* Less would make "stored" a lie. A server that is gone shall be noticed, also while we only wait. */
	if (!run(&g->db, "SET synchronous_commit = on; SET lock_timeout = '10s'; SET statement_timeout = '30s'"))
		return false;
	if (!migrate(g) || !become_instance(g))
		return false;
	for (size_t i = 0; i < DB_STMT_MAX_; i++) {
		if (!prepare(g, (enum db_stmt)i))
			return false;
	}
	return true;
}

struct db *db_postgres_open(const char *conninfo, char *why, size_t why_size)
{
	struct pg *g = NEW(struct pg);

	g->db.ops = &ops;
	if (open_all(g, conninfo))
		return &g->db;
	snprintf(why, why_size, "%s", g->db.why);
	close_pg(&g->db);
	return NULL;
}
