#ifndef GATEWAY_XML_STARTTAG_H
#define GATEWAY_XML_STARTTAG_H

/* Private to xml/: keeps what a first-level start tag (or the stream header's) said until its element is complete. Expat's strings live no
 * longer than its handler. */

#include "xml/parser.h"

struct xml_starttag {
	struct xml_head head;
	const struct xml_nsdecl *decls;  /* in force inside it, as struct xml_element has them */
	size_t nr_decls, nr_own;

	struct xml_attr *attrs_;
	struct xml_nsdecl *decls_;
	size_t attrs_cap_, decls_cap_;
	char *strings_;                  /* declarations first ("prefix\0uri\0"), then name and attributes */
	size_t strings_n_, strings_cap_;
};

/* Expat reports declarations before the tag that makes them. NULL: none. */
void xml_starttag_declare(struct xml_starttag *t, const char *prefix, const char *uri);
/* The tag itself; outer: what is in force around it. */
void xml_starttag_set(struct xml_starttag *t, const char *name, const char **atts, size_t nr_attrs, const struct xml_nsdecl *outer,
		      size_t nr_outer);
/* Only the declarations of a tag that makes none but that of a default namespace (p NULL: nor that), which is borrowed. */
void xml_starttag_inherit(struct xml_starttag *t, struct slice own_default, const struct xml_nsdecl *outer, size_t nr_outer);
void xml_starttag_forget(struct xml_starttag *t);  /* keeps its memory for the next */
void xml_starttag_clear(struct xml_starttag *t);

#endif
