/*
 * One DEALER and one engine for each gateway worker of the directory. A connection that breaks ends the epoch at once: the gateway's ROUTER
 * knows the next connection by another routing id. 0MQ's own queues are kept short (a few batches, small kernel buffers), so that what the
 * engine decides to send next is what leaves next.
 */
#include "svcproto/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#define KERNEL_BYTES 32768
#define BUDGET 32u           /* batches for each link and turn */
#define RETRY_MIN_MS 1000u
#define RETRY_MAX_MS 30000u
#define BROKEN_MAX 3u
#define REDIAL_ENDED_MS 2000u   /* after an epoch ended, and */
#define REDIAL_BEGUN_MS 5000u   /* after HELLO left: before the gateway gives our streams up */
#define GOODBYE_TRIES 20
#define GOODBYE_MS 200

/* ---- the engine's events ---- */

static int on_send(void *arg, const void *batch, size_t n)
{
	struct client_link *cl = arg;

	cl->touched = true;
	if (zmq_send(cl->z.socket, batch, n, ZMQ_DONTWAIT) == (int)n)
		return 0;
	return zmq_errno() == EAGAIN ? SVCPROTO_E_FULL : SVCPROTO_E_CLOSED;
}

static void tell_linked(struct svcproto *sp)
{
	if (sp->cb->linked != NULL)
		sp->cb->linked(sp->arg, sp->nr_up);
}

static bool same_id(const struct svc_id *a, const struct svc_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/*
 * A gateway that was started anew at its old place answers on the old one's connection: that link serves, though no registry has told. When
 * the directory has an entry of the new one, and so a link, one of the two is too many: the last that came up stays, since it has the
 * streams (the engine has ended the other).
 */
static void end_others(struct client_link *cl, const struct svc_hello *peer)
{
	struct client_link *other;

	TAILQ_FOREACH(other, &cl->sp->links, all) {
		if (other == cl || strcmp(other->key, cl->key) != 0 || !same_id(&other->instance, &peer->instance))
			continue;
		other->surplus = true;
		if (same_id(&other->owner, &peer->instance)) {
			cl->owner = other->owner;
			cl->gone = other->gone;
			cl->dead = other->dead;
		}
	}
	cl->instance = peer->instance;
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	struct client_link *cl = arg;

	end_others(cl, peer);
	cl->surplus = false;
	cl->up = true;
	cl->said = false;
	cl->redial_at_ms = CLIENT_NEVER;
	cl->sp->nr_up++;
	(void)directory_set_linked(cl->sp->directory, cl->key, &cl->instance, true); /* no memory: then a registry may end it */
	client_log(cl->sp, SVCPROTO_LOG_INFO, "linked to gateway %s (%s)", cl->z.endpoint, peer->name);
	client_pairs_linked(cl->sp);
	tell_linked(cl->sp);
}

static void on_down(void *arg, const char *why)
{
	struct client_link *cl = arg;

	if (cl->surplus)
		return;
	client_log(cl->sp, SVCPROTO_LOG_WARN, "link to gateway %s ended: %s", cl->z.endpoint, why);
	(void)directory_set_linked(cl->sp->directory, cl->key, &cl->instance, false);
	if (!cl->up) {
		if (!cl->said)
			client_refused(cl->sp, "gateway %s: %s", cl->z.endpoint, why);
		cl->said = true;
		cl->redial_at_ms = CLIENT_NEVER; /* it answers */
		return;
	}
	cl->up = false;
	cl->redial_at_ms = cl->sp->now_ms + REDIAL_ENDED_MS;
	cl->sp->nr_up--;
	client_admin_lost(cl, why);
	tell_linked(cl->sp);
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	client_inbound_open(arg, s, o);
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	(void)full_jid; /* a pair of servers has none */
	client_pair_accepted(((struct client_link *)arg)->sp, s);
}

static bool is_ours(const struct svc_stream *s)
{
	return svc_stream_is_ours(s);
}

static void on_stream_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	client_pair_refused(((struct client_link *)arg)->sp, s, r);
}

