/*
 * A redirect belongs to nobody's life: it has no owner, its version is its setter's clock, and it ends by itself. Who may set one may
 * also replace and remove what another set.
 */
#include "registry/redirecting.h"

#include <stdio.h>
#include <string.h>

#include "svcproto/otherhost.h"
#include "svcproto/regmsg.h"

static const char *malformed(const struct entry *e)
{
	if (!redirect_name_ok(e->name))
		return "the redirect names neither a user nor a domain";
	if (e->gone)
		return NULL;
	if (!other_host_ok(e->host))
		return "the redirect's host is none that a client can be sent to";
	return e->lease_ms == 0 ? "the redirect has ended" : NULL;
}

static const char *denied(const struct keyset *keys, const char *user, const struct entry *e, char *why, size_t size)
{
	const char *domain = redirect_domain(e->name);
	enum directory_role role = keyset_role(keys, user);

	if (role == DIR_ROLE_ADMIN || (role == DIR_ROLE_SERVICE && keyset_may(keys, user, domain, SVCPROTO_CLIENT)))
		return NULL;
	snprintf(why, size, "this key may not redirect users of %.160s", domain);
	return why;
}

static bool is_full(const struct redirects *rs, const char *user, const struct entry *e, uint64_t now_ms)
{
	struct redirect known;

	if (redirects_get(rs, e->name, now_ms, &known))
		return false;
	return redirects_count(rs) >= REDIRECTS_MAX || redirects_of_key(rs, user) >= REDIRECTS_PER_KEY;
}

const char *redirecting_announce(struct redirects *rs, const struct keyset *keys, const char *user, const struct entry *e, uint64_t now_ms,
				 struct entry *seen, bool *changed, char *why, size_t why_size)
{
	uint32_t lease = e->lease_ms < REDIRECT_MAX_MS ? e->lease_ms : REDIRECT_MAX_MS;
	struct redirect r = { .name = e->name, .host = e->gone ? NULL : e->host, .key = user, .version = e->version,
			      .until_ms = now_ms + (e->gone ? REDIRECT_TOMBSTONE_MS : lease) };
	struct redirect known;
	const char *no = malformed(e);
	int rc;

	*changed = false;
	if (no != NULL || (no = denied(keys, user, e, why, why_size)) != NULL)
		return no;
	if (is_full(rs, user, e, now_ms))
		return "there are too many redirects";
	rc = redirects_put(rs, &r, now_ms);
	if (rc < 0)
		return "the registry is out of memory";
	*changed = rc > 0;
	/* What is later than this says so by its version, which must then be greater. */
	if (rc == 0 && redirects_get(rs, e->name, now_ms, &known) && redirects_later(&known, &r))
		seen->version = known.version > r.version ? known.version : r.version + 1;
	return NULL;
}

int redirecting_restore(struct redirects *rs, const struct keyset *keys, const struct entry *e, uint64_t now_ms)
{
	struct redirect r = { .name = e->name, .host = e->gone ? NULL : e->host, .key = e->key, .version = e->version,
			      .until_ms = now_ms + (e->lease_ms < REDIRECT_MAX_MS ? e->lease_ms : REDIRECT_MAX_MS) };
	char why[256];

	if (malformed(e) != NULL || denied(keys, e->key, e, why, sizeof(why)) != NULL || redirects_count(rs) >= REDIRECTS_MAX)
		return 0;
	return redirects_put(rs, &r, now_ms) < 0 ? SVCPROTO_E_NOMEM : 0;
}

struct entry redirecting_entry(const struct redirect *r, uint64_t now_ms)
{
	uint64_t left = r->until_ms > now_ms ? r->until_ms - now_ms : 1;
	struct entry e = { .kind = DIR_REDIRECT, .version = r->version, .name = r->name, .host = r->host, .gone = r->host == NULL,
			   .lease_ms = left < REDIRECT_MAX_MS ? (uint32_t)left : REDIRECT_MAX_MS };

	memcpy(e.key, r->key, sizeof(e.key));
	return e;
}
