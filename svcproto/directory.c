/*
 * The merged view of the registries. An entry is shown when the key that announced it may: the keys come from the same registries and are
 * checked here once more, whatever the registry let pass. Only a registry that has been up for a lease's length can make an entry go,
 * unless its owner withdrew it; what has a live link stays.
 */
#include "svcproto/directory_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "svcproto/directory_redirects.h"
#include "svcproto/mutate.h"

#define NEVER UINT64_MAX
#define REGISTRIES ((1u << REG_SOURCES) - 1) /* of the sources: what was kept on disk holds nothing */

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

static void tell(struct directory *d, const struct entry *e, bool gone)
{
	if (d->ops == NULL)
		return;
	if (e->kind == DIR_GATEWAY && d->ops->gateway != NULL) {
		struct directory_gateway g = directory_as_gateway(e);

		d->ops->gateway(d->arg, &g, gone);
	} else if (e->kind == DIR_REGISTRATION && d->ops->registration != NULL) {
		struct directory_registration r = directory_as_registration(e);

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
	bool shown = e->shown;

	e->shown = false; /* who is told may look what is left */
	if (shown)
		tell(d, e, true);
	directory_walks_pass(d, e);
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

static void hold(struct entry *e, uint32_t bit)
{
	e->sources |= bit;
	e->doubted &= ~bit;
}

static void let_go(struct entry *e, uint32_t bit, bool ended)
{
	e->doubted = ended ? e->doubted & ~bit : e->doubted | (bit & REGISTRIES);
	e->sources &= ~bit;
}

/* Silence is no word of an end. */
static void lose(struct entry *e, uint32_t bit)
{
	if ((e->sources & bit) != 0)
		let_go(e, bit, false);
}

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
			lose(e, bit);
	look_again(d);
	(void)directory_feed_tick(d, now_ms);
}

void directory_feed_lost(struct directory *d, unsigned source)
{
	struct entry *e;

	d->sources[source].live = false;
	TAILQ_FOREACH(e, &d->entries.all, all)
		lose(e, 1u << source);
	look_again(d);
}

static bool same_content(const struct entry *a, const struct entry *b)
{
	return a->incarnation == b->incarnation && a->types == b->types && a->policy == b->policy && a->weight == b->weight &&
	       a->locate_open == b->locate_open && a->certificates_only == b->certificates_only && a->reopens == b->reopens &&
	       a->client_port == b->client_port &&
	       a->load == b->load && a->has_room == b->has_room && a->room == b->room && a->draining == b->draining && a->gone == b->gone &&
	       strcmp(a->public_host != NULL ? a->public_host : "", b->public_host != NULL ? b->public_host : "") == 0;
}

/*
 * A lease ran out there: that registry has seen a whole lease go by without the owner, so its word counts however young it is. Whose end
 * each of them has from the kernel is dead.
 */
static void expire(struct directory *d, struct entry *old, uint32_t bit, bool ended)
{
	let_go(old, bit, ended && !is_linked(d, old));
	look_again(d);
	if ((old->sources != 0 && !MUTATED(EXPIRY_BY_ONE)) || old->gone || is_linked(d, old))
		return;
	old->ended = old->doubted == 0;
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
			expire(d, old, bit, e->ended);
		else if (old != NULL)
			let_go(old, bit, e->ended); /* it held an older one, and holds none now */
		look_again(d);
		return 0;
	}
	if (order < 0) {
		/* It has missed the news, and the owner is alive there all the same. */
		if (!e->gone)
			hold(old, bit);
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
	hold(kept, bit);
	kept->seen |= bit;
	if (kept->gone) {
		kept->sources = kept->doubted = 0; /* nobody holds what is withdrawn: should it come again, only who says so does */
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
