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

static void groups_read(struct store *s, int64_t user, struct contact *c)
{
	store_read(s, STMT_GROUP_ALL, DB_VALUES(DB_INT(user), DB_BYTES(slice_str(c->jid))));
	while (store_row(s, STMT_GROUP_ALL)) {
		c->groups = mem_resize(c->groups, (c->nr_groups + 1) * sizeof *c->groups);
		c->groups[c->nr_groups++] = store_column_dup(s, STMT_GROUP_ALL, 0, NULL);
	}
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
	for (size_t i = 0; mask == 0 && i < out->nr; i++) /* broadcasts need no groups */
		groups_read(s, user, &out->v[i]);
}

size_t store_contact_count(struct store *s, int64_t user)
{
	return (size_t)store_number(s, STMT_CONTACT_COUNT, DB_VALUES(DB_INT(user)));
}
