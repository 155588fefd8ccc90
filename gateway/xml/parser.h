#ifndef GATEWAY_XML_PARSER_H
#define GATEWAY_XML_PARSER_H

/*
 * One XMPP stream's XML: expat, restricted as RFC 6120 section 11.1 demands, bounded while parsing. Gives the stream header, then each
 * complete first-level element as its raw bytes with its head (name, namespace, attributes), then the footer. No sockets, no time.
 */

#include "common/buf.h"

struct xml_limits {
	size_t element_bytes;    /* a first-level element, start to end */
	size_t tag_bytes;        /* a single tag */
	unsigned depth_max;      /* below the stream header; a first-level element is depth 1 */
	unsigned attrs_max;      /* of one element */
};

struct xml_attr {
	struct slice ns;         /* empty: none */
	struct slice name;
	struct slice prefix;     /* as written; empty: none */
	struct slice value;      /* unescaped */
};

/* A start tag. All slices are borrowed until the callback returns. */
struct xml_head {
	struct slice ns, name, prefix;  /* prefix as written; empty: none */
	const struct xml_attr *attrs;
	size_t nr_attrs;
};

/* The value of an attribute without a namespace; {NULL, 0} when absent (an empty value has p != NULL). */
struct slice xml_attr_get(const struct xml_head *h, const char *name);
struct slice xml_attr_get_ns(const struct xml_head *h, const char *ns, const char *name);

/* A namespace declaration in force at the first level (of the stream header) or made by the element's own start tag. */
struct xml_nsdecl { struct slice prefix, uri; };

/* A complete first-level element, borrowed until the callback returns. */
struct xml_element {
	struct xml_head head;
	struct slice raw;            /* "<a …>…</a>" or "<a …/>" as received */
	struct slice inner;          /* between the tags as received; empty for an empty element */
	/* In force inside it: of the header and of its own start tag, inner ones winning; without xml. Both parts empty: xmlns='', which
	 * undoes the header's default. */
	const struct xml_nsdecl *decls;
	size_t nr_decls;
	size_t nr_own;               /* the last nr_own of decls are of its own start tag */
	/* the stream header's xml:lang, which is the element's if it has none itself; empty: none, or a too long one */
	struct slice lang;
	unsigned nr_children;        /* elements directly below it */
	/* No name in it has a prefix but xml, no text or value means one: the header declares none but its own tag's. False: unknown. */
	bool unprefixed;
	bool mixed_text;             /* its character data is not only white space, directly below it */
};

struct xml_parser_ops {
	void (*header)(void *arg, const struct xml_head *h, struct slice default_ns);
	void (*element)(void *arg, const struct xml_element *e);
	void (*footer)(void *arg);
};

struct xml_parser;

struct xml_parser *xml_parser_new(const struct xml_limits *limits, const struct xml_parser_ops *ops, void *arg);
void xml_parser_free(struct xml_parser *p);           /* not inside its own callbacks */
void xml_parser_set_limits(struct xml_parser *p, const struct xml_limits *limits);
/* White space between elements, and before the header: so many bytes of it from here on, or from a reset on, and -ERR_XML_BLANKS then.
 * SIZE_MAX, as at first: any number. */
void xml_parser_set_blanks_max(struct xml_parser *p, size_t max);
size_t xml_parser_blanks(const struct xml_parser *p);  /* bytes of it since then */
/* A new stream on the same parser (after STARTTLS, SASL): everything is forgotten. Allowed inside callbacks: what is left of the input
 * being fed is dropped then. */
void xml_parser_reset(struct xml_parser *p);
/* Feeds bytes; callbacks run inside. 0, -ERR_XML_* (the parser is dead until reset), or -ERR_AGAIN after xml_parser_stop() was called in a
 * callback: *used tells how many bytes were consumed (always set; all of them when 0). White space between elements is consumed silently,
 * other text between elements is -ERR_XML_NOT_WELL_FORMED. Anything before the header that isn't XML too. */
MUST_CHECK int xml_parser_feed(struct xml_parser *p, struct slice in, size_t *used);
/* In a callback: return from feed after this callback (the rest of the input will be fed again later). */
void xml_parser_stop(struct xml_parser *p);
/* Between elements, nothing buffered: the parser's memory can be given back; the next feed rebuilds it from the header. */
bool xml_parser_idle(const struct xml_parser *p);
/* Bytes that it holds for what has begun and not ended: as received, and expat's own memory. 0 when idle. Not inside its callbacks. */
size_t xml_parser_unfinished(const struct xml_parser *p);
void xml_parser_release(struct xml_parser *p);        /* does so, if idle */

#endif
