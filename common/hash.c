/*
 * A table of chains under SipHash-2-4, whose key is drawn at random once in a process, so that no peer can choose names that collide.
 * An entry holds a copy of its key. The table doubles and halves by itself, but never while somebody walks it: that, and a chain's
 * `next` being read before the call, is what makes deleting during hash_each() safe.
 */
#include "common/hash.h"

#include <endian.h>
#include <pthread.h>
#include <stdlib.h>

enum { BUCKETS_MIN = 8 };

struct entry {
	struct entry *next;
	uint64_t hash;
	void *value;
	size_t key_len;
	char key[];
};

struct hash {
	struct entry **buckets;
	size_t nr_buckets; /* a power of two */
	size_t count;
	unsigned walkers;
};

static uint64_t sip_key[2];
static pthread_once_t sip_once = PTHREAD_ONCE_INIT;

static void sip_draw_key(void)
{
	mem_random(sip_key, sizeof sip_key);
}

static inline uint64_t rotl(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static inline void sip_rounds(uint64_t v[4], int nr)
{
	while (nr-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] = rotl(v[0], 32) + v[3];
		v[2] += v[1];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] = rotl(v[2], 32);
	}
}

static uint64_t load_eight(const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return le64toh(word);
}

static uint64_t load_less(const unsigned char *p, size_t n)
{
	uint64_t word = 0;

	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)p[i] << (8 * i);
	return word;
}

uint64_t hash_siphash(const uint64_t key[2], struct slice s)
{
	uint64_t v[4] = {
		key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573,
	};
	const unsigned char *p = (const unsigned char *)s.p;
	size_t left = s.n;
	uint64_t word;

	for (; left >= 8; left -= 8, p += 8) {
		word = load_eight(p);
		v[3] ^= word;
		sip_rounds(v, 2);
		v[0] ^= word;
	}
	word = load_less(p, left) | (uint64_t)s.n << 56;
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_bytes(struct slice key)
{
	pthread_once(&sip_once, sip_draw_key);
	return hash_siphash(sip_key, key);
}

struct hash *hash_new(void)
{
	return NEW(struct hash); /* buckets come with the first entry */
}

void hash_free(struct hash *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->nr_buckets; i++) {
		for (struct entry *e = h->buckets[i], *next; e; e = next) {
			next = e->next;
			free(e);
		}
	}
	free(h->buckets);
	free(h);
}

size_t hash_count(const struct hash *h)
{
	return h->count;
}

static void resize(struct hash *h, size_t nr)
{
	struct entry **buckets = mem_alloc(nr * sizeof *buckets);

	for (size_t i = 0; i < h->nr_buckets; i++) {
		for (struct entry *e = h->buckets[i], *next; e; e = next) {
			next = e->next;
			e->next = buckets[e->hash & (nr - 1)];
			buckets[e->hash & (nr - 1)] = e;
		}
	}
	free(h->buckets);
	h->buckets = buckets;
	h->nr_buckets = nr;
}

/* The link that points at the entry, or at the end of its chain. NULL while the table has no buckets. */
static struct entry **find(const struct hash *h, struct slice key, uint64_t hash)
{
	if (h->nr_buckets == 0)
		return NULL;
	struct entry **at = &h->buckets[hash & (h->nr_buckets - 1)];

	for (; *at; at = &(*at)->next) {
		struct entry *e = *at;

		if (e->hash == hash && slice_eq((struct slice){e->key, e->key_len}, key))
			break;
	}
	return at;
}

void *hash_get(const struct hash *h, struct slice key)
{
	struct entry **at = find(h, key, hash_bytes(key));

	return at && *at ? (*at)->value : NULL;
}

void *hash_put(struct hash *h, struct slice key, void *value)
{
	uint64_t hash = hash_bytes(key);
	struct entry **at = find(h, key, hash);

	if (at && *at) {
		void *old = (*at)->value;

		(*at)->value = value;
		return old;
	}
	if (h->nr_buckets == 0)
		resize(h, BUCKETS_MIN);
	else if (h->count >= h->nr_buckets && h->walkers == 0)
		resize(h, h->nr_buckets * 2);

	struct entry *e = mem_alloc(sizeof *e + key.n);
	struct entry **bucket = &h->buckets[hash & (h->nr_buckets - 1)];
	*e = (struct entry){.next = *bucket, .hash = hash, .value = value, .key_len = key.n};
	if (key.n != 0)
		memcpy(e->key, key.p, key.n);
	*bucket = e;
	h->count++;
	return NULL;
}

void *hash_del(struct hash *h, struct slice key)
{
	struct entry **at = find(h, key, hash_bytes(key));

	if (at == NULL || *at == NULL)
		return NULL;
	struct entry *e = *at;
	void *value = e->value;

	*at = e->next;
	free(e);
	h->count--;
	/* an eighth, not a half: a table that breathes must not be rebuilt at each breath */
	if (h->walkers == 0 && h->nr_buckets > BUCKETS_MIN && h->count < h->nr_buckets / 8)
		resize(h, h->nr_buckets / 2);
	return value;
}

int hash_each(struct hash *h, int (*fn)(void *arg, struct slice key, void *value), void *arg)
{
	int stop = 0;

	h->walkers++;
	for (size_t i = 0; i < h->nr_buckets && stop == 0; i++) {
		for (struct entry *e = h->buckets[i], *next; e && stop == 0; e = next) {
			next = e->next;
			stop = fn(arg, (struct slice){e->key, e->key_len}, e->value);
		}
	}
	h->walkers--;
	return stop;
}
