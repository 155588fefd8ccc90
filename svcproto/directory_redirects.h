#ifndef SVCPROTO_DIRECTORY_REDIRECTS_H
#define SVCPROTO_DIRECTORY_REDIRECTS_H

/* The directory's redirects: those of a store that the keys in force allow. Private to directory.c; pure. */

#include "svcproto/entry.h"
#include "svcproto/keyset.h"
#include "svcproto/redirects.h"

int directory_redirects_feed(struct redirects *rs, const struct entry *e, uint64_t now_ms);
const char *directory_redirects_find(const struct redirects *rs, const struct keyset *keys, const char *bare_jid, uint64_t now_ms);
int directory_redirects_each(const struct redirects *rs, const struct keyset *keys, uint64_t now_ms,
			     int (*fn)(void *arg, const struct directory_redirect *r), void *arg);

#endif
