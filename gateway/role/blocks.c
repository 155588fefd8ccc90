#include "role/blocks.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "net/cidr.h"
#include "xml/jid.h"

/* One short array, looked through from end to end: it is empty nearly always, and bounded when it is not. What has ended goes when
 * somebody looks. */

struct block {
	char *name;             /* as shown: the domain, prepared, or the range */
	bool is_domain, below;  /* below: all domains under `name`, which then begins with "*." */
	struct cidr range;
	uint64_t until_ms;
};

struct blocks {
	struct block v[BLOCKS_MAX];
	size_t nr;
};

struct blocks *blocks_new(void)
{
	return NEW(struct blocks);
}

static void drop(struct blocks *b, size_t i)
{
	free(b->v[i].name);
	b->v[i] = b->v[--b->nr];
}

void blocks_free(struct blocks *b)
{
	if (b == NULL)
		return;
	while (b->nr > 0)
		drop(b, b->nr - 1);
	free(b);
}

static void drop_ended(struct blocks *b, uint64_t now_ms)
{
	for (size_t i = 0; i < b->nr;) {
		if (b->v[i].until_ms <= now_ms)
			drop(b, i);
		else
			i++;
	}
}

/* "10", "192.0.2" and "word" are typing errors, not servers. */
static bool looks_like_domain(struct slice t)
{
	size_t dot = t.n;

	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] == '/' || t.p[i] == '@')
			return false;
		dot = t.p[i] == '.' ? i : dot;
	}
	return slice_is(t, "localhost") || (dot + 1 < t.n && (t.p[dot + 1] < '0' || t.p[dot + 1] > '9'));
}

static bool parse(struct block *out, struct slice target)
{
	char *domain;
	int n;

	*out = (struct block){.is_domain = false};
	if (cidr_parse(&out->range, target)) {
		out->name = mem_slicedup(target);
		return true;
	}
	out->below = target.n > 2 && memcmp(target.p, "*.", 2) == 0;
	if (out->below)
		target = (struct slice){target.p + 2, target.n - 2};
	if (!looks_like_domain(target))
		return false;
	domain = jid_prep_domain(target);
	if (domain == NULL)
		return false;
	out->is_domain = true;
	n = asprintf(&out->name, "%s%s", out->below ? "*." : "", domain);
	ASSERT(n >= 0);
	free(domain);
	return true;
}

static bool same(const struct block *x, const struct block *y)
{
	if (x->is_domain || y->is_domain)
		return x->is_domain == y->is_domain && strcmp(x->name, y->name) == 0;
	return x->range.bits == y->range.bits && memcmp(x->range.address, y->range.address, sizeof x->range.address) == 0;
}

static struct block *find(struct blocks *b, const struct block *like)
{
	for (size_t i = 0; i < b->nr; i++) {
		if (same(&b->v[i], like))
			return &b->v[i];
	}
	return NULL;
}

int blocks_add(struct blocks *b, struct slice target, uint64_t until_ms, uint64_t now_ms)
{
	struct block new, *old;

	drop_ended(b, now_ms);
	if (!parse(&new, target))
		return -ERR_INVALID;
	old = find(b, &new);
	if (old != NULL || b->nr == BLOCKS_MAX) {
		free(new.name);
		if (old == NULL)
			return -ERR_LIMIT;
		old->until_ms = until_ms;
		return 0;
	}
	new.until_ms = until_ms;
	b->v[b->nr++] = new;
	return 0;
}

int blocks_remove(struct blocks *b, struct slice target)
{
	struct block like, *old;

	if (!parse(&like, target))
		return -ERR_INVALID;
	old = find(b, &like);
	free(like.name);
	if (old == NULL)
		return -ERR_NOTFOUND;
	drop(b, (size_t)(old - b->v));
	return 0;
}

bool blocks_address(struct blocks *b, const struct sockaddr *address, uint64_t now_ms)
{
	if (b->nr == 0)
		return false;
	drop_ended(b, now_ms);
	for (size_t i = 0; i < b->nr; i++) {
		if (!b->v[i].is_domain && cidr_has(&b->v[i].range, address))
			return true;
	}
	return false;
}

static bool is_below(const char *domain, const char *pattern)
{
	size_t n = strlen(domain), m = strlen(pattern + 1); /* ".example.org" */

	return n > m && strcmp(domain + n - m, pattern + 1) == 0;
}

bool blocks_domain(struct blocks *b, const char *domain, uint64_t now_ms)
{
	if (b->nr == 0)
		return false;
	drop_ended(b, now_ms);
	for (size_t i = 0; i < b->nr; i++) {
		const struct block *k = &b->v[i];

		if (k->is_domain && (k->below ? is_below(domain, k->name) : strcmp(domain, k->name) == 0))
			return true;
	}
	return false;
}

void blocks_each(struct blocks *b, uint64_t now_ms, void (*fn)(void *arg, const char *target, uint64_t until_ms), void *arg)
{
	drop_ended(b, now_ms);
	for (size_t i = 0; i < b->nr; i++)
		fn(arg, b->v[i].name, b->v[i].until_ms);
}

size_t blocks_nr(struct blocks *b, uint64_t now_ms)
{
	drop_ended(b, now_ms);
	return b->nr;
}
