#ifndef GATEWAY_ROLE_BLOCKS_H
#define GATEWAY_ROLE_BLOCKS_H

/* Whom this worker does not speak with: ranges of addresses, and remote domains. Bounded; forgotten when the process ends. */

#include <sys/socket.h>

#include "common/obj.h"

#define BLOCKS_MAX 1024u

struct blocks;

struct blocks *blocks_new(void);
void blocks_free(struct blocks *b);

/* target: an address, a range ("192.0.2.0/24"), a domain, or "*.example.org" for all below one. until_ms: UINT64_MAX for good. A target
 * that is there already gets the new end. -ERR_INVALID: it is none of these; -ERR_LIMIT: there are too many. */
MUST_CHECK int blocks_add(struct blocks *b, struct slice target, uint64_t until_ms, uint64_t now_ms);
MUST_CHECK int blocks_remove(struct blocks *b, struct slice target); /* -ERR_INVALID, -ERR_NOTFOUND */
bool blocks_address(struct blocks *b, const struct sockaddr *address, uint64_t now_ms);
bool blocks_domain(struct blocks *b, const char *domain, uint64_t now_ms);   /* prepared */
/* target as it is kept; until_ms as given. */
void blocks_each(struct blocks *b, uint64_t now_ms, void (*fn)(void *arg, const char *target, uint64_t until_ms), void *arg);
size_t blocks_nr(struct blocks *b, uint64_t now_ms);

#endif
