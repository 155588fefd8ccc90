#ifndef SERVICES_IM_DB_H
#define SERVICES_IM_DB_H

/*
 * A database as the store needs it: prepared statements with numbered parameters, one transaction at a time. SQLite in a file, or
 * PostgreSQL by libpq. An error is sticky: from then on everything fails, and db->why has the database's words.
 */

#include "common/buf.h"
#include "common/obj.h"

enum db_stmt {
#define STMT(name, kinds, sql) STMT_##name,
#include "services/im/store.def"
#undef STMT
	DB_STMT_MAX_
};

struct db_statement {
	const char *kinds; /* of the parameters $1, $2, …: i integer, t text, b bytes */
	const char *sql;   /* what SQLite and PostgreSQL both understand */
};
extern const struct db_statement db_statements[DB_STMT_MAX_];

struct db_value {
	int64_t n;           /* i */
	struct slice bytes;  /* t and b, borrowed until the call returns; p NULL: the SQL NULL */
};

#define DB_PARAMS_MAX 8

struct db {
	const struct db_ops *ops;
	bool failed;
	char why[256];
};

/* A statement gives rows from start() until row() is false or end(). Columns are borrowed until the next row(), end() or start() of that
 * statement. */
struct db_ops {
	bool (*run)(struct db *d, const char *sql);  /* without parameters or rows */
	bool (*start)(struct db *d, enum db_stmt id, const struct db_value *v);
	bool (*row)(struct db *d, enum db_stmt id);
	int64_t (*column_int)(const struct db *d, enum db_stmt id, int at);
	struct slice (*column)(const struct db *d, enum db_stmt id, int at); /* p NULL for the SQL NULL */
	void (*end)(struct db *d, enum db_stmt id);
	/* The next instance above that number that has died, for this one to take over until the transaction ends; 0: none. */
	int64_t (*next_dead)(struct db *d, int64_t after);
	bool (*tell)(struct db *d, struct slice bare, int64_t row);         /* the other instances, at the commit */
	bool (*told)(struct db *d, struct buf *bare, int64_t *row);         /* the next that one of them told; false: no more */
	int64_t (*owner)(const struct db *d);        /* of this instance's rows of `passing` */
	void (*close)(struct db *d);                 /* what was not committed is gone */
};

/* Opens or creates, and brings the schema up to date. NULL with one line in why. One process may hold a file. */
struct db *db_sqlite_open(const char *path, char *why, size_t why_size);
/* conninfo: a libpq connection string. Several instances may share the database, each under an owner number of its own. */
struct db *db_postgres_open(const char *conninfo, char *why, size_t why_size);

/* For the two: remembers the first failure. Always false. */
bool db_fail(struct db *d, const char *why);

#endif
