#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cluster.h"
#include "common/daemon.h"
#include "common/err.h"
#include "common/http.h"
#include "common/log.h"
#include "common/option.h"
#include "net/handshakes.h"
#include "net/listener.h"
#include "reload.h"
#include "watch.h"
#include "worker.h"
#include "xml/jid.h"

/* Options, the order of the start (sockets and certificates as root, the rest as the user), the workers, and the wait for signals. */

#define WORKERS_MAX 256
#define PATIENCE_MS 10000  /* after the drain: a stream's close, its connection's flush and lingering take nine at most; the rest is cut */
#define JOBS_STOP_MS 1000
#define HANDSHAKE_BURST_US 5000      /* a few logins at a time, each behind whatever others have to do */
#define HANDSHAKES_WAITING_MAX 10000 /* of a worker */
#define JOB_THREADS 16   /* they wait for databases, they do not compute */

struct options {
	char *trust_anchor, *state_dir, *svc, *svc_advertise, *registry_bind, *registry, *key, *user, *public_host, *resolver;
	struct option_addr c2s, c2s_direct, s2s, s2s_direct, http;
	struct option_list certs, proxy_from;
	uint64_t public_port, workers, auth_timeout, stanza_max, s2s_stanza_max, s2s_timeout, stall_timeout, held_max;
	uint64_t handshake_share, handshake_idle, handshake_wait, drain_time;
	enum log_level log_level;
};

#define AT(field) offsetof(struct options, field)

