/*
 * Administration of the gateways: requests by number, and the parts of their answers. A request whose link ends is answered with an error
 * by the library itself, so that every request has an end.
 */
#include "svcproto/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS_MAX 256u

struct admin_request {
	TAILQ_ENTRY(admin_request) all;
	struct client_link *link;
	uint32_t number;
	svcproto_reply_fn *fn;
	void *arg;
};

static void id_text(const struct svc_id *id, char out[33])
{
	for (size_t i = 0; i < sizeof(id->b); i++)
		snprintf(out + 2 * i, 3, "%02x", id->b[i]);
}

static struct client_link *link_by_id(struct svcproto *sp, const char *id)
{
	struct client_link *cl;
	char text[33];

	TAILQ_FOREACH(cl, &sp->links, all)
	{
		id_text(&cl->owner, text);
		if (cl->up && strcmp(text, id) == 0)
			return cl;
	}
	return NULL;
}

/* ---- gateways ---- */

struct each_gateway {
	struct svcproto *sp;
	void (*fn)(void *arg, const struct svcproto_gateway *g);
	void *arg;
	int nr;
};

static int one_gateway(void *arg, const struct directory_gateway *g)
{
	struct each_gateway *e = arg;
	struct svcproto_gateway out = { .endpoint = g->endpoint, .public_host = g->public_host,
					.client_port = g->client_port, .load = g->load, .draining = g->draining,
					.has_room = g->has_room, .room = g->room };
	char id[33];

	id_text(&g->owner, id);
	out.id = id;
	out.linked = link_by_id(e->sp, id) != NULL;
	e->nr++;
	if (e->fn != NULL)
		e->fn(e->arg, &out);
	return 0;
}

int svcproto_each_gateway(struct svcproto *sp, void (*fn)(void *arg, const struct svcproto_gateway *g), void *arg)
{
	struct each_gateway e = { sp, fn, arg, 0 };

	if (!sp->synced)
		return SVCPROTO_E_NOREGISTRY;
	(void)directory_each_gateway(sp->directory, one_gateway, &e);
	return e.nr;
}

/* ---- requests ---- */

static bool in_use(const struct svcproto *sp, uint32_t number)
{
	const struct admin_request *q;

	TAILQ_FOREACH(q, &sp->requests, all)
	if (q->number == number)
		return true;
	return number == 0;
}

int svcproto_admin(struct svcproto *sp, const char *gateway, const char *command, const struct svcproto_property *args, size_t nr,
		   svcproto_reply_fn *fn, void *arg)
{
	struct client_link *cl = link_by_id(sp, gateway);
	struct admin_request *q;
	int rc;

	if (cl == NULL)
		return SVCPROTO_E_CLOSED;
	if (sp->nr_requests >= REQUESTS_MAX)
		return SVCPROTO_E_FULL;
	q = calloc(1, sizeof(*q));
	if (q == NULL)
		return SVCPROTO_E_NOMEM;
	while (in_use(sp, ++sp->request_numbers))
		;
	*q = (struct admin_request){ .link = cl, .number = sp->request_numbers, .fn = fn, .arg = arg };
	rc = svc_link_admin(cl->engine, q->number, command, args, nr);
	if (rc != 0) {
		free(q);
		return rc;
	}
	TAILQ_INSERT_TAIL(&sp->requests, q, all);
	sp->nr_requests++;
	client_kick(sp);
	return 0;
}

/* Out of the list first: fn may ask for more. */
static void give(struct svcproto *sp, struct admin_request *q, struct svcproto_reply *r)
{
	struct admin_request copy = *q;
	char id[33];

	id_text(&q->link->owner, id);
	r->gateway = id;
	if (!r->more) {
		TAILQ_REMOVE(&sp->requests, q, all);
		sp->nr_requests--;
		free(q);
	}
	copy.fn(copy.arg, r);
}

void client_admin_reply(struct client_link *cl, uint32_t number, bool more, const char *error, const struct svcproto_property *v,
			size_t nr)
{
	struct svcproto_reply r = { .more = more, .error = error, .properties = v, .nr = nr };
	struct admin_request *q;

	TAILQ_FOREACH(q, &cl->sp->requests, all)
	{
		if (q->link == cl && q->number == number) {
			give(cl->sp, q, &r);
			return;
		}
	}
}

/* The link is not up any more, so that fn's new requests go elsewhere and this ends. */
void client_admin_lost(struct client_link *cl, const char *why)
{
	struct svcproto *sp = cl->sp;
	struct admin_request *q = TAILQ_FIRST(&sp->requests);

	while (q != NULL) {
		struct svcproto_reply r = { .error = why };

		if (q->link == cl) {
			give(sp, q, &r);
			q = TAILQ_FIRST(&sp->requests);
		} else {
			q = TAILQ_NEXT(q, all);
		}
	}
}

void client_admin_free(struct svcproto *sp)
{
	struct admin_request *q;

	while ((q = TAILQ_FIRST(&sp->requests)) != NULL) {
		TAILQ_REMOVE(&sp->requests, q, all);
		free(q);
	}
}

const char *svcproto_reply_get(const struct svcproto_reply *r, const char *name)
{
	for (size_t i = 0; i < r->nr; i++)
		if (strcmp(r->properties[i].name, name) == 0)
			return r->properties[i].value;
	return NULL;
}
