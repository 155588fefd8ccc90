#ifndef TESTS_UNIT_IM_DATABASE_H
#define TESTS_UNIT_IM_DATABASE_H

/* A new database for each test: a file of SQLite's; or, with a connection string in AMBROSIA_TEST_DATABASE, a schema of its own there. */

#include <stdbool.h>

extern char database[512];      /* its name, for store_open() */

bool database_is_postgres(void);
void database_make(void);       /* there is nothing in it yet */
void database_drop(void);       /* when nobody has it open */
void database_sql(const char *sql); /* as another program */
char *database_rows(const char *sql); /* a line for each row, a space after each column; freed by the caller */

#endif
