/*
 * A stream of a client that cannot resume goes on at another instance, once the first one is known dead. Whether it may is decided here,
 * and what was not acknowledged moves from one stream to the other. The client hears nothing of it, so what may have been handled before
 * has to be marked: nobody but the new instance can tell a repetition.
 */
#include <stdlib.h>
#include <string.h>

#include "svcproto/engine.h"

struct svc_rest {
	struct window_stanza *head, *tail;
	uint32_t nr, largest; /* largest: in bytes of stanza */
	uint64_t bytes;
};

bool svc_reopen_may(const struct svc_reopen *r)
{
	return r->allowed && r->bound && (!r->known || MUTATED(REOPEN_EARLY));
}

bool svc_reopen_fits(const char *full_jid, const char *given)
{
	return given != NULL && strcmp(full_jid, given) == 0;
}

/* The first ones of the row may have been received, and handled: whatever was wholly sent. */
static void mark(struct svc_rest *r, uint32_t reached)
{
	r->largest = 0;
	for (struct window_stanza *st = r->head; st != NULL; st = st->next) {
		if (!seq_after(st->seq, reached) && !MUTATED(REOPEN_UNMARKED))
			st->flags |= WIRE_REPEATED;
		if (st->n - st->prefix > r->largest)
			r->largest = st->n - st->prefix;
	}
}

struct svc_rest *svc_stream_take_rest(struct svc_stream *s)
{
	struct window_out *w = &s->out;
	struct svc_rest *r = malloc(sizeof(*r));

	if (r == NULL)
		return NULL;
	if (MUTATED(REOPEN_DROPS))
		(void)window_out_resume(w, w->reached);
	*r = (struct svc_rest){ .head = w->head, .tail = w->tail, .nr = w->nr, .bytes = w->bytes };
	mark(r, w->reached);
	if (s->link != NULL)
		s->link->unsent -= w->unsent;
	w->head = NULL;
	window_out_clear(w);
	return r;
}

void svc_rest_free(struct svc_rest *r)
{
	if (r == NULL)
		return;
	while (r->head != NULL) {
		struct window_stanza *st = r->head;

		r->head = st->next;
		free(st);
	}
	free(r);
}

/* The bounds of what may be unacknowledged were kept when it was sent first, and are the same for every stream of this side. */
static void put(struct svc_stream *s, struct svc_rest *r)
{
	struct window_out *w = &s->out;

	for (struct window_stanza *st = r->head; st != NULL; st = st->next)
		st->seq = ++w->seq;
	w->head = w->cur = r->head;
	w->tail = r->tail;
	w->nr = r->nr;
	w->bytes = w->unsent = r->bytes;
	if (w->total != NULL)
		*w->total += r->bytes;
	r->head = NULL;
	s->link->unsent += w->unsent;
	stream_wake(s);
}

int svc_stream_put_rest(struct svc_stream *s, struct svc_rest *r)
{
	int rc = 0;

	if (stream_is_over(s))
		rc = SVCPROTO_E_CLOSED;
	else if (!s->ours || s->link == NULL || s->out.seq != 0 || r->largest > s->stanza_bytes_max)
		rc = SVCPROTO_E_INVALID;
	else
		put(s, r);
	svc_rest_free(r);
	return rc;
}
