#include "role/s2s_ways.h"

#include <stdlib.h>

#include "role/edge.h"

/* An entry is in two lists: of its domain, which the table holds the head of, and of its stream, which ends all of its entries at once. */

#define ALONE_MS 600000u

struct s2s_way {
	struct edge *e;
	char *domain;
	struct s2s_way *next, *prev;     /* of the domain */
	struct s2s_way *next_of_edge;
};

static struct s2s_way *head(const struct s2s_ways *w, const char *domain)
{
	return w->domains_ != NULL ? hash_get(w->domains_, slice_str(domain)) : NULL;
}

void s2s_ways_add(struct s2s_ways *w, struct edge *e, const char *domain)
{
	struct s2s_way *way;

	for (way = e->ways; way != NULL; way = way->next_of_edge) {
		if (strcmp(way->domain, domain) == 0)
			return;
	}
	if (w->domains_ == NULL)
		w->domains_ = hash_new();
	way = NEW(struct s2s_way);
	way->e = e;
	way->domain = mem_strdup(domain);
	way->next_of_edge = e->ways;
	e->ways = way;
	way->next = hash_put(w->domains_, slice_str(domain), way);
	if (way->next != NULL)
		way->next->prev = way;
}

static void drop(struct s2s_ways *w, struct s2s_way *way)
{
	if (way->next != NULL)
		way->next->prev = way->prev;
	if (way->prev != NULL)
		way->prev->next = way->next;
	else if (way->next != NULL)
		hash_put(w->domains_, slice_str(way->domain), way->next);
	else
		hash_del(w->domains_, slice_str(way->domain));
	free(way->domain);
	free(way);
}

void s2s_ways_drop(struct s2s_ways *w, struct edge *e)
{
	while (e->ways != NULL) {
		struct s2s_way *way = e->ways;

		e->ways = way->next_of_edge;
		drop(w, way);
	}
	if (w->domains_ != NULL && hash_count(w->domains_) == 0) {
		hash_free(w->domains_);
		w->domains_ = NULL;
	}
}

struct edge *s2s_ways_find(const struct s2s_ways *w, const char *domain, bool (*fits)(void *arg, struct edge *e), void *arg)
{
	for (struct s2s_way *way = head(w, domain); way != NULL; way = way->next) {
		if (fits(arg, way->e))
			return way->e;
	}
	return NULL;
}

/* --- who goes alone --------------------------------------------------------- */

static uint64_t pair_hash(const char *from, const char *to)
{
	return hash_bytes(slice_str(from)) * 31 + hash_bytes(slice_str(to));
}

void s2s_ways_alone(struct s2s_ways *w, const char *from, const char *to, uint64_t now_ms)
{
	w->alone_[w->next_].pair = pair_hash(from, to);
	w->alone_[w->next_].until_ms = now_ms + ALONE_MS;
	w->next_ = (w->next_ + 1) % S2S_WAYS_ALONE_MAX;
}

bool s2s_ways_is_alone(const struct s2s_ways *w, const char *from, const char *to, uint64_t now_ms)
{
	uint64_t pair = pair_hash(from, to);

	for (unsigned i = 0; i < S2S_WAYS_ALONE_MAX; i++) {
		if (w->alone_[i].pair == pair && w->alone_[i].until_ms > now_ms)
			return true;
	}
	return false;
}
