/*
 * Nobody owns a redirect, so nothing renews it and nothing withdraws it: it is told once to each registry, and again where an answer was
 * lost. A version that a registry holds already is exceeded as long as none has noted ours; afterwards somebody else has spoken, and ours
 * is over. What was only offered gives way at once.
 */
#include "svcproto/announcer_redirects.h"

#include <stdlib.h>
#include <string.h>

#include "svcproto/otherhost.h"
#include "svcproto/redirects.h"

#define BUCKETS 4096u

struct redirect_out {
	struct redirect_out *chain;
	TAILQ_ENTRY(redirect_out) all;
	uint64_t version, until_ms;
	uint32_t asked, noted, refused; /* a bit for each registry */
	bool gone;
	bool yields;                    /* to whatever counts already */
	char *host;                     /* NULL with gone */
	char name[];
};

struct redirects_out {
	TAILQ_HEAD(, redirect_out) all;
	struct redirect_out *buckets[BUCKETS];
	size_t nr;
};

static uint32_t bit(const struct registry *r)
{
	return 1u << r->source;
}

static struct redirect_out **chain_of(struct redirects_out *out, const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return &out->buckets[(h ^ h >> 16) % BUCKETS];
}

static struct redirect_out *find(struct redirects_out *out, const char *name)
{
	struct redirect_out *o = *chain_of(out, name);

	while (o != NULL && strcmp(o->name, name) != 0)
		o = o->chain;
	return o;
}

static void drop(struct redirects_out *out, struct redirect_out *o)
{
	struct redirect_out **p = chain_of(out, o->name);

	while (*p != o)
		p = &(*p)->chain;
	*p = o->chain;
	TAILQ_REMOVE(&out->all, o, all);
	out->nr--;
	free(o->host);
	free(o);
}

void redirects_out_free(struct announcer *a)
{
	struct redirect_out *o;

	while (a->redirects != NULL && (o = TAILQ_FIRST(&a->redirects->all)) != NULL)
		drop(a->redirects, o);
	free(a->redirects);
	a->redirects = NULL;
}

static int make_store(struct announcer *a)
{
	if (a->redirects != NULL)
		return 0;
	a->redirects = calloc(1, sizeof(*a->redirects));
	if (a->redirects == NULL)
		return SVCPROTO_E_NOMEM;
	TAILQ_INIT(&a->redirects->all);
	return 0;
}

static int set(struct announcer *a, const char *name, const char *host, bool yields, uint64_t version, uint64_t until_ms)
{
	size_t n = strlen(name) + 1;
	struct redirect_out *o, *old;

	if (make_store(a) != 0 || (o = calloc(1, sizeof(*o) + n)) == NULL)
		return SVCPROTO_E_NOMEM;
	memcpy(o->name, name, n);
	o->host = host != NULL ? strdup(host) : NULL;
	if (host != NULL && o->host == NULL) {
		free(o);
		return SVCPROTO_E_NOMEM;
	}
	o->gone = host == NULL;
	o->yields = yields;
	o->version = version;
	o->until_ms = until_ms;
	old = find(a->redirects, name);
	if (old != NULL) {
		o->version = version > old->version ? version : old->version + 1;
		drop(a->redirects, old);
	}
	o->chain = *chain_of(a->redirects, name);
	*chain_of(a->redirects, name) = o;
	TAILQ_INSERT_TAIL(&a->redirects->all, o, all);
	a->redirects->nr++;
	return 0;
}

static bool may_be_set(const char *name, const char *host, uint32_t lease_ms)
{
	return strlen(name) <= REDIRECT_NAME_MAX && redirect_name_ok(name) && other_host_ok(host) && lease_ms > 0 &&
	       lease_ms <= REDIRECT_MAX_MS;
}

int announcer_set_redirect(struct announcer *a, const char *name, const char *host, uint32_t lease_ms, uint64_t wall_ms, uint64_t now_ms)
{
	return may_be_set(name, host, lease_ms) ? set(a, name, host, false, wall_ms, now_ms + lease_ms) : SVCPROTO_E_INVALID;
}

/* Below the version of all that somebody has set and that has not ended, and of the tombstones of it. */
int announcer_offer_redirect(struct announcer *a, const char *name, const char *host, uint32_t lease_ms, uint64_t wall_ms, uint64_t now_ms)
{
	uint64_t version = wall_ms > REDIRECT_MAX_MS ? wall_ms - REDIRECT_MAX_MS : 1;

	if (!may_be_set(name, host, lease_ms))
		return SVCPROTO_E_INVALID;
	if (a->redirects != NULL && find(a->redirects, name) != NULL)
		return 0;
	return set(a, name, host, true, version, now_ms + lease_ms);
}

