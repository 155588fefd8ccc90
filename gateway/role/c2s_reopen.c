#include "role/c2s_int.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/stat.h"

/*
 * A client's service has died, and its registration lets the session go on at another instance. The client hears nothing: it is held until
 * that instance has given it the session that it was bound to, and what was not acknowledged has been queued there, in front of what it
 * sends next. Whatever goes wrong on the way ends the client as the service's death does otherwise.
 */

/* What came from the dead instance has been written, or was never ours: its numbers mean nothing any more. */
static int open_elsewhere(struct c2s *c)
{
	const struct jid *me = stream_jid(c->e.stream);
	char *resource = mem_slicedup(me->resource);
	struct svc_open o;
	int err;

	acks_clear(&c->acks);
	c2s_fill_open(c, &o, resource);
	err = links_open(c->e.env->links, stream_local_domain(c->e.stream), SVCPROTO_CLIENT, o.bare_jid, &o, &c->end);
	free((char *)o.bare_jid);
	free(resource);
	return err;
}

bool c2s_end_orphaned(struct link_end *end, struct svc_stream *s)
{
	struct c2s *c = c2s_of_end(end);
	struct svc_reopen r = {
		.allowed = end->reopens,
		.bound = stream_state(c->e.stream) == STREAM_ESTABLISHED && !c->asked && c->rest == NULL,
		.known = links_knows(c->e.env->links, &c->instance, stream_local_domain(c->e.stream)),
	};

	if (!svc_reopen_may(&r) || (c->rest = svc_stream_take_rest(s)) == NULL)
		return false;
	if (open_elsewhere(c) != 0)
		return false; /* what was left goes with the client */
	log_info("c2s", c->e.id, "reopening", "jid=%s", log_escape(stream_jid(c->e.stream)->full));
	c2s_hold_if_full(c);
	return true;
}

bool c2s_reopened(struct c2s *c, const char *full_jid)
{
	char *mine = mem_slicedup(stream_jid(c->e.stream)->full);
	bool fits = svc_reopen_fits(mine, full_jid);
	struct svc_rest *rest = c->rest;

	free(mine);
	if (!fits)
		return false;
	c->rest = NULL;
	if (svc_stream_put_rest(c->end.stream, rest) != 0)
		return false;
	log_info("c2s", c->e.id, "reopened", "jid=%s", log_escape(slice_str(full_jid)));
	stat_add(STAT_sessions_reopened, 1);
	c2s_hold_if_full(c);
	links_touch(c->e.env->links);
	edge_kick(&c->e);
	return true;
}
