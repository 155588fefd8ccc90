/*
 * The table. An announcement is believed only as far as its connection's key goes: role, domain, and the key that it names. Withdrawn
 * entries stay as tombstones longer than any lease, so that an old announcement that comes late, or by another registry, raises nobody. An
 * entry whose lease ran out leaves one too, but its owner may come back with the same version.
 */
#include "registry/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/quota.h"
#include "registry/redirecting.h"
#include "svcproto/mutate.h"
#include "svcproto/regmsg.h"

struct registry_table {
	const struct registry_table_ops *ops;
	void *arg;
	struct entries entries;
	struct quota quota;  /* entries by key */
	struct redirects *redirects;
	struct keyset *keys;
	uint64_t next_ms;    /* nothing ends before */
};

struct registry_table *registry_table_new(const struct registry_table_ops *ops, void *arg)
{
	struct registry_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->redirects = redirects_new();
	if (t->redirects == NULL) {
		free(t);
		return NULL;
	}
	t->ops = ops;
	t->arg = arg;
	t->next_ms = UINT64_MAX;
	entries_init(&t->entries);
	return t;
}

void registry_table_free(struct registry_table *t)
{
	if (t == NULL)
		return;
	entries_clear(&t->entries);
	quota_clear(&t->quota);
	redirects_free(t->redirects);
	keyset_free(t->keys);
	free(t);
}

const struct keyset *registry_table_keys(const struct registry_table *t)
{
	return t->keys;
}

static void ends_at(struct registry_table *t, struct entry *e, uint64_t at_ms)
{
	e->until_ms = at_ms;
	if (at_ms < t->next_ms)
		t->next_ms = at_ms;
}

static const char *role_name(enum directory_role role)
{
	return role == DIR_ROLE_SERVICE ? "service" : role == DIR_ROLE_ADMIN ? "admin" : role == DIR_ROLE_GATEWAY ? "gateway" : "none";
}

/* The one place where an entry is allowed: NULL, or why not. */
static const char *denied(const struct registry_table *t, const struct entry *e, char *why, size_t size)
{
	enum directory_role role = keyset_role(t->keys, e->key), need = e->kind == DIR_GATEWAY ? DIR_ROLE_GATEWAY : DIR_ROLE_SERVICE;

	if (role == DIR_ROLE_NONE) {
		snprintf(why, size, "the registry does not know the key %s", e->key);
		return why;
	}
	if (role != need) {
		snprintf(why, size, "role %s may not announce a %s", role_name(role), e->kind == DIR_GATEWAY ? "gateway" : "registration");
		return why;
	}
	/* A tombstone names no types: whoever may hold the domain for any of them may let go of it. */
	if (e->kind == DIR_GATEWAY || (!e->gone && keyset_may(t->keys, e->key, e->name, e->types)) ||
	    (e->gone && (keyset_may(t->keys, e->key, e->name, SVCPROTO_CLIENT) || keyset_may(t->keys, e->key, e->name, SVCPROTO_SERVER))))
		return NULL;
	if (!keyset_may(t->keys, e->key, e->name, SVCPROTO_CLIENT) && !keyset_may(t->keys, e->key, e->name, SVCPROTO_SERVER))
		snprintf(why, size, "domain %.180s is not authorised for this key", e->name);
	else
		snprintf(why, size, "domain %.160s is not authorised for this key as type %s", e->name,
			 keyset_may(t->keys, e->key, e->name, SVCPROTO_CLIENT) ? "server" : "client");
	return why;
}

static const char *malformed(const char *user, const struct entry *e)
{
	if (strcmp(user, e->key) != 0)
		return "the entry names another key than the connection's";
	if (e->kind != DIR_GATEWAY && e->kind != DIR_REGISTRATION)
		return "this registry does not know that kind of entry";
	if (e->gone)
		return NULL;
	if (e->kind == DIR_GATEWAY)
		return strncmp(e->name, "tcp://", 6) == 0 ? NULL : "a gateway's endpoint begins with tcp://";
	if (!keyset_domain_ok(e->name, strlen(e->name)))
		return "the registration names no domain";
	return e->types != 0 && (e->types & ~(unsigned)(SVCPROTO_CLIENT | SVCPROTO_SERVER)) == 0
		       ? NULL
		       : "the registration has no type that is known";
}

static bool is_full(const struct registry_table *t, const char *key)
{
	return t->entries.nr >= TABLE_ENTRIES_MAX || quota_used(&t->quota, key) >= TABLE_ENTRIES_PER_KEY;
}

static bool same_content(const struct entry *a, const struct entry *b)
{
	return a->incarnation == b->incarnation && a->version == b->version && a->gone == b->gone;
}

/* What lasts longest is a tombstone. */
static const char *keep(struct registry_table *t, const struct entry *e, const struct entry *old, uint64_t now_ms)
{
	bool changed = old == NULL ? !e->gone : !same_content(e, old);
	uint32_t lease = e->lease_ms == 0 || e->lease_ms > REG_LEASE_MAX_MS ? REG_LEASE_MAX_MS : e->lease_ms;
	struct entry *kept;

	if (old == NULL && !quota_take(&t->quota, e->key))
		return "the registry is out of memory";
	kept = entries_put(&t->entries, e);
	if (kept == NULL) {
		if (old == NULL)
			quota_give_back(&t->quota, e->key);
		return "the registry is out of memory";
	}
	kept->lease_ms = lease;
	ends_at(t, kept, now_ms + (!e->gone ? lease : MUTATED(TABLE_FORGETS) ? 0 : REG_TOMBSTONE_MS));
	if (changed)
		t->ops->changed(t->arg, kept);
	return NULL;
}

