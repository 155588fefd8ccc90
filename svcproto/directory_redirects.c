/*
 * Redirects go by their own time or by a removal, whatever registries come and go: a lost registry, or an empty one, changes nothing here.
 */
#include "svcproto/directory_redirects.h"

#include "svcproto/otherhost.h"

#define REDIRECTS_KEPT_MAX 1000000u /* more than a registry takes */

int directory_redirects_feed(struct redirects *rs, const struct entry *e, uint64_t now_ms)
{
	uint32_t lease = e->lease_ms < REDIRECT_MAX_MS ? e->lease_ms : REDIRECT_MAX_MS;
	struct redirect r = { .name = e->name, .host = e->gone ? NULL : e->host, .key = e->key, .version = e->version,
			      .until_ms = now_ms + lease };

	if (!redirect_name_ok(e->name) || (!e->gone && !other_host_ok(e->host)) || redirects_count(rs) >= REDIRECTS_KEPT_MAX)
		return 0;
	return redirects_put(rs, &r, now_ms) < 0 ? SVCPROTO_E_NOMEM : 0;
}

/* A registry has judged it; the keys may have changed since. */
static bool permitted(const struct keyset *keys, const struct redirect *r)
{
	enum directory_role role = keyset_role(keys, r->key);

	return r->host != NULL &&
	       (role == DIR_ROLE_ADMIN ||
		(role == DIR_ROLE_SERVICE && keyset_may(keys, r->key, redirect_domain(r->name), SVCPROTO_CLIENT)));
}

const char *directory_redirects_find(const struct redirects *rs, const struct keyset *keys, const char *bare_jid, uint64_t now_ms)
{
	const char *domain = redirect_domain(bare_jid);
	struct redirect r;

	if (redirects_get(rs, bare_jid, now_ms, &r) && permitted(keys, &r))
		return r.host;
	if (domain != bare_jid && redirects_get(rs, domain, now_ms, &r) && permitted(keys, &r))
		return r.host;
	return NULL;
}

struct each_redirect {
	const struct keyset *keys;
	uint64_t now_ms;
	int (*fn)(void *arg, const struct directory_redirect *r);
	void *arg;
};

static int give_redirect(void *arg, const struct redirect *r)
{
	struct each_redirect *q = arg;
	struct directory_redirect out = { .name = r->name, .host = r->host, .key = r->key, .left_ms = r->until_ms - q->now_ms };

	return permitted(q->keys, r) ? q->fn(q->arg, &out) : 0;
}

int directory_redirects_each(const struct redirects *rs, const struct keyset *keys, uint64_t now_ms,
			     int (*fn)(void *arg, const struct directory_redirect *r), void *arg)
{
	struct each_redirect q = { keys, now_ms, fn, arg };

	return redirects_each(rs, now_ms, give_redirect, &q);
}
