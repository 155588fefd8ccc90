#ifndef GATEWAY_XML_PLAIN_H
#define GATEWAY_XML_PLAIN_H

/*
 * Private to xml/: an element, or a stream header, of the form that nearly all have, told without expat at a fraction of its cost. It says
 * yes only to what expat would say yes to, with the same head, counts and bytes; whatever is rare, doubtful, wrong, too large or unfinished
 * is expat's.
 */

#include "xml/header.h"

/* More in one tag are expat's. */
#define XML_PLAIN_ATTRS 16
#define XML_PLAIN_DECLS 8

struct xml_plain {
	struct xml_element element;   /* but for decls, lang and the head's namespace, which depend on the stream header */
	struct slice ns;              /* its own xmlns; p NULL: none */
	struct xml_attr attrs[XML_PLAIN_ATTRS];
};

/* The bytes of the element that `in` begins with; 0: expat is to look. Slices in `out` point into `in`, but for those of xml:lang's name.
 */
size_t xml_plain_read(struct xml_plain *out, struct slice in, const struct xml_limits *limits);

/* What is in it, in its order; all slices point into the input. Told as it is read: that it was no plain element may show later. */
struct xml_plain_tag {
	const char *at;               /* its '<' */
	struct slice name, ns;        /* its own xmlns; p NULL: none */
	const struct xml_attr *attrs;
	size_t nr_attrs;
};

struct xml_plain_sink {
	void (*start)(void *arg, const struct xml_plain_tag *tag);
	void (*text)(void *arg, struct slice text);     /* between two tags, if there is any */
	void (*end)(void *arg, const char *behind);
};

/* As xml_plain_read(), and telling what is inside; elements with references or '\r' are not for it. */
size_t xml_plain_walk(struct xml_plain *out, struct slice in, const struct xml_limits *limits, const struct xml_plain_sink *sink,
		      void *arg);

struct xml_plain_header {
	struct xml_head head;
	struct xml_attr attrs[XML_PLAIN_ATTRS];
	struct xml_nsdecl decls[XML_PLAIN_DECLS];
	size_t nr_decls;
};

/* The bytes of the stream header that `in` begins with, an XML declaration included; 0: expat is to look. Slices point into `in`, but for
 * those of xml:lang's name. */
size_t xml_plain_header(struct xml_plain_header *out, struct slice in, const struct xml_limits *limits);

/* Completes out->element behind that header; it lives as long as the input, the header and `tag`. */
void xml_plain_complete(struct xml_plain *out, const struct xml_header *header, struct xml_starttag *tag);

#endif
