#ifndef GATEWAY_XML_PLAIN_H
#define GATEWAY_XML_PLAIN_H

/*
 * Private to xml/: an element of the form that nearly all stanzas have, told without expat at a fraction of its cost. It says yes only to
 * what expat would say yes to, with the same head, counts and bytes; whatever is rare, doubtful, wrong, too large or unfinished is expat's.
 */

#include "xml/header.h"

/* More in one tag are expat's. */
#define XML_PLAIN_ATTRS 16

struct xml_plain {
	struct xml_element element;   /* but for decls, lang and the head's namespace, which depend on the stream header */
	struct slice ns;              /* its own xmlns; p NULL: none */
	struct xml_attr attrs[XML_PLAIN_ATTRS];
};

/* The bytes of the element that `in` begins with; 0: expat is to look. Slices in `out` point into `in`, but for those of xml:lang's name.
 */
size_t xml_plain_read(struct xml_plain *out, struct slice in, const struct xml_limits *limits);
/* Completes out->element behind that header; it lives as long as the input, the header and `tag`. */
void xml_plain_complete(struct xml_plain *out, const struct xml_header *header, struct xml_starttag *tag);

#endif
