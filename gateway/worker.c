#include "worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include "common/log.h"
#include "common/zev.h"
#include "net/listener.h"
#include "net/proxy.h"
#include "role/c2s.h"
#include "role/edge.h"
#include "role/relay.h"
#include "role/s2s_in.h"
#include "role/s2s_pair.h"

/*
 * Wires the parts of a worker together and runs its loop. No locks: other threads speak to it by loop_post. Never blocks after
 * worker_start.
 */

#define ANNOUNCER_SOCKETS_MAX 32
#define TICK_MAX_MS 1000
#define DOORS_MAX 8 /* one for each kind of listener */

struct worker {
	struct role_env env;
	struct worker_options o;
	pthread_t thread;
	bool started;
	char *svc_bind, *svc_advertise, *public_host, *registry;
	char endpoint[320];                 /* as announced */
	struct svc_id id;
	struct announcer *announcer;
	struct zev *zevs[ANNOUNCER_SOCKETS_MAX];
	size_t nr_zevs;
	struct loop_timer announcer_timer, patience;
	struct listener *c2s, *c2s_direct, *s2s;
	struct proxy_door *doors[DOORS_MAX];
	size_t nr_doors;
	char name[16];
};

/* --- accepting ----------------------------------------------------------- */

static void on_c2s(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	struct worker *w = arg;

	c2s_accept(&w->env, fd, peer, len, false);
}

static void on_c2s_direct(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	struct worker *w = arg;

	c2s_accept(&w->env, fd, peer, len, true);
}

static void on_s2s(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	struct worker *w = arg;

	s2s_in_accept(&w->env, fd, peer, len);
}

static struct listener *listen_on(struct worker *w, int fd, void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len))
{
	struct proxy_door *door;

	if (fd < 0)
		return NULL;
	if (w->o.nr_proxy_from == 0)
		return listener_new(w->env.loop, fd, accepted, w);
	ASSERT(w->nr_doors < DOORS_MAX);
	door = w->doors[w->nr_doors++] = proxy_door_new(w->env.loop, w->o.proxy_from, w->o.nr_proxy_from, accepted, w);
	return listener_new(w->env.loop, fd, proxy_door_accept, door);
}

/* --- services ------------------------------------------------------------ */

/* A domain of this cluster is reached through the directory, never through the network. */
static void on_open_out(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct worker *w = arg;

	if (directory_is_local(w->env.directory, o->to_domain))
		relay_open(&w->env, s, o);
	else
		s2s_pair_open(&w->env, s, o);
}

static void on_links_changed(void *arg)
{
	(void)arg;
}

static const struct links_ops links_ops = {.open_out = on_open_out, .changed = on_links_changed};

/* --- the registry -------------------------------------------------------- */

static void tick_announcer(void *arg)
{
	struct worker *w = arg;
	uint64_t now = loop_now_ms(w->env.loop);
	uint64_t at = announcer_tick(w->announcer, now);
	uint64_t in_ms = at > now ? at - now : 0;

	loop_timer_set(&w->announcer_timer, in_ms < TICK_MAX_MS ? in_ms : TICK_MAX_MS);
}

static bool on_announcer_readable(void *arg, void *zsock)
{
	struct worker *w = arg;
	bool more = announcer_dispatch(w->announcer, loop_now_ms(w->env.loop));

	(void)zsock;
	tick_announcer(w);
	return more;
}

static const struct zev_ops announcer_zev_ops = {.readable = on_announcer_readable};

static void on_refused(void *arg, const char *what)
{
	(void)arg;
	log_error("registry", 0, "refused", "why=%s", log_escape(slice_str(what)));
}

static void on_synced(void *arg)
{
	(void)arg;
	log_info("registry", 0, "synced", "view=complete");
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	(void)arg;
	log_event((enum log_level)level, "registry", 0, "note", "text=%s", log_escape(slice_str(line)));
}

static const struct announcer_ops announcer_ops = {.refused = on_refused, .synced = on_synced, .log = on_log};

static void on_keys(void *arg)
{
	struct worker *w = arg;

	if (w->env.links != NULL)
		links_recheck(w->env.links);
}

static const struct directory_ops directory_ops = {.keys = on_keys};

