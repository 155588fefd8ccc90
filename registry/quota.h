#ifndef REGISTRY_QUOTA_H
#define REGISTRY_QUOTA_H

/* How much each key uses of something. Embedded; zeroed is empty. Pure. */

#include <stdbool.h>
#include <stddef.h>

#define QUOTA_BUCKETS 1024u

struct quota {
	struct quota_key *buckets_[QUOTA_BUCKETS];
};

size_t quota_used(const struct quota *q, const char *key);
bool quota_take(struct quota *q, const char *key);       /* one more; false: no memory, and it is not counted */
void quota_give_back(struct quota *q, const char *key);  /* one less; it was taken */
void quota_clear(struct quota *q);

#endif
