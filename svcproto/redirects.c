/*
 * A chained hash whose nodes hold their texts in themselves, and an array of the keys, which are few. Everything ends by itself: a sweep
 * goes round and round, a part at a time, and looking up does not find what has ended.
 */
#include "svcproto/redirects.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <ambrosia/svcproto.h>

#include "svcproto/keyset.h"

#define CAP_MIN 64u
#define SWEEP_PARTS 64u
#define TICK_MS 1000u
#define LOCAL_MAX 1023u

struct setter {
	char key[41];
	uint32_t nr;
};

struct node {
	struct node *chain;
	uint64_t version, until_ms;
	uint32_t setter;       /* index of setters */
	uint16_t host_n;       /* 0: a tombstone */
	char text[];           /* name, NUL, host, NUL */
};

struct redirects {
	struct node **buckets;
	size_t cap, nr, bytes, swept;
	uint64_t tick_at_ms;
	struct setter *setters;
	uint32_t nr_setters, cap_setters;
};

/* Names are authorised before they come here, so nobody can aim at one chain. */
static size_t bucket_of(const struct redirects *rs, const char *name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32) & (rs->cap - 1);
}

struct redirects *redirects_new(void)
{
	struct redirects *rs = calloc(1, sizeof(*rs));

	if (rs == NULL)
		return NULL;
	rs->cap = CAP_MIN;
	rs->buckets = calloc(rs->cap, sizeof(*rs->buckets));
	if (rs->buckets != NULL)
		return rs;
	free(rs);
	return NULL;
}

void redirects_free(struct redirects *rs)
{
	if (rs == NULL)
		return;
	for (size_t i = 0; i < rs->cap; i++) {
		for (struct node *n = rs->buckets[i], *next; n != NULL; n = next) {
			next = n->chain;
			free(n);
		}
	}
	free(rs->buckets);
	free(rs->setters);
	free(rs);
}

static struct node **find(const struct redirects *rs, const char *name)
{
	struct node **p = &rs->buckets[bucket_of(rs, name)];

	while (*p != NULL && strcmp((*p)->text, name) != 0)
		p = &(*p)->chain;
	return p;
}

static struct redirect as_redirect(const struct redirects *rs, const struct node *n)
{
	return (struct redirect){ .name = n->text, .host = n->host_n > 0 ? n->text + strlen(n->text) + 1 : NULL,
				  .key = rs->setters[n->setter].key, .version = n->version, .until_ms = n->until_ms };
}

/* The same everywhere, also when two setters chose one version: then the greater text counts, and none is the smallest. */
bool redirects_later(const struct redirect *a, const struct redirect *b)
{
	if (a->version != b->version)
		return a->version > b->version;
	return strcmp(a->host != NULL ? a->host : "", b->host != NULL ? b->host : "") > 0;
}

static void grow(struct redirects *rs)
{
	size_t cap = rs->cap * 2;
	struct node **more = calloc(cap, sizeof(*more)), **old = rs->buckets;
	size_t old_cap = rs->cap;

	if (more == NULL)
		return; /* longer chains will do */
	rs->buckets = more;
	rs->cap = cap;
	for (size_t i = 0; i < old_cap; i++) {
		for (struct node *n = old[i], *next; n != NULL; n = next) {
			struct node **b = &more[bucket_of(rs, n->text)];

			next = n->chain;
			n->chain = *b;
			*b = n;
		}
	}
	free(old);
}

static struct setter *setter_of(const struct redirects *rs, const char *key)
{
	for (uint32_t i = 0; i < rs->nr_setters; i++)
		if (strcmp(rs->setters[i].key, key) == 0)
			return &rs->setters[i];
	return NULL;
}

/* Room for one more: the place of one that has nothing left, or behind the last. NULL: no memory. */
static struct setter *setter_room(struct redirects *rs)
{
	uint32_t cap = rs->cap_setters == 0 ? 8 : rs->cap_setters * 2;
	struct setter *more;

	for (uint32_t i = 0; i < rs->nr_setters; i++)
		if (rs->setters[i].nr == 0)
			return &rs->setters[i];
	if (rs->nr_setters == rs->cap_setters) {
		more = realloc(rs->setters, cap * sizeof(*more));
		if (more == NULL)
			return NULL;
		rs->setters = more;
		rs->cap_setters = cap;
	}
	return &rs->setters[rs->nr_setters++];
}

static struct setter *setter_get(struct redirects *rs, const char *key)
{
	struct setter *s = setter_of(rs, key);

	if (s != NULL)
		return s;
	s = setter_room(rs);
	if (s == NULL)
		return NULL;
	*s = (struct setter){ .nr = 0 };
	memcpy(s->key, key, strnlen(key, sizeof(s->key) - 1));
	return s;
}

