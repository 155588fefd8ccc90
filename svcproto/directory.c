/*
 * The merged view of the registries. An entry is shown when the key that announced it may: the keys come from the same registries and are
 * checked here once more, whatever the registry let pass. Only a registry that has been up for a lease's length can make an entry go,
 * unless its owner withdrew it; what has a live link stays.
 */
#include "svcproto/directory.h"

#include "svcproto/directory_feed.h"
#include "svcproto/directory_redirects.h"
#include "svcproto/ever.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "svcproto/keyset.h"
#include "svcproto/mutate.h"

#define NEVER UINT64_MAX

struct source {
	bool live;               /* its last snapshot is in force */
	uint64_t mature_at_ms;   /* from then on it would know of every living owner */
	struct keyset *keys;     /* the set that it named last, or NULL */
	char *text;              /* of that */
	size_t text_n;
	char *parts;             /* of the set that is coming */
	size_t parts_n;
	uint64_t serial;
	uint32_t next_part;
};

struct linked {
	struct svc_id id;
	char key[41];
	struct linked *next;
};

struct directory {
	const struct directory_ops *ops;
	void *arg;
	struct entries entries;
	struct redirects *redirects;
	struct source sources[REG_SOURCES + 1]; /* the last: what was kept on disk, DIRECTORY_KEPT */
	const struct source *in_force;          /* whose keys are */
	const struct keyset *keys;              /* these */
	struct linked *linked;
	struct ever ever;
	uint64_t look_at_ms;         /* no entry ends before */
};

struct directory *directory_new(const struct directory_ops *ops, void *arg)
{
	struct directory *d = calloc(1, sizeof(*d));

	if (d == NULL || (d->redirects = redirects_new()) == NULL) {
		free(d);
		return NULL;
	}
	d->ops = ops;
	d->arg = arg;
	entries_init(&d->entries);
	return d;
}

void directory_free(struct directory *d)
{
	if (d == NULL)
		return;
	entries_clear(&d->entries);
	redirects_free(d->redirects);
	for (unsigned i = 0; i <= DIRECTORY_KEPT; i++) {
		keyset_free(d->sources[i].keys);
		free(d->sources[i].text);
		free(d->sources[i].parts);
	}
	ever_clear(&d->ever);
	for (struct linked *l = d->linked, *next; l != NULL; l = next) {
		next = l->next;
		free(l);
	}
	free(d);
}

/* ---- showing ---- */

static struct directory_gateway as_gateway(const struct entry *e)
{
	return (struct directory_gateway){ .owner = e->owner, .incarnation = e->incarnation, .endpoint = e->name, .key = e->key,
					   .public_host = e->public_host, .client_port = (uint16_t)e->client_port, .load = e->load,
					   .draining = e->draining };
}

static struct directory_registration as_registration(const struct entry *e)
{
	return (struct directory_registration){ .instance = e->owner, .incarnation = e->incarnation, .key = e->key, .domain = e->name,
						.types = e->types, .policy = e->policy, .weight = e->weight,
						.locate_open = e->locate_open, .certificates_only = e->certificates_only,
						.reopens = e->reopens, .draining = e->draining };
}

static void tell(struct directory *d, const struct entry *e, bool gone)
{
	if (d->ops == NULL)
		return;
	if (e->kind == DIR_GATEWAY && d->ops->gateway != NULL) {
		struct directory_gateway g = as_gateway(e);

		d->ops->gateway(d->arg, &g, gone);
	} else if (e->kind == DIR_REGISTRATION && d->ops->registration != NULL) {
		struct directory_registration r = as_registration(e);

		d->ops->registration(d->arg, &r, gone);
	}
}

static bool permitted(const struct directory *d, const struct entry *e)
{
	if (e->kind == DIR_GATEWAY)
		return keyset_role(d->keys, e->key) == DIR_ROLE_GATEWAY;
	return keyset_role(d->keys, e->key) == DIR_ROLE_SERVICE && (keyset_may(d->keys, e->key, e->name, e->types & SVCPROTO_CLIENT) ||
								    keyset_may(d->keys, e->key, e->name, e->types & SVCPROTO_SERVER));
}

