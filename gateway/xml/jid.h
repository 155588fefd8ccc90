#ifndef GATEWAY_XML_JID_H
#define GATEWAY_XML_JID_H

/*
 * Addresses, prepared and compared by RFC 6122 (nodeprep, resourceprep by libidn; domains by IDNA2008 of libidn2, kept as U-labels in lower
 * case, no trailing dot) and RFC 7622's lengths (each part 1..1023 bytes). ASCII takes a fast path.
 */

#include "common/obj.h"

struct jid {
	char *full_;                       /* localpart@domainpart/resourcepart, prepared, owned */
	struct slice local, domain, resource;  /* into full_; empty when absent */
	struct slice bare, full;
};

/* Fills j from text; -ERR_INVALID. j need not be initialised; on success jid_clear() it. */
MUST_CHECK int jid_parse(struct jid *j, struct slice text);
/* From parts; empty local or resource: none. */
MUST_CHECK int jid_make(struct jid *j, struct slice local, struct slice domain, struct slice resource);
void jid_clear(struct jid *j);
void jid_init(struct jid *j);              /* empty: all slices empty */
bool jid_empty(const struct jid *j);
MUST_CHECK int jid_copy(struct jid *to, const struct jid *from);

/* Parts alone, prepared into a NUL-terminated string owned by the caller; NULL when invalid. */
char *jid_prep_local(struct slice text);
char *jid_prep_domain(struct slice text);
char *jid_prep_resource(struct slice text);
/* A domain as A-labels, for DNS, SNI and certificates. NULL when it can't be. IP literals stay as they are. */
char *jid_domain_ascii(struct slice domain);

#endif
