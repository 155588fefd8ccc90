#include "worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include "commands.h"
#include "common/log.h"
#include "member.h"
#include "net/handshakes.h"
#include "net/listener.h"
#include "net/proxy.h"
#include "role/blocks.h"
#include "role/c2s.h"
#include "role/drain.h"
#include "role/edge.h"
#include "role/relay.h"
#include "role/s2s_in.h"
#include "role/s2s_pair.h"

/* Wires the parts of a worker together and runs its loop. No locks: other threads speak to it by loop_post. Never blocks once it runs. */

#define DOORS_MAX 8 /* one for each kind of listener */

struct worker {
	struct role_env env;
	struct worker_options o;
	pthread_t thread;
	bool started;
	char endpoint[320];                 /* as announced */
	struct svc_id id;
	struct member *member;
	struct loop_timer patience;
	struct commands *commands;
	struct listener *c2s, *c2s_direct, *s2s, *s2s_direct;
	struct proxy_door *doors[DOORS_MAX];
	size_t nr_doors;
	char name[16];
	/* for the main thread to look at */
	_Atomic bool is_draining;
	_Atomic uint64_t heard_at_ms;
};

/* --- accepting ----------------------------------------------------------- */

static void on_c2s(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	c2s_accept(&((struct worker *)arg)->env, fd, peer, len, false);
}

static void on_c2s_direct(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	c2s_accept(&((struct worker *)arg)->env, fd, peer, len, true);
}

static void accept_s2s(struct worker *w, int fd, const struct sockaddr *peer, socklen_t len, bool direct_tls)
{
	if (w->env.draining)
		close(fd); /* the remote server tries the next of our hosts */
	else
		s2s_in_accept(&w->env, fd, peer, len, direct_tls);
}

static void on_s2s(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	accept_s2s(arg, fd, peer, len, false);
}

static void on_s2s_direct(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	accept_s2s(arg, fd, peer, len, true);
}

static struct listener *listen_on(struct worker *w, int fd, void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len))
{
	struct proxy_door *door = NULL;
	struct listener *ln;

	if (fd < 0)
		return NULL;
	ASSERT(w->nr_doors < DOORS_MAX);
	if (w->o.nr_proxy_from > 0)
		door = w->doors[w->nr_doors++] = proxy_door_new(w->env.loop, w->o.proxy_from, w->o.nr_proxy_from, accepted, w);
	if (door != NULL)
		proxy_door_pace(door, w->env.limits.conn.handshakes);
	ln = door != NULL ? listener_new(w->env.loop, fd, proxy_door_accept, door) : listener_new(w->env.loop, fd, accepted, w);
	listener_pace(ln, w->env.limits.conn.handshakes);
	return ln;
}

/* --- services ------------------------------------------------------------ */

/* A domain of this cluster is reached through the directory, never through the network. */
static void on_open_out(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct worker *w = arg;

	if (drain_is_over(w->env.drain))
		(void)svc_stream_close(s, "system-shutdown", NULL);
	else if (o->kind == SVC_KIND_PEER || directory_is_local(w->env.directory, o->to_domain))
		relay_open(&w->env, s, o);
	else
		s2s_pair_open(&w->env, s, o);
}

static void on_links_changed(void *arg)
{
	(void)arg;
}

static void on_admin(void *arg, struct admin_request *q, const char *command, const struct admin_args *a)
{
	struct worker *w = arg;

	commands_ask(w->commands, q, command, a);
}

static void on_admin_gone(void *arg, struct admin_request *q)
{
	struct worker *w = arg;

	commands_gone(w->commands, q);
}

static int on_reload(void *arg, uint64_t request)
{
	struct worker *w = arg;

	return w->o.reload(w->o.arg, w, request);
}

static const struct commands_ops commands_ops = {.reload = on_reload};

static const struct links_ops links_ops = {
	.open_out = on_open_out, .changed = on_links_changed, .admin = {.ask = on_admin, .gone = on_admin_gone}};

/* --- the cluster --------------------------------------------------------- */

static void on_keys(void *arg)
{
	struct worker *w = arg;

	if (w->env.links != NULL)
		links_recheck(w->env.links);
}

static uint32_t room_of(void *arg)
{
	const struct worker *w = arg;

	return handshakes_room(w->env.limits.conn.handshakes);
}

static uint32_t load_of(void *arg)
{
	const struct worker *w = arg;

	return w->env.nr_sessions < UINT32_MAX ? (uint32_t)w->env.nr_sessions : UINT32_MAX;
}

