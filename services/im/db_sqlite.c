/*
 * SQLite: one file, one process. WAL with synchronous=FULL, since a commit is what promise 1 means by "stored". Statements stay prepared;
 * one that was used is reset before the next use, so that none holds a snapshot.
 */
#include "services/im/db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

enum { SCHEMA_VERSION = 3, APPLICATION_ID = 0x414d4252 }; /* "AMBR" */

/* Step n brings a database of version n to n + 1. Never change one that was released: add another. */
static const char *const schema[SCHEMA_VERSION] = {
	"CREATE TABLE users (id INTEGER PRIMARY KEY, jid TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);"
	"CREATE TABLE contacts (user INTEGER NOT NULL, jid TEXT NOT NULL, name TEXT, state INTEGER NOT NULL, listed INTEGER NOT NULL,"
	" request TEXT, PRIMARY KEY (user, jid)) WITHOUT ROWID;"
	"CREATE TABLE contact_groups (user INTEGER NOT NULL, jid TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (user, jid, name)) WITHOUT "
	"ROWID;"
	"CREATE TABLE offline (id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL, at INTEGER NOT NULL, xml BLOB NOT NULL);"
	"CREATE INDEX offline_user ON offline (user, id);"
	"CREATE TABLE passing (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, xml BLOB NOT NULL);",
	/* "user" is a word of PostgreSQL's own; whose a passing stanza is, is asked where instances share a database */
	"ALTER TABLE contacts RENAME COLUMN user TO owner;"
	"ALTER TABLE contact_groups RENAME COLUMN user TO owner;"
	"ALTER TABLE offline RENAME COLUMN user TO owner;"
	"ALTER TABLE passing ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;",
	("ALTER TABLE passing ADD COLUMN sender TEXT; ALTER TABLE passing ADD COLUMN recipient TEXT;"
	 "CREATE INDEX passing_sender ON passing (sender, recipient, id);"),
};

struct lite {
	struct db db; /* first */
	sqlite3 *file;
	sqlite3_stmt *stmts[DB_STMT_MAX_];
	int lock_fd;
};

static struct lite *lite_of(struct db *d)
{
	return container_of(d, struct lite, db);
}

static bool fail(struct lite *l)
{
	return db_fail(&l->db, sqlite3_errmsg(l->file));
}

static bool run(struct db *d, const char *sql)
{
	return sqlite3_exec(lite_of(d)->file, sql, NULL, NULL, NULL) == SQLITE_OK || fail(lite_of(d));
}