static int start_announcer(struct worker *w)
{
	struct announcer_options o = {
		.zmq_context = w->o.zmq_context,
		.registries = w->registry,
		.public_key = w->o.key.public_z85,
		.secret_key = w->o.key.secret_z85,
		.owner = w->id,
		.incarnation = w->o.incarnation,
		.role = DIR_ROLE_GATEWAY,
	};
	struct directory_gateway g = {
		.owner = w->id,
		.incarnation = w->o.incarnation,
		.endpoint = w->endpoint,
		.key = w->o.key.public_z85,
		.public_host = w->public_host,
	};
	void *zsocks[ANNOUNCER_SOCKETS_MAX];
	int err = 0;

	w->announcer = announcer_new(&o, w->env.directory, &announcer_ops, w, &err);
	if (w->announcer == NULL || announcer_set_gateway(w->announcer, &g) != 0)
		return -ERR_SYSTEM;
	w->nr_zevs = announcer_sockets(w->announcer, zsocks, ANNOUNCER_SOCKETS_MAX);
	for (size_t i = 0; i < w->nr_zevs; i++) {
		w->zevs[i] = zev_new(w->env.loop, zsocks[i], &announcer_zev_ops, w);
		if (w->zevs[i] == NULL)
			return -ERR_SYSTEM;
	}
	tick_announcer(w);
	return 0;
}

/* The endpoint that services dial: as bound, with the host to advertise put in. */
static void make_endpoint(struct worker *w)
{
	const char *bound = links_endpoint(w->env.links), *port = strrchr(bound, ':');

	if (w->svc_advertise != NULL && port != NULL)
		snprintf(w->endpoint, sizeof w->endpoint, "tcp://%s%s", w->svc_advertise, port);
	else
		snprintf(w->endpoint, sizeof w->endpoint, "%s", bound);
}

static int start_links(struct worker *w, char *why, size_t why_size)
{
	struct links_options o = {
		.loop = w->env.loop,
		.zmq_context = w->o.zmq_context,
		.bind = w->svc_bind,
		.key = &w->o.key,
		.directory = w->env.directory,
		.hello = {
			.instance = w->id,
			.incarnation = w->o.incarnation,
			.name = "ambrosia-gateway",
			.stanza_bytes_max = (uint32_t)w->env.limits.from_service.element_bytes,
			.stream_window_bytes = SVC_WINDOW_BYTES,
			.unacked_stanzas_max = 256,
			.unacked_bytes_max = 4u << 20,
			.streams_max = 100000,
		},
	};

	w->env.links = links_new(&o, &links_ops, w, why, why_size);
	return w->env.links != NULL ? 0 : -ERR_SYSTEM;
}

/* --- life ---------------------------------------------------------------- */

static void on_drained(void *arg)
{
	struct worker *w = arg;

	loop_stop(w->env.loop);
}

struct worker *worker_new(const struct worker_options *o, char *why, size_t why_size)
{
	struct worker *w = NEW(struct worker);

	w->o = *o;
	w->svc_bind = mem_strdup(o->svc_bind);
	w->svc_advertise = mem_strdup(o->svc_advertise);
	w->public_host = mem_strdup(o->public_host);
	w->registry = mem_strdup(o->registry);
	snprintf(w->name, sizeof w->name, "w%u", o->number);
	mem_random(&w->id, sizeof w->id);
	w->env.loop = loop_new();
	w->env.directory = directory_new(&directory_ops, w);
	w->env.tls = tls_store_ref(o->tls);
	w->env.auth = o->auth;
	w->env.limits = o->limits;
	w->env.addresses = hash_new();
	w->env.drained = on_drained;
	w->env.drained_arg = w;
	memcpy(w->env.dialback_secret, o->dialback_secret, sizeof w->env.dialback_secret);
	loop_timer_init(w->env.loop, &w->announcer_timer, tick_announcer, w);
	loop_timer_init(w->env.loop, &w->patience, on_drained, w);
	if (start_links(w, why, why_size) != 0)
		goto fail;
	make_endpoint(w);
	w->env.resolver = resolver_new(w->env.loop, &o->resolver, why, why_size);
	if (w->env.resolver == NULL)
		goto fail;
	if (start_announcer(w) != 0) {
		snprintf(why, why_size, "cannot speak to the registry %s", w->registry);
		goto fail;
	}
	w->c2s = listen_on(w, o->sockets.c2s, on_c2s);
	w->c2s_direct = listen_on(w, o->sockets.c2s_direct, on_c2s_direct);
	w->s2s = listen_on(w, o->sockets.s2s, on_s2s);
	return w;
fail:
	worker_free(w);
	return NULL;
}

