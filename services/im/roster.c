/* Rosters by RFC 6121 section 2: get, set, remove, and pushes to the sessions that asked for the roster. */
#include "services/im/core.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	NAME_MAX_BYTES = 1023,
	GROUPS_MAX = 64,
	GROUP_KEY_MAX_BYTES = 2500, /* address and group: PostgreSQL has both in a key of contact_groups, which takes 2704 */
};

static const char *subscription_name(unsigned state)
{
	static const char *const names[] = {"none", "to", "from", "both"};
	return names[state & (SUB_TO | SUB_FROM)];
}

static void write_item(struct xml_writer *w, const struct contact *c, bool removed)
{
	xml_start(w, "item");
	xml_attr_str(w, "jid", c->jid);
	xml_attr_str(w, "subscription", removed ? "remove" : subscription_name(c->state));
	if (!removed) {
		xml_attr_str(w, "name", c->name);
		xml_attr_str(w, "ask", c->state & SUB_PENDING_OUT ? "subscribe" : NULL);
		for (size_t i = 0; i < c->nr_groups; i++) {
			xml_start(w, "group");
			xml_text(w, slice_str(c->groups[i]));
			xml_end(w, "group");
		}
	}
	xml_end(w, "item");
}

static int write_push(struct buf *out, struct im_session *s, const struct contact *c, bool removed)
{
	struct xml_writer w;
	char id[32];
	snprintf(id, sizeof id, "push-%llu", (unsigned long long)++s->im->push_last);
	xml_writer_init(&w, out);
	xml_start(&w, "iq");
	xml_attr_str(&w, "xmlns", NS_CLIENT);
	xml_attr_str(&w, "type", "set");
	xml_attr_str(&w, "id", id);
	xml_attr(&w, "from", s->user->jid.full);
	xml_attr(&w, "to", s->jid.full);
	xml_start(&w, "query");
	xml_attr_str(&w, "xmlns", "jabber:iq:roster");
	write_item(&w, c, removed);
	xml_end(&w, "query");
	xml_end(&w, "iq");
	return xml_writer_done(&w);
}

void roster_push(struct im *im, struct im_user *u, const struct contact *c, bool removed, struct im_work *w)
{
	struct im_session *s;
	struct buf out;
	(void)im;
	buf_init(&out, IM_STANZA_MAX);
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		buf_reset(&out);
		if (s->interested && write_push(&out, s, c, removed) == 0)
			send_state(s, buf_slice(&out), w);
	}
	buf_clear(&out);
}

void roster_get(struct stanza *st, struct xml_node *query)
{
	struct xml_writer w;
	struct buf out;
	struct contact_list l;
	(void)query;
	st->session->interested = true;
	store_contacts(st->im->store, st->session->user->id, 0, &l);
	iq_result_start(st, &w, &out);
	xml_start(&w, "query");
	xml_attr_str(&w, "xmlns", "jabber:iq:roster");
	for (size_t i = 0; i < l.nr; i++) {
		if (l.v[i].listed)
			write_item(&w, &l.v[i], false);
	}
	xml_end(&w, "query");
	iq_result_end(st, &w);
	contact_list_clear(&l);
}

static bool has_group(const struct contact *c, const char *name)
{
	for (size_t i = 0; i < c->nr_groups; i++) {
		if (strcmp(c->groups[i], name) == 0)
			return true;
	}
	return false;
}

/* Replaces name and groups by the item's. NULL, or the condition that refuses it (RFC 6121 section 2.3.3). */
static const char *read_item(const struct xml_node *item, struct contact *c)
{
	const char *name = xml_node_attr(item, "name");
	if (name && strlen(name) > NAME_MAX_BYTES)
		return "not-acceptable";
	free(c->name);
	c->name = name && *name ? mem_strdup(name) : NULL;
	for (size_t i = 0; i < c->nr_groups; i++)
		free(c->groups[i]);
	c->nr_groups = 0;
	for (struct xml_node *n = item->child; n; n = n->next) {
		if (!xml_node_is(n, "jabber:iq:roster", "group"))
			continue;
		if (n->text_n == 0 || n->text_n > NAME_MAX_BYTES || c->nr_groups == GROUPS_MAX ||
		    strlen(c->jid) + n->text_n > GROUP_KEY_MAX_BYTES)
			return "not-acceptable";
		if (has_group(c, n->text))
			return "bad-request";
		c->groups = mem_resize(c->groups, (c->nr_groups + 1) * sizeof *c->groups);
		c->groups[c->nr_groups++] = mem_strdup(n->text);
	}
	return NULL;
}

static const char *update(struct stanza *st, const struct xml_node *item, struct contact *c, bool is_new)
{
	struct im_user *u = st->session->user;
	if (is_new && store_contact_count(st->im->store, u->id) >= st->im->limits.contacts_max)
		return "resource-constraint";
	const char *condition = read_item(item, c);
	if (condition)
		return condition;
	c->listed = true;
	store_contact_put(st->im->store, u->id, c);
	roster_push(st->im, u, c, false, st->work);
	return NULL;
}

/* RFC 6121 section 2.5. */
static const char *remove_item(struct stanza *st, struct contact *c, bool is_new)
{
	struct im_user *u = st->session->user;
	if (is_new || !c->listed)
		return "item-not-found";
	store_contact_del(st->im->store, u->id, slice_str(c->jid));
	roster_push(st->im, u, c, true, st->work);
	subscription_cancel(st->im, u, c, st->work);
	return NULL;
}

static const char *set_contact(struct stanza *st, const struct xml_node *item, const struct jid *jid)
{
	struct contact c;
	const char *subscription = xml_node_attr(item, "subscription");
	bool removes = subscription && strcmp(subscription, "remove") == 0; /* other values are the server's matter: ignored */
	bool is_new = !store_contact_get(st->im->store, st->session->user->id, jid->bare, &c);
	if (is_new)
		c = (struct contact){.jid = mem_slicedup(jid->bare)};
	const char *condition = removes ? remove_item(st, &c, is_new) : update(st, item, &c, is_new);
	contact_clear(&c);
	return condition;
}

static const char *set_item(struct stanza *st, const struct xml_node *item)
{
	const char *text = item ? xml_node_attr(item, "jid") : NULL;
	struct jid jid;
	if (!text || item->next || !xml_node_is(item, "jabber:iq:roster", "item"))
		return "bad-request";
	if (jid_parse(&jid, slice_str(text)) < 0)
		return "jid-malformed";
	bool own = slice_eq(jid.bare, st->session->user->jid.bare);
	const char *condition = own ? "not-allowed" : set_contact(st, item, &jid);
	jid_clear(&jid);
	return condition;
}

void roster_set(struct stanza *st, struct xml_node *query)
{
	const char *condition = set_item(st, query->child);
	if (condition)
		error_reply(st, condition);
	else
		iq_result_empty(st);
}
