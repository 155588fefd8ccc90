#include "link/links_int.h"

#include "common/err.h"
#include "link/choose.h"

/*
 * Which of the instances that the directory knows and that have a link here is given a new stream, or a question.
 */

struct search {
	struct links *ls;
	size_t nr;                   /* of links' candidates */
	bool registered, hash;
	bool locate;                 /* only those that may be asked where users are */
};

struct link *links_of(struct links *ls, const struct directory_registration *r)
{
	for (size_t i = 0; i < ls->nr; i++) {
		struct link *k = ls->v[i];

		if (k->up && !k->dead && link_is(k, r->key, &r->instance))
			return k;
	}
	return NULL;
}

/* All of them: gateways that left some out would not agree on who a user's instance is. */
static struct choose_candidate *add_candidate(struct search *q)
{
	struct links *ls = q->ls;

	if (q->nr == ls->candidates_cap) {
		ls->candidates_cap = q->nr > 0 ? 2 * q->nr : 16;
		ls->candidates = mem_resize(ls->candidates, ls->candidates_cap * sizeof *ls->candidates);
	}
	return &ls->candidates[q->nr++];
}

static int consider(void *arg, const struct directory_registration *r)
{
	struct search *q = arg;
	struct link *k = links_of(q->ls, r);
	struct choose_candidate *c;

	q->registered = true;
	if (k == NULL || r->draining || (q->locate && !r->locate_open))
		return 0;
	c = add_candidate(q);
	memcpy(c->instance, &r->instance, sizeof c->instance);
	c->weight = r->weight ? r->weight : 1;
	c->owner = k;
	c->reopens = r->reopens;
	q->hash = strcmp(r->policy, "hash") == 0;
	return 0;
}

static const struct choose_candidate *pick(struct search *q, const char *domain, unsigned type, const char *key)
{
	struct links *ls = q->ls;
	size_t i;

	(void)directory_each_registration(ls->directory, domain, type, consider, q);
	if (q->nr == 0)
		return NULL;
	i = q->hash ? choose_hash(ls->candidates, q->nr, slice_str(key)) : choose_round_robin(ls->candidates, q->nr, &ls->round_robin);
	return &ls->candidates[i];
}

bool links_locate(struct links *ls, const char *domain, const char *bare_jid, struct locate_ask *a)
{
	struct search q = {.ls = ls, .locate = true};
	const struct choose_candidate *c = pick(&q, domain, SVCPROTO_CLIENT, bare_jid);
	struct link *k = c != NULL ? c->owner : NULL;

	if (k == NULL)
		return false;
	if (svc_link_locate(k->engine, locates_open(ls->locates, a, k->id), bare_jid) != 0) {
		locates_drop(ls->locates, a);
		return false;
	}
	links_touch(ls);
	return true;
}

static int is_open(void *arg, const struct directory_registration *r)
{
	(void)arg;
	return r->locate_open;
}

bool links_locate_open(struct links *ls, const char *domain)
{
	return directory_each_registration(ls->directory, domain, SVCPROTO_CLIENT, is_open, NULL) != 0;
}

static int is_strict(void *arg, const struct directory_registration *r)
{
	(void)arg;
	return r->certificates_only;
}

bool links_certificates_only(struct links *ls, const char *domain)
{
	return directory_each_registration(ls->directory, domain, SVCPROTO_SERVER, is_strict, NULL) != 0;
}

void links_locate_drop(struct links *ls, struct locate_ask *a)
{
	locates_drop(ls->locates, a);
}

void links_located(struct links *ls, struct link *k, const struct svc_located *m)
{
	locates_answer(ls->locates, k->id, m);
}

static int open_at(const struct choose_candidate *c, const struct svc_open *o, struct link_end *e)
{
	struct link *k = c->owner;

	e->reopens = c->reopens;
	e->sample_at_ms_ = 0;
	links_gather(k->engine, e->gathers);
	e->stream = svc_stream_open(k->engine, o, e);
	links_gather(k->engine, false);
	links_touch(k->set);
	return e->stream != NULL ? 0 : -ERR_LIMIT;
}

int links_open(struct links *ls, const char *domain, unsigned type, const char *key, const struct svc_open *o, struct link_end *e)
{
	struct search q = {.ls = ls};
	const struct choose_candidate *c = pick(&q, domain, type, key);

	if (c == NULL)
		return q.registered ? -ERR_AGAIN : -ERR_NOTFOUND;
	return open_at(c, o, e);
}

int links_open_peer(struct links *ls, const struct svc_stream *near, const char *domain, const char *key, const struct svc_open *o,
		    struct link_end *e)
{
	struct search q = {.ls = ls};
	const struct choose_candidate *c = pick(&q, domain, SVCPROTO_CLIENT, key);

	if (c == NULL)
		return q.registered ? -ERR_AGAIN : -ERR_NOTFOUND;
	return ((struct link *)c->owner)->engine == svc_stream_link(near) ? -ERR_EXISTS : open_at(c, o, e);
}

static int found(void *arg, const struct directory_registration *r)
{
	(void)arg;
	(void)r;
	return 1;
}

bool links_registered(struct links *ls, const char *domain, unsigned type)
{
	return directory_each_registration(ls->directory, domain, type, found, NULL) != 0;
}