/* Brings what the events said in line with what is so. */
static void show(struct directory *d, struct entry *e, bool changed)
{
	bool now = !e->gone && permitted(d, e), before = e->shown;

	e->shown = now;
	if (now && e->kind == DIR_REGISTRATION)
		ever_add(&d->ever, e->name);
	if (now && (!before || changed))
		tell(d, e, false);
	else if (!now && before)
		tell(d, e, true);
}

/* ---- deleting ---- */

static bool is_that(const struct linked *l, const char *key, const struct svc_id *id)
{
	return memcmp(&l->id, id, sizeof(*id)) == 0 && strcmp(l->key, key) == 0;
}

static bool is_linked(const struct directory *d, const struct entry *e)
{
	const struct linked *l = d->linked;

	while (l != NULL && !is_that(l, e->key, &e->owner))
		l = l->next;
	return l != NULL;
}

/* Something ends, or is in doubt, that was not before. */
static void look_again(struct directory *d)
{
	d->look_at_ms = 0;
}

int directory_set_linked(struct directory *d, const char *key_z85, const struct svc_id *owner, bool linked)
{
	struct linked **p = &d->linked, *l;

	while (*p != NULL && !is_that(*p, key_z85, owner))
		p = &(*p)->next;
	if (linked == (*p != NULL))
		return 0;
	if (linked) {
		l = malloc(sizeof(*l));
		if (l == NULL)
			return SVCPROTO_E_NOMEM;
		*l = (struct linked){ .id = *owner, .next = d->linked };
		snprintf(l->key, sizeof(l->key), "%s", key_z85);
		d->linked = l;
		return 0;
	}
	l = *p;
	*p = l->next;
	free(l);
	look_again(d);
	return 0;
}

static uint64_t somebody_knows_at(const struct directory *d)
{
	uint64_t at = NEVER;

	for (unsigned i = 0; i < REG_SOURCES; i++)
		if (d->sources[i].live && d->sources[i].mature_at_ms < at)
			at = d->sources[i].mature_at_ms;
	return at;
}

static void drop(struct directory *d, struct entry *e)
{
	if (e->shown)
		tell(d, e, true);
	entries_remove(&d->entries, e);
}

uint64_t directory_feed_tick(struct directory *d, uint64_t now_ms)
{
	uint64_t known_at = MUTATED(EMPTY_ERASES) ? now_ms : somebody_knows_at(d), next = NEVER;
	struct entry *e, *after;

	redirects_tick(d->redirects, now_ms);
	if (now_ms < d->look_at_ms)
		return d->look_at_ms;
	for (e = TAILQ_FIRST(&d->entries.all); e != NULL; e = after) {
		uint64_t at = e->gone ? e->until_ms : NEVER;

		if (!e->gone && e->sources == 0 && (!is_linked(d, e) || MUTATED(LINKED_ERASED)))
			at = known_at;
		after = TAILQ_NEXT(e, all);
		if (at <= now_ms)
			drop(d, e);
		else if (at < next)
			next = at;
	}
	d->look_at_ms = next;
	return next;
}

/* ---- the feed ---- */

void directory_feed_begin(struct directory *d, unsigned source)
{
	struct entry *e;

	TAILQ_FOREACH(e, &d->entries.all, all)
		e->seen &= ~(1u << source);
}

void directory_feed_end(struct directory *d, unsigned source, uint64_t up_ms, uint64_t now_ms)
{
	uint32_t bit = 1u << source;
	struct entry *e;

	d->sources[source].live = true;
	d->sources[source].mature_at_ms = up_ms >= REG_LEASE_MAX_MS ? now_ms : now_ms + (REG_LEASE_MAX_MS - up_ms);
	TAILQ_FOREACH(e, &d->entries.all, all)
		if ((e->seen & bit) == 0)
			e->sources &= ~bit;
	look_again(d);
	(void)directory_feed_tick(d, now_ms);
}

