/*
 * Counts failed logins by address. Sixteen thousand counters in sets of eight; a set is chosen by a keyed hash, so that nobody can aim at
 * another's counter. It is shared by all workers, since an address reaches any of them: hence a mutex, held for a look at one set.
 */
#include "auth/failures.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/hash.h"

#define SETS 2048
#define WAYS 8
#define WINDOW_MS 60000

struct counter {
	uint64_t key, since_ms;
	unsigned n;
};

struct failures {
	pthread_mutex_t mutex;
	struct counter set[SETS][WAYS];
};

struct failures *failures_new(void)
{
	struct failures *f = NEW(struct failures);

	pthread_mutex_init(&f->mutex, NULL);
	return f;
}

void failures_free(struct failures *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->mutex);
	free(f);
}

static uint64_t key_of(const char *address)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	unsigned char a[16];

	if (address && inet_pton(AF_INET6, address, a) == 1) {
		if (memcmp(a, mapped, sizeof mapped) == 0)
			return hash_bytes((struct slice){(const char *)a + 12, 4});
		return hash_bytes((struct slice){(const char *)a, 8});
	}
	if (address && inet_pton(AF_INET, address, a) == 1)
		return hash_bytes((struct slice){(const char *)a, 4});
	return hash_bytes(slice_str(address));
}

/* Each worker's clock is its loop's, so one may be a little before what another wrote. */
static bool counts(const struct counter *c, uint64_t now_ms)
{
	return c->n > 0 && now_ms < c->since_ms + WINDOW_MS;
}

static struct counter *find(struct failures *f, uint64_t key, uint64_t now_ms)
{
	struct counter *set = f->set[key % SETS];

	for (size_t i = 0; i < WAYS; i++)
		if (set[i].key == key && counts(&set[i], now_ms))
			return &set[i];
	return NULL;
}

static struct counter *replace(struct failures *f, uint64_t key, uint64_t now_ms)
{
	struct counter *set = f->set[key % SETS], *least = set;

	for (size_t i = 0; i < WAYS; i++) {
		if (!counts(&set[i], now_ms)) {
			least = &set[i];
			break;
		}
		if (set[i].n < least->n)
			least = &set[i];
	}
	*least = (struct counter){.key = key, .since_ms = now_ms};
	return least;
}

void failures_add(struct failures *f, const char *address, uint64_t now_ms)
{
	uint64_t key = key_of(address);
	struct counter *c;

	pthread_mutex_lock(&f->mutex);
	c = find(f, key, now_ms);
	if (!c)
		c = replace(f, key, now_ms);
	c->n++;
	pthread_mutex_unlock(&f->mutex);
}

unsigned failures_count(struct failures *f, const char *address, uint64_t now_ms)
{
	struct counter *c;
	unsigned n;

	pthread_mutex_lock(&f->mutex);
	c = find(f, key_of(address), now_ms);
	n = c ? c->n : 0;
	pthread_mutex_unlock(&f->mutex);
	return n;
}
