/* What a directory is asked, and walks over it that go on in a later turn, whatever has gone from it in between. */
#include "svcproto/directory_int.h"

#include "svcproto/directory_redirects.h"

/* ---- entries as they are shown ---- */

struct directory_gateway directory_as_gateway(const struct entry *e)
{
	return (struct directory_gateway){ .owner = e->owner, .incarnation = e->incarnation, .endpoint = e->name, .key = e->key,
					   .public_host = e->public_host, .client_port = (uint16_t)e->client_port, .load = e->load,
					   .has_room = e->has_room, .room = e->room,
					   .draining = e->draining, .dead = e->gone || e->ended };
}

struct directory_registration directory_as_registration(const struct entry *e)
{
	return (struct directory_registration){ .instance = e->owner, .incarnation = e->incarnation, .key = e->key, .domain = e->name,
						.types = e->types, .policy = e->policy, .weight = e->weight,
						.locate_open = e->locate_open, .certificates_only = e->certificates_only,
						.reopens = e->reopens, .draining = e->draining };
}

/* ---- walks ---- */

void directory_walk_begin(struct directory_walk *w, struct directory *d)
{
	*w = (struct directory_walk){ .directory = d, .next_ = TAILQ_FIRST(&d->entries.all), .chain_ = d->walks };
	d->walks = w;
}

void directory_walk_end(struct directory_walk *w)
{
	struct directory_walk **p = &w->directory->walks;

	while (*p != w)
		p = &(*p)->chain_;
	*p = w->chain_;
}

void directory_walks_pass(struct directory *d, const struct entry *e)
{
	for (struct directory_walk *w = d->walks; w != NULL; w = w->chain_)
		if (w->next_ == e)
			w->next_ = TAILQ_NEXT(e, all);
}

bool directory_walk(struct directory_walk *w, unsigned nr, const struct directory_walk_ops *ops, void *arg)
{
	for (; nr > 0 && w->next_ != NULL; nr--) {
		const struct entry *e = w->next_;

		w->next_ = TAILQ_NEXT(e, all);
		if (e->shown && e->kind == DIR_GATEWAY && ops->gateway != NULL) {
			struct directory_gateway g = directory_as_gateway(e);

			ops->gateway(arg, &g);
		} else if (e->shown && e->kind == DIR_REGISTRATION && ops->registration != NULL) {
			struct directory_registration r = directory_as_registration(e);

			ops->registration(arg, &r);
		}
	}
	return w->next_ != NULL;
}

/* ---- questions ---- */

int directory_each_registration(struct directory *d, const char *domain, unsigned type,
				int (*fn)(void *arg, const struct directory_registration *r), void *arg)
{
	struct entry *e = NULL;
	int rc = 0;

	while (rc == 0 && (e = entries_next(&d->entries, DIR_REGISTRATION, domain, e)) != NULL) {
		struct directory_registration r = directory_as_registration(e);

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
		struct directory_registration r = directory_as_registration(e);

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
		struct directory_gateway g = directory_as_gateway(e);

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
