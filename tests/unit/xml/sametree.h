#ifndef TESTS_UNIT_XML_SAMETREE_H
#define TESTS_UNIT_XML_SAMETREE_H

/* Whether two trees hold the same information, one namespace of the first standing for another of the second. Says what differs. */

#include <stdio.h>

#include "xml/tree.h"

static inline bool same_str(const char *what, const char *a, const char *b)
{
	if (strcmp(a, b) == 0)
		return true;
	fprintf(stderr, "%s: \"%s\" became \"%s\"\n", what, a, b);
	return false;
}

static inline bool same_ns(const char *a, const char *b, const char *from_ns, const char *to_ns)
{
	return same_str("namespace", strcmp(a, from_ns) == 0 ? to_ns : a, b);
}

static inline bool same_attrs(const struct xml_node *a, const struct xml_node *b, const char *from_ns, const char *to_ns)
{
	if (a->nr_attrs != b->nr_attrs)
		return false;
	for (size_t i = 0; i < a->nr_attrs; i++)
		if (!same_ns(a->attrs[i].ns, b->attrs[i].ns, from_ns, to_ns) ||
		    !same_str("attribute", a->attrs[i].name, b->attrs[i].name) || !same_str("value", a->attrs[i].value, b->attrs[i].value))
			return false;
	return true;
}

static inline bool same_tree(const struct xml_node *a, const struct xml_node *b, const char *from_ns, const char *to_ns)
{
	if (!same_ns(a->ns, b->ns, from_ns, to_ns) || !same_str("name", a->name, b->name) || a->text_n != b->text_n ||
	    !same_str("text", a->text, b->text) || !same_attrs(a, b, from_ns, to_ns))
		return false;
	const struct xml_node *x = a->child, *y = b->child;
	for (; x != NULL && y != NULL; x = x->next, y = y->next)
		if (!same_tree(x, y, from_ns, to_ns))
			return false;
	return x == NULL && y == NULL;
}

#endif
