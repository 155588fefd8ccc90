/*
 * The store over a database: transactions, users and the two queues. It does not decide what is kept and for how long.
 */
#include "services/im/store_db.h"

#include <stdlib.h>

#include "common/err.h"
#include "common/hash.h"

/* "postgresql://…", or words like host=… that libpq takes; else the name of a file. */
bool store_is_file(const char *database)
{
	size_t word = strspn(database, "abcdefghijklmnopqrstuvwxyz_");

	return strncmp(database, "postgresql://", 13) != 0 && strncmp(database, "postgres://", 11) != 0 &&
	       (word == 0 || database[word] != '=');
}

struct store *store_open(const char *database, char *why, size_t why_size)
{
	struct db *db = store_is_file(database) ? db_sqlite_open(database, why, why_size) : db_postgres_open(database, why, why_size);
	struct store *s;

	if (db == NULL)
		return NULL;
	s = NEW(struct store);
	s->db = db;
	s->tells = hash_new();
	return s;
}

static int tell_one(void *arg, struct slice bare, void *lowest)
{
	struct store *s = arg;

	if (!s->db->failed)
		(void)s->db->ops->tell(s->db, bare, *(int64_t *)lowest);
	hash_del(s->tells, bare);
	free(lowest);
	return 0;
}

static int forget_one(void *arg, struct slice bare, void *lowest)
{
	(void)arg, (void)bare;
	free(lowest);
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	s->db->ops->close(s->db);
	hash_each(s->tells, forget_one, NULL);
	hash_free(s->tells);
	free(s);
}

static bool begin(struct store *s)
{
	if (s->db->failed || s->dirty)
		return !s->db->failed;
	s->dirty = s->db->ops->run(s->db, "BEGIN");
	return s->dirty;
}

void store_read(struct store *s, enum db_stmt id, const struct db_value *v)
{
	if (!s->db->failed)
		(void)s->db->ops->start(s->db, id, v);
}

bool store_row(struct store *s, enum db_stmt id)
{
	return !s->db->failed && s->db->ops->row(s->db, id);
}

void store_end(struct store *s, enum db_stmt id)
{
	s->db->ops->end(s->db, id);
}

int64_t store_number(struct store *s, enum db_stmt id, const struct db_value *v)
{
	int64_t n;

	store_read(s, id, v);
	n = store_row(s, id) ? s->db->ops->column_int(s->db, id, 0) : 0;
	store_end(s, id);
	return n;
}

int64_t store_write_id(struct store *s, enum db_stmt id, const struct db_value *v)
{
	int64_t n = begin(s) ? store_number(s, id, v) : 0;

	return s->db->failed ? 0 : n;
}

bool store_write(struct store *s, enum db_stmt id, const struct db_value *v)
{
	(void)store_write_id(s, id, v);
	return !s->db->failed;
}

char *store_column_dup(struct store *s, enum db_stmt id, int at, size_t *n)
{
	struct slice c = s->db->ops->column(s->db, id, at);

	if (n)
		*n = c.n;
	return c.p ? mem_slicedup(c) : NULL;
}

int store_commit(struct store *s)
{
	if (s->dirty)
		hash_each(s->tells, tell_one, s);
	if (s->dirty && !s->db->failed)
		(void)s->db->ops->run(s->db, "COMMIT");
	s->dirty = false;
	return s->db->failed ? -ERR_IO : 0;
}

bool store_dirty(const struct store *s)
{
	return s->dirty || s->db->failed;
}

const char *store_why(const struct store *s)
{
	return s->db->why;
}

int64_t store_user_find(struct store *s, struct slice bare)
{
	return store_number(s, STMT_USER_FIND, DB_VALUES(DB_BYTES(bare)));
}

int64_t store_user_add(struct store *s, struct slice bare, int64_t at)
{
	int64_t id = store_user_find(s, bare);

	return id ? id : store_write_id(s, STMT_USER_ADD, DB_VALUES(DB_BYTES(bare), DB_INT(at)));
}

static int64_t owner(const struct store *s)
{
	return s->db->ops->owner(s->db);
}

/* One row: its number, its stanza, and when it came. */
static int64_t next(struct store *s, enum db_stmt id, const struct db_value *v, struct buf *xml, int64_t *at)
{
	int64_t row = 0;

	buf_reset(xml);
	store_read(s, id, v);
	if (store_row(s, id)) {
		row = s->db->ops->column_int(s->db, id, 0);
		*at = s->db->ops->column_int(s->db, id, 2);
		if (buf_add_slice(xml, s->db->ops->column(s->db, id, 1)) < 0)
			buf_reset(xml); /* larger than any stanza we take: the caller skips an empty one */
	}
	store_end(s, id);
	return row;
}