static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct client_link *cl = arg;

	if (!is_ours(s))
		client_inbound_stanza(cl->sp, s, seq, flags, xml, n);
	else
		(void)svc_stream_ack(s, seq); /* a stream outwards carries nothing back: answers come on a stream of their own */
}

static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	struct client_link *cl = arg;

	if (is_ours(s))
		client_pair_acked(cl->sp, s, seq);
	else
		client_inbound_acked(cl->sp, s, seq);
}

static void on_writable(void *arg, struct svc_stream *s)
{
	struct client_link *cl = arg;

	if (is_ours(s))
		client_pair_writable(cl->sp, s);
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	struct client_link *cl = arg;

	if (is_ours(s))
		client_pair_closed(cl->sp, s, condition, !svc_link_is_up(cl->engine));
	else
		client_inbound_closed(cl->sp, s, condition, text);
}

static void on_admin_reply(void *arg, uint32_t request, bool more, const char *error, const struct svcproto_property *v,
			   size_t nr)
{
	client_admin_reply(arg, request, more, error, v, nr);
}

static void on_locate(void *arg, uint32_t request, const char *bare_jid)
{
	client_locate(arg, request, bare_jid);
}

/* Whatever ends an epoch, callbacks of the same turn may have kept it, a stanza of the same batch even. */
static uint64_t on_clock(void *arg)
{
	struct svcproto *sp = ((struct client_link *)arg)->sp;

	client_read_clock(sp);
	return sp->now_ms;
}

static const struct svc_link_ops engine_ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_stream_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed, .admin_reply = on_admin_reply,
	.locate = on_locate, .clock = on_clock,
};

/* ---- gateways come and go ---- */

static void link_close(struct client_link *cl)
{
	struct svcproto *sp = cl->sp;

	if (cl->engine != NULL) {
		svc_link_break(cl->engine, "the gateway left the directory", sp->now_ms);
		svc_link_free(cl->engine);
		if (cl->dead && !cl->surplus)
			svc_hub_forget(sp->hub, cl->key, &cl->instance);
	}
	client_unwatch(sp, cl->z.socket);
	client_unwatch(sp, cl->z.monitor);
	zmon_close(&cl->z, 0);
	TAILQ_REMOVE(&sp->links, cl, all);
	free(cl);
}

static void link_open(struct svcproto *sp, const struct directory_gateway *g)
{
	struct zmon_options zo = { .zmq_context = sp->zmq, .type = ZMQ_DEALER, .endpoint = g->endpoint, .server_key = g->key,
				   .public_key = sp->key.public_z85, .secret_key = sp->key.secret_z85, .high_water = SVC_QUEUED_BATCHES,
				   .kernel_bytes = KERNEL_BYTES, .message_max = SVC_MESSAGE_MAX };
	struct client_link *cl = calloc(1, sizeof(*cl));

	if (cl == NULL)
		return;
	cl->sp = sp;
	cl->serial = ++sp->link_serials;
	cl->owner = cl->instance = g->owner;
	cl->draining = g->draining;
	cl->retry_at_ms = cl->redial_at_ms = CLIENT_NEVER;
	cl->retry_delay_ms = RETRY_MIN_MS;
	memcpy(cl->key, g->key, sizeof(cl->key));
	TAILQ_INSERT_TAIL(&sp->links, cl, all);
	cl->engine = svc_hub_link(sp->hub, g->key, &engine_ops, cl);
	if (cl->engine != NULL && zmon_open(&cl->z, &zo) == 0 && client_watch(sp, cl->z.socket, &cl->ready) == 0 &&
	    client_watch(sp, cl->z.monitor, &cl->monitor_ready) == 0)
		return;
	client_log(sp, SVCPROTO_LOG_ERROR, "cannot open a link to gateway %s", g->endpoint);
	link_close(cl);
}

static struct client_link *link_find(struct svcproto *sp, const struct directory_gateway *g)
{
	struct client_link *cl;

	TAILQ_FOREACH(cl, &sp->links, all)
		if ((same_id(&cl->owner, &g->owner) || (cl->up && same_id(&cl->instance, &g->owner))) && strcmp(cl->key, g->key) == 0 &&
		    strcmp(cl->z.endpoint, g->endpoint) == 0)
			return cl;
	return NULL;
}