void directory_feed_lost(struct directory *d, unsigned source)
{
	struct entry *e;

	d->sources[source].live = false;
	TAILQ_FOREACH(e, &d->entries.all, all)
		e->sources &= ~(1u << source);
	look_again(d);
}

static bool same_content(const struct entry *a, const struct entry *b)
{
	return a->incarnation == b->incarnation && a->types == b->types && a->policy == b->policy && a->weight == b->weight &&
	       a->locate_open == b->locate_open && a->certificates_only == b->certificates_only && a->reopens == b->reopens &&
	       a->client_port == b->client_port &&
	       a->load == b->load && a->draining == b->draining && a->gone == b->gone &&
	       strcmp(a->public_host != NULL ? a->public_host : "", b->public_host != NULL ? b->public_host : "") == 0;
}

/* A lease ran out there: that registry has seen a whole lease go by without the owner, so its word counts however young it is. */
static void expire(struct directory *d, struct entry *old, uint32_t bit)
{
	old->sources &= ~bit;
	look_again(d);
	if ((old->sources == 0 || MUTATED(EXPIRY_BY_ONE)) && !old->gone && !is_linked(d, old))
		drop(d, old);
}

static int feed_owned(struct directory *d, unsigned source, const struct entry *e, uint64_t now_ms)
{
	struct entry *old = entries_find(&d->entries, e), *kept;
	uint32_t bit = 1u << source;
	int order = old != NULL ? entry_compare(e, old) : 1;
	bool changed;

	if (e->gone && e->expired) {
		if (old != NULL && order >= 0)
			expire(d, old, bit);
		else if (old != NULL)
			old->sources &= ~bit; /* it held an older one, and holds none now */
		look_again(d);
		return 0;
	}
	if (order < 0) {
		/* It has missed the news, and the owner is alive there all the same. */
		old->sources |= e->gone ? 0 : bit;
		old->seen |= bit;
		return 0;
	}
	if (order > 0 || e->gone != old->gone) {
		changed = old == NULL || !same_content(e, old);
		kept = entries_put(&d->entries, e);
		if (kept == NULL)
			return SVCPROTO_E_NOMEM;
	} else {
		changed = false;
		kept = old;
	}
	kept->sources |= bit;
	kept->seen |= bit;
	if (kept->gone) {
		kept->sources = 0; /* nobody holds what is withdrawn: should it come again, only who says so does */
		kept->until_ms = now_ms + (MUTATED(TOMBSTONE_SHORT) ? 0 : REG_TOMBSTONE_MS);
		look_again(d);
	}
	show(d, kept, changed);
	return 0;
}

int directory_feed_entry(struct directory *d, unsigned source, const struct entry *e, uint64_t now_ms)
{
	return e->kind == DIR_REDIRECT ? directory_redirects_feed(d->redirects, e, now_ms) : feed_owned(d, source, e, now_ms);
}

/* The highest serial wins whole; of equals a registry's before what was kept. */
static void choose_keys(struct directory *d)
{
	struct entry *e;

	d->keys = NULL;
	for (unsigned i = 0; i <= DIRECTORY_KEPT; i++) {
		struct source *s = &d->sources[i];

		if (s->keys == NULL || (d->keys != NULL && keyset_serial(s->keys) <= keyset_serial(d->keys)))
			continue;
		d->in_force = s;
		d->keys = s->keys;
	}
	TAILQ_FOREACH(e, &d->entries.all, all)
		show(d, e, false);
	if (d->ops != NULL && d->ops->keys != NULL)
		d->ops->keys(d->arg);
}

static int adopt_keys(struct directory *d, struct source *s)
{
	char why[160];
	struct keyset *k = keyset_parse(s->parts, s->parts_n, why, sizeof(why)), *old = s->keys;

	if (k == NULL) {
		free(s->parts);
		s->parts = NULL;
		return SVCPROTO_E_INVALID;
	}
	free(s->text);
	s->text = s->parts;
	s->text_n = s->parts_n;
	s->parts = NULL;
	s->keys = k;
	choose_keys(d);
	keyset_free(old);
	return 0;
}

