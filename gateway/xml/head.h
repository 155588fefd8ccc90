#ifndef GATEWAY_XML_HEAD_H
#define GATEWAY_XML_HEAD_H

/*
 * Stanzas on their way: a stanza leaves a parser as raw bytes that depend on the stream header's namespaces, and goes on with a rebuilt
 * start tag (addresses stamped, namespaces restated) + its inner bytes + an end tag. Inside svcproto the content namespace is always
 * jabber:client.
 */

#include "xml/parser.h"

enum stanza_kind { STANZA_NONE, STANZA_MESSAGE, STANZA_PRESENCE, STANZA_IQ };

/* message, presence or iq in content namespace `ns`; STANZA_NONE else. */
enum stanza_kind stanza_kind(const struct xml_element *e, const char *ns);

/* Writes the element self-contained with from/to replaced (NULL p: as received; n == 0 with p: removed), in content namespace
 * `to_ns` where it was in `from_ns` (its prefix declarations bound to from_ns are bound to to_ns). -ERR_LIMIT when out is full, and out is
 * as it was. Longer than the raw bytes by no more than the stamps, escaped, the header's namespaces and language, which is written
 * where the element has none of its own (RFC 6120 section 8.1.5), and the xmlns='' of one with a prefix and without a default namespace. */
MUST_CHECK int stanza_write(struct buf *out, const struct xml_element *e, const char *from_ns, const char *to_ns, struct slice from,
			    struct slice to);

/* A stanza given whole (from a service): parsed and checked as exactly one well-formed, restricted element in jabber:client. fn is called
 * with it. */
MUST_CHECK int stanza_parse(struct slice xml, const struct xml_limits *limits, void (*fn)(void *arg, const struct xml_element *e),
			    void *arg);

/* RFC 6120 section 8.3: the error answer to a received stanza (-ERR_INVALID for one that is an error itself), addresses swapped, in content
 * namespace ns. type: "cancel", "modify", "auth", "wait". */
MUST_CHECK int stanza_write_error(struct buf *out, const struct xml_element *e, const char *ns, const char *type, const char *condition,
				  const char *text);

#endif
