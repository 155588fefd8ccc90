#ifndef REGISTRY_REDIRECTING_H
#define REGISTRY_REDIRECTING_H

/* What a registry makes of the announcement of a redirect, pure: part of the table (table.h). */

#include "svcproto/entry.h"
#include "svcproto/keyset.h"
#include "svcproto/redirects.h"

#define REDIRECTS_MAX 500000u
#define REDIRECTS_PER_KEY 200000u

/* As registry_table_announce: NULL, or why not. *changed: it is to be published. */
const char *redirecting_announce(struct redirects *rs, const struct keyset *keys, const char *user, const struct entry *e, uint64_t now_ms,
				 struct entry *seen, bool *changed, char *why, size_t why_size);
/* One that was kept on disk, ending in lease_ms (a removal: with what it removed): passed over if it is malformed or its key may not. 0, or
 * SVCPROTO_E_NOMEM. */
int redirecting_restore(struct redirects *rs, const struct keyset *keys, const struct entry *e, uint64_t now_ms);
/* As it is published: what is left of its time in lease_ms. Borrows r's texts. */
struct entry redirecting_entry(const struct redirect *r, uint64_t now_ms);

#endif
