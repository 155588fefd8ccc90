#include "link/links_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "common/err.h"
#include "common/log.h"
#include "common/stat.h"
#include "link/keep.h"
#include "link/links_socket.h"

/*
 * The set of a worker's links over one ROUTER. The routing id finds the link, the User-Id that ZAP set proves it, on every batch. A peer
 * that 0MQ no longer knows shows when something is sent to it; its disconnection (monitor) makes us try. Never blocks; never frees a link
 * inside its own events.
 */

#define LINKS_MAX 4096
#define LINKS_PER_KEY 1024 /* so that one key cannot keep all others out */
#define BATCHES_A_TURN 64

/* --- sending ------------------------------------------------------------ */

int links_transmit(struct links *ls, struct link *k, const void *batch, size_t n)
{
	if (k->dead)
		return 0;
	if (zmq_send(ls->zsock, k->routing_id, k->routing_id_n, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
		if (zmq_errno() == EAGAIN) {
			zev_want_write(ls->zev); /* the engine keeps it and offers it again at a flush: on_writable */
			return SVCPROTO_E_FULL;
		}
		/* EHOSTUNREACH: gone. The engine may be in the middle of a flush: break it later. */
		k->dead = true;
		loop_task_queue(ls->loop, &ls->flush);
		return 0;
	}
	/* After the routing frame the body can't fail for want of room. */
	if (zmq_send(ls->zsock, batch, n, ZMQ_DONTWAIT) < 0) {
		k->dead = true;
		loop_task_queue(ls->loop, &ls->flush);
	}
	zev_sent(ls->zev);
	return 0;
}

static void forget(struct links *ls, size_t i)
{
	struct link *k = ls->v[i];
	bool may = directory_role(ls->directory, k->key) != DIR_ROLE_NONE;

	hash_del(ls->by_routing_id, (struct slice){(const char *)k->routing_id, k->routing_id_n});
	ls->v[i] = ls->v[--ls->nr];
	svc_link_break(k->engine, "the service's connection is gone", loop_now_ms(ls->loop));
	if (!may) /* its key is gone: it cannot come again */
		svc_hub_forget(ls->hub, k->key, &k->peer.instance);
	link_free(k);
}

static void arm_tick(struct links *ls)
{
	uint64_t now = loop_now_ms(ls->loop), next = svc_hub_tick(ls->hub, now);

	for (size_t i = 0; i < ls->nr; i++) {
		if (ls->v[i]->tick_at_ms < next)
			next = ls->v[i]->tick_at_ms;
	}
	if (next != UINT64_MAX)
		loop_timer_set(&ls->tick, next > now ? next - now : 0);
}

static void reap_dead(struct links *ls)
{
	for (size_t i = 0; i < ls->nr;) {
		if (ls->v[i]->dead)
			forget(ls, i);
		else
			i++;
	}
}

static void on_flush(void *arg)
{
	struct links *ls = arg;
	uint64_t now = loop_now_ms(ls->loop);

	for (size_t i = 0; i < ls->nr; i++) {
		struct link *k = ls->v[i];

		if (svc_link_wants_flush(k->engine)) {
			stat_observe(STAT_link_queue, stat_sizes_bytes, svc_link_queued_bytes(k->engine));
			svc_link_flush(k->engine, now);
			k->tick_at_ms = svc_link_tick(k->engine, now);
		}
	}
	reap_dead(ls);
	stat_add(STAT_held_unacked, svc_hub_held_bytes(ls->hub) - ls->held_told);
	ls->held_told = svc_hub_held_bytes(ls->hub);
	admin_flushed(ls->admin);
	arm_tick(ls);
}

static void on_tick(void *arg)
{
	struct links *ls = arg;
	uint64_t now = loop_now_ms(ls->loop);

	for (size_t i = 0; i < ls->nr; i++)
		ls->v[i]->tick_at_ms = svc_link_tick(ls->v[i]->engine, now);
	links_touch(ls);
}

void links_touch(struct links *ls)
{
	loop_task_queue(ls->loop, &ls->flush);
}

void links_hurry(struct links *ls)
{
	if (ls == NULL)
		return;
	for (size_t i = 0; i < ls->nr; i++)
		svc_link_hurry(ls->v[i]->engine);
	on_flush(ls);
}

/* --- receiving ---------------------------------------------------------- */

static bool may_link(struct links *ls, const char *key)
{
	enum directory_role role = directory_role(ls->directory, key);

	return role == DIR_ROLE_SERVICE || role == DIR_ROLE_ADMIN;
}

static size_t nr_of_key(const struct links *ls, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < ls->nr; i++)
		n += strcmp(ls->v[i]->key, key) == 0;
	return n;
}