static const struct option_def defs[] = {
	{"--state-dir", "DIR", OPTION_STRING, AT(state_dir), NULL, "/var/lib/ambrosia as root, else the user's state folder",
	 "keys and generated certificate", 0, 0},
	{"--c2s", "ADDR:PORT", OPTION_LISTEN, AT(c2s), "[::]:5222", NULL, "clients, STARTTLS", 0, 0},
	{"--c2s-direct", "ADDR:PORT", OPTION_LISTEN, AT(c2s_direct), "[::]:5223", NULL, "clients, direct TLS", 0, 0},
	{"--s2s", "ADDR:PORT", OPTION_LISTEN, AT(s2s), "[::]:5269", NULL, "servers, STARTTLS", 0, 0},
	{"--s2s-direct", "ADDR:PORT", OPTION_LISTEN, AT(s2s_direct), "[::]:5270", NULL, "servers, direct TLS", 0, 0},
	{"--proxy-from", "CIDR", OPTION_LIST, AT(proxy_from), NULL, "nobody",
	 "load balancers whose PROXY protocol headers are believed, and needed; may be repeated", 0, 0},
	{"--svc", "ENDPOINT", OPTION_ENDPOINT, AT(svc), NULL, "tcp://127.0.0.1:5320; tcp://*:5320 with --registry",
	 "first worker's 0MQ endpoint for services; the next workers take the next ports", 0, 0},
	{"--svc-advertise", "HOST", OPTION_STRING, AT(svc_advertise), NULL, "the address bound; the host name with tcp://*",
	 "what is announced for --svc", 0, 0},
	{"--registry-bind", "ENDPOINT", OPTION_ENDPOINT, AT(registry_bind), "tcp://127.0.0.1:5310", NULL,
	 "of the embedded registry; it publishes on the next port", 0, 0},
	{"--registry", "ENDPOINT=KEY[,...]", OPTION_STRING, AT(registry), NULL, "embed one",
	 "registries of a cluster to join, with their public keys", 0, 0},
	{"--key", "FILE", OPTION_STRING, AT(key), NULL, "gateway.key in the state folder, made where it is missing",
	 "our CURVE key pair; the gateways of a cluster may share one", 0, 0},
	{"--user", "NAME", OPTION_STRING, AT(user), NULL, "ambrosia, if it exists", "to become after binding, when started as root", 0, 0},
	{"--http", "ADDR:PORT", OPTION_LISTEN, AT(http), "127.0.0.1:5288", NULL, "/metrics for Prometheus and /healthz", 0, 0},
	{"--public-host", "HOST", OPTION_STRING, AT(public_host), NULL, "the fully qualified host name", "the name of this host for others",
	 0, 0},
	{"--public-port", "PORT", OPTION_NUMBER, AT(public_port), "0", "the port of --c2s", "where clients reach --c2s from outside",
	 0, 65535},
	{"--certs", "DIR", OPTION_LIST, AT(certs), NULL, "/etc/ambrosia/certs, /etc/letsencrypt/live, /etc/ssl/private",
	 "certificates: any PEM chain in it, chosen by the names it holds", 0, 0},
	{"--resolver", "ADDR:PORT", OPTION_STRING, AT(resolver), NULL, "/etc/resolv.conf", "DNS server", 0, 0},
	{"--trust-anchor", "FILE", OPTION_STRING, AT(trust_anchor), NULL, "the system's root key", "DNSSEC anchor", 0, 0},
	{"--workers", "N", OPTION_NUMBER, AT(workers), "0", "one for each processor but one", "event loops", 0, WORKERS_MAX},
	{"--auth-timeout", "SECONDS", OPTION_NUMBER, AT(auth_timeout), "30", NULL, "time to get from accept to bound", 1, 3600},
	{"--stanza-max", "BYTES", OPTION_NUMBER, AT(stanza_max), "262144", NULL, "from a client; 8192 before authentication", 10000,
	 16777216},
	{"--s2s-stanza-max", "BYTES", OPTION_NUMBER, AT(s2s_stanza_max), "524288", NULL, "from a server", 10000, 16777216},
	{"--s2s-timeout", "SECONDS", OPTION_NUMBER, AT(s2s_timeout), "30", NULL, "time to reach a remote server", 1, 600},
	{"--stall-timeout", "SECONDS", OPTION_NUMBER, AT(stall_timeout), "60", NULL,
	 "who takes nothing of what waits for it, or stands still in a stanza, for so long is given up", 1, 3600},
	{"--held-max", "BYTES", OPTION_NUMBER, AT(held_max), "268435456", NULL,
	 "held in all for services that acknowledge nothing, as much for peers that read nothing, and of unfinished stanzas", 1048576,
	 UINT64_C(1) << 50},
	{"--handshake-share", "PERCENT", OPTION_NUMBER, AT(handshake_share), "20", NULL,
	 "of a worker's time that may go to those who log in; more of them wait; 0: no limit", 0, 100},
	{"--handshake-idle", "PERCENT", OPTION_NUMBER, AT(handshake_idle), "10", NULL,
	 "beside that, of what else of its time those who are in leave; all of it where they have hardly any work", 0, 100},
	{"--handshake-wait", "SECONDS", OPTION_NUMBER, AT(handshake_wait), "60", NULL,
	 "who had to wait for so long before its TLS handshake is turned away", 1, 600},
	{"--drain-time", "SECONDS", OPTION_NUMBER, AT(drain_time), "5", NULL,
	 "at SIGTERM, in which clients are sent to other gateways; ten seconds later what is left is cut", 1, 3600},
	{"--log-level", "LEVEL", OPTION_LEVEL, AT(log_level), "info", NULL, "error, warn, info or debug", 0, 0},
	{.flag = NULL},
};

static const struct option_program program = {
	.name = "ambrosia-gateway", .summary = "the edge of an XMPP server: clients and servers in front, services behind", .defs = defs};

struct gateway {
	struct options o;
	struct loop *loop;                 /* main thread: signals */
	struct cluster cluster;
	struct cidr *proxy_from;
	struct tls_store *tls;
	struct jobs *jobs, *handshake_jobs;
	struct auth_pool *auth;
	struct reload *reload;
	struct watch *watch;
	struct worker *workers[WORKERS_MAX];
	unsigned nr_workers, nr_left;
	uint16_t port_c2s, port_c2s_direct, port_s2s, port_s2s_direct, port_http;
	bool draining;
};

