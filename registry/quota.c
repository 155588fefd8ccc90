#include "registry/quota.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Keys are authorised before they are counted, so they are as many as the operator wrote down. One that uses nothing is forgotten. */

struct quota_key {
	struct quota_key *next;
	char key[41];
	size_t nr;
};

/* The place of the key, or of the end of its chain. */
static struct quota_key **place(const struct quota *q, const char *key)
{
	struct quota_key *const *p;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (const char *c = key; *c != '\0'; c++)
		h = (h ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	for (p = &q->buckets_[(h ^ h >> 32) % QUOTA_BUCKETS]; *p != NULL && strcmp((*p)->key, key) != 0; p = &(*p)->next)
		;
	return (struct quota_key **)(uintptr_t)p;
}

size_t quota_used(const struct quota *q, const char *key)
{
	const struct quota_key *k = *place(q, key);

	return k != NULL ? k->nr : 0;
}

bool quota_take(struct quota *q, const char *key)
{
	struct quota_key **p = place(q, key);

	if (*p == NULL) {
		*p = calloc(1, sizeof(**p));
		if (*p == NULL)
			return false;
		strncpy((*p)->key, key, sizeof((*p)->key) - 1);
	}
	(*p)->nr++;
	return true;
}

void quota_give_back(struct quota *q, const char *key)
{
	struct quota_key **p = place(q, key), *k = *p;

	if (k == NULL || --k->nr > 0)
		return;
	*p = k->next;
	free(k);
}

void quota_clear(struct quota *q)
{
	for (size_t i = 0; i < QUOTA_BUCKETS; i++) {
		for (struct quota_key *k = q->buckets_[i], *next; k != NULL; k = next) {
			next = k->next;
			free(k);
		}
		q->buckets_[i] = NULL;
	}
}