static void end(struct db *d, enum db_stmt id)
{
	sqlite3_stmt *st = lite_of(d)->stmts[id];

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

/* What is bound is borrowed, so it is copied: the caller's bytes need only last until start() returns. */
static bool start(struct db *d, enum db_stmt id, const struct db_value *v)
{
	sqlite3_stmt *st = lite_of(d)->stmts[id];
	const char *kinds = db_statements[id].kinds;
	int rc = SQLITE_OK;

	end(d, id);
	for (int i = 0; kinds[i] != '\0' && rc == SQLITE_OK; i++) {
		if (kinds[i] == 'i')
			rc = sqlite3_bind_int64(st, i + 1, v[i].n);
		else if (v[i].bytes.p == NULL)
			rc = sqlite3_bind_null(st, i + 1);
		else if (kinds[i] == 't')
			rc = sqlite3_bind_text64(st, i + 1, v[i].bytes.p, v[i].bytes.n, SQLITE_TRANSIENT, SQLITE_UTF8);
		else
			rc = sqlite3_bind_blob64(st, i + 1, v[i].bytes.p, v[i].bytes.n, SQLITE_TRANSIENT);
	}
	return rc == SQLITE_OK || fail(lite_of(d));
}

static bool row(struct db *d, enum db_stmt id)
{
	int rc = sqlite3_step(lite_of(d)->stmts[id]);

	if (rc == SQLITE_ROW)
		return true;
	if (rc != SQLITE_DONE)
		fail(lite_of(d));
	end(d, id);
	return false;
}

static int64_t column_int(const struct db *d, enum db_stmt id, int at)
{
	return sqlite3_column_int64(container_of((struct db *)d, struct lite, db)->stmts[id], at);
}

static struct slice column(const struct db *d, enum db_stmt id, int at)
{
	sqlite3_stmt *st = container_of((struct db *)d, struct lite, db)->stmts[id];
	const char *p = sqlite3_column_blob(st, at);
	size_t n = (size_t)sqlite3_column_bytes(st, at);

	if (p == NULL && sqlite3_column_type(st, at) != SQLITE_NULL)
		p = ""; /* of no length */
	return (struct slice){p, n};
}

/* No other instance has rows here: what an earlier process left is this one's. */
static int64_t next_dead(struct db *d, int64_t after)
{
	(void)d, (void)after;
	return 0;
}

static bool tell(struct db *d, struct slice bare, int64_t row)
{
	(void)d, (void)bare, (void)row;
	return true;
}

static bool told(struct db *d, struct buf *bare, int64_t *row)
{
	(void)d, (void)bare, (void)row;
	return false;
}

static int64_t owner(const struct db *d)
{
	(void)d;
	return 0;
}

static void close_lite(struct db *d)
{
	struct lite *l = lite_of(d);

	for (size_t i = 0; i < DB_STMT_MAX_; i++)
		sqlite3_finalize(l->stmts[i]);
	sqlite3_close(l->file);
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	free(l);
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
	.close = close_lite,
};

static int pragma_number(struct lite *l, const char *sql)
{
	sqlite3_stmt *st;
	int n = -1;

	if (sqlite3_prepare_v2(l->file, sql, -1, &st, NULL) != SQLITE_OK) {
		fail(l);
		return -1;
	}
	if (sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int(st, 0);
	else
		fail(l);
	sqlite3_finalize(st);
	return n;
}

static bool migrate(struct lite *l)
{
	int version = pragma_number(l, "PRAGMA user_version"), id = pragma_number(l, "PRAGMA application_id");

	if (l->db.failed)
		return false;
	if (version > SCHEMA_VERSION)
		return db_fail(&l->db, "it was written by a newer ambrosia-im");
	if (version != 0 && id != APPLICATION_ID)
		return db_fail(&l->db, "it is another program's");
	for (; version < SCHEMA_VERSION; version++) {
		char mark[96];

		snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID, version + 1);
		if (!run(&l->db, "BEGIN IMMEDIATE") || !run(&l->db, schema[version]) || !run(&l->db, mark) || !run(&l->db, "COMMIT"))
			return false;
	}
	return true;
}

/* Two services on one file would each deliver the same offline messages. */
static bool lock(struct lite *l, const char *path)
{
	char name[4096], why[200];

	if ((size_t)snprintf(name, sizeof name, "%s.lock", path) >= sizeof name)
		return db_fail(&l->db, "its name is too long");
	l->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (l->lock_fd >= 0 && flock(l->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	snprintf(why, sizeof why, "its lock file: %s", strerror(errno));
	return db_fail(&l->db, l->lock_fd >= 0 ? "another process uses it" : why);
}

static bool open_all(struct lite *l, const char *path)
{
	if (!lock(l, path))
		return false;
	if (sqlite3_open_v2(path, &l->file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return fail(l);
	sqlite3_busy_timeout(l->file, 1000);
	if (!run(&l->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;") || !migrate(l))
		return false;
	ASSERT(pragma_number(l, "PRAGMA synchronous") == 2); /* less would make "stored" a lie */
	for (size_t i = 0; i < DB_STMT_MAX_; i++) {
		if (sqlite3_prepare_v3(l->file, db_statements[i].sql, -1, SQLITE_PREPARE_PERSISTENT, &l->stmts[i], NULL) != SQLITE_OK)
			return fail(l);
	}
	return true;
}

struct db *db_sqlite_open(const char *path, char *why, size_t why_size)
{
	struct lite *l = NEW(struct lite);

	l->db.ops = &ops;
	l->lock_fd = -1;
	if (open_all(l, path))
		return &l->db;
	snprintf(why, why_size, "%s", l->db.why);
	close_lite(&l->db);
	return NULL;
}