static bool is_linked(const struct svcproto *sp, const struct svc_id *instance)
{
	const struct client_link *cl;

	TAILQ_FOREACH(cl, &sp->links, all)
		if (cl->up && same_id(&cl->instance, instance))
			return true;
	return false;
}

void client_gateway_event(void *arg, const struct directory_gateway *g, bool gone)
{
	struct svcproto *sp = arg;
	struct client_link *cl = link_find(sp, g);

	if (cl != NULL) {
		bool news = cl->draining != g->draining;

		cl->owner = g->owner;
		cl->gone = gone;
		cl->dead = gone && g->dead;
		cl->draining = g->draining;
		if (news && cl->up)
			client_pairs_draining(sp, cl);
	} else if (!gone) {
		link_open(sp, g);
	}
	/* Another process may answer at its place: what waits for this one waits no longer. */
	if (gone && g->dead && !is_linked(sp, &g->owner))
		svc_hub_forget(sp->hub, g->key, &g->owner);
}

/* Who is only out of the registries' reach may be back in time for what waits. */
static bool is_over(const struct client_link *cl)
{
	return cl->gone && !cl->up && (cl->dead || !svc_link_is_awaited(cl->engine));
}

/* Gateways that the directory has lost go when they are down; a second link to one, or one whose key is no gateway's any more, at once. */
static void close_gone(struct svcproto *sp)
{
	struct client_link *cl, *next;

	for (cl = TAILQ_FIRST(&sp->links); cl != NULL; cl = next) {
		next = TAILQ_NEXT(cl, all);
		if (cl->surplus || is_over(cl) || (cl->gone && directory_role(sp->directory, cl->key) != DIR_ROLE_GATEWAY))
			link_close(cl);
	}
}

/* ---- connections ---- */

static void retry_later(struct client_link *cl)
{
	if (cl->retry_at_ms != CLIENT_NEVER)
		return;
	cl->retry_at_ms = cl->sp->now_ms + cl->retry_delay_ms;
	cl->retry_delay_ms = cl->retry_delay_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : cl->retry_delay_ms * 2;
}

static void not_admitted(struct client_link *cl, bool key_unknown)
{
	cl->broken++;
	if (!cl->said && key_unknown)
		client_refused(cl->sp, "gateway %s does not know the key %s", cl->z.endpoint, cl->sp->key.public_z85);
	else if (!cl->said && cl->broken >= BROKEN_MAX)
		client_refused(cl->sp, "gateway %s does not hold the key that the registry names", cl->z.endpoint);
	cl->said = cl->said || key_unknown || cl->broken >= BROKEN_MAX;
	retry_later(cl);
}

static void connection_up(struct client_link *cl)
{
	cl->broken = 0;
	cl->retry_at_ms = CLIENT_NEVER;
	cl->retry_delay_ms = RETRY_MIN_MS;
	cl->redial_at_ms = cl->sp->now_ms + REDIAL_BEGUN_MS;
	(void)svc_link_start(cl->engine, cl->sp->now_ms);
}

static void read_monitor(struct client_link *cl)
{
	enum zmon_event ev;

	client_read_clock(cl->sp); /* callbacks may have kept this turn, and a new connection has its time */
	cl->monitor_ready = false;
	while ((ev = zmon_next(&cl->z)) != ZMON_NONE) {
		if (ev == ZMON_UP)
			connection_up(cl);
		else if (ev == ZMON_DOWN)
			svc_link_break(cl->engine, "the connection ended", cl->sp->now_ms);
		else
			not_admitted(cl, ev == ZMON_REFUSED);
	}
}

/* Batches first: those of a connection that has ended count still. */
static bool link_read(struct client_link *cl)
{
	struct svcproto *sp = cl->sp;

	if (!cl->ready && !cl->monitor_ready)
		return false;
	cl->ready = true; /* until it is seen empty */
	for (unsigned i = 0; i < BUDGET; i++) {
		int n = zmq_recv(cl->z.socket, sp->batch, sizeof(sp->batch), ZMQ_DONTWAIT);

		if (n < 0) {
			cl->ready = false;
			if (cl->monitor_ready)
				read_monitor(cl);
			return false;
		}
		svc_link_input(cl->engine, sp->batch, (size_t)n <= sizeof(sp->batch) ? (size_t)n : 0, sp->now_ms);
	}
	return true;
}

