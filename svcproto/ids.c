/* A chained hash that doubles; it shrinks only to nothing, since a service that had many sessions will have them again. */
#include "svcproto/ids.h"

#include <stdlib.h>
#include <string.h>

#include "svcproto/engine.h"

#define IDS_MIN 64u

static uint32_t home(const struct ids *t, const struct svc_id *id)
{
	uint64_t a, b;

	memcpy(&a, id->b, sizeof(a));
	memcpy(&b, id->b + sizeof(a), sizeof(b));
	a = (a ^ t->seed) * UINT64_C(0x9e3779b97f4a7c15);
	a = (a ^ a >> 32 ^ b) * UINT64_C(0xd6e8feb86659fd93);
	a = (a ^ a >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(a >> 32) & (t->cap - 1);
}

void ids_clear(struct ids *t)
{
	free(t->heads);
	t->heads = NULL;
	t->cap = t->nr = 0;
}

struct svc_stream *ids_find(const struct ids *t, const struct svc_id *id)
{
	struct svc_stream *s = t->cap > 0 ? t->heads[home(t, id)] : NULL;

	while (s != NULL && memcmp(&s->id, id, sizeof(*id)) != 0)
		s = s->same_hash;
	return s;
}

static void push(struct ids *t, struct svc_stream *s)
{
	struct svc_stream **head = &t->heads[home(t, &s->id)];

	s->same_hash = *head;
	*head = s;
}

static int grow(struct ids *t)
{
	struct ids more = { .cap = t->cap == 0 ? IDS_MIN : t->cap * 2, .nr = t->nr, .seed = t->seed };
	struct svc_stream *s, *next;

	if (t->cap > UINT32_MAX / 4)
		return SVCPROTO_E_NOMEM;
	more.heads = calloc(more.cap, sizeof(struct svc_stream *));
	if (more.heads == NULL)
		return SVCPROTO_E_NOMEM;
	for (uint32_t i = 0; i < t->cap; i++) {
		for (s = t->heads[i]; s != NULL; s = next) {
			next = s->same_hash;
			push(&more, s);
		}
	}
	free(t->heads);
	*t = more;
	return 0;
}

int ids_add(struct ids *t, struct svc_stream *s)
{
	int rc = t->nr >= t->cap ? grow(t) : 0;

	if (rc != 0)
		return rc;
	push(t, s);
	t->nr++;
	return 0;
}

void ids_remove(struct ids *t, struct svc_stream *s)
{
	struct svc_stream **p = &t->heads[home(t, &s->id)];

	while (*p != s)
		p = &(*p)->same_hash;
	*p = s->same_hash;
	if (--t->nr == 0)
		ids_clear(t);
}
