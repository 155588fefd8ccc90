/*
 * A map from name to stored key, in the order of arrival: the oldest is at the front, and is the first to die of age as well as of want of
 * room. A value is never made younger by being used, so a changed password counts after one life at most.
 */
#include "auth/keycache.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/hash.h"

struct entry {
	struct entry *next, *prev;
	uint64_t born_ms;
	char *key, *value;
	size_t key_n;
};

struct keycache {
	pthread_mutex_t mutex;
	struct hash *by_key;
	struct entry ends;      /* ends.next is the oldest */
	size_t max;
	uint64_t life_ms;
	bool watched;           /* whoever was told that there is something has not been told that there is nothing */
};

struct keycache *keycache_new(size_t max, uint64_t life_ms)
{
	struct keycache *k = NEW(struct keycache);

	pthread_mutex_init(&k->mutex, NULL);
	k->by_key = hash_new();
	k->ends.next = k->ends.prev = &k->ends;
	k->max = max;
	k->life_ms = life_ms;
	return k;
}

static void forget(struct keycache *k, struct entry *e)
{
	hash_del(k->by_key, (struct slice){e->key, e->key_n});
	e->prev->next = e->next;
	e->next->prev = e->prev;
	mem_wipe(e->value, strlen(e->value));
	free(e->value);
	free(e->key);
	free(e);
}

void keycache_free(struct keycache *k)
{
	if (!k)
		return;
	while (k->ends.next != &k->ends)
		forget(k, k->ends.next);
	hash_free(k->by_key);
	pthread_mutex_destroy(&k->mutex);
	free(k);
}

static void forget_old(struct keycache *k, uint64_t now_ms)
{
	while (k->ends.next != &k->ends && now_ms >= k->ends.next->born_ms + k->life_ms)
		forget(k, k->ends.next);
}

bool keycache_get(struct keycache *k, struct slice key, uint64_t now_ms, char *out)
{
	struct entry *e;

	pthread_mutex_lock(&k->mutex);
	forget_old(k, now_ms);
	e = hash_get(k->by_key, key);
	if (e)
		memcpy(out, e->value, strlen(e->value) + 1);
	pthread_mutex_unlock(&k->mutex);
	return e != NULL;
}

bool keycache_put(struct keycache *k, struct slice key, uint64_t now_ms, const char *value)
{
	struct entry *e;
	bool first;

	ASSERT(strlen(value) < KEYCACHE_VALUE_MAX);
	pthread_mutex_lock(&k->mutex);
	forget_old(k, now_ms);
	e = hash_get(k->by_key, key);
	if (e)
		forget(k, e);
	if (hash_count(k->by_key) >= k->max)
		forget(k, k->ends.next);
	e = NEW(struct entry);
	*e = (struct entry){.next = &k->ends, .prev = k->ends.prev, .born_ms = now_ms, .key_n = key.n};
	e->key = mem_slicedup(key);
	e->value = mem_strdup(value);
	e->prev->next = e->next->prev = e;
	hash_put(k->by_key, key, e);
	first = !k->watched;
	k->watched = true;
	pthread_mutex_unlock(&k->mutex);
	return first;
}

uint64_t keycache_expire(struct keycache *k, uint64_t now_ms)
{
	uint64_t in_ms = UINT64_MAX;

	pthread_mutex_lock(&k->mutex);
	forget_old(k, now_ms);
	k->watched = k->ends.next != &k->ends;
	if (k->watched)
		in_ms = k->ends.next->born_ms + k->life_ms - now_ms;
	pthread_mutex_unlock(&k->mutex);
	return in_ms;
}

void keycache_forget(struct keycache *k, struct slice key)
{
	struct entry *e;

	pthread_mutex_lock(&k->mutex);
	e = hash_get(k->by_key, key);
	if (e)
		forget(k, e);
	pthread_mutex_unlock(&k->mutex);
}

size_t keycache_count(struct keycache *k)
{
	size_t n;

	pthread_mutex_lock(&k->mutex);
	n = hash_count(k->by_key);
	pthread_mutex_unlock(&k->mutex);
	return n;
}