bool client_links_read(struct svcproto *sp)
{
	struct client_link *cl;
	bool more = false;

	TAILQ_FOREACH(cl, &sp->links, all)
		more = link_read(cl) || more;
	return more;
}

/* A path that swallows what is sent may keep its connection: the kernel sees it acknowledged, so only a new one helps. */
static void dial_again(struct client_link *cl)
{
	cl->retry_at_ms = cl->redial_at_ms = CLIENT_NEVER;
	cl->touched = true;
	if (zmon_reconnect(&cl->z) != 0)
		retry_later(cl);
}

static uint64_t link_tick(struct client_link *cl)
{
	uint64_t now = cl->sp->now_ms, next, dial_at;

	if (cl->retry_at_ms <= now || cl->redial_at_ms <= now)
		dial_again(cl);
	next = svc_link_tick(cl->engine, now);
	dial_at = cl->retry_at_ms < cl->redial_at_ms ? cl->retry_at_ms : cl->redial_at_ms;
	return next < dial_at ? next : dial_at;
}

/* Sending may have eaten the edge of what came, and room to send may have come before this look; or what another link's flush made the
 * service send has come too late for this one's. A DEALER with one connection has room if it says so: the next flush takes something. */
static bool has_more(struct client_link *cl)
{
	if (cl->touched || svc_link_wants_flush(cl->engine)) {
		int events = zmon_events(cl->z.socket);

		cl->touched = false;
		cl->ready = cl->ready || (events & ZMQ_POLLIN) != 0 || ((events & ZMQ_POLLOUT) != 0 && svc_link_wants_flush(cl->engine));
	}
	return cl->ready || cl->monitor_ready;
}

uint64_t client_links_tick(struct svcproto *sp, bool *more)
{
	uint64_t next = CLIENT_NEVER, at;
	struct client_link *cl;

	close_gone(sp);
	TAILQ_FOREACH(cl, &sp->links, all)
		(void)link_tick(cl);
	if (sp->cb->before_flush != NULL)
		sp->cb->before_flush(sp->arg);
	/* Only now: what one link's end made the service send may leave by another. */
	TAILQ_FOREACH(cl, &sp->links, all)
		if (svc_link_wants_flush(cl->engine))
			svc_link_flush(cl->engine, sp->now_ms);
	TAILQ_FOREACH(cl, &sp->links, all) {
		at = link_tick(cl);
		next = at < next ? at : next;
		*more = has_more(cl) || *more;
	}
	return next;
}

/* What is queued still leaves, if the gateway reads. */
static void say_goodbye(struct svcproto *sp)
{
	struct timespec pause = { .tv_nsec = GOODBYE_MS * 1000000L / GOODBYE_TRIES };
	struct client_link *cl;
	bool left = true;

	for (int i = 0; i < GOODBYE_TRIES && left; i++) {
		left = false;
		TAILQ_FOREACH(cl, &sp->links, all) {
			svc_link_hurry(cl->engine);
			svc_link_flush(cl->engine, sp->now_ms);
			left = left || (cl->up && svc_link_wants_flush(cl->engine));
		}
		if (left)
			nanosleep(&pause, NULL);
	}
}

void client_links_free(struct svcproto *sp)
{
	struct client_link *cl;

	for (size_t i = 0; i < sp->cap_inbound; i++)
		for (struct inbound *in = sp->inbound[i]; in != NULL; in = in->chain)
			if (in->stream != NULL)
				(void)svc_stream_close(in->stream, in->kind == INBOUND_SESSION ? "system-shutdown" : NULL, NULL);
	say_goodbye(sp);
	while ((cl = TAILQ_FIRST(&sp->links)) != NULL) {
		TAILQ_REMOVE(&sp->links, cl, all);
		svc_link_free(cl->engine);
		zmon_close(&cl->z, GOODBYE_MS);
		free(cl);
	}
}