static void on_secrets(void *arg, const struct secrets *s)
{
	struct worker *w = arg;

	secrets_lend(s, &w->env.dialback, &w->env.tickets);
	auth_pool_set_salt_key(w->env.auth, s->salt_key);
}

static void on_gone(void *arg, const char *key, const struct svc_id *instance)
{
	struct worker *w = arg;

	if (w->env.links != NULL)
		links_forget(w->env.links, key, instance);
}

static void on_restricted(void *arg, const char *domain)
{
	struct worker *w = arg;

	if (w->env.links != NULL)
		s2s_pairs_restrict(&w->env, domain);
}

static void on_heard(void *arg, uint64_t at_ms)
{
	struct worker *w = arg;

	atomic_store_explicit(&w->heard_at_ms, at_ms, memory_order_relaxed);
}

static void on_synced(void *arg)
{
	struct worker *w = arg;

	if (w->env.links != NULL)
		links_heard(w->env.links);
}

static const struct member_ops member_ops = {
	.keys = on_keys, .synced = on_synced, .secrets = on_secrets, .restricted = on_restricted, .gone = on_gone,
	.load = load_of, .room = room_of, .heard = on_heard};

static struct member *make_member(struct worker *w)
{
	struct member_options o = {
		.loop = w->env.loop,
		.zmq_context = w->o.zmq_context,
		.registries = w->o.registries,
		.key = &w->o.key,
		.id = w->id, .incarnation = w->o.incarnation,
		.public_host = w->o.public_host,
		.secrets = w->o.secrets,
		.keep_path = w->o.keep_path,
		.jobs = w->o.number == 0 ? w->o.jobs : NULL,
		.client_port = w->o.client_port,
		.zap = w->o.zap,
	};

	return member_new(&o, &member_ops, w);
}

/* The endpoint that services dial: as bound, with the host to advertise put in. */
static void make_endpoint(struct worker *w)
{
	const char *bound = links_endpoint(w->env.links), *port = strrchr(bound, ':');

	if (w->o.svc_advertise != NULL && port != NULL)
		snprintf(w->endpoint, sizeof w->endpoint, "tcp://%s%s", w->o.svc_advertise, port);
	else
		snprintf(w->endpoint, sizeof w->endpoint, "%s", bound);
}

