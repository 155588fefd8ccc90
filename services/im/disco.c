/* Service discovery (XEP-0030) of the server and of accounts. An account shows itself only to its owner and to those who may see its
 * presence. */
#include "services/im/core.h"

static const char *const server_features[] = {
	"http://jabber.org/protocol/disco#info",
	"http://jabber.org/protocol/disco#items",
	"msgoffline",
	"urn:xmpp:ping",
	"urn:xmpp:sid:0",
	NULL,
};

static const char *const account_features[] = {
	"http://jabber.org/protocol/disco#info",
	"http://jabber.org/protocol/disco#items",
	"urn:xmpp:sid:0",
	NULL,
};

static bool refuse_node(struct stanza *st, const struct xml_node *query)
{
	const char *node = xml_node_attr(query, "node");
	if (!node || !*node)
		return false;
	error_reply(st, "item-not-found");
	return true;
}

static void info(struct stanza *st, const char *category, const char *type, const char *name, const char *const *features)
{
	struct xml_writer w;
	struct buf out;
	iq_result_start(st, &w, &out);
	xml_start(&w, "query");
	xml_attr_str(&w, "xmlns", "http://jabber.org/protocol/disco#info");
	xml_start(&w, "identity");
	xml_attr_str(&w, "category", category);
	xml_attr_str(&w, "type", type);
	xml_attr_str(&w, "name", name);
	xml_end(&w, "identity");
	for (; *features; features++) {
		xml_start(&w, "feature");
		xml_attr_str(&w, "var", *features);
		xml_end(&w, "feature");
	}
	xml_end(&w, "query");
	iq_result_end(st, &w);
}

static void no_items(struct stanza *st)
{
	struct xml_writer w;
	struct buf out;
	iq_result_start(st, &w, &out);
	xml_start(&w, "query");
	xml_attr_str(&w, "xmlns", "http://jabber.org/protocol/disco#items");
	xml_end(&w, "query");
	iq_result_end(st, &w);
}

/* XEP-0030 section 8: otherwise nobody learns whether the account exists. */
static bool may_see(struct stanza *st)
{
	if (jid_empty(&st->to) || slice_eq(st->to.bare, st->from->bare))
		return true;
	int64_t id = store_user_find(st->im->store, st->to.bare);
	return id && (store_contact_state(st->im->store, id, st->from->bare) & SUB_FROM);
}

void disco_info_server(struct stanza *st, struct xml_node *query)
{
	if (!refuse_node(st, query))
		info(st, "server", "im", "Ambrosia", server_features);
}

void disco_items_server(struct stanza *st, struct xml_node *query)
{
	if (!refuse_node(st, query))
		no_items(st);
}

void disco_info_account(struct stanza *st, struct xml_node *query)
{
	if (!may_see(st))
		error_reply(st, "service-unavailable");
	else if (!refuse_node(st, query))
		info(st, "account", "registered", NULL, account_features);
}

void disco_items_account(struct stanza *st, struct xml_node *query)
{
	if (!may_see(st))
		error_reply(st, "service-unavailable");
	else if (!refuse_node(st, query))
		no_items(st);
}