const char *worker_svc_endpoint(const struct worker *w)
{
	return w->endpoint;
}

static void *run(void *arg)
{
	struct worker *w = arg;

	log_set_thread(w->name);
	loop_run(w->env.loop);
	w->o.ended(w->o.arg);
	return NULL;
}

int worker_start(struct worker *w)
{
	if (pthread_create(&w->thread, NULL, run, w) != 0)
		return -ERR_SYSTEM;
	w->started = true;
	return 0;
}

struct tls_message {
	struct worker *w;
	struct tls_store *tls;
};

static void on_set_tls(void *arg)
{
	struct tls_message *m = arg;

	tls_store_unref(m->w->env.tls);
	m->w->env.tls = m->tls;
	free(m);
}

void worker_set_tls(struct worker *w, struct tls_store *tls)
{
	struct tls_message *m = NEW(struct tls_message);

	m->w = w;
	m->tls = tls_store_ref(tls);
	if (loop_post(w->env.loop, on_set_tls, m) != 0) {
		tls_store_unref(m->tls);
		free(m);
	}
}

static void close_listeners(struct worker *w)
{
	listener_free(w->c2s);
	listener_free(w->c2s_direct);
	listener_free(w->s2s);
	w->c2s = w->c2s_direct = w->s2s = NULL;
	while (w->nr_doors > 0)
		proxy_door_free(w->doors[--w->nr_doors]);
}

static void on_drain(void *arg)
{
	struct worker *w = arg;

	log_info("worker", 0, "drain", "connections=%zu", w->env.nr_edges);
	w->env.draining = true;
	close_listeners(w);
	for (struct edge *e = w->env.edges, *next; e != NULL; e = next) {
		next = e->next;
		edge_close(e, CLOSE_SHUTDOWN);
	}
	if (w->env.nr_edges == 0)
		loop_stop(w->env.loop);
}

struct drain_message {
	struct worker *w;
	unsigned patience_ms;
};

static void on_drain_message(void *arg)
{
	struct drain_message *m = arg;

	loop_timer_set(&m->w->patience, m->patience_ms);
	on_drain(m->w);
	free(m);
}

void worker_drain(struct worker *w, unsigned patience_ms)
{
	struct drain_message *m = NEW(struct drain_message);

	m->w = w;
	m->patience_ms = patience_ms;
	if (loop_post(w->env.loop, on_drain_message, m) != 0)
		free(m);
}

void worker_join(struct worker *w)
{
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
}

static void free_announcer(struct worker *w)
{
	for (size_t i = 0; i < w->nr_zevs; i++)
		zev_free(w->zevs[i]);
	announcer_free(w->announcer);
	loop_timer_cancel(&w->announcer_timer);
}

void worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	close_listeners(w);
	/* Connections that outlived the patience are cut. */
	for (struct edge *e = w->env.edges, *next; e != NULL; e = next) {
		next = e->next;
		if (e->conn != NULL)
			conn_abort(e->conn);
	}
	loop_timer_cancel(&w->patience);
	if (w->env.loop != NULL && w->env.edges != NULL)
		loop_turn(w->env.loop);
	free_announcer(w);
	links_free(w->env.links);
	resolver_free(w->env.resolver);
	directory_free(w->env.directory);
	tls_store_unref(w->env.tls);
	hash_free(w->env.addresses);
	loop_free(w->env.loop);
	mem_wipe(&w->o.key, sizeof w->o.key);
	mem_wipe(w->env.dialback_secret, sizeof w->env.dialback_secret);
	free(w->svc_bind);
	free(w->svc_advertise);
	free(w->public_host);
	free(w->registry);
	free(w);
}
