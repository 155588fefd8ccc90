/* A chained hash of names; what it holds is as many as keys were authorised for. */
#include "svcproto/ever.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EVER_MAX 100000u

struct ever_domain {
	struct ever_domain *next;
	char name[];
};

static unsigned bucket_of(const char *domain)
{
	unsigned h = 5381;

	for (; *domain != '\0'; domain++)
		h = h * 33 + (uint8_t)*domain;
	return h % EVER_BUCKETS;
}

bool ever_has(const struct ever *e, const char *domain)
{
	const struct ever_domain *d = e->buckets_[bucket_of(domain)];

	while (d != NULL && strcmp(d->name, domain) != 0)
		d = d->next;
	return d != NULL;
}

void ever_add(struct ever *e, const char *domain)
{
	size_t n = strlen(domain) + 1;
	unsigned b = bucket_of(domain);
	struct ever_domain *d;

	if (e->nr_ >= EVER_MAX || ever_has(e, domain) || (d = malloc(sizeof(*d) + n)) == NULL)
		return;
	memcpy(d->name, domain, n);
	d->next = e->buckets_[b];
	e->buckets_[b] = d;
	e->nr_++;
}

void ever_clear(struct ever *e)
{
	for (unsigned i = 0; i < EVER_BUCKETS; i++) {
		for (struct ever_domain *d = e->buckets_[i], *next; d != NULL; d = next) {
			next = d->next;
			free(d);
		}
		e->buckets_[i] = NULL;
	}
	e->nr_ = 0;
}
