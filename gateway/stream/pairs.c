#include "stream/pairs.h"

#include <stdlib.h>

#include "common/err.h"

/* A short array: nearly every stream has one pair, and a lookup for each stanza of a few pairs is cheaper than any table. */

struct pair_entry {
	char *from, *to;
	enum pair_state state;
};

static struct pair_entry *find(const struct pairs *p, const char *from, const char *to)
{
	for (unsigned i = 0; i < p->nr_; i++) {
		if (strcmp(p->v_[i].from, from) == 0 && strcmp(p->v_[i].to, to) == 0)
			return &p->v_[i];
	}
	return NULL;
}

void pairs_clear(struct pairs *p)
{
	for (unsigned i = 0; i < p->nr_; i++) {
		free(p->v_[i].from);
		free(p->v_[i].to);
	}
	free(p->v_);
	*p = (struct pairs){0};
}

enum pair_state pairs_get(const struct pairs *p, const char *from, const char *to)
{
	const struct pair_entry *e = find(p, from, to);

	return e ? e->state : PAIR_NONE;
}

int pairs_put(struct pairs *p, const char *from, const char *to, enum pair_state state)
{
	struct pair_entry *e = find(p, from, to);

	ASSERT(state != PAIR_NONE);
	if (e == NULL) {
		if (p->nr_ == PAIRS_MAX)
			return -ERR_LIMIT;
		p->v_ = mem_resize(p->v_, (p->nr_ + 1) * sizeof *p->v_);
		e = &p->v_[p->nr_++];
		e->from = mem_strdup(from);
		e->to = mem_strdup(to);
	}
	e->state = state;
	return 0;
}

unsigned pairs_count(const struct pairs *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->nr_; i++)
		n += p->v_[i].state == PAIR_OK;
	return n;
}

bool pairs_any(const struct pairs *p, bool (*fn)(void *arg, const char *from, const char *to), void *arg)
{
	bool found = false;

	for (unsigned i = 0; i < p->nr_ && !found; i++)
		found = p->v_[i].state == PAIR_OK && fn(arg, p->v_[i].from, p->v_[i].to);
	return found;
}

void pairs_drop(struct pairs *p, const char *from, const char *to)
{
	struct pair_entry *e = find(p, from, to);

	if (e == NULL)
		return;
	free(e->from);
	free(e->to);
	*e = p->v_[--p->nr_];
}
