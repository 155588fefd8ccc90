/*
 * The database: opening, its schema's version, transactions, users and the two queues. WAL with synchronous=FULL, since a commit is what
 * promise 1 means by "stored". It does not decide what is kept and for how long.
 */
#include "services/im/store_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/err.h"

enum { SCHEMA_VERSION = 1, APPLICATION_ID = 0x414d4252 }; /* "AMBR" */

static const char *const statements[STMT_MAX_] = {
#define STMT(name, sql) [STMT_##name] = sql,
#include "services/im/store.def"
#undef STMT
};

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
};

static void fail(struct store *s)
{
	if (!s->failed)
		snprintf(s->why, sizeof s->why, "%s", sqlite3_errmsg(s->db));
	s->failed = true;
}

static bool run(struct store *s, const char *sql)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return true;
	fail(s);
	return false;
}

static int pragma_number(struct store *s, const char *sql)
{
	sqlite3_stmt *st;
	int n = -1;
	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK) {
		fail(s);
		return -1;
	}
	if (sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int(st, 0);
	else
		fail(s);
	sqlite3_finalize(st);
	return n;
}

static bool migrate(struct store *s)
{
	int version = pragma_number(s, "PRAGMA user_version"), id = pragma_number(s, "PRAGMA application_id");
	if (s->failed)
		return false;
	if ((version && id != APPLICATION_ID) || version > SCHEMA_VERSION) {
		snprintf(s->why, sizeof s->why,
			 version > SCHEMA_VERSION ? "it was written by a newer ambrosia-im" : "it is another program's");
		return false;
	}
	for (; version < SCHEMA_VERSION; version++) {
		char mark[96];
		snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID, version + 1);
		if (!run(s, "BEGIN IMMEDIATE") || !run(s, schema[version]) || !run(s, mark) || !run(s, "COMMIT"))
			return false;
	}
	return true;
}

/* Two services on one file would each deliver the same offline messages. */
static bool lock(struct store *s, const char *path)
{
	struct buf name;
	buf_init(&name, 4096);
	if (buf_printf(&name, "%s.lock%c", path, 0) == 0)
		s->lock_fd = open(buf_slice(&name).p, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	buf_clear(&name);
	if (s->lock_fd < 0)
		snprintf(s->why, sizeof s->why, "its lock file: %s", strerror(errno));
	else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	else
		snprintf(s->why, sizeof s->why, "another process uses it");
	return false;
}

static bool open_all(struct store *s, const char *path)
{
	if (!lock(s, path))
		return false;
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		fail(s);
		return false;
	}
	sqlite3_busy_timeout(s->db, 1000);
	if (!run(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;") || !migrate(s))
		return false;
	ASSERT(pragma_number(s, "PRAGMA synchronous") == 2); /* less would make "stored" a lie */
	for (size_t i = 0; i < STMT_MAX_; i++) {
		if (sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmts[i], NULL) != SQLITE_OK) {
			fail(s);
			return false;
		}
	}
	return true;
}

struct store *store_open(const char *path, char *why, size_t why_size)
{
	struct store *s = NEW(struct store);
	s->lock_fd = -1;
	if (open_all(s, path))
		return s;
	snprintf(why, why_size, "%s", s->why);
	store_close(s);
	return NULL;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < STMT_MAX_; i++)
		sqlite3_finalize(s->stmts[i]);
	sqlite3_close(s->db);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s);
}

sqlite3_stmt *store_stmt(struct store *s, enum store_stmt id)
{
	sqlite3_reset(s->stmts[id]);
	sqlite3_clear_bindings(s->stmts[id]);
	return s->stmts[id];
}

static bool step_done(struct store *s, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	if (rc != SQLITE_DONE)
		fail(s);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return rc == SQLITE_DONE;
}

bool store_begin(struct store *s)
{
	if (s->failed || s->dirty)
		return !s->failed;
	s->dirty = step_done(s, store_stmt(s, STMT_BEGIN));
	return s->dirty;
}

bool store_write(struct store *s, sqlite3_stmt *st)
{
	if (store_begin(s))
		return step_done(s, st);
	sqlite3_clear_bindings(st);
	return false;
}

bool store_row(struct store *s, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return true;
	if (rc != SQLITE_DONE)
		fail(s);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return false;
}

void store_bind_slice(sqlite3_stmt *st, int at, struct slice text)
{
	if (text.p)
		sqlite3_bind_text64(st, at, text.p, text.n, SQLITE_STATIC, SQLITE_UTF8);
}

