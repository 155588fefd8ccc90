/* ambrosia-registry: options, signals, and the registry's thread. */
#include <stdio.h>
#include <zmq.h>

#include "common/daemon.h"
#include "common/http.h"
#include "common/log.h"
#include "common/option.h"
#include "registry/observe.h"
#include "registry/server.h"

struct options {
	char *state_dir, *bind, *authorized_keys, *master, *user;
	struct option_addr http;
	enum log_level log_level;
};

#define AT(field) offsetof(struct options, field)

static const struct option_def defs[] = {
	{"--state-dir", "DIR", OPTION_STRING, AT(state_dir), NULL, "/var/lib/ambrosia as root, else the user's state folder",
	 "where registry.key is kept", 0, 0},
	{"--bind", "ENDPOINT", OPTION_ENDPOINT, AT(bind), "tcp://*:5310", NULL, "for members; it publishes on the next port", 0, 0},
	{"--authorized-keys", "FILE", OPTION_STRING, AT(authorized_keys), NULL, "authorized_keys in the state folder",
	 "which key may do what; read again when it changes", 0, 0},
	{"--master", "FILE", OPTION_STRING, AT(master), NULL, "master in the state folder, made where it is missing",
	 "the secret that the gateways' shared keys are derived from; the same at every registry", 0, 0},
	{"--user", "NAME", OPTION_STRING, AT(user), NULL, "ambrosia, if it exists", "to become when started as root", 0, 0},
	{"--http", "ADDR:PORT", OPTION_LISTEN, AT(http), "127.0.0.1:5289", NULL, "/metrics for Prometheus and /healthz", 0, 0},
	{"--log-level", "LEVEL", OPTION_LEVEL, AT(log_level), "info", NULL, "error, warn, info or debug", 0, 0},
	{.flag = NULL},
};

static const struct option_program program = {
	.name = "ambrosia-registry", .summary = "tells gateways and services of a cluster about each other", .defs = defs};

struct program {
	struct options o;
	struct loop *loop;
	void *zmq;
	struct zap *zap;
	struct registry_server *server;
	struct observe *observe;
	uint16_t port_http;
};

static void on_terminate(void *arg)
{
	loop_stop(((struct program *)arg)->loop);
}

static void on_reload(void *arg)
{
	registry_server_reload(((struct program *)arg)->server);
}

static void start(struct program *p)
{
	struct registry_server_options o = {
		.bind = p->o.bind, .state_dir = p->o.state_dir, .authorized_keys = p->o.authorized_keys, .master = p->o.master};
	char why[400] = "";

	p->zmq = o.zmq_context = zmq_ctx_new();
	p->zap = o.zap = p->zmq != NULL ? zap_start(p->zmq) : NULL;
	if (p->zap == NULL)
		daemon_die("0MQ does not start: %s", zmq_strerror(zmq_errno()));
	p->server = registry_server_start(&o, why, sizeof(why));
	if (p->server == NULL)
		daemon_die("%s", why);
}

static void start_observe(struct program *p)
{
	char why[200];
	int fd;

	if (p->o.http.none)
		return;
	fd = http_listen(p->o.http.host, p->o.http.port, &p->port_http, why, sizeof(why));
	if (fd < 0)
		daemon_die("%s; choose another with --http", why);
	p->observe = observe_new(p->loop, fd, p->server);
}

int main(int argc, char **argv)
{
	static const struct daemon_ops ops = {.terminate = on_terminate, .reload = on_reload};
	struct program p = {.loop = NULL};

	option_parse(&program, &p.o, argc, argv, NULL, NULL);
	log_set_level(p.o.log_level);
	log_set_thread("main");
	daemon_init();
	p.loop = loop_new();
	daemon_signals(p.loop, &ops, &p);
	if (p.o.state_dir == NULL)
		p.o.state_dir = daemon_state_dir();
	if (daemon_make_dir(p.o.state_dir) != 0)
		daemon_die("cannot make %s; choose another folder with --state-dir", p.o.state_dir);
	daemon_leave_root(p.o.state_dir, p.o.user);
	start(&p);
	start_observe(&p);
	daemon_ready("registry=%s key=%s http=%u", registry_server_endpoint(p.server), registry_server_key(p.server), p.port_http);
	loop_run(p.loop);
	observe_free(p.observe);
	registry_server_stop(p.server);
	zap_stop(p.zap);
	zmq_ctx_term(p.zmq);
	loop_free(p.loop);
	option_free(&program, &p.o);
	return 0;
}