static void fill_limits(const struct options *o, struct role_limits *l)
{
	struct xml_limits before = {.element_bytes = 8192, .tag_bytes = 4096, .depth_max = 16, .attrs_max = 32};
	struct xml_limits after = {.element_bytes = o->stanza_max, .tag_bytes = STREAM_TAG_MAX, .depth_max = 64, .attrs_max = 64};
	unsigned stall_ms = (unsigned)o->stall_timeout * 1000;
	struct stream_limits s = {
		.before_auth = before,
		.after_auth = after,
		.negotiation_ms = (unsigned)o->auth_timeout * 1000,
		.tls_ms = 15000, .close_ms = 3000,
		.ack_ms = stall_ms,
		.hold_ms = stall_ms, .unfinished_ms = stall_ms,
		.keepalive_ms = 120000,
		.auth_attempts_max = 3,
		.negotiation_bytes = 262144, /* a few large elements, or hundreds of dialback's verifications */
		.negotiation_blanks = 1024,
	};

	l->c2s = l->s2s_in = l->s2s_out = s;
	l->s2s_in.after_auth.element_bytes = l->s2s_out.after_auth.element_bytes = o->s2s_stanza_max;
	l->s2s_out.negotiation_ms = (unsigned)o->s2s_timeout * 1000;
	l->s2s_in.idle_ms = 1800 * 1000;
	/* Well above what the edges let in: a stanza grows when it is stamped, and must not end its recipient's stream for that. */
	l->from_service = (struct xml_limits){.element_bytes = 16u << 20, .tag_bytes = 131072, .depth_max = 256, .attrs_max = 256};
	l->conn = (struct conn_limits){.out_high = 65536, .out_low = 16384, .out_max = 40u << 20, .stall_ms = stall_ms};
	l->handshakes = (struct admission_options){
		.share_percent = (unsigned)o->handshake_share,
		.idle_percent = (unsigned)o->handshake_idle,
		.burst_us = HANDSHAKE_BURST_US,
		.patience_ms = (unsigned)o->handshake_wait * 1000,
		.waiting_max = HANDSHAKES_WAITING_MAX,
	};
	l->stall_ms = stall_ms;
	l->held_bytes_max = l->conn.all_max = o->held_max / o->workers;
	l->s2s_connect_ms = (unsigned)o->s2s_timeout * 1000;
	l->negotiating_per_address_max = 128;
	l->connections_per_address_max = 4096;
	l->checks_max = 144; /* 16 for one address */
}

static int bind_one(const struct option_addr *a, uint16_t *port, const char *flag)
{
	char why[200];
	int fd;

	if (a->none)
		return -1;
	if (*port == 0 && listener_probe(a->host, a->port, why, sizeof why) != 0)
		daemon_die("%s; choose another with %s", why, flag);
	fd = listener_bind(a->host, *port ? *port : a->port, port, why, sizeof why);
	if (fd < 0)
		daemon_die("%s; choose another with %s", why, flag);
	return fd;
}

static void read_proxy_from(struct gateway *g)
{
	const struct option_list *l = &g->o.proxy_from;

	g->proxy_from = mem_alloc((l->nr + 1) * sizeof *g->proxy_from);
	for (size_t i = 0; i < l->nr; i++) {
		if (!cidr_parse(&g->proxy_from[i], slice_str(l->v[i])))
			option_wrong(&program, "--proxy-from %s: write a range of addresses such as 192.0.2.0/24", l->v[i]);
	}
}

/* -1: the old ones stay in force, with a line in why. */
static int load_tls(struct gateway *g, char *why, size_t why_size)
{
	static const char *const system_dirs[] = {"/etc/ambrosia/certs", "/etc/letsencrypt/live", "/etc/ssl/private", NULL};
	const char **dirs = mem_alloc((g->o.certs.nr + 1) * sizeof *dirs);
	struct tls_store_options o = {
		.state_dir = g->o.state_dir, .public_host = g->o.public_host, .ask_clients = auth_pool_takes_external(g->auth)};
	struct tls_store *t;

	for (size_t i = 0; i < g->o.certs.nr; i++)
		dirs[i] = g->o.certs.v[i];
	o.dirs = g->o.certs.nr > 0 ? dirs : system_dirs;
	t = tls_store_load(&o, why, why_size);
	free(dirs);
	if (t == NULL) {
		log_error("tls", 0, "load", "why=%s", log_escape(slice_str(why)));
		return -1;
	}
	tls_store_unref(g->tls);
	g->tls = t;
	for (unsigned i = 0; i < g->nr_workers; i++)
		worker_set_tls(g->workers[i], t);
	return 0;
}

