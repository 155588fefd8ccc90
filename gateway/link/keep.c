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

static const struct svc_hub_ops hub_ops = {.closed = on_closed};

struct svc_hub *keep_new(const struct svc_hello *self)
{
	struct svc_hub *h = svc_hub_new(SVC_GATEWAY, self, NULL, &hub_ops, NULL);

	ASSERT(h != NULL);
	return h;
}

/* An instance is named by its client: only a link whose key may have clients of that domain is it. */
static struct link *holder(struct links *ls, const struct svc_id *instance, const char *domain)
{
	for (size_t i = 0; i < ls->nr; i++) {
		struct link *k = ls->v[i];

		if (k->up && !k->dead && memcmp(&k->peer.instance, instance, sizeof *instance) == 0 &&
		    directory_may(ls->directory, k->key, domain, SVCPROTO_CLIENT))
			return k;
	}
	return NULL;
}

static int is_of(void *arg, const struct directory_registration *r)
{
	return memcmp(arg, &r->instance, sizeof r->instance) == 0;
}

bool links_knows(struct links *ls, const struct svc_id *instance)
{
	struct svc_id id = *instance;

	for (size_t i = 0; i < ls->nr; i++) {
		if (ls->v[i]->up && memcmp(&ls->v[i]->peer.instance, instance, sizeof *instance) == 0)
			return true;
	}
	return !ls->heard || directory_every_registration(ls->directory, is_of, &id) != 0;
}

void links_heard(struct links *ls)
{
	ls->heard = true;
}

int links_resume(struct links *ls, const struct svc_id *instance, const struct svc_resume *r, struct link_end *e)
{
	const char *at = strchr(r->bare_jid, '@');
	struct link *k = holder(ls, instance, at != NULL ? at + 1 : r->bare_jid);

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

void links_forget(struct links *ls, const struct svc_id *instance)
{
	svc_hub_forget(ls->hub, instance);
	links_touch(ls);
}