int announcer_remove_redirect(struct announcer *a, const char *name, uint64_t wall_ms, uint64_t now_ms)
{
	if (strlen(name) > REDIRECT_NAME_MAX || !redirect_name_ok(name))
		return SVCPROTO_E_INVALID;
	return set(a, name, NULL, false, wall_ms, now_ms + REDIRECT_TOMBSTONE_MS);
}

size_t announcer_nr_redirects(const struct announcer *a)
{
	return a->redirects != NULL ? a->redirects->nr : 0;
}

size_t announcer_nr_redirects_unheard(const struct announcer *a)
{
	const struct redirect_out *o;
	size_t nr = 0;

	if (a->redirects == NULL)
		return 0;
	TAILQ_FOREACH(o, &a->redirects->all, all)
	nr += (o->noted | o->refused) == 0;
	return nr;
}

static struct entry as_entry(const struct announcer *a, const struct redirect_out *o, uint64_t now_ms)
{
	struct entry e = { .kind = DIR_REDIRECT, .version = o->version, .name = o->name, .host = o->host, .gone = o->gone,
			   .lease_ms = (uint32_t)(o->until_ms - now_ms) };

	memcpy(e.key, a->key, sizeof(e.key));
	return e;
}

/* One message's worth from `o` on; the first that is not in it. Those that are in it are asked. */
static struct redirect_out *fill(struct registry *r, struct redirect_out *o, uint64_t now_ms)
{
	struct redirect_out *next;
	struct entry e;

	reg_begin(&r->a->message, 0, 0);
	for (; o != NULL; o = next) {
		next = TAILQ_NEXT(o, all);
		if (o->until_ms <= now_ms) {
			drop(r->a->redirects, o);
			continue;
		}
		if (((o->asked | o->noted | o->refused) & bit(r)) != 0)
			continue;
		e = as_entry(r->a, o, now_ms);
		if (!reg_put_entry(&r->a->message, &e))
			return o;
		o->asked |= bit(r);
	}
	return NULL;
}

bool redirects_out_announce(struct registry *r, uint64_t now_ms, bool (*send)(struct registry *r))
{
	struct redirect_out *o = r->a->redirects != NULL ? TAILQ_FIRST(&r->a->redirects->all) : NULL;

	while (o != NULL) {
		o = fill(r, o, now_ms);
		if (r->a->message.n > WIRE_BATCH_HEADER && !send(r)) {
			redirects_out_again(r); /* also what was in earlier messages: the registry knows it then */
			return false;
		}
	}
	return true;
}

void redirects_out_again(struct registry *r)
{
	struct redirect_out *o;

	if (r->a->redirects == NULL)
		return;
	TAILQ_FOREACH(o, &r->a->redirects->all, all) {
		o->asked &= ~bit(r);
		o->refused &= ~bit(r);
	}
}

static bool all_answered(const struct announcer *a, const struct redirect_out *o)
{
	return (o->noted | o->refused) == (a->nr == REG_SOURCES ? (1u << REG_SOURCES) - 1 : (1u << a->nr) - 1);
}

void redirects_out_noted(struct registry *r, const struct reg_frame *f)
{
	struct announcer *a = r->a;
	struct redirect_out *o = a->redirects != NULL ? find(a->redirects, f->e.name) : NULL;

	if (o == NULL || f->e.version < o->version)
		return; /* the answer to an older one */
	if (f->refused != NULL) {
		bool first = (o->refused | o->noted) == 0;

		o->refused |= bit(r);
		if (first) {
			announcer_refuse(a, f->refused);
			o = a->redirects != NULL ? find(a->redirects, f->e.name) : NULL; /* that may have been the end of it */
		}
		if (o == NULL || (o->refused & bit(r)) == 0)
			return;
	} else if (f->e.version == o->version) {
		o->noted |= bit(r);
	} else if (o->noted == 0 && !o->yields) {
		o->version = f->e.version + 1;
		o->asked = o->refused = 0;
		return;
	} else {
		drop(a->redirects, o);
		return;
	}
	if (all_answered(a, o))
		drop(a->redirects, o);
}