static const char *announce_redirect(struct registry_table *t, const char *user, const struct entry *e, uint64_t now_ms, struct entry *seen,
				     char *why, size_t why_size)
{
	struct redirect r;
	struct entry now;
	bool changed;
	const char *no = redirecting_announce(t->redirects, t->keys, user, e, now_ms, seen, &changed, why, why_size);

	if (changed && redirects_get(t->redirects, e->name, now_ms, &r)) {
		now = redirecting_entry(&r, now_ms);
		t->ops->changed(t->arg, &now);
	}
	return no;
}

const char *registry_table_announce(struct registry_table *t, const char *user, const struct entry *e, uint64_t now_ms, struct entry *seen,
				    char *why, size_t why_size)
{
	const struct entry *old;
	const char *no = malformed(user, e);
	int order;

	*seen = *e;
	if (e->kind == DIR_REDIRECT)
		return announce_redirect(t, user, e, now_ms, seen, why, why_size);
	if (no != NULL || (no = denied(t, e, why, why_size)) != NULL)
		return no;
	old = entries_find(&t->entries, e);
	order = old != NULL ? entry_compare(e, old) : 1;
	if (order > 0 && old == NULL && is_full(t, user))
		return "the registry is full";
	/* The same version again is a renewal, but for what the owner itself withdrew. */
	if (order > 0 || (order == 0 && (!old->gone || old->expired)))
		return keep(t, e, old, now_ms);
	seen->incarnation = old->incarnation;
	seen->version = order == 0 && !e->gone ? old->version + 1 : old->version;
	return NULL;
}

int registry_table_restore(struct registry_table *t, const struct entry *e, uint64_t now_ms)
{
	return redirecting_restore(t->redirects, t->keys, e, now_ms);
}

size_t registry_table_renew(struct registry_table *t, const char *user, const struct svc_id *owner, uint64_t incarnation, uint64_t now_ms,
			    uint64_t *version)
{
	struct entry *e;
	size_t nr = 0;

	*version = 0;
	for (e = entries_next_of_owner(&t->entries, owner, NULL); e != NULL; e = entries_next_of_owner(&t->entries, owner, e)) {
		if (e->gone || e->incarnation != incarnation || strcmp(e->key, user) != 0)
			continue;
		ends_at(t, e, now_ms + e->lease_ms);
		nr++;
		*version = e->version > *version ? e->version : *version;
	}
	return nr;
}

static void drop(struct registry_table *t, struct entry *e)
{
	quota_give_back(&t->quota, e->key);
	entries_remove(&t->entries, e);
}

static void expire(struct registry_table *t, struct entry *e, bool died, uint64_t now_ms)
{
	e->gone = e->expired = true;
	e->ended = died;
	ends_at(t, e, now_ms + REG_TOMBSTONE_MS);
	t->ops->changed(t->arg, e);
}

size_t registry_table_end(struct registry_table *t, const char *user, const struct svc_id *owner, bool died, uint64_t now_ms)
{
	struct entry *e;
	size_t nr = 0;

	for (e = entries_next_of_owner(&t->entries, owner, NULL); e != NULL; e = entries_next_of_owner(&t->entries, owner, e)) {
		if (e->gone || strcmp(e->key, user) != 0)
			continue;
		expire(t, e, died, now_ms);
		nr++;
	}
	return nr;
}

uint64_t registry_table_tick(struct registry_table *t, uint64_t now_ms)
{
	struct entry *e, *next;

	redirects_tick(t->redirects, now_ms);
	if (now_ms < t->next_ms)
		return t->next_ms;
	t->next_ms = UINT64_MAX;
	for (e = TAILQ_FIRST(&t->entries.all); e != NULL; e = next) {
		next = TAILQ_NEXT(e, all);
		if (e->until_ms > now_ms)
			ends_at(t, e, e->until_ms);
		else if (e->gone)
			drop(t, e);
		else
			expire(t, e, false, now_ms);
	}
	return t->next_ms;
}

void registry_table_set_keys(struct registry_table *t, struct keyset *keys, uint64_t now_ms)
{
	struct keyset *old = t->keys;
	struct entry *e;
	char why[256];

	t->keys = keys;
	keyset_free(old);
	TAILQ_FOREACH(e, &t->entries.all, all)
		if (!e->gone && denied(t, e, why, sizeof(why)) != NULL)
			expire(t, e, false, now_ms);
}

const struct entry *registry_table_next(const struct registry_table *t, const struct entry *last)
{
	const struct entry *e = last != NULL ? TAILQ_NEXT(last, all) : TAILQ_FIRST(&t->entries.all);

	while (e != NULL && e->gone)
		e = TAILQ_NEXT(e, all);
	return e;
}

const struct redirects *registry_table_redirects(const struct registry_table *t)
{
	return t->redirects;
}