/* NULL: it may have one more. */
static const char *no_link(struct links *ls, const char *key)
{
	if (strlen(key) != 40 || !may_link(ls, key))
		return "this key is not authorised to link as a service";
	if (nr_of_key(ls, key) >= LINKS_PER_KEY)
		return "this key has as many links here as one key may have";
	return ls->nr >= LINKS_MAX ? "this gateway has as many links as it takes" : NULL;
}

/* The peer is told, if the socket has room; else it says HELLO again. */
static void turn_away(struct links *ls, struct slice routing_id, const char *key, struct slice batch, const char *why)
{
	uint8_t answer[SVC_ANSWER_MAX];
	size_t n = svc_link_turn_away(batch.p, batch.n, why, answer);

	if (log_once_a_second(&ls->warned_ms))
		log_warn("link", 0, "refused", "key=%s why=\"%s\"", log_escape(slice_str(key)), why);
	if (n > 0 && zmq_send(ls->zsock, routing_id.p, routing_id.n, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) {
		(void)zmq_send(ls->zsock, answer, n, ZMQ_DONTWAIT);
		zev_sent(ls->zev);
	}
}

static struct link *link_of(struct links *ls, struct slice routing_id, const char *key, struct slice batch)
{
	struct link *k = hash_get(ls->by_routing_id, routing_id);
	const char *why;

	if (k != NULL)
		return strcmp(k->key, key) == 0 ? k : NULL;
	why = no_link(ls, key);
	if (why != NULL || routing_id.n > ROUTING_ID_MAX) {
		turn_away(ls, routing_id, key, batch, why != NULL ? why : "its routing id is too long");
		return NULL;
	}
	if (ls->nr == ls->cap) {
		ls->cap = ls->cap ? 2 * ls->cap : 8;
		ls->v = mem_resize(ls->v, ls->cap * sizeof(struct link *));
	}
	k = link_new(ls, ls->hub, routing_id, key);
	k->administers = directory_role(ls->directory, key) == DIR_ROLE_ADMIN;
	ls->v[ls->nr++] = k;
	hash_put(ls->by_routing_id, routing_id, k);
	return k;
}

/* A message is [routing id][batch]; more parts than that are no batch of ours and are dropped. True if there was a message. */
static bool receive_one(struct links *ls)
{
	zmq_msg_t id, part;
	bool whole = false, more;
	struct link *k = NULL;

	zmq_msg_init(&id);
	if (zmq_msg_recv(&id, ls->zsock, ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&id);
		return false;
	}
	more = zmq_msg_more(&id);
	for (unsigned i = 0; more; i++) {
		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, ls->zsock, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&part);
			break;
		}
		more = zmq_msg_more(&part);
		whole = i == 0 && !more;
		if (whole) {
			struct slice batch = {zmq_msg_data(&part), zmq_msg_size(&part)};
			const char *key = zmq_msg_gets(&part, "User-Id");

			k = link_of(ls, (struct slice){zmq_msg_data(&id), zmq_msg_size(&id)}, key ? key : "", batch);
			if (k != NULL)
				link_input(k, batch, loop_now_ms(ls->loop));
		}
		zmq_msg_close(&part);
	}
	zmq_msg_close(&id);
	return true;
}

static bool on_readable(void *arg, void *zsock)
{
	struct links *ls = arg;

	(void)zsock;
	links_touch(ls);
	for (unsigned i = 0; i < BATCHES_A_TURN; i++) {
		if (!receive_one(ls))
			return false;
	}
	return true;
}

