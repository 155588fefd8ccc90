#include "link/keep.h"

#include "common/err.h"
#include "link/links_int.h"

/*
 * What happens to a stream while it has no link: nothing, for its peer. What comes from there queues in the engine until its bounds hold up
 * the reading; only when the link does not come back in time does the stream end.
 */

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct link_end *e = svc_stream_data(s);

	(void)arg;
	if (e != NULL) {
		e->stream = NULL;
		if (e->ops->orphaned == NULL || !e->ops->orphaned(e, s))
			e->ops->closed(e, condition, text, true);
	}
}

static void on_writable(void *arg, struct svc_stream *s)
{
	struct link_end *e = svc_stream_data(s);

	(void)arg;
	if (e != NULL)
		e->ops->writable(e);
}

static const struct svc_hub_ops hub_ops = {.closed = on_closed, .writable = on_writable};

struct svc_hub *keep_new(const struct svc_hello *self, uint64_t held_bytes_max)
{
	struct svc_hub_limits limits = {.held_bytes_max = held_bytes_max};
	struct svc_hub *h = svc_hub_new(SVC_GATEWAY, self, &limits, &hub_ops, NULL);

	ASSERT(h != NULL);
	return h;
}

/* A client names an instance by its id alone, and another key's service of the same domain may claim the same id. */
struct search {
	struct links *ls;
	const struct svc_id *instance;
	struct link *link;               /* of the one that is registered */
	bool registered;
};

static int consider(void *arg, const struct directory_registration *r)
{
	struct search *q = arg;

	if (memcmp(&r->instance, q->instance, sizeof r->instance) != 0)
		return 0;
	q->registered = true;
	q->link = links_of(q->ls, r);
	return q->link != NULL;
}

static struct link *of_the_domain(struct links *ls, const struct svc_id *instance, const char *domain)
{
	for (size_t i = 0; i < ls->nr; i++) {
		struct link *k = ls->v[i];

		if (k->up && !k->dead && memcmp(&k->peer.instance, instance, sizeof *instance) == 0 &&
		    directory_may(ls->directory, k->key, domain, SVCPROTO_CLIENT))
			return k;
	}
	return NULL;
}

/* *registered: whether any is, linked or not. */
static struct link *holder(struct links *ls, const struct svc_id *instance, const char *domain, bool *registered)
{
	struct search q = {.ls = ls, .instance = instance};

	(void)directory_each_registration(ls->directory, domain, SVCPROTO_CLIENT, consider, &q);
	*registered = q.registered;
	return q.registered ? q.link : of_the_domain(ls, instance, domain);
}

bool links_knows(struct links *ls, const struct svc_id *instance, const char *domain)
{
	bool registered;
	const struct link *k = holder(ls, instance, domain, &registered);

	return !ls->heard || registered || k != NULL;
}

void links_heard(struct links *ls)
{
	ls->heard = true;
}

int links_resume(struct links *ls, const struct svc_id *instance, const struct svc_resume *r, struct link_end *e)
{
	const char *at = strchr(r->bare_jid, '@');
	bool registered;
	struct link *k = holder(ls, instance, at != NULL ? at + 1 : r->bare_jid, &registered);

	if (k == NULL)
		return -ERR_AGAIN;
	e->stream = svc_stream_resume(k->engine, r, e);
	links_touch(ls);
	return e->stream != NULL ? 0 : -ERR_LIMIT;
}

void links_detach(struct link_end *e)
{
	if (e->stream != NULL && svc_stream_detach(e->stream) != 0)
		links_release(e, NULL, NULL);
	e->stream = NULL;
}

void links_forget(struct links *ls, const char *key, const struct svc_id *instance)
{
	svc_hub_forget(ls->hub, key, instance);
	links_touch(ls);
}
