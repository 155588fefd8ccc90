#ifndef SERVICES_IM_STORE_DB_H
#define SERVICES_IM_STORE_DB_H

/* Inside the store: how store.c (transactions, users, queues) and store_roster.c run their statements. */

#include "services/im/db.h"
#include "services/im/store.h"

struct store {
	struct db *db;
	bool dirty;             /* a transaction is open */
	struct hash *tells;     /* what it is to tell the others: the lowest row (int64_t) by bare JID */
};

#define DB_INT(value) {.n = (int64_t)(value)}
#define DB_BYTES(slice) {.bytes = (slice)}

/* The parameters of a statement, in order. */
#define DB_VALUES(...) ((const struct db_value[]){__VA_ARGS__})

/* Opens the transaction if there is none, then runs a statement whose rows nobody wants. false after a failure, now or earlier. */
bool store_write(struct store *s, enum db_stmt id, const struct db_value *v);
/* The same for a statement that returns the number of the row it wrote; 0 after a failure. */
int64_t store_write_id(struct store *s, enum db_stmt id, const struct db_value *v);
/* Starts a reading statement: store_row() is true with each row. Whoever stops early calls store_end(). */
void store_read(struct store *s, enum db_stmt id, const struct db_value *v);
bool store_row(struct store *s, enum db_stmt id);
void store_end(struct store *s, enum db_stmt id);
/* The number in the first column of a statement's only row; 0 without one. */
int64_t store_number(struct store *s, enum db_stmt id, const struct db_value *v);
char *store_column_dup(struct store *s, enum db_stmt id, int at, size_t *n); /* NULL for NULL; n may be NULL */

#endif