int directory_feed_keys(struct directory *d, unsigned source, const struct reg_frame *f)
{
	struct source *s = &d->sources[source];
	char *more;

	if (f->part == 0)
		s->parts_n = 0;
	else if (f->part != s->next_part || f->serial != s->serial || s->parts == NULL)
		return SVCPROTO_E_INVALID;
	if (f->part >= f->parts || s->parts_n + f->keys_n > KEYSET_BYTES_MAX)
		return SVCPROTO_E_INVALID;
	more = realloc(s->parts, s->parts_n + f->keys_n + 1);
	if (more == NULL)
		return SVCPROTO_E_NOMEM;
	memcpy(more + s->parts_n, f->keys, f->keys_n);
	s->parts = more;
	s->parts_n += f->keys_n;
	s->serial = f->serial;
	s->next_part = f->part + 1;
	return s->next_part == f->parts ? adopt_keys(d, s) : 0;
}

/* ---- questions ---- */

int directory_each_registration(struct directory *d, const char *domain, unsigned type,
				int (*fn)(void *arg, const struct directory_registration *r), void *arg)
{
	struct entry *e = NULL;
	int rc = 0;

	while (rc == 0 && (e = entries_next(&d->entries, DIR_REGISTRATION, domain, e)) != NULL) {
		struct directory_registration r = as_registration(e);

		if (e->shown && (e->types & type) == type && keyset_may(d->keys, e->key, domain, type))
			rc = fn(arg, &r);
	}
	return rc;
}

int directory_every_registration(struct directory *d, int (*fn)(void *arg, const struct directory_registration *r), void *arg)
{
	struct entry *e;
	int rc = 0;

	TAILQ_FOREACH(e, &d->entries.all, all) {
		struct directory_registration r = as_registration(e);

		if (e->kind == DIR_REGISTRATION && e->shown)
			rc = fn(arg, &r);
		if (rc != 0)
			break;
	}
	return rc;
}

const char *directory_redirect(const struct directory *d, const char *bare_jid, uint64_t now_ms)
{
	return directory_redirects_find(d->redirects, d->keys, bare_jid, now_ms);
}

int directory_each_redirect(const struct directory *d, uint64_t now_ms, int (*fn)(void *arg, const struct directory_redirect *r), void *arg)
{
	return directory_redirects_each(d->redirects, d->keys, now_ms, fn, arg);
}

int directory_each_gateway(struct directory *d, int (*fn)(void *arg, const struct directory_gateway *g), void *arg)
{
	struct entry *e;
	int rc = 0;

	TAILQ_FOREACH(e, &d->entries.all, all) {
		struct directory_gateway g = as_gateway(e);

		if (e->kind == DIR_GATEWAY && e->shown)
			rc = fn(arg, &g);
		if (rc != 0)
			break;
	}
	return rc;
}

bool directory_is_local(const struct directory *d, const char *domain)
{
	return keyset_names(d->keys, domain) || ever_has(&d->ever, domain);
}

enum directory_role directory_role(const struct directory *d, const char *key_z85)
{
	return keyset_role(d->keys, key_z85);
}

bool directory_may(const struct directory *d, const char *key_z85, const char *domain, unsigned type)
{
	return keyset_role(d->keys, key_z85) == DIR_ROLE_SERVICE && keyset_may(d->keys, key_z85, domain, type);
}

bool directory_has_keys(const struct directory *d)
{
	return d->keys != NULL;
}

const struct keyset *directory_keys(const struct directory *d)
{
	return d->keys;
}

const char *directory_feed_keys_text(const struct directory *d, size_t *n)
{
	*n = d->keys != NULL ? d->in_force->text_n : 0;
	return d->keys != NULL ? d->in_force->text : NULL;
}

const struct entry *directory_feed_next(const struct directory *d, const struct entry *last)
{
	const struct entry *e = last != NULL ? TAILQ_NEXT(last, all) : TAILQ_FIRST(&d->entries.all);

	while (e != NULL && !e->shown)
		e = TAILQ_NEXT(e, all);
	return e;
}
