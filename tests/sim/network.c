/*
 * Wires between gateways and service instances. A batch arrives whole or not at all; batches keep their order; a connection that breaks
 * takes everything with it, in both directions, and comes back at the gateway as another one. A wire may also lose batches silently.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

int wire_send(struct packets *q, const void *batch, size_t n)
{
	uint32_t i = q->tail % BATCHES;

	if (q->tail - q->head >= BATCHES || rnd(8) == 0)
		return SVCPROTO_E_FULL;
	q->p[i] = malloc(n);
	if (q->p[i] == NULL)
		abort();
	memcpy(q->p[i], batch, n);
	q->n[i] = n;
	q->tail++;
	return 0;
}

void wire_lose(struct packets *q, uint32_t nr)
{
	for (; nr > 0 && q->head != q->tail; nr--)
		free(q->p[q->head++ % BATCHES]);
}

bool wire_deliver(struct packets *q, struct svc_link *to)
{
	uint32_t i = q->head % BATCHES;
	uint8_t *p = q->p[i];

	if (q->head == q->tail)
		return false;
	q->head++;
	svc_link_input(to, p, q->n[i], now);
	free(p);
	return true;
}

void wire_cut(struct wire *w)
{
	wire_lose(&w->to_gw, BATCHES);
	wire_lose(&w->to_sv, BATCHES);
	if (w->tip == NULL)
		return;
	w->tip->wire = NULL;
	w->tip->cut_ms = w->cut_ms = now;
	w->tip = NULL;
	w->told = false;
	tally.cuts++;
}

void wire_notice(struct wire *w)
{
	if (w->l == NULL)
		return;
	if (!w->told)
		svc_link_break(w->l, "the connection ended", now);
	w->told = true;
	if (w->tip != NULL || w->gw->hub == NULL)
		return;
	w->tip = gateway_connected(w->gw, w);
	HOLDS(svc_link_start(w->l, now) == 0);
}

void notice_overdue(void)
{
	for (int g = 0; g < GATEWAYS; g++) {
		struct tip *t, *next;

		for (t = gateways[g].hub != NULL ? TAILQ_FIRST(&gateways[g].tips) : NULL; t != NULL; t = next) {
			next = TAILQ_NEXT(t, all);
			if (t->wire == NULL && now >= t->cut_ms + NOTICE_MS)
				gateway_lost_tip(&gateways[g], t);
		}
		for (int s = 0; s < SERVICES; s++) {
			struct wire *w = &wires[g][s];

			if (w->l == NULL || w->told || now < w->cut_ms + NOTICE_MS)
				continue;
			svc_link_break(w->l, "the connection ended", now);
			w->told = true;
		}
	}
}

void flush_everything(void)
{
	for (int g = 0; g < GATEWAYS; g++) {
		struct tip *t;

		if (gateways[g].hub != NULL)
			TAILQ_FOREACH(t, &gateways[g].tips, all)
				svc_link_flush(t->l, now);
		for (int s = 0; s < SERVICES; s++)
			if (wires[g][s].l != NULL)
				svc_link_flush(wires[g][s].l, now);
	}
}

/* Nothing holds more than was agreed. */
static void check_link(const struct svc_link *l)
{
	const struct svc_stream *s;
	uint64_t unsent = 0, joined = 0;

	TAILQ_FOREACH(s, &l->all, all) {
		HOLDS((uint64_t)s->in.credit + s->in.due <= l->self.stream_window_bytes);
		HOLDS(s->out.nr <= l->self.unacked_stanzas_max);
		HOLDS(s->out.nr <= 1 || s->out.bytes - s->out.tail->n < l->self.unacked_bytes_max);
		HOLDS(s->state != STREAM_OPEN || s->in.received - s->in.row <= l->peer.unacked_stanzas_max);
		unsent += s->out.unsent;
		joined += s->join.cap;
	}
	HOLDS(unsent == l->unsent && joined == l->join_bytes && joined <= 2 * l->join_soft);
}

static void check_bounds(void)
{
	for (int s = 0; s < SERVICES; s++) {
		const struct svc_hub *h = services[s].hub;
		uint64_t bytes = 0;
		const struct svc_stream *st;

		if (h == NULL)
			continue;
		TAILQ_FOREACH(st, &h->detached, all)
			bytes += st->out.bytes;
		HOLDS(h->nr_detached <= h->limits.detached_max && bytes == h->detached_bytes && bytes <= h->limits.detached_bytes_max);
		for (int g = 0; g < GATEWAYS; g++) {
			const struct wire *w = &wires[g][s];

			if (w->l != NULL)
				check_link(w->l);
			if (w->tip != NULL)
				check_link(w->tip->l);
		}
	}
}

void tick_everything(void)
{
	for (int g = 0; g < GATEWAYS; g++) {
		struct tip *t;

		if (gateways[g].hub != NULL) {
			(void)svc_hub_tick(gateways[g].hub, now);
			TAILQ_FOREACH(t, &gateways[g].tips, all)
				(void)svc_link_tick(t->l, now);
		}
		for (int s = 0; s < SERVICES; s++)
			if (wires[g][s].l != NULL)
				(void)svc_link_tick(wires[g][s].l, now);
	}
	for (int s = 0; s < SERVICES; s++)
		if (services[s].hub != NULL)
			(void)svc_hub_tick(services[s].hub, now);
	check_bounds();
}