char *store_column_dup(sqlite3_stmt *st, int at, size_t *n)
{
	const char *p = (const char *)sqlite3_column_text(st, at);
	size_t len = p ? (size_t)sqlite3_column_bytes(st, at) : 0;
	if (n)
		*n = len;
	return p ? mem_slicedup((struct slice){p, len}) : NULL;
}

int store_commit(struct store *s)
{
	if (s->dirty && !s->failed)
		step_done(s, store_stmt(s, STMT_COMMIT));
	s->dirty = false;
	return s->failed ? -ERR_IO : 0;
}

bool store_dirty(const struct store *s)
{
	return s->dirty || s->failed;
}

const char *store_why(const struct store *s)
{
	return s->why;
}

/* The number in the first column of a statement's only row. */
static int64_t number(struct store *s, sqlite3_stmt *st)
{
	int64_t n = store_row(s, st) ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_reset(st);
	return n;
}

int64_t store_user_find(struct store *s, struct slice bare)
{
	sqlite3_stmt *st = store_stmt(s, STMT_USER_FIND);
	store_bind_slice(st, 1, bare);
	return number(s, st);
}

int64_t store_user_add(struct store *s, struct slice bare, int64_t at)
{
	int64_t id = store_user_find(s, bare);
	if (id)
		return id;
	sqlite3_stmt *st = store_stmt(s, STMT_USER_ADD);
	store_bind_slice(st, 1, bare);
	sqlite3_bind_int64(st, 2, at);
	return store_write(s, st) ? sqlite3_last_insert_rowid(s->db) : 0;
}

static int64_t next(struct store *s, sqlite3_stmt *st, struct buf *xml)
{
	int64_t row = 0;
	buf_reset(xml);
	if (store_row(s, st)) {
		row = sqlite3_column_int64(st, 0);
		if (buf_add(xml, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1)) < 0)
			buf_reset(xml); /* larger than any stanza we take: the caller skips an empty one */
	}
	sqlite3_reset(st);
	return row;
}

static void delete_row(struct store *s, enum store_stmt id, int64_t row)
{
	sqlite3_stmt *st = store_stmt(s, id);
	sqlite3_bind_int64(st, 1, row);
	store_write(s, st);
}

int64_t store_offline_add(struct store *s, int64_t user, int64_t at, struct slice xml)
{
	sqlite3_stmt *st = store_stmt(s, STMT_OFFLINE_ADD);
	sqlite3_bind_int64(st, 1, user);
	sqlite3_bind_int64(st, 2, at);
	sqlite3_bind_blob64(st, 3, xml.p, xml.n, SQLITE_STATIC);
	return store_write(s, st) ? sqlite3_last_insert_rowid(s->db) : 0;
}

int64_t store_offline_next(struct store *s, int64_t user, int64_t after, struct buf *xml)
{
	sqlite3_stmt *st = store_stmt(s, STMT_OFFLINE_NEXT);
	sqlite3_bind_int64(st, 1, user);
	sqlite3_bind_int64(st, 2, after);
	return next(s, st, xml);
}

void store_offline_del(struct store *s, int64_t row)
{
	delete_row(s, STMT_OFFLINE_DEL, row);
}

void store_offline_size(struct store *s, int64_t user, size_t *nr, size_t *bytes)
{
	sqlite3_stmt *st = store_stmt(s, STMT_OFFLINE_SIZE);
	sqlite3_bind_int64(st, 1, user);
	bool row = store_row(s, st);
	*nr = row ? (size_t)sqlite3_column_int64(st, 0) : 0;
	*bytes = row ? (size_t)sqlite3_column_int64(st, 1) : 0;
	sqlite3_reset(st);
}

int64_t store_passing_add(struct store *s, int64_t at, struct slice xml)
{
	sqlite3_stmt *st = store_stmt(s, STMT_PASSING_ADD);
	sqlite3_bind_int64(st, 1, at);
	sqlite3_bind_blob64(st, 2, xml.p, xml.n, SQLITE_STATIC);
	return store_write(s, st) ? sqlite3_last_insert_rowid(s->db) : 0;
}

int64_t store_passing_next(struct store *s, int64_t after, struct buf *xml)
{
	sqlite3_stmt *st = store_stmt(s, STMT_PASSING_NEXT);
	sqlite3_bind_int64(st, 1, after);
	return next(s, st, xml);
}

int64_t store_passing_last(struct store *s)
{
	return number(s, store_stmt(s, STMT_PASSING_LAST));
}

void store_passing_del(struct store *s, int64_t row)
{
	delete_row(s, STMT_PASSING_DEL, row);
}