static int start_links(struct worker *w, char *why, size_t why_size)
{
	struct links_options o = {
		.loop = w->env.loop,
		.zmq_context = w->o.zmq_context,
		.bind = w->o.svc_bind,
		.key = &w->o.key,
		.directory = w->env.directory,
		.hello = {
			.instance = w->id, .incarnation = w->o.incarnation,
			.name = "ambrosia-gateway",
			.stanza_bytes_max = (uint32_t)w->env.limits.from_service.element_bytes,
			.stream_window_bytes = SVC_WINDOW_BYTES,
			.unacked_stanzas_max = 256, .unacked_bytes_max = 4u << 20,
			.streams_max = 100000,
		},
		.held_bytes_max = w->env.limits.held_bytes_max,
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

static uint32_t draw_random(void *arg, uint32_t below)
{
	uint32_t v;

	(void)arg;
	mem_random(&v, sizeof v);
	return (uint32_t)((uint64_t)v * below >> 32);
}

static void on_draining(void *arg, bool draining)
{
	struct worker *w = arg;

	member_set_draining(w->member, draining);
	atomic_store_explicit(&w->is_draining, draining, memory_order_relaxed);
}

struct worker *worker_new(const struct worker_options *o, char *why, size_t why_size)
{
	struct worker *w = NEW(struct worker);

	w->o = *o;
	snprintf(w->name, sizeof w->name, "w%u", o->number);
	mem_random(&w->id, sizeof w->id);
	w->env.loop = loop_new();
	w->member = make_member(w);
	w->env.directory = member_directory(w->member);
	w->env.tls = tls_store_ref(o->tls);
	w->env.auth = o->auth;
	w->env.limits = o->limits;
	w->env.limits.conn.handshakes = handshakes_new(w->env.loop, &o->limits.handshakes, o->handshake_jobs);
	halves_init(&w->env.halves, o->limits.held_bytes_max);
	admit_begin(&w->env);
	w->env.backoff = backoff_new(draw_random, NULL);
	w->env.heard_from = o->heard_from;
	w->env.heard_from_arg = o->arg;
	w->env.blocks = blocks_new();
	w->env.drained = on_drained;
	w->env.drained_arg = w;
	w->env.drain = drain_new(&(struct drain_options){
	    .env = &w->env, .id = w->id, .public_host = o->public_host, .client_port = o->client_port, .changed = on_draining, .arg = w});
	loop_timer_init(w->env.loop, &w->patience, on_drained, w);
	if (start_links(w, why, why_size) != 0)
		goto fail;
	make_endpoint(w);
	w->commands = commands_new(&(struct commands_options){
		.env = &w->env, .name = w->name, .public_host = o->public_host, .endpoint = w->endpoint, .id = w->id,
		.ops = &commands_ops, .arg = w});
	w->env.resolver = resolver_new(w->env.loop, &o->resolver, why, why_size);
	if (w->env.resolver == NULL)
		goto fail;
	if (member_join(w->member, w->endpoint, why, why_size) != 0)
		goto fail;
	w->c2s = listen_on(w, o->sockets.c2s, on_c2s);
	w->c2s_direct = listen_on(w, o->sockets.c2s_direct, on_c2s_direct);
	w->s2s = listen_on(w, o->sockets.s2s, on_s2s);
	w->s2s_direct = listen_on(w, o->sockets.s2s_direct, on_s2s_direct);
	return w;
fail:
	worker_free(w);
	return NULL;
}

void worker_health(const struct worker *w, struct worker_health *out)
{
	out->draining = atomic_load_explicit(&w->is_draining, memory_order_relaxed);
	out->heard_at_ms = atomic_load_explicit(&w->heard_at_ms, memory_order_relaxed);
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

struct hint_message {
	struct worker *w;
	char *domain;
};

static void on_hint(void *arg)
{
	struct hint_message *m = arg;

	backoff_hint(m->w->env.backoff, m->domain, loop_now_ms(m->w->env.loop));
	free(m->domain);
	free(m);
}

void worker_hint(struct worker *w, const char *domain)
{
	struct hint_message *m = NEW(struct hint_message);

	m->w = w;
	m->domain = mem_strdup(domain);
	if (loop_post(w->env.loop, on_hint, m) != 0) {
		free(m->domain);
		free(m);
	}
}

int worker_post(struct worker *w, void (*fn)(void *arg), void *arg)
{
	return loop_post(w->env.loop, fn, arg);
}

struct commands *worker_commands(struct worker *w)
{
	return w->commands;
}

static void close_listeners(struct worker *w)
{
	listener_free(w->c2s);
	listener_free(w->c2s_direct);
	listener_free(w->s2s);
	listener_free(w->s2s_direct);
	w->c2s = w->c2s_direct = w->s2s = w->s2s_direct = NULL;
	while (w->nr_doors > 0)
		proxy_door_free(w->doors[--w->nr_doors]);
}

struct leave_message {
	struct worker *w;
	unsigned window_ms, patience_ms;
};

static void on_leave(void *arg)
{
	struct leave_message *m = arg;
	struct worker *w = m->w;

	loop_timer_set(&w->patience, m->patience_ms);
	w->env.leaving = true;
	close_listeners(w);
	drain_begin(w->env.drain, m->window_ms);
	if (w->env.nr_edges == 0)
		loop_stop(w->env.loop);
	free(m);
}

void worker_leave(struct worker *w, unsigned window_ms, unsigned patience_ms)
{
	struct leave_message *m = NEW(struct leave_message);

	*m = (struct leave_message){w, window_ms, patience_ms};
	if (loop_post(w->env.loop, on_leave, m) != 0)
		free(m);
}

void worker_join(struct worker *w)
{
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
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
	links_hurry(w->env.links); /* a stream between services has no connection that was cut, and so no CLOSE that takes all along */
	drain_free(w->env.drain);
	links_free(w->env.links);
	relays_free(&w->env);
	commands_free(w->commands);
	resolver_free(w->env.resolver);
	handshakes_free(w->env.limits.conn.handshakes);
	member_free(w->member);
	tls_store_unref(w->env.tls);
	admit_end(&w->env);
	backoff_free(w->env.backoff);
	blocks_free(w->env.blocks);
	loop_free(w->env.loop);
	mem_wipe(&w->o.key, sizeof w->o.key);
	mem_wipe(&w->env.dialback, sizeof w->env.dialback);
	mem_wipe(&w->env.tickets, sizeof w->env.tickets);
	free(w);
}