static void on_writable(void *arg, void *zsock)
{
	(void)zsock;
	links_touch(arg);
}

static const struct zev_ops router_ops = {.readable = on_readable, .writable = on_writable};

/* --- peers that vanish -------------------------------------------------- */

static void on_probe(void *arg)
{
	struct links *ls = arg;

	for (size_t i = 0; i < ls->nr; i++)
		svc_link_ping(ls->v[i]->engine);
	links_touch(ls);
	if (ls->probes_left-- > 1)
		loop_timer_set(&ls->probe, 500);
}

/* Some connection ended; the ROUTER doesn't say whose, so every peer is pinged, and once more for a pipe that was still on its way out. */
static bool on_monitor(void *arg, void *zsock)
{
	struct links *ls = arg;
	zmq_msg_t m;

	for (;;) {
		zmq_msg_init(&m);
		if (zmq_msg_recv(&m, zsock, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&m);
			return false;
		}
		zmq_msg_close(&m);
		ls->probes_left = 3;
		loop_timer_set(&ls->probe, 10);
	}
}

static const struct zev_ops monitor_ops = {.readable = on_monitor};

/* --- events of links ---------------------------------------------------- */

/* An instance that has a link here is alive, whatever the registries have lost. */
static void tell_directory(struct links *ls, const struct link *about)
{
	bool linked = false;

	for (size_t i = 0; i < ls->nr; i++)
		linked |= ls->v[i]->up && link_is(ls->v[i], about->key, &about->peer.instance);
	if (directory_set_linked(ls->directory, about->key, &about->peer.instance, linked) != 0)
		log_warn("link", about->id, "memory", "why=\"a registry that loses it may end its registrations\"");
}

void links_link_up(struct links *ls, struct link *k)
{
	stat_add(STAT_links, 1);
	tell_directory(ls, k);
	ls->ops->changed(ls->arg);
}

void links_link_down(struct links *ls, struct link *k, const char *why)
{
	(void)why;
	stat_add(STAT_links, (uint64_t)-1);
	tell_directory(ls, k);
	ls->ops->changed(ls->arg);
}

void links_opened(struct links *ls, struct link *k, struct svc_stream *s, const struct svc_open *o)
{
	unsigned type = o->kind == SVC_KIND_PEER ? SVCPROTO_CLIENT : SVCPROTO_SERVER;

	if (!directory_may(ls->directory, k->key, o->from_domain, type) ||
	    (o->kind == SVC_KIND_PEER && strcmp(o->from_domain, o->to_domain) != 0)) {
		struct svc_refusal r = {
			.type = "auth", .condition = "forbidden", .text = "the key is not authorised for the domain that sends"};

		log_warn("link", k->id, "refused", "from=%s why=\"not authorised for that domain\"", log_escape(slice_str(o->from_domain)));
		(void)svc_stream_refuse(s, &r);
		return;
	}
	ls->ops->open_out(ls->arg, s, o);
}

int links_send(struct links *ls, struct link_end *e, struct slice xml)
{
	uint32_t seq;
	int err = svc_stream_send(e->stream, xml.p, xml.n, 0, &seq);

	if (err == 0 && e->sample_at_ms_ == 0) {
		e->sample_at_ms_ = loop_now_ms(ls->loop);
		e->sample_seq_ = seq;
	}
	links_touch(ls);
	return err;
}

void links_sampled(struct links *ls, struct link_end *e)
{
	stat_observe(STAT_ack_delay, stat_times_ms, loop_now_ms(ls->loop) - e->sample_at_ms_);
	e->sample_at_ms_ = 0;
}

void links_attach(struct svc_stream *s, struct link_end *e)
{
	e->stream = s;
	svc_stream_set_data(s, e);
}

void links_gather(struct svc_link *engine, bool gathers)
{
	if (engine != NULL)
		svc_link_gather(engine, gathers);
}

