/*
 * A database that instances share, in one process: SQLite underneath, a connection for each, and what PostgreSQL does besides: it knows who
 * is alive, and passes on what they tell each other. Linked before the core, it takes PostgreSQL's place.
 */
#include "tests/unit/im/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TOLD_MAX = 16384 };

struct told {
	char bare[64];
	int64_t row;
	int64_t by;
};

struct shared {
	struct db db; /* first */
	struct db *inner;
	int64_t owner;
	size_t heard;  /* of `told` */
};

static struct {
	bool alive, taken;
} instances[SHARED_MAX];
static int64_t nr_instances;
static struct told told_all[TOLD_MAX], pending[1024];
static size_t nr_told, nr_pending, nr_started[DB_STMT_MAX_];

static struct shared *shared_of(const struct db *d)
{
	return container_of((struct db *)d, struct shared, db);
}

static bool as_inner(struct shared *s, bool ok)
{
	s->db.failed = s->inner->failed;
	return ok;
}

static bool run(struct db *d, const char *sql)
{
	struct shared *s = shared_of(d);
	bool ok = s->inner->ops->run(s->inner, sql);
	if (ok && strcmp(sql, "COMMIT") == 0) {
		ASSERT(nr_told + nr_pending <= TOLD_MAX);
		memcpy(told_all + nr_told, pending, nr_pending * sizeof *pending);
		nr_told += nr_pending;
	}
	if (strcmp(sql, "COMMIT") == 0 || strcmp(sql, "BEGIN") == 0)
		nr_pending = 0; /* one transaction at a time */
	return as_inner(s, ok);
}

static bool start(struct db *d, enum db_stmt id, const struct db_value *v)
{
	struct shared *s = shared_of(d);
	nr_started[id]++;
	return as_inner(s, s->inner->ops->start(s->inner, id, v));
}

static bool row(struct db *d, enum db_stmt id)
{
	struct shared *s = shared_of(d);
	return as_inner(s, s->inner->ops->row(s->inner, id));
}

static int64_t column_int(const struct db *d, enum db_stmt id, int at)
{
	struct shared *s = shared_of(d);
	return s->inner->ops->column_int(s->inner, id, at);
}

static struct slice column(const struct db *d, enum db_stmt id, int at)
{
	struct shared *s = shared_of(d);
	return s->inner->ops->column(s->inner, id, at);
}

static void end(struct db *d, enum db_stmt id)
{
	struct shared *s = shared_of(d);
	s->inner->ops->end(s->inner, id);
}

static int64_t next_dead(struct db *d, int64_t after)
{
	(void)d;
	for (int64_t i = after + 1; i <= nr_instances; i++) {
		if (!instances[i].alive && !instances[i].taken) {
			instances[i].taken = true;
			return i;
		}
	}
	return 0;
}

static bool tell(struct db *d, struct slice bare, int64_t number)
{
	struct told *t = &pending[nr_pending++];
	ASSERT(nr_pending < ARRAY_LEN(pending) && bare.n < sizeof t->bare);
	snprintf(t->bare, sizeof t->bare, "%.*s", (int)bare.n, bare.p);
	t->row = number;
	t->by = shared_of(d)->owner;
	return true;
}

static bool told(struct db *d, struct buf *bare, int64_t *number)
{
	struct shared *s = shared_of(d);
	while (s->heard < nr_told && told_all[s->heard].by == s->owner)
		s->heard++;
	if (s->heard == nr_told)
		return false;
	buf_reset(bare);
	int err = buf_add_str(bare, told_all[s->heard].bare);
	ASSERT(err == 0);
	*number = told_all[s->heard++].row;
	return true;
}

static int64_t owner(const struct db *d)
{
	return shared_of(d)->owner;
}

static void close_shared(struct db *d)
{
	struct shared *s = shared_of(d);
	instances[s->owner].alive = false;
	s->inner->ops->close(s->inner);
	free(s);
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
	.close = close_shared,
};

struct db *db_postgres_open(const char *conninfo, char *why, size_t why_size)
{
	const char *path = strchr(conninfo, '=') + 1;
	char lock[256];
	struct shared *s = NEW(struct shared);
	s->inner = db_sqlite_open(path, why, why_size);
	ASSERT(s->inner && nr_instances + 1 < SHARED_MAX);
	snprintf(lock, sizeof lock, "%s.lock", path);
	unlink(lock); /* here several may have it */
	s->db.ops = &ops;
	s->owner = ++nr_instances;
	s->heard = nr_told;
	instances[s->owner].alive = true;
	return &s->db;
}

size_t shared_nr_started(enum db_stmt id)
{
	return nr_started[id];
}

void shared_reset(void)
{
	nr_instances = 0;
	nr_told = nr_pending = 0;
	memset(instances, 0, sizeof instances);
}
