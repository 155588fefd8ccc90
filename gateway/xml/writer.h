#ifndef GATEWAY_XML_WRITER_H
#define GATEWAY_XML_WRITER_H

/* The only place that builds XML from text. All functions return 0 or -ERR_LIMIT and may be chained with a sticky error. */

#include "common/buf.h"

struct xml_writer {
	struct buf *out;
	int err;             /* first error, sticky */
	bool open_;          /* a start tag is not closed yet */
};

void xml_writer_init(struct xml_writer *w, struct buf *out);
void xml_start(struct xml_writer *w, const char *name);                       /* literal, may have a prefix */
void xml_attr(struct xml_writer *w, const char *name, struct slice value);    /* escaped; skipped when value.p is NULL */
void xml_attr_str(struct xml_writer *w, const char *name, const char *value); /* skipped when NULL */
void xml_text(struct xml_writer *w, struct slice text);                       /* escaped */
void xml_raw(struct xml_writer *w, struct slice xml);                         /* trusted, well-formed bytes */
void xml_end(struct xml_writer *w, const char *name);                         /* "/>" when nothing came between */
void xml_leave_open(struct xml_writer *w);                                    /* closes the start tag with '>' (stream headers) */
MUST_CHECK int xml_writer_done(struct xml_writer *w);

/* Escapes text for attribute values in either quote, and for content. Characters that XML 1.0 forbids become U+FFFD. */
MUST_CHECK int xml_escape(struct buf *out, struct slice text);
/* An attribute's value with its quotes, in the fewest bytes: never more than it had where it was parsed from. */
MUST_CHECK int xml_quote(struct buf *out, struct slice value);

#endif