int64_t store_offline_add(struct store *s, int64_t user, int64_t at, struct slice xml)
{
	return store_write_id(s, STMT_OFFLINE_ADD, DB_VALUES(DB_INT(user), DB_INT(at), DB_BYTES(xml)));
}

int64_t store_offline_next(struct store *s, int64_t user, int64_t after, struct buf *xml)
{
	int64_t at;

	return next(s, STMT_OFFLINE_NEXT, DB_VALUES(DB_INT(user), DB_INT(after)), xml, &at);
}

void store_offline_del(struct store *s, int64_t row)
{
	(void)store_write(s, STMT_OFFLINE_DEL, DB_VALUES(DB_INT(row)));
}

void store_offline_size(struct store *s, int64_t user, size_t *nr, size_t *bytes)
{
	*nr = *bytes = 0;
	store_read(s, STMT_OFFLINE_SIZE, DB_VALUES(DB_INT(user)));
	if (store_row(s, STMT_OFFLINE_SIZE)) {
		*nr = (size_t)s->db->ops->column_int(s->db, STMT_OFFLINE_SIZE, 0);
		*bytes = (size_t)s->db->ops->column_int(s->db, STMT_OFFLINE_SIZE, 1);
	}
	store_end(s, STMT_OFFLINE_SIZE);
}

int64_t store_passing_add(struct store *s, int64_t at, struct slice sender, struct slice recipient, struct slice xml)
{
	return store_write_id(s, STMT_PASSING_ADD,
			      DB_VALUES(DB_INT(owner(s)), DB_INT(at), DB_BYTES(xml), DB_BYTES(sender), DB_BYTES(recipient)));
}

bool store_passing_get(struct store *s, int64_t row, struct buf *xml, int64_t *at)
{
	return next(s, STMT_PASSING_GET, DB_VALUES(DB_INT(row)), xml, at) != 0;
}

/* The rows of a statement that was started, all columns but the stanza. */
static void each_passing(struct store *s, enum db_stmt id, store_passing_fn *fn, void *arg)
{
	const struct db_ops *ops = s->db->ops;

	while (store_row(s, id)) {
		const struct store_passing p = {
			.row = ops->column_int(s->db, id, 0),
			.at = ops->column_int(s->db, id, 1),
			.bytes = (size_t)ops->column_int(s->db, id, 2),
			.sender = ops->column(s->db, id, 3),
			.recipient = ops->column(s->db, id, 4),
		};
		fn(arg, &p);
	}
}

void store_passing_all(struct store *s, store_passing_fn *fn, void *arg)
{
	store_read(s, STMT_PASSING_ALL, DB_VALUES(DB_INT(owner(s))));
	each_passing(s, STMT_PASSING_ALL, fn, arg);
}

bool store_passing_others(struct store *s, struct slice sender, struct slice recipient, int64_t before, int64_t since)
{
	return store_number(s, STMT_PASSING_OTHERS,
			    DB_VALUES(DB_BYTES(sender), DB_BYTES(recipient), DB_INT(before), DB_INT(since), DB_INT(owner(s)))) != 0;
}

void store_passing_del(struct store *s, int64_t row)
{
	(void)store_write(s, STMT_PASSING_DEL, DB_VALUES(DB_INT(row)));
}

void store_passing_adopt(struct store *s, store_passing_fn *fn, void *arg)
{
	int64_t dead = 0;

	while (begin(s) && (dead = s->db->ops->next_dead(s->db, dead)) != 0) {
		store_read(s, STMT_PASSING_ADOPT, DB_VALUES(DB_INT(owner(s)), DB_INT(dead)));
		each_passing(s, STMT_PASSING_ADOPT, fn, arg);
	}
	if (store_commit(s) < 0)
		return; /* it stays until the turn's own */
}

bool store_shared(const struct store *s)
{
	return owner(s) != 0;
}

void store_tell(struct store *s, struct slice bare, int64_t row)
{
	int64_t *lowest = begin(s) ? hash_get(s->tells, bare) : NULL;

	if (!lowest) {
		lowest = NEW(int64_t);
		*lowest = row;
		hash_put(s->tells, bare, lowest);
	}
	if (*lowest > row)
		*lowest = row;
}

bool store_told(struct store *s, struct buf *bare, int64_t *row)
{
	return !s->db->failed && s->db->ops->told(s->db, bare, row);
}
