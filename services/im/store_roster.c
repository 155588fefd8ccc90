/* Rosters in the store: contacts and their groups. What a state means is subscription.c's. */
#include "services/im/store_db.h"

#include <stdlib.h>

#include "common/hash.h"

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
static void contact_read(struct store *s, enum db_stmt id, struct contact *c)
{
	*c = (struct contact){
		.jid = store_column_dup(s, id, 0, NULL),
		.name = store_column_dup(s, id, 1, NULL),
		.state = (unsigned)s->db->ops->column_int(s->db, id, 2),
		.listed = s->db->ops->column_int(s->db, id, 3) != 0,
	};
	c->request = store_column_dup(s, id, 4, &c->request_n);
}

/* From a row whose column `at` is the name. */
static void group_add(struct store *s, enum db_stmt id, int at, struct contact *c)
{
	c->groups = mem_resize(c->groups, (c->nr_groups + 1) * sizeof *c->groups);
	c->groups[c->nr_groups++] = store_column_dup(s, id, at, NULL);
}

static void groups_read(struct store *s, int64_t user, struct contact *c)
{
	store_read(s, STMT_GROUP_ALL, DB_VALUES(DB_INT(user), DB_BYTES(slice_str(c->jid))));
	while (store_row(s, STMT_GROUP_ALL))
		group_add(s, STMT_GROUP_ALL, 0, c);
}

/* Of all contacts with one statement: a roster of thousands would else be as many questions to a server, in one turn. */
static void all_groups_read(struct store *s, int64_t user, const struct contact_list *l)
{
	struct hash *by_jid = hash_new();
	struct contact *c;

	for (size_t i = 0; i < l->nr; i++)
		hash_put(by_jid, slice_str(l->v[i].jid), &l->v[i]);
	store_read(s, STMT_GROUP_EACH, DB_VALUES(DB_INT(user)));
	while (store_row(s, STMT_GROUP_EACH)) {
		c = hash_get(by_jid, s->db->ops->column(s->db, STMT_GROUP_EACH, 0));
		if (c)
			group_add(s, STMT_GROUP_EACH, 1, c);
	}
	hash_free(by_jid);
}

bool store_contact_get(struct store *s, int64_t user, struct slice jid, struct contact *out)
{
	store_read(s, STMT_CONTACT_GET, DB_VALUES(DB_INT(user), DB_BYTES(jid)));
	if (!store_row(s, STMT_CONTACT_GET))
		return false;
	contact_read(s, STMT_CONTACT_GET, out);
	store_end(s, STMT_CONTACT_GET);
	groups_read(s, user, out);
	return true;
}

unsigned store_contact_state(struct store *s, int64_t user, struct slice jid)
{
	return (unsigned)store_number(s, STMT_CONTACT_STATE, DB_VALUES(DB_INT(user), DB_BYTES(jid)));
}

void store_contact_put(struct store *s, int64_t user, const struct contact *c)
{
	struct slice jid = slice_str(c->jid), request = {c->request, c->request_n};

	(void)store_write(s, STMT_CONTACT_PUT,
			  DB_VALUES(DB_INT(user), DB_BYTES(jid), DB_BYTES(slice_str(c->name)), DB_INT(c->state), DB_INT(c->listed),
				    DB_BYTES(request)));
	(void)store_write(s, STMT_GROUP_DEL, DB_VALUES(DB_INT(user), DB_BYTES(jid)));
	for (size_t i = 0; i < c->nr_groups; i++)
		(void)store_write(s, STMT_GROUP_ADD, DB_VALUES(DB_INT(user), DB_BYTES(jid), DB_BYTES(slice_str(c->groups[i]))));
}

void store_contact_del(struct store *s, int64_t user, struct slice jid)
{
	(void)store_write(s, STMT_CONTACT_DEL, DB_VALUES(DB_INT(user), DB_BYTES(jid)));
	(void)store_write(s, STMT_GROUP_DEL, DB_VALUES(DB_INT(user), DB_BYTES(jid)));
}

void store_contacts(struct store *s, int64_t user, unsigned mask, struct contact_list *out)
{
	size_t cap = 0;

	*out = (struct contact_list){0};
	store_read(s, STMT_CONTACT_ALL, DB_VALUES(DB_INT(user), DB_INT(mask)));
	while (store_row(s, STMT_CONTACT_ALL)) {
		if (out->nr == cap) {
			cap = cap ? cap * 2 : 16;
			out->v = mem_resize(out->v, cap * sizeof *out->v);
		}
		contact_read(s, STMT_CONTACT_ALL, &out->v[out->nr++]);
	}
	if (mask == 0) /* broadcasts need no groups */
		all_groups_read(s, user, out);
}

size_t store_contact_count(struct store *s, int64_t user)
{
	return (size_t)store_number(s, STMT_CONTACT_COUNT, DB_VALUES(DB_INT(user)));
}