/* What of a cluster's other machines must reach is bound and named so. */
static void fill_names(struct options *o)
{
	if (o->svc == NULL)
		o->svc = mem_strdup(o->registry != NULL ? "tcp://*:5320" : "tcp://127.0.0.1:5320");
	if (o->svc_advertise == NULL && cluster_is_wildcard(o->svc))
		o->svc_advertise = daemon_host_name();
	if (o->public_host == NULL)
		o->public_host = daemon_host_name();
}

static void join_cluster(struct gateway *g)
{
	struct cluster_options o = {
		.registries = g->o.registry, .registry_bind = g->o.registry_bind, .state_dir = g->o.state_dir, .key_file = g->o.key};

	cluster_start(&g->cluster, &o);
}

static void on_worker_gone(void *arg)
{
	struct gateway *g = arg;

	if (--g->nr_left == 0)
		loop_stop(g->loop);
}

static void on_worker_ended(void *arg)
{
	struct gateway *g = arg;

	if (loop_post(g->loop, on_worker_gone, g) != 0)
		abort();
}

/* Its back-off is each worker's own, and the worker that dials may be another. */
static void on_heard_from(void *arg, const char *domain)
{
	struct gateway *g = arg;

	for (unsigned i = 0; i < g->nr_workers; i++)
		worker_hint(g->workers[i], domain);
}

static int on_worker_reload(void *arg, struct worker *w, uint64_t request)
{
	struct gateway *g = arg;

	return reload_ask(g->reload, w, request);
}