static struct node *node_new(struct redirects *rs, const struct redirect *r)
{
	size_t name_n = strlen(r->name), host_n = r->host != NULL ? strlen(r->host) : 0;
	struct setter *s = setter_get(rs, r->key);
	struct node *n = s != NULL ? malloc(sizeof(*n) + name_n + host_n + 2) : NULL;

	if (n == NULL)
		return NULL;
	*n = (struct node){ .version = r->version, .until_ms = r->until_ms, .setter = (uint32_t)(s - rs->setters),
			    .host_n = (uint16_t)host_n };
	memcpy(n->text, r->name, name_n + 1);
	memcpy(n->text + name_n + 1, r->host != NULL ? r->host : "", host_n + 1);
	s->nr++;
	rs->nr++;
	rs->bytes += malloc_usable_size(n) + sizeof(size_t);
	return n;
}

static void node_remove(struct redirects *rs, struct node **p)
{
	struct node *n = *p;

	*p = n->chain;
	rs->setters[n->setter].nr--;
	rs->nr--;
	rs->bytes -= malloc_usable_size(n) + sizeof(size_t);
	free(n);
}

/* A tombstone lasts as long as what it removes would have. */
static void outlast(struct redirect *r, const struct redirect *old, uint64_t now_ms)
{
	if (r->host != NULL)
		return;
	if (r->until_ms < now_ms + REDIRECT_TOMBSTONE_MS)
		r->until_ms = now_ms + REDIRECT_TOMBSTONE_MS;
	if (old != NULL && r->until_ms < old->until_ms)
		r->until_ms = old->until_ms;
}

int redirects_put(struct redirects *rs, const struct redirect *r, uint64_t now_ms)
{
	struct node **p = find(rs, r->name), *n;
	struct redirect old, new = *r;
	bool known = *p != NULL && (*p)->until_ms > now_ms;

	if (known) {
		old = as_redirect(rs, *p);
		if (!redirects_later(r, &old))
			return 0;
	}
	outlast(&new, known ? &old : NULL, now_ms);
	n = node_new(rs, &new);
	if (n == NULL)
		return SVCPROTO_E_NOMEM;
	if (*p != NULL)
		node_remove(rs, p);
	n->chain = *p;
	*p = n;
	if (rs->nr > rs->cap)
		grow(rs);
	return 1;
}

bool redirects_get(const struct redirects *rs, const char *name, uint64_t now_ms, struct redirect *out)
{
	const struct node *n = *find(rs, name);

	if (n == NULL || n->until_ms <= now_ms)
		return false;
	*out = as_redirect(rs, n);
	return true;
}

int redirects_each(const struct redirects *rs, uint64_t now_ms, int (*fn)(void *arg, const struct redirect *r), void *arg)
{
	int rc = 0;

	for (size_t i = 0; i < rs->cap && rc == 0; i++) {
		for (const struct node *n = rs->buckets[i]; n != NULL && rc == 0; n = n->chain) {
			struct redirect r = as_redirect(rs, n);

			if (n->until_ms > now_ms)
				rc = fn(arg, &r);
		}
	}
	return rc;
}

size_t redirects_of_key(const struct redirects *rs, const char *key)
{
	const struct setter *s = setter_of(rs, key);

	return s != NULL ? s->nr : 0;
}

size_t redirects_count(const struct redirects *rs)
{
	return rs->nr;
}

size_t redirects_bytes(const struct redirects *rs)
{
	return rs->bytes + rs->cap * sizeof(*rs->buckets) + rs->cap_setters * sizeof(*rs->setters) + sizeof(*rs);
}

void redirects_tick(struct redirects *rs, uint64_t now_ms)
{
	size_t part = (rs->cap + SWEEP_PARTS - 1) / SWEEP_PARTS;

	if (now_ms < rs->tick_at_ms)
		return;
	rs->tick_at_ms = now_ms + TICK_MS;
	for (size_t k = 0; k < part; k++) {
		struct node **p = &rs->buckets[rs->swept++ & (rs->cap - 1)];

		while (*p != NULL) {
			if ((*p)->until_ms <= now_ms)
				node_remove(rs, p);
			else
				p = &(*p)->chain;
		}
	}
}

const char *redirect_domain(const char *name)
{
	const char *at = strchr(name, '@');

	return at != NULL ? at + 1 : name;
}

bool redirect_name_ok(const char *name)
{
	const char *domain = redirect_domain(name);
	size_t local_n = domain > name ? (size_t)(domain - name - 1) : 0;

	for (const char *p = name; p < domain; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f || *p == '/' || *p == ':' || *p == '<' || *p == '>' || *p == '&' || *p == '"' ||
		    *p == '\'')
			return false;
	return (domain == name || local_n > 0) && local_n <= LOCAL_MAX && keyset_domain_ok(domain, strlen(domain));
}
