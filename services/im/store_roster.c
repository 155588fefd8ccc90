/* Rosters in the store: contacts and their groups. What a state means is subscription.c's. */
#include "services/im/store_db.h"

#include <stdlib.h>

void contact_clear(struct contact *c)
{
	for (size_t i = 0; i < c->nr_groups; i++)
		free(c->groups[i]);
	free(c->groups);
	free(c->jid);
	free(c->name);
	free(c->request);
	*c = (struct contact){0};
}

void contact_list_clear(struct contact_list *l)
{
	for (size_t i = 0; i < l->nr; i++)
		contact_clear(&l->v[i]);
	free(l->v);
	*l = (struct contact_list){0};
}

/* From a row of CONTACT_GET or CONTACT_ALL. */
static void contact_read(sqlite3_stmt *st, struct contact *c)
{
	*c = (struct contact){
		.jid = store_column_dup(st, 0, NULL),
		.name = store_column_dup(st, 1, NULL),
		.state = (unsigned)sqlite3_column_int(st, 2),
		.listed = sqlite3_column_int(st, 3) != 0,
	};
	c->request = store_column_dup(st, 4, &c->request_n);
}

static void groups_read(struct store *s, int64_t user, struct contact *c)
{
	sqlite3_stmt *st = store_stmt(s, STMT_GROUP_ALL);
	sqlite3_bind_int64(st, 1, user);
	store_bind_slice(st, 2, slice_str(c->jid));
	while (store_row(s, st)) {
		c->groups = mem_resize(c->groups, (c->nr_groups + 1) * sizeof *c->groups);
		c->groups[c->nr_groups++] = store_column_dup(st, 0, NULL);
	}
}

bool store_contact_get(struct store *s, int64_t user, struct slice jid, struct contact *out)
{
	sqlite3_stmt *st = store_stmt(s, STMT_CONTACT_GET);
	sqlite3_bind_int64(st, 1, user);
	store_bind_slice(st, 2, jid);
	if (!store_row(s, st))
		return false;
	contact_read(st, out);
	sqlite3_reset(st);
	groups_read(s, user, out);
	return true;
}

static void groups_drop(struct store *s, int64_t user, struct slice jid)
{
	sqlite3_stmt *st = store_stmt(s, STMT_GROUP_DEL);
	sqlite3_bind_int64(st, 1, user);
	store_bind_slice(st, 2, jid);
	store_write(s, st);
}

void store_contact_put(struct store *s, int64_t user, const struct contact *c)
{
	sqlite3_stmt *st = store_stmt(s, STMT_CONTACT_PUT);
	sqlite3_bind_int64(st, 1, user);
	store_bind_slice(st, 2, slice_str(c->jid));
	store_bind_slice(st, 3, slice_str(c->name));
	sqlite3_bind_int(st, 4, (int)c->state);
	sqlite3_bind_int(st, 5, c->listed);
	store_bind_slice(st, 6, (struct slice){c->request, c->request_n});
	store_write(s, st);
	groups_drop(s, user, slice_str(c->jid));
	for (size_t i = 0; i < c->nr_groups; i++) {
		st = store_stmt(s, STMT_GROUP_ADD);
		sqlite3_bind_int64(st, 1, user);
		store_bind_slice(st, 2, slice_str(c->jid));
		store_bind_slice(st, 3, slice_str(c->groups[i]));
		store_write(s, st);
	}
}

void store_contact_del(struct store *s, int64_t user, struct slice jid)
{
	sqlite3_stmt *st = store_stmt(s, STMT_CONTACT_DEL);
	sqlite3_bind_int64(st, 1, user);
	store_bind_slice(st, 2, jid);
	store_write(s, st);
	groups_drop(s, user, jid);
}

void store_contacts(struct store *s, int64_t user, unsigned mask, struct contact_list *out)
{
	size_t cap = 0;
	*out = (struct contact_list){0};
	sqlite3_stmt *st = store_stmt(s, STMT_CONTACT_ALL);
	sqlite3_bind_int64(st, 1, user);
	sqlite3_bind_int(st, 2, (int)mask);
	while (store_row(s, st)) {
		if (out->nr == cap) {
			cap = cap ? cap * 2 : 16;
			out->v = mem_resize(out->v, cap * sizeof *out->v);
		}
		contact_read(st, &out->v[out->nr++]);
	}
	for (size_t i = 0; mask == 0 && i < out->nr; i++) /* broadcasts need no groups */
		groups_read(s, user, &out->v[i]);
}

size_t store_contact_count(struct store *s, int64_t user)
{
	sqlite3_stmt *st = store_stmt(s, STMT_CONTACT_COUNT);
	sqlite3_bind_int64(st, 1, user);
	size_t nr = store_row(s, st) ? (size_t)sqlite3_column_int64(st, 0) : 0;
	sqlite3_reset(st);
	return nr;
}
