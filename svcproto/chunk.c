/* Cuts stanzas into chunks for the link and joins them again. Knows neither streams nor frames. */
#include "svcproto/chunk.h"

#include <stdlib.h>
#include <string.h>

#include "svcproto/wire.h"

uint32_t chunk_want(const struct window_out *w)
{
	uint32_t rest;

	if (w->cur == NULL)
		return 0;
	rest = w->cur->n - w->cur_at;
	return rest < SVC_CHUNK_MAX ? rest : SVC_CHUNK_MAX;
}

bool chunk_ready(const struct window_out *w, uint32_t floor_bytes)
{
	uint32_t want = chunk_want(w);

	return want > 0 && w->credit >= (want < floor_bytes ? want : floor_bytes);
}

void chunk_take(struct window_out *w, uint32_t room, struct chunk *c)
{
	struct window_stanza *st = w->cur;
	uint32_t n = chunk_want(w);

	if (n > room)
		n = room;
	if (n > w->credit)
		n = w->credit;
	*c = (struct chunk){ .p = st->bytes + w->cur_at, .n = n, .seq = st->seq };
	if (w->cur_at == 0)
		c->flags = WIRE_FIRST | st->flags;
	w->cur_at += n;
	w->credit -= n;
	w->unsent -= n;
	if (w->cur_at == st->n) {
		c->flags |= WIRE_LAST;
		w->cur = st->next;
		w->cur_at = 0;
		if (seq_after(st->seq, w->reached))
			w->reached = st->seq;
	}
}

int chunk_join_reserve(struct chunk_join *j, uint32_t n, uint32_t max, uint64_t spare, uint32_t *grown)
{
	uint64_t need = (uint64_t)j->n + n, cap = j->cap;
	char *p;

	*grown = 0;
	if (need <= cap)
		return 0;
	cap = cap * 2 < need ? need * 2 : cap * 2;
	if (cap > max)
		cap = max > need ? max : need;
	if (cap - j->cap > spare)
		return SVCPROTO_E_FULL;
	p = realloc(j->p, (size_t)cap);
	if (p == NULL)
		return SVCPROTO_E_NOMEM;
	*grown = (uint32_t)(cap - j->cap);
	j->p = p;
	j->cap = (uint32_t)cap;
	return 0;
}

void chunk_join_add(struct chunk_join *j, const void *p, uint32_t n)
{
	memcpy(j->p + j->n, p, n);
	j->n += n;
}

void chunk_join_clear(struct chunk_join *j)
{
	free(j->p);
	*j = (struct chunk_join){ 0 };
}
