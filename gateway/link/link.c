#include "link/link.h"

#include <stdlib.h>

#include "common/log.h"
#include "link/admin.h"
#include "svcproto/directory.h"

/*
 * One service peer: turns the engine's events into calls of the link_end that each stream carries as its data. Knows no sockets: the set
 * sends and receives. A stream without an end (let go of, or never taken) is answered for here, so that nothing waits for it.
 */

static struct link_end *end_of(struct svc_stream *s)
{
	return svc_stream_data(s);
}

static int on_send(void *arg, const void *batch, size_t n)
{
	struct link *k = arg;

	OBJ_CHECK(k, LINK_MAGIC);
	return links_transmit(k->set, k, batch, n);
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	struct link *k = arg;

	OBJ_CHECK(k, LINK_MAGIC);
	k->peer = *peer;
	k->up = true;
	log_info("link", k->id, "up", "service=%s key=%s", log_escape(slice_str(peer->name)), log_escape(slice_str(k->key)));
	links_link_up(k->set, k);
}

static void on_down(void *arg, const char *why)
{
	struct link *k = arg;

	OBJ_CHECK(k, LINK_MAGIC);
	k->up = false;
	admin_link_down(links_admin(k->set), k);
	log_event(k->administers ? LOG_INFO : LOG_WARN, "link", k->id, "down", "why=%s", log_escape(slice_str(why)));
	links_link_down(k->set, k, why);
}

static void refuse(struct svc_stream *s, const char *condition, const char *text)
{
	struct svc_refusal r = {.type = "cancel", .condition = condition, .text = text};

	(void)svc_stream_refuse(s, &r);
}

/* A service opens server pairs outwards, and streams to other instances of its domains, from domains that its key owns. */
static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct link *k = arg;
	bool known = o->kind == SVC_KIND_SERVER_OUT || (o->kind == SVC_KIND_PEER && o->bare_jid != NULL);

	OBJ_CHECK(k, LINK_MAGIC);
	if (!known || o->from_domain == NULL || o->to_domain == NULL) {
		refuse(s, "bad-request", "a service opens server pairs outwards and streams to its peers only");
		return;
	}
	links_opened(k->set, k, s, o);
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	struct link_end *e = end_of(s);

	(void)arg;
	if (e != NULL)
		e->ops->accepted(e, full_jid);
}

static void on_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	struct link_end *e = end_of(s);

	(void)arg;
	if (e != NULL) {
		e->stream = NULL;
		e->ops->refused(e, r);
	}
}

static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct link_end *e = end_of(s);

	(void)arg;
	if (e != NULL)
		e->ops->stanza(e, seq, flags, (struct slice){xml, n});
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	struct link *k = arg;
	struct link_end *e = end_of(s);

	if (e != NULL && e->sample_at_ms_ != 0 && (int32_t)(seq - e->sample_seq_) >= 0)
		links_sampled(k->set, e);
	if (e != NULL)
		e->ops->acked(e, seq);
}

static void on_writable(void *arg, struct svc_stream *s)
{
	struct link_end *e = end_of(s);

	(void)arg;
	if (e != NULL)
		e->ops->writable(e);
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct link *k = arg;
	struct link_end *e = end_of(s);

	OBJ_CHECK(k, LINK_MAGIC);
	if (e != NULL) {
		svc_stream_set_data(s, NULL); /* it may have to wait for an answer yet, when its end is no more */
		e->stream = NULL;
		e->ops->closed(e, condition, text, !svc_link_is_up(k->engine));
	}
}

static void on_admin(void *arg, uint32_t request, const char *command, const struct svcproto_property *v, size_t nr)
{
	struct link *k = arg;
	struct admin_args args = {v, nr};

	OBJ_CHECK(k, LINK_MAGIC);
	admin_asked(links_admin(k->set), k, request, command, &args);
}

static void on_located(void *arg, const struct svc_located *m)
{
	struct link *k = arg;

	OBJ_CHECK(k, LINK_MAGIC);
	links_located(k->set, k, m);
}

static void on_enabled(void *arg, struct svc_stream *s, uint32_t resume_s)
{
	struct link_end *e = end_of(s);

	(void)arg;
	if (e != NULL)
		e->ops->enabled(e, resume_s);
}

static void on_resumed(void *arg, struct svc_stream *s, const char *full_jid)
{
	struct link_end *e = end_of(s);

	(void)arg;
	if (e != NULL)
		e->ops->resumed(e, full_jid);
}

static const struct svc_link_ops engine_ops = {
	.send = on_send,
	.up = on_up,
	.down = on_down,
	.open = on_open,
	.accepted = on_accepted,
	.refused = on_refused,
	.stanza = on_stanza,
	.acked = on_acked,
	.writable = on_writable,
	.closed = on_closed,
	.enabled = on_enabled,
	.resumed = on_resumed,
	.admin = on_admin,
	.located = on_located,
};

struct link *link_new(struct links *set, struct svc_hub *hub, struct slice routing_id, const char *key)
{
	static _Thread_local uint64_t next_id;
	struct link *k = NEW(struct link);

	ASSERT(routing_id.n <= ROUTING_ID_MAX);
	k->magic = LINK_MAGIC;
	k->set = set;
	k->id = ++next_id;
	k->tick_at_ms = UINT64_MAX;
	memcpy(k->routing_id, routing_id.p, routing_id.n);
	k->routing_id_n = (uint8_t)routing_id.n;
	memcpy(k->key, key, sizeof k->key);
	k->engine = svc_hub_link(hub, k->key, &engine_ops, k);
	ASSERT(k->engine != NULL);
	return k;
}

void link_free(struct link *k)
{
	if (k == NULL)
		return;
	svc_link_free(k->engine);
	k->magic = 0;
	free(k);
}

void link_input(struct link *k, struct slice batch, uint64_t now_ms)
{
	svc_link_input(k->engine, batch.p, batch.n, now_ms);
}
