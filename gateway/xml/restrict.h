#ifndef GATEWAY_XML_RESTRICT_H
#define GATEWAY_XML_RESTRICT_H

/*
 * Private to xml/: an expat parser as all of xml/ wants it. UTF-8 only, namespaces as triplets, no document type, comment or processing
 * instruction (the handlers call refuse()), nothing held back, memory counted and bounded. No callbacks of its own beyond that.
 */

#include <expat.h>

#include "common/slice.h"
#include "xml/parser.h"

/* Feed so much at a time: expat copies what it is fed, and the limits are looked at in between. */
#define XML_PORTION ((size_t)4096)

struct xml_expat {
	XML_Parser parser;       /* NULL: closed */
	size_t bytes, bytes_max; /* what expat has allocated, and may */
	void (*refuse)(void *arg, int err);
};

/* refuse is called with -ERR_XML_* for what restricted XML forbids; xml_expat_halt() then. arg goes to every handler. Aborts on lack of
 * memory. */
void xml_expat_open(struct xml_expat *x, const struct xml_limits *limits, void (*refuse)(void *arg, int err), void *arg);
void xml_expat_close(struct xml_expat *x);
/* Never the last feed: the end of a document is known by its depth. */
enum XML_Status xml_expat_feed(struct xml_expat *x, const char *p, size_t n);
enum XML_Status xml_expat_resume(struct xml_expat *x);
/* Inside a handler: feed returns after this event, the rest of what was fed stays inside for xml_expat_resume(). */
void xml_expat_suspend(struct xml_expat *x);
/* Inside a handler: no more parsing, for good. Handlers of the same token may still be called. */
void xml_expat_halt(struct xml_expat *x);
/* The -ERR_XML_* of a failed feed. */
int xml_expat_error(const struct xml_expat *x);

/* Where the present event's bytes begin, and where they end, counted from the first byte fed. */
int64_t xml_expat_at(const struct xml_expat *x);
int64_t xml_expat_end(const struct xml_expat *x);

struct xml_qname { struct slice ns, name, prefix; };
/* Splits a name as handlers get it; slices into it. */
struct xml_qname xml_expat_split(const char *triplet);

/* Only the four characters that XML calls white space. */
bool xml_is_space(struct slice s);
size_t xml_space_prefix(struct slice s);

#endif
