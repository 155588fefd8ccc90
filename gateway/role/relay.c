#include "role/relay.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "common/log.h"
#include "route/policy.h"

/*
 * Stanza n of one stream becomes stanza n of the other, so an acknowledgement passes through as it is: it means that the far service
 * handled it. Back-pressure too: while the far stream is full, no credit is given to the near one; what its window still brings waits here.
 * A far service that answers nothing for stall_ms, to the OPEN or to stanzas, is given up, and what waits goes back to its sender. Either
 * end's close closes the other.
 */

#define RELAY_MAGIC 0x52454c59u

struct waiting {
	STAILQ_ENTRY(waiting) link;
	unsigned flags;
	size_t n;
	char xml[];
};

struct relay {
	unsigned magic;
	LIST_ENTRY(relay) all;        /* in env->relays until it is over */
	struct role_env *env;
	char *from, *to;
	bool peer;                    /* between instances of one domain */
	struct link_end near, far;    /* near: the service that sends */
	STAILQ_HEAD(, waiting) queue;
	uint32_t taken, acked;        /* of the near service's stanzas */
	uint64_t moved_at_ms;         /* when the far service last answered anything, or had nothing to answer */
	struct loop_timer stall;
	bool accepted, over;
};

static void free_relay(void *arg)
{
	struct relay *r = arg;
	struct waiting *w;

	while ((w = STAILQ_FIRST(&r->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->queue, link);
		free(w);
	}
	free(r->from);
	free(r->to);
	r->magic = 0;
	free(r);
}

static void finish(struct relay *r, const char *condition, const char *text)
{
	if (r->over)
		return;
	r->over = true;
	LIST_REMOVE(r, all);
	loop_timer_cancel(&r->stall);
	links_release(&r->near, condition, text);
	links_release(&r->far, condition, text);
	loop_reap(r->env->loop, free_relay, r);
	links_touch(r->env->links);
}

static struct relay *relay_checked(struct relay *r)
{
	OBJ_CHECK(r, RELAY_MAGIC);
	return r;
}

#define NEAR(e) relay_checked(container_of(e, struct relay, near))
#define FAR(e) relay_checked(container_of(e, struct relay, far))

/* --- what the far service leaves unanswered -------------------------------- */

static bool owes(const struct relay *r)
{
	return !r->accepted || r->acked != r->taken;
}

static void refuse_near(struct relay *r, const char *condition, const char *text);

static void on_stall(void *arg)
{
	struct relay *r = relay_checked(arg);
	uint64_t at = r->moved_at_ms + r->env->limits.stall_ms, now = loop_now_ms(r->env->loop);

	if (!owes(r))
		return;
	if (now < at) {
		loop_timer_set(&r->stall, at - now);
		return;
	}
	log_info("relay", 0, "stalled", "from=%s to=%s unanswered=%u", log_escape(slice_str(r->from)), log_escape(slice_str(r->to)),
		 (unsigned)(r->taken - r->acked));
	if (r->accepted)
		finish(r, "connection-timeout", "the other service takes nothing");
	else
		refuse_near(r, "remote-server-timeout", "the other service does not answer");
}

/* The timer runs on through many stanzas and is looked at when it fires. */
static void watch(struct relay *r)
{
	if (loop_timer_pending(&r->stall))
		return;
	r->moved_at_ms = loop_now_ms(r->env->loop);
	loop_timer_set(&r->stall, r->env->limits.stall_ms);
}

static void moved(struct relay *r)
{
	r->moved_at_ms = loop_now_ms(r->env->loop);
}

/* --- stanzas ------------------------------------------------------------- */

static void keep(struct relay *r, unsigned flags, struct slice xml)
{
	struct waiting *w = mem_alloc(sizeof *w + xml.n);

	w->flags = flags;
	w->n = xml.n;
	memcpy(w->xml, xml.p, xml.n);
	STAILQ_INSERT_TAIL(&r->queue, w, link);
}

/* False: it was not taken, and the relay is over unless that is for want of room. */
static bool pass_on(struct relay *r, unsigned flags, struct slice xml)
{
	int rc = r->far.stream != NULL ? svc_stream_send(r->far.stream, xml.p, xml.n, flags & SVC_REPEATED, NULL) : SVCPROTO_E_CLOSED;

	if (rc != 0 && rc != SVCPROTO_E_FULL)
		finish(r, "remote-connection-failed", "the other service took no more");
	return rc == 0;
}

/* What waits goes first; the near service gives more when all of that has gone and there is room behind it. */
static void pump(struct relay *r)
{
	struct waiting *w;

	while ((w = STAILQ_FIRST(&r->queue)) != NULL && pass_on(r, w->flags, (struct slice){w->xml, w->n})) {
		STAILQ_REMOVE_HEAD(&r->queue, link);
		free(w);
	}
	if (r->over)
		return;
	if (r->near.stream != NULL)
		svc_stream_pause(r->near.stream, w != NULL || !svc_stream_can_send(r->far.stream));
	links_touch(r->env->links);
}

static void take(struct relay *r, unsigned flags, struct slice xml)
{
	if (!owes(r))
		moved(r);
	r->taken++;
	watch(r);
	if (!STAILQ_EMPTY(&r->queue) || !pass_on(r, flags, xml))
		keep(r, flags, xml);
	if (!r->over && (!STAILQ_EMPTY(&r->queue) || !svc_stream_can_send(r->far.stream)))
		svc_stream_pause(r->near.stream, true);
}

static void near_stanza(struct link_end *e, uint32_t seq, unsigned flags, struct slice xml)
{
	struct relay *r = NEAR(e);
	/* An instance passes on what other domains have for its users; whose words those are was proven where they came in. */
	struct slice from = r->peer ? SLICE_NONE : slice_str(r->from);
	struct buf checked;

	(void)seq;
	buf_init(&checked, xml.n + 4096);
	/* The same test as for the network; what passes it goes on as the bytes it came as. */
	if (policy_to_server(xml, &r->env->limits.from_service, from, slice_str(r->to), &checked) != 0)
		finish(r, "invalid-from", "a stanza's addresses are not this pair's");
	else
		take(r, flags, xml);
	buf_clear(&checked);
	links_touch(r->env->links);
}

static void near_acked(struct link_end *e, uint32_t seq)
{
	(void)e;
	(void)seq;
}

static void near_writable(struct link_end *e)
{
	(void)e;
}

static void near_closed(struct link_end *e, const char *condition, const char *text, bool link_lost)
{
	(void)link_lost;
	finish(NEAR(e), condition, text);
}

static const struct link_end_ops near_ops = {
	.stanza = near_stanza,
	.acked = near_acked,
	.writable = near_writable,
	.closed = near_closed,
};

static void far_accepted(struct link_end *e, const char *full_jid)
{
	struct relay *r = FAR(e);

	(void)full_jid;
	r->accepted = true;
	moved(r);
	if (r->near.stream != NULL)
		(void)svc_stream_accept(r->near.stream, NULL);
	links_touch(r->env->links);
}

static void refuse_near(struct relay *r, const char *condition, const char *text)
{
	struct svc_refusal refusal = {.type = "cancel", .condition = condition, .text = text};
	struct svc_stream *s = r->near.stream;

	r->near.stream = NULL;
	if (s != NULL) {
		svc_stream_set_data(s, NULL);
		(void)svc_stream_refuse(s, &refusal);
	}
	finish(r, NULL, NULL);
}

static void far_refused(struct link_end *e, const struct svc_refusal *refusal)
{
	refuse_near(FAR(e), "remote-server-not-found", refusal->text);
}

/* Nothing comes back on a server pair: it has one direction. */
static void far_stanza(struct link_end *e, uint32_t seq, unsigned flags, struct slice xml)
{
	(void)seq;
	(void)flags;
	(void)xml;
	finish(FAR(e), "not-authorized", "a server pair has one direction");
}

static void far_acked(struct link_end *e, uint32_t seq)
{
	struct relay *r = FAR(e);

	/* Cumulative there, one by one here: the engine sends the unbroken row either way. */
	while (r->acked != seq && r->near.stream != NULL)
		(void)svc_stream_ack(r->near.stream, ++r->acked);
	moved(r);
	pump(r);
}

static void far_writable(struct link_end *e)
{
	pump(FAR(e));
}

static void far_closed(struct link_end *e, const char *condition, const char *text, bool link_lost)
{
	finish(FAR(e), link_lost ? "remote-connection-failed" : condition, text);
}

static const struct link_end_ops far_ops = {
	.accepted = far_accepted,
	.refused = far_refused,
	.stanza = far_stanza,
	.acked = far_acked,
	.writable = far_writable,
	.closed = far_closed,
};

static void refuse_for(struct relay *r, int err)
{
	if (err == -ERR_EXISTS)
		refuse_near(r, "recipient-unavailable", "the policy picks the instance that asks");
	else
		refuse_near(r, err == -ERR_NOTFOUND ? "remote-server-not-found" : "remote-server-timeout",
			    "no service of that domain is linked");
}

static void open_pair(struct relay *r)
{
	struct svc_open far = {.kind = SVC_KIND_SERVER_IN, .from_domain = r->from, .to_domain = r->to, .secure = true};
	int err;

	mem_random(&far.stream_id, sizeof far.stream_id);
	err = links_open(r->env->links, r->to, SVCPROTO_SERVER, r->from, &far, &r->far);
	if (err != 0)
		refuse_for(r, err);
}

/* What the near end said of it goes on: the far end knows by its origin what comes again. */
static void open_peer(struct relay *r, const struct svc_open *o)
{
	struct svc_open far = *o;
	int err;

	far.secure = true;
	mem_random(&far.stream_id, sizeof far.stream_id);
	err = links_open_peer(r->env->links, r->near.stream, r->to, o->bare_jid, &far, &r->far);
	if (err != 0)
		refuse_for(r, err);
}

void relay_open(struct role_env *env, struct svc_stream *s, const struct svc_open *o)
{
	struct relay *r = NEW(struct relay);

	r->magic = RELAY_MAGIC;
	r->env = env;
	LIST_INSERT_HEAD(&env->relays, r, all);
	r->from = mem_strdup(o->from_domain);
	r->to = mem_strdup(o->to_domain);
	STAILQ_INIT(&r->queue);
	loop_timer_init(env->loop, &r->stall, on_stall, r);
	watch(r);
	r->near.ops = &near_ops;
	r->far.ops = &far_ops;
	r->peer = o->kind == SVC_KIND_PEER;
	links_attach(s, &r->near);
	if (r->peer)
		open_peer(r, o);
	else
		open_pair(r);
}

void relays_free(struct role_env *env)
{
	struct relay *r;

	while ((r = LIST_FIRST(&env->relays)) != NULL) {
		LIST_REMOVE(r, all);
		loop_timer_cancel(&r->stall);
		free_relay(r);
	}
}
