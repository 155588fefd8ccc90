#include "tests/unit/im/database.h"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/obj.h"

char database[512];
static char dir[64];

static const char *conninfo(void)
{
	return getenv("AMBROSIA_TEST_DATABASE");
}

bool database_is_postgres(void)
{
	return conninfo() != NULL;
}

static void add_row(struct buf *out, int nr, char *const *columns)
{
	int err = 0;
	for (int i = 0; i < nr && err == 0; i++)
		err = buf_printf(out, "%s ", columns[i] ? columns[i] : "NULL");
	if (err == 0)
		err = buf_add_str(out, "\n");
	ASSERT(err == 0);
}

static int on_row(void *arg, int nr, char **columns, char **names)
{
	(void)names;
	add_row(arg, nr, columns);
	return 0;
}

static void run_sqlite(const char *sql, struct buf *out)
{
	sqlite3 *db;
	char *why = NULL;
	ASSERT(sqlite3_open(database, &db) == SQLITE_OK);
	if (sqlite3_exec(db, sql, on_row, out, &why) != SQLITE_OK)
		fprintf(stderr, "%s\n", why);
	ASSERT(!why);
	sqlite3_close(db);
}

static void run_postgres(const char *where, const char *sql, struct buf *out)
{
	char *columns[16];
	PGconn *conn = PQconnectdb(where);
	PGresult *r = PQexec(conn, sql);
	fprintf(stderr, "%s", PQerrorMessage(conn));
	ASSERT(PQerrorMessage(conn)[0] == '\0' && PQnfields(r) <= (int)ARRAY_LEN(columns));
	for (int i = 0; i < PQntuples(r); i++) {
		for (int k = 0; k < PQnfields(r); k++)
			columns[k] = PQgetisnull(r, i, k) ? NULL : PQgetvalue(r, i, k);
		add_row(out, PQnfields(r), columns);
	}
	PQclear(r);
	PQfinish(conn);
}

char *database_rows(const char *sql)
{
	struct buf out;
	buf_init(&out, 1u << 20);
	if (database_is_postgres())
		run_postgres(database, sql, &out);
	else
		run_sqlite(sql, &out);
	char *rows = mem_slicedup(buf_slice(&out));
	buf_clear(&out);
	return rows;
}

void database_sql(const char *sql)
{
	free(database_rows(sql));
}

void database_make(void)
{
	static unsigned nr;
	char create[64];
	if (!database_is_postgres()) {
		snprintf(dir, sizeof dir, "/tmp/im-store-XXXXXX");
		ASSERT(mkdtemp(dir));
		snprintf(database, sizeof database, "%s/im.sqlite", dir);
		return;
	}
	snprintf(create, sizeof create, "CREATE SCHEMA test%ld_%u", (long)getpid(), ++nr);
	run_postgres(conninfo(), create, NULL);
	snprintf(database, sizeof database, "%s options='-c search_path=test%ld_%u'", conninfo(), (long)getpid(), nr);
}

void database_drop(void)
{
	static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
	char name[544];
	if (database_is_postgres())
		return; /* it goes with its server */
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		snprintf(name, sizeof name, "%s%s", database, endings[i]);
		unlink(name);
	}
	rmdir(dir);
}
