#ifndef GATEWAY_XML_TREE_H
#define GATEWAY_XML_TREE_H

/* A small read-only tree of one element, for the few that must be looked into (bind, SASL, and all that a service handles). One allocation
 * arena. */

#include "xml/parser.h"

struct xml_node {
	const char *ns, *name;           /* NUL-terminated; ns "" when none */
	const struct xml_tree_attr *attrs;
	size_t nr_attrs;
	const char *text;                /* all character data directly below, joined; "" when none */
	size_t text_n;
	struct xml_node *child, *next;   /* first child element, next sibling */
	struct slice raw;                /* its bytes in the parsed input */
};
struct xml_tree_attr { const char *ns, *name, *value; };

struct xml_tree;

/* Parses exactly one element. decls (may be NULL) are namespaces already in force. NULL when it isn't well-formed or passes the limits. The
 * input must live as long as the tree (raw points into it). */
struct xml_tree *xml_tree_parse(struct slice xml, const struct xml_limits *limits, const struct xml_nsdecl *decls, size_t nr_decls);
struct xml_node *xml_tree_root(struct xml_tree *t);
void xml_tree_free(struct xml_tree *t);

const char *xml_node_attr(const struct xml_node *n, const char *name);     /* NULL when absent */
struct xml_node *xml_node_child(const struct xml_node *n, const char *ns, const char *name); /* first match; NULL ns or name: any */
bool xml_node_is(const struct xml_node *n, const char *ns, const char *name);

#endif
