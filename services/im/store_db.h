#ifndef SERVICES_IM_STORE_DB_H
#define SERVICES_IM_STORE_DB_H

/* Inside the store: its statements, shared by store.c (database, users, queues) and store_roster.c. */

#include <sqlite3.h>

#include "services/im/store.h"

enum store_stmt {
#define STMT(name, sql) STMT_##name,
#include "services/im/store.def"
#undef STMT
	STMT_MAX_
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmts[STMT_MAX_];
	int lock_fd;
	bool dirty;             /* a transaction is open */
	bool failed;
	char why[256];
};

sqlite3_stmt *store_stmt(struct store *s, enum store_stmt id); /* reset and unbound */
/* Opens the transaction if there is none, then runs a statement without result. false after a failure, now or earlier. */
bool store_write(struct store *s, sqlite3_stmt *st);
bool store_begin(struct store *s);
/* One step of a reading statement: true with a row. The statement is reset when there is none. */
bool store_row(struct store *s, sqlite3_stmt *st);
void store_bind_slice(sqlite3_stmt *st, int at, struct slice text); /* borrowed until the statement is reset; empty p: NULL */
char *store_column_dup(sqlite3_stmt *st, int at, size_t *n);        /* NULL for NULL; n may be NULL */

#endif