void links_release(struct link_end *e, const char *condition, const char *text)
{
	struct svc_stream *s = e->stream;

	e->stream = NULL;
	if (s == NULL)
		return;
	svc_stream_set_data(s, NULL);
	links_gather(svc_stream_link(s), e->gathers && condition == NULL);
	(void)svc_stream_close(s, condition, text);
	links_gather(svc_stream_link(s), false);
}

void links_recheck(struct links *ls)
{
	for (size_t i = 0; i < ls->nr; i++) {
		if (!may_link(ls, ls->v[i]->key)) {
			log_warn("link", ls->v[i]->id, "cut", "why=\"the key is no longer authorised\"");
			ls->v[i]->dead = true;
		}
	}
	links_touch(ls);
}

struct admin *links_admin(struct links *ls)
{
	return ls->admin;
}

void links_each(struct links *ls, void (*fn)(void *arg, const struct links_info *i), void *arg)
{
	for (size_t i = 0; i < ls->nr; i++) {
		struct link *k = ls->v[i];
		struct links_info info = {&k->peer, k->key, svc_link_nr_streams(k->engine), svc_link_queued_bytes(k->engine)};

		if (k->up && !k->dead)
			fn(arg, &info);
	}
}

size_t links_nr_up(const struct links *ls)
{
	size_t n = 0;

	for (size_t i = 0; i < ls->nr; i++)
		n += ls->v[i]->up;
	return n;
}

/* --- birth and death ---------------------------------------------------- */

struct links *links_new(const struct links_options *o, const struct links_ops *ops, void *arg, char *why, size_t why_size)
{
	struct links *ls = NEW(struct links);
	size_t n = sizeof ls->endpoint;

	ls->loop = o->loop;
	ls->directory = o->directory;
	ls->hub = keep_new(&o->hello, o->held_bytes_max);
	ls->ops = ops;
	ls->arg = arg;
	ls->by_routing_id = hash_new();
	ls->admin = admin_new(o->loop, o->directory, &ops->admin, arg);
	ls->locates = locates_new();
	loop_task_init(&ls->flush, on_flush, ls);
	loop_timer_init(ls->loop, &ls->tick, on_tick, ls);
	loop_timer_init(ls->loop, &ls->probe, on_probe, ls);
	ls->zsock = links_socket_new(o->zmq_context, o->key);
	ls->monitor = ls->zsock != NULL ? links_socket_watch(o->zmq_context, ls->zsock) : NULL;
	if (ls->monitor == NULL || links_socket_bind(ls->zsock, ls->monitor, o->bind) != 0 ||
	    zmq_getsockopt(ls->zsock, ZMQ_LAST_ENDPOINT, ls->endpoint, &n) != 0) {
		snprintf(why, why_size, "cannot bind the service port %s: %s; choose another with --svc", o->bind,
			 zmq_strerror(zmq_errno()));
		links_free(ls);
		return NULL;
	}
	ls->zev = zev_new(ls->loop, ls->zsock, &router_ops, ls);
	ls->zev_monitor = zev_new(ls->loop, ls->monitor, &monitor_ops, ls);
	ASSERT(ls->zev != NULL && ls->zev_monitor != NULL);
	return ls;
}

void links_free(struct links *ls)
{
	if (ls == NULL)
		return;
	admin_free(ls->admin);
	for (size_t i = 0; i < ls->nr; i++)
		link_free(ls->v[i]);
	free(ls->v);
	free(ls->candidates);
	svc_hub_free(ls->hub);
	hash_free(ls->by_routing_id);
	locates_free(ls->locates);
	zev_free(ls->zev_monitor);
	zev_free(ls->zev);
	loop_task_cancel(ls->loop, &ls->flush);
	loop_timer_cancel(&ls->tick);
	loop_timer_cancel(&ls->probe);
	if (ls->monitor != NULL)
		zmq_close(ls->monitor);
	if (ls->zsock != NULL) {
		zmq_socket_monitor(ls->zsock, NULL, 0);
		zmq_close(ls->zsock);
	}
	free(ls);
}

const char *links_endpoint(const struct links *ls)
{
	return ls->endpoint;
}
