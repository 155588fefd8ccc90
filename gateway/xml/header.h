#ifndef GATEWAY_XML_HEADER_H
#define GATEWAY_XML_HEADER_H

/* Private to xml/: what is kept of a stream header as long as its stream lives. Clients of one kind send the same one but for its
 * addresses, so equal ones are kept once for each thread: a reference is given back on the thread that took it. */

#include "xml/starttag.h"

struct xml_header {
	size_t refs;
	uint64_t hash;
	size_t nr_decls;
	bool more_prefixes;          /* it declares others than its own tag's */
	struct slice tag;            /* its name and its declarations: what an expat that begins anew must have seen */
	struct slice lang;           /* xml:lang; empty: none, or a too long one */
	struct xml_nsdecl decls[];
};

struct xml_header *xml_header_of(const struct xml_starttag *t);
/* A tag that is well-formed and declares no namespace. */
struct xml_header *xml_header_of_tag(struct slice tag);
void xml_header_unref(struct xml_header *h);   /* NULL: nothing */

#endif
