/*
 * The store: a chained hash over kind and name, so that all registrations of a domain lie in one chain, another over owners, whose leases
 * are renewed together, and a list of all. No order, no clock.
 */
#include "svcproto/entry.h"

#include <stdlib.h>
#include <string.h>

static const char *const policies[] = { "round-robin", "hash" };

const char *entry_policy(const char *p, size_t n)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (strlen(policies[i]) == n && memcmp(policies[i], p, n) == 0)
			return policies[i];
	return NULL;
}

int entry_failover(const char *p, size_t n, bool *reopens)
{
	*reopens = n == 6 && memcmp(p, "reopen", 6) == 0;
	return *reopens || (n == 5 && memcmp(p, "close", 5) == 0) ? 0 : -1;
}

int entry_compare(const struct entry *a, const struct entry *b)
{
	if (a->incarnation != b->incarnation)
		return a->incarnation > b->incarnation ? 1 : -1;
	return a->version > b->version ? 1 : a->version < b->version ? -1 : 0;
}

/* Names are authorised before they are stored, so nobody can choose them to fall into one chain at will: FNV-1a does. */
static size_t bucket_of(const struct entries *s, enum directory_kind kind, const char *name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)kind;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32) & (s->cap - 1);
}

static size_t owner_bucket_of(const struct entries *s, const struct svc_id *owner)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(owner->b); i++)
		h = (h ^ owner->b[i]) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32) & (s->cap - 1);
}

void entries_init(struct entries *s)
{
	memset(s, 0, sizeof(*s));
	TAILQ_INIT(&s->all);
}

static void entry_free(struct entry *e)
{
	free((char *)(uintptr_t)e->name);
	free((char *)(uintptr_t)e->public_host);
	free(e);
}

void entries_clear(struct entries *s)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&s->all)) != NULL) {
		TAILQ_REMOVE(&s->all, e, all);
		entry_free(e);
	}
	free(s->buckets);
	free(s->owners);
	entries_init(s);
}

struct entry *entries_next_of_owner(const struct entries *s, const struct svc_id *owner, const struct entry *last)
{
	struct entry *e = last != NULL ? last->owner_chain_ : s->cap > 0 ? s->owners[owner_bucket_of(s, owner)] : NULL;

	while (e != NULL && memcmp(&e->owner, owner, sizeof(*owner)) != 0)
		e = e->owner_chain_;
	return e;
}

struct entry *entries_next(const struct entries *s, enum directory_kind kind, const char *name, const struct entry *last)
{
	struct entry *e = last != NULL ? last->chain_ : s->cap > 0 ? s->buckets[bucket_of(s, kind, name)] : NULL;

	while (e != NULL && (e->kind != kind || strcmp(e->name, name) != 0))
		e = e->chain_;
	return e;
}

struct entry *entries_find(const struct entries *s, const struct entry *like)
{
	struct entry *e = NULL;

	while ((e = entries_next(s, like->kind, like->name, e)) != NULL)
		if (memcmp(&e->owner, &like->owner, sizeof(e->owner)) == 0 && strcmp(e->key, like->key) == 0)
			return e;
	return NULL;
}

static void enchain(struct entries *s, struct entry *e)
{
	size_t b = bucket_of(s, e->kind, e->name), o = owner_bucket_of(s, &e->owner);

	e->chain_ = s->buckets[b];
	s->buckets[b] = e;
	e->owner_chain_ = s->owners[o];
	s->owners[o] = e;
}

static bool make_room(struct entries *s)
{
	size_t cap = s->cap == 0 ? 64 : s->cap * 2;
	struct entry **buckets, **owners, *e;

	if (s->nr < s->cap)
		return true;
	buckets = calloc(cap, sizeof(struct entry *));
	owners = calloc(cap, sizeof(struct entry *));
	if (buckets == NULL || owners == NULL) {
		free(buckets);
		free(owners);
		return s->cap > 0; /* longer chains will do */
	}
	free(s->buckets);
	free(s->owners);
	s->buckets = buckets;
	s->owners = owners;
	s->cap = cap;
	TAILQ_FOREACH(e, &s->all, all)
		enchain(s, e);
	return true;
}

static struct entry *entry_copy(const struct entry *e)
{
	struct entry *copy = malloc(sizeof(*copy));

	if (copy == NULL)
		return NULL;
	*copy = *e;
	copy->name = strdup(e->name);
	copy->public_host = e->public_host != NULL ? strdup(e->public_host) : NULL;
	copy->until_ms = 0;
	copy->sources = copy->seen = 0;
	copy->shown = false;
	if (copy->name != NULL && (e->public_host == NULL || copy->public_host != NULL))
		return copy;
	entry_free(copy);
	return NULL;
}

/* It stays where it is, in every list. */
static void become(struct entry *old, struct entry *copy)
{
	copy->until_ms = old->until_ms;
	copy->sources = old->sources;
	copy->seen = old->seen;
	copy->doubted = old->doubted;
	copy->shown = old->shown;
	copy->chain_ = old->chain_;
	copy->owner_chain_ = old->owner_chain_;
	copy->all = old->all;
	free((char *)(uintptr_t)old->name);
	free((char *)(uintptr_t)old->public_host);
	*old = *copy;
	free(copy);
}

struct entry *entries_put(struct entries *s, const struct entry *e)
{
	struct entry *old = entries_find(s, e), *copy = make_room(s) ? entry_copy(e) : NULL;

	if (copy == NULL)
		return NULL;
	if (old != NULL) {
		become(old, copy);
		return old;
	}
	enchain(s, copy);
	TAILQ_INSERT_TAIL(&s->all, copy, all);
	s->nr++;
	return copy;
}

void entries_remove(struct entries *s, struct entry *e)
{
	struct entry **p = &s->buckets[bucket_of(s, e->kind, e->name)], **o = &s->owners[owner_bucket_of(s, &e->owner)];

	while (*p != e)
		p = &(*p)->chain_;
	*p = e->chain_;
	while (*o != e)
		o = &(*o)->owner_chain_;
	*o = e->owner_chain_;
	TAILQ_REMOVE(&s->all, e, all);
	s->nr--;
	entry_free(e);
}