/* Later starts exceed earlier ones as long as the clock does; the registry's answer mends it where it doesn't. */
static uint64_t incarnation(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void make_worker(struct gateway *g, unsigned n, const struct worker_sockets *sockets, const struct secrets *secrets)
{
	char why[300] = "", bind[300], keep[4096];
	struct worker_options o = {
		.number = n,
		.zmq_context = g->cluster.zmq,
		.sockets = *sockets,
		.proxy_from = g->proxy_from,
		.nr_proxy_from = g->o.proxy_from.nr,
		.svc_bind = bind,
		.svc_advertise = g->o.svc_advertise,
		.public_host = g->o.public_host,
		.client_port = g->o.public_port ? (uint16_t)g->o.public_port : g->port_c2s,
		.registries = g->cluster.registries,
		.secrets = secrets->known ? secrets : NULL,
		.zap = g->cluster.registry == NULL ? g->cluster.zap : NULL,
		.keep_path = g->cluster.registry == NULL ? keep : NULL, /* an embedded one is here whenever we are */
		.jobs = g->jobs,
		.handshake_jobs = g->handshake_jobs,
		.key = g->cluster.key,
		.incarnation = incarnation(),
		.tls = g->tls,
		.auth = g->auth,
		.resolver = {.server = g->o.resolver, .trust_anchor = g->o.trust_anchor},
		.heard_from = on_heard_from,
		.reload = on_worker_reload,
		.ended = on_worker_ended,
		.arg = g,
	};

	cluster_endpoint(g->o.svc, n, bind, sizeof bind);
	snprintf(keep, sizeof keep, "%s/directory", g->o.state_dir);
	fill_limits(&g->o, &o.limits);
	g->workers[n] = worker_new(&o, why, sizeof why);
	svc_key_wipe(&o.key);
	if (g->workers[n] == NULL)
		daemon_die("%s", why);
	g->nr_workers++;
}

/* --- what watches us ------------------------------------------------------ */

static void on_health(void *arg, struct watch_health *out)
{
	const struct gateway *g = arg;
	uint64_t heard = UINT64_MAX;

	*out = (struct watch_health){.workers = g->nr_workers, .stopping = g->draining};
	for (unsigned i = 0; i < g->nr_workers; i++) {
		struct worker_health h;

		worker_health(g->workers[i], &h);
		out->draining += h.draining;
		out->synced += h.heard_at_ms > 0;
		heard = h.heard_at_ms < heard ? h.heard_at_ms : heard;
	}
	out->directory_heard_at_ms = heard != UINT64_MAX ? heard : 0;
}

static struct tls_store *on_tls(void *arg)
{
	return ((struct gateway *)arg)->tls;
}

static const struct watch_ops watch_ops = {.health = on_health, .tls = on_tls};

/* As root still: a low port is the operator's to give. */
static void start_watch(struct gateway *g)
{
	char why[200];
	int fd;

	if (g->o.http.none)
		return;
	fd = http_listen(g->o.http.host, g->o.http.port, &g->port_http, why, sizeof why);
	if (fd < 0)
		daemon_die("%s; choose another with --http", why);
	g->watch = watch_new(g->loop, fd, &watch_ops, g);
}

static void on_terminate(void *arg)
{
	struct gateway *g = arg;

	if (g->draining)
		return;
	g->draining = true;
	unsigned drain_ms = (unsigned)g->o.drain_time * 1000;

	log_info("gateway", 0, "stop", "workers=%u", g->nr_workers);
	for (unsigned i = 0; i < g->nr_workers; i++)
		worker_leave(g->workers[i], drain_ms, drain_ms + PATIENCE_MS);
}

static int again(void *arg, char *why, size_t why_size)
{
	struct gateway *g = arg;

	log_info("gateway", 0, "reload", "what=certificates,keys");
	cluster_reload(&g->cluster);
	return load_tls(g, why, why_size);
}

static void on_reload(void *arg)
{
	struct gateway *g = arg;
	char why[400] = "";

	(void)again(g, why, sizeof why);
}

static void start_sasl(struct gateway *g)
{
	struct auth_pool_options o = {.prep_local = jid_prep_local, .prep_domain = jid_prep_domain, .loop = g->loop};
	char why[300] = "";

	g->jobs = jobs_new(JOB_THREADS, 1024);
	g->handshake_jobs = handshakes_jobs_new(); /* of their own: no database that hangs holds them up */
	g->auth = auth_pool_new(g->jobs, &o, why, sizeof why);
	if (g->auth == NULL)
		daemon_die("%s", why);
}

static void print_ready(const struct gateway *g)
{
	daemon_ready("c2s=%u c2s-direct=%u s2s=%u s2s-direct=%u http=%u svc=%s registry=%s", g->port_c2s, g->port_c2s_direct, g->port_s2s,
		     g->port_s2s_direct, g->port_http, worker_svc_endpoint(g->workers[0]), g->cluster.registries);
}

/* A user database that hangs has threads of ours for as long as it likes, and must not hold up the end. Everything that others may see was
 * closed with the workers; what is left is memory that those threads may still touch, so it stays and the process goes. */
static void leave_jobs_behind(struct jobs *jobs)
{
	log_warn("gateway", 0, "stop", "why=\"a user database hangs; its logins are left behind\"");
	jobs_abandon(jobs);
	_exit(0);
}

static void stop(struct gateway *g)
{
	for (unsigned i = 0; i < g->nr_workers; i++)
		worker_join(g->workers[i]);
	jobs_free(g->handshake_jobs);
	if (!jobs_stop(g->jobs, JOBS_STOP_MS))
		leave_jobs_behind(g->jobs);
	jobs_free(g->jobs);
	for (unsigned i = 0; i < g->nr_workers; i++)
		worker_free(g->workers[i]);
	auth_pool_free(g->auth);
	cluster_stop(&g->cluster);
	free(g->proxy_from);
	tls_store_unref(g->tls);
	watch_free(g->watch);
	loop_free(g->loop);
	reload_free(g->reload);
	option_free(&program, &g->o);
}

/* What the option table cannot say. Ends the process with status 2. */
static void check_options(const struct options *o)
{
	struct option_addr server;

	if (o->resolver != NULL && (option_read_addr(o->resolver, &server) != 0 || server.none))
		option_wrong(&program, "--resolver wants a numeric ADDR:PORT, not \"%s\"", o->resolver);
	if (o->registry != NULL && announcer_check(o->registry) != 0)
		option_wrong(&program, "--registry wants tcp://HOST:PORT=KEY, separated by commas, not %s",
			     log_escape(slice_str(o->registry)));
}

/* Every worker takes the next port. */
static void check_svc(const struct options *o, unsigned nr_workers)
{
	const char *colon = strrchr(o->svc, ':');
	unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;

	if (port != 0 && port + nr_workers - 1 > 65535)
		option_wrong(&program, "--svc %s: %u workers take as many ports from there on, and 65535 is the last", o->svc, nr_workers);
}

int main(int argc, char **argv)
{
	static const struct daemon_ops ops = {.terminate = on_terminate, .reload = on_reload};
	static struct gateway g;
	struct worker_sockets sockets[WORKERS_MAX];
	struct secrets secrets = {.known = false};
	char why[400] = "";
	unsigned n;

	option_parse(&program, &g.o, argc, argv, NULL, NULL);
	check_options(&g.o);
	read_proxy_from(&g);
	log_set_level(g.o.log_level);
	log_set_thread("main");
	daemon_init();
	/* of two of the largest stanzas on their way, each in as many as four buffers */
	mem_keep_freed(8 * (g.o.stanza_max > g.o.s2s_stanza_max ? g.o.stanza_max : g.o.s2s_stanza_max));
	g.loop = loop_new();
	daemon_signals(g.loop, &ops, &g);
	g.reload = reload_new(g.loop, again, &g);
	if (g.o.state_dir == NULL)
		g.o.state_dir = daemon_state_dir();
	fill_names(&g.o);
	if (daemon_make_dir(g.o.state_dir) != 0)
		daemon_die("cannot make %s: %s; choose another folder with --state-dir", g.o.state_dir, strerror(errno));
	long spare = sysconf(_SC_NPROCESSORS_ONLN) - 1; /* one is for what runs beside the workers: 0MQ, keys, often a service */
	n = g.o.workers ? (unsigned)g.o.workers : spare > 1 ? (unsigned)spare : 1;
	n = n < WORKERS_MAX ? n : WORKERS_MAX;
	check_svc(&g.o, n);
	g.o.workers = n;
	for (unsigned i = 0; i < n; i++) {
		sockets[i].c2s = bind_one(&g.o.c2s, &g.port_c2s, "--c2s");
		sockets[i].c2s_direct = bind_one(&g.o.c2s_direct, &g.port_c2s_direct, "--c2s-direct");
		sockets[i].s2s = bind_one(&g.o.s2s, &g.port_s2s, "--s2s");
		sockets[i].s2s_direct = bind_one(&g.o.s2s_direct, &g.port_s2s_direct, "--s2s-direct");
	}
	start_sasl(&g);
	start_watch(&g);
	if (load_tls(&g, why, sizeof why) != 0)
		daemon_die("%s", why);
	daemon_leave_root(g.o.state_dir, g.o.user);
	join_cluster(&g);
	cluster_secrets(&g.cluster, &secrets, loop_now_ms(g.loop));
	for (unsigned i = 0; i < n; i++)
		make_worker(&g, i, &sockets[i], &secrets);
	secrets_wipe(&secrets);
	g.nr_left = n;
	for (unsigned i = 0; i < n; i++) {
		if (worker_start(g.workers[i]) != 0)
			daemon_die("a thread could not be started");
	}
	print_ready(&g);
	loop_run(g.loop);
	stop(&g);
	return 0;
}
