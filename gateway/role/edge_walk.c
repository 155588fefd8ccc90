/* Walks over a worker's connections. An edge that goes is stepped over where it is unlinked (edge.c). */
#include "role/edge.h"

void edge_walk_begin(struct role_env *env, struct edge_walk *w)
{
	*w = (struct edge_walk){.env = env, .at = env->edges, .next = env->walks, .prev = &env->walks};
	if (w->next != NULL)
		w->next->prev = &w->next;
	env->walks = w;
}

struct edge *edge_walk_next(struct edge_walk *w)
{
	struct edge *e = w->at;

	w->at = e != NULL ? e->next : NULL;
	return e;
}

void edge_walk_end(struct edge_walk *w)
{
	if (w->prev == NULL)
		return;
	*w->prev = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	w->prev = NULL;
}
