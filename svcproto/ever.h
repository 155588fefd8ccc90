#ifndef SVCPROTO_EVER_H
#define SVCPROTO_EVER_H

/* Domains that were ever registered, under a bare `*`: bounded, never forgotten. Private to the directory; pure. */

#include <stdbool.h>
#include <stddef.h>

#define EVER_BUCKETS 256u

struct ever_domain;

struct ever {
	struct ever_domain *buckets_[EVER_BUCKETS];
	size_t nr_;
};

bool ever_has(const struct ever *e, const char *domain);
void ever_add(struct ever *e, const char *domain); /* beyond the bound, or without memory: not remembered */
void ever_clear(struct ever *e);

#endif
