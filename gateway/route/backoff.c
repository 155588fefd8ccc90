/* A table of the domains that failed, in the order in which they were last asked about. Those that work are not in it. */
#include "route/backoff.h"

#include <stdlib.h>

#include "common/hash.h"
#include "common/mem.h"

struct entry {
	char *domain;
	unsigned nr_failures;
	int reason;
	bool probing;                     /* an attempt is under way */
	uint64_t until_ms;
	uint64_t hint_at_ms;              /* when a hint counts again */
	struct entry *older, *newer;
};

struct backoff {
	struct hash *by_domain;
	struct entry *oldest, *newest;
	uint32_t (*random)(void *arg, uint32_t below);
	void *arg;
};

struct backoff *backoff_new(uint32_t (*random)(void *arg, uint32_t below), void *arg)
{
	struct backoff *b = NEW(struct backoff);

	b->by_domain = hash_new();
	b->random = random;
	b->arg = arg;
	return b;
}

static void unlink_entry(struct backoff *b, struct entry *e)
{
	*(e->older ? &e->older->newer : &b->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &b->newest) = e->older;
}

static void link_newest(struct backoff *b, struct entry *e)
{
	e->older = b->newest;
	e->newer = NULL;
	*(b->newest ? &b->newest->newer : &b->oldest) = e;
	b->newest = e;
}

static void forget(struct backoff *b, struct entry *e)
{
	unlink_entry(b, e);
	hash_del(b->by_domain, slice_str(e->domain));
	free(e->domain);
	free(e);
}

void backoff_free(struct backoff *b)
{
	if (b == NULL)
		return;
	while (b->oldest)
		forget(b, b->oldest);
	hash_free(b->by_domain);
	free(b);
}

static struct entry *find(struct backoff *b, const char *domain)
{
	return hash_get(b->by_domain, slice_str(domain));
}

static struct entry *make(struct backoff *b, const char *domain)
{
	struct entry *e;

	if (hash_count(b->by_domain) >= BACKOFF_DOMAINS_MAX)
		forget(b, b->oldest);
	e = NEW(struct entry);
	e->domain = mem_strdup(domain);
	hash_put(b->by_domain, slice_str(domain), e);
	link_newest(b, e);
	return e;
}

bool backoff_may(struct backoff *b, const char *domain, uint64_t now_ms, int *reason)
{
	struct entry *e = find(b, domain);

	if (e == NULL)
		return true;
	unlink_entry(b, e);
	link_newest(b, e);
	*reason = e->reason;
	if (e->probing || now_ms < e->until_ms)
		return false;
	e->probing = true;
	return true;
}

/* Doubling, then a quarter less to a quarter more, so that what failed together is not tried together. */
static uint64_t delay_ms(struct backoff *b, unsigned nr_failures)
{
	uint64_t ms = BACKOFF_FIRST_MS;

	for (unsigned i = 1; i < nr_failures && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	ms = ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
	return ms - ms / 4 + b->random(b->arg, (uint32_t)(ms / 2 + 1));
}

void backoff_failed(struct backoff *b, const char *domain, uint64_t now_ms, int reason)
{
	struct entry *e = find(b, domain);

	/* Several that were under way when the first of them failed are one failure. */
	if (e != NULL && !e->probing && now_ms < e->until_ms)
		return;
	if (e == NULL)
		e = make(b, domain);
	e->probing = false;
	e->nr_failures++;
	e->reason = reason;
	e->until_ms = now_ms + delay_ms(b, e->nr_failures);
}

void backoff_reached(struct backoff *b, const char *domain, uint64_t now_ms)
{
	struct entry *e = find(b, domain);

	if (e == NULL)
		return;
	e->probing = false;
	e->until_ms = now_ms;
}

void backoff_worked(struct backoff *b, const char *domain)
{
	struct entry *e = find(b, domain);

	if (e != NULL)
		forget(b, e);
}

void backoff_abandoned(struct backoff *b, const char *domain)
{
	struct entry *e = find(b, domain);

	if (e != NULL)
		e->probing = false;
}

void backoff_hint(struct backoff *b, const char *domain, uint64_t now_ms)
{
	struct entry *e = find(b, domain);

	if (e == NULL || e->until_ms <= now_ms || now_ms < e->hint_at_ms)
		return;
	e->until_ms = now_ms;
	e->hint_at_ms = now_ms + BACKOFF_HINT_MS;
}

size_t backoff_count(const struct backoff *b)
{
	return hash_count(b->by_domain);
}
