#ifndef GATEWAY_STREAM_PAIRS_H
#define GATEWAY_STREAM_PAIRS_H

/* The pairs of domains that one end of a stream is, or asks to be, authenticated for. Bounded. */

#include "common/obj.h"

#define PAIRS_MAX 128

enum pair_state { PAIR_NONE, PAIR_PENDING, PAIR_OK };

struct pair_entry;

struct pairs {
	struct pair_entry *v_;
	unsigned nr_;
};

void pairs_clear(struct pairs *p);
enum pair_state pairs_get(const struct pairs *p, const char *from, const char *to);
/* Adds or changes (never to PAIR_NONE: that is pairs_drop). -ERR_LIMIT when a new one would be one too many. */
MUST_CHECK int pairs_put(struct pairs *p, const char *from, const char *to, enum pair_state state);
unsigned pairs_count(const struct pairs *p);   /* those that are PAIR_OK */
/* Does fn (of the pairs that are PAIR_OK) find one? */
bool pairs_any(const struct pairs *p, bool (*fn)(void *arg, const char *from, const char *to), void *arg);
void pairs_drop(struct pairs *p, const char *from, const char *to);

#endif
