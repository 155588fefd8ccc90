/* The program: svcproto's descriptor and the core's timer in one loop; every dispatch is one turn of the core. */
#include <ambrosia/svcproto.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/option.h"
#include "services/im/im.h"
#include "services/im/store.h"
#include "xml/jid.h"

struct options {
	struct option_list domains;
	char *database;
	char *state_dir;
	char *registry;
	char *key;
	char *policy, *failover, *s2s_auth;
	uint64_t weight, resumption;
	enum log_level log_level;
};

static const struct option_def option_defs[] = {
	{.flag = "--domain",
	 .arg = "NAME",
	 .type = OPTION_LIST,
	 .offset = offsetof(struct options, domains),
	 .def_text = "none; at least one is needed",
	 .help = "a domain to serve; may be repeated"},
	{.flag = "--database",
	 .arg = "FILE|CONNINFO",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, database),
	 .def_text = "im.sqlite in the state folder",
	 .help = "of rosters and offline messages: an SQLite file, or a PostgreSQL connection string, which instances may share"},
	{.flag = "--state-dir",
	 .arg = "DIR",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, state_dir),
	 .def_text = "/var/lib/ambrosia as root, else the user's state folder",
	 .help = "where the local gateway's registry and our key are found"},
	{.flag = "--registry",
	 .arg = "ENDPOINT=KEY[,...]",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, registry),
	 .def_text = "the local gateway's, found in the state folder",
	 .help = "registries of a cluster, with their public keys"},
	{.flag = "--key",
	 .arg = "FILE",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, key),
	 .def_text = "the one for services in the state folder",
	 .help = "our CURVE key pair (ambrosiactl keygen)"},
	{.flag = "--policy",
	 .arg = "NAME",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, policy),
	 .def = "round-robin",
	 .help = "how gateways choose among several instances: round-robin or hash"},
	{.flag = "--weight",
	 .arg = "N",
	 .type = OPTION_NUMBER,
	 .offset = offsetof(struct options, weight),
	 .def = "1",
	 .help = "share of this instance among several",
	 .min = 1,
	 .max = 1000},
	{.flag = "--failover",
	 .arg = "NAME",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, failover),
	 .def = "close",
	 .help = "when this instance dies, its clients without stream management: close, or reopen at another instance"},
	{.flag = "--s2s-auth",
	 .arg = "POLICY",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, s2s_auth),
	 .def = "dialback",
	 .help = "how other servers prove who they are: dialback (where there is no valid certificate) or certificates-only"},
	{.flag = "--resumption",
	 .arg = "SECONDS",
	 .type = OPTION_NUMBER,
	 .offset = offsetof(struct options, resumption),
	 .def = "600",
	 .help = "how long a client that lost its connection may take to resume its session (XEP-0198)",
	 .min = 1,
	 .max = 86400},
	{.flag = "--log-level",
	 .arg = "LEVEL",
	 .type = OPTION_LEVEL,
	 .offset = offsetof(struct options, log_level),
	 .def = "info",
	 .help = "error, warn, info or debug"},
	{0},
};

static const struct option_program program = {
	.name = "ambrosia-im",
	.summary = "instant messaging and presence (RFC 6121) behind an Ambrosia gateway",
	.defs = option_defs,
};

enum {
	STOP_MAX_MS = 2000,
	KEPT_BYTES = 8 << 20, /* of freed memory: a stanza of a MiB stands in four buffers */
};

struct app {
	struct options o;
	struct loop *loop;
	struct event *readable;
	struct loop_timer timer;
	struct svcproto *sp;
	struct im *im;
	struct im_ops ops;
	bool ready, stopping;
	uint64_t stop_at_ms;
};

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The core's ops. */

static int op_accept(void *arg, void *link, const char *full_jid)
{
	(void)arg;
	return svcproto_accept(link, full_jid);
}

static int op_refuse(void *arg, void *link, const char *type, const char *condition, const char *text)
{
	(void)arg;
	return svcproto_refuse(link, type, condition, text);
}

static int op_close(void *arg, void *link, const char *condition, const char *text)
{
	(void)arg;
	return svcproto_close(link, condition, text);
}

static int op_send(void *arg, void *link, const char *xml, size_t n, uint64_t cookie)
{
	(void)arg;
	return svcproto_send(link, xml, n, cookie);
}

static int op_send_server(void *arg, const char *from_domain, const char *to_domain, const char *xml, size_t n, uint64_t cookie)
{
	struct app *a = arg;
	return svcproto_send_server(a->sp, from_domain, to_domain, xml, n, cookie);
}

static void op_ack(void *arg, uint64_t ticket)
{
	struct app *a = arg;
	int err = svcproto_ack(a->sp, ticket); /* E_CLOSED: its sender's session has ended meanwhile */
	if (err < 0)
		log_debug("im", 0, "ack", "error=%d", err);
}

static bool op_is_here(void *arg, const char *bare_jid, unsigned char instance[16])
{
	struct app *a = arg;
	return svcproto_whose(a->sp, bare_jid, instance);
}

static int op_send_peer(void *arg, const char *bare_jid, const char *xml, size_t n, uint64_t cookie)
{
	struct app *a = arg;
	return svcproto_send_peer(a->sp, bare_jid, xml, n, cookie);
}

static const struct im_ops core_ops = {
	.accept = op_accept,
	.refuse = op_refuse,
	.close = op_close,
	.send = op_send,
	.send_server = op_send_server,
	.ack = op_ack,
	.is_here = op_is_here,
	.send_peer = op_send_peer,
};

/* Commits the turn, then acknowledges; when the next one is due without input. */
static uint64_t commit(struct app *a)
{
	uint64_t next;
	if (im_turn_end(a->im, &next) < 0)
		daemon_die("cannot write the database: %s; nothing that was acknowledged is lost: make room and start again",
			   im_why(a->im));
	return next;
}

/* svcproto's callbacks: all within a turn. */

static void on_open(void *arg, struct svcproto_session *s, const struct svcproto_open *o)
{
	struct app *a = arg;
	if (a->stopping) {
		svcproto_refuse(s, "wait", "resource-constraint", "the service is stopping");
		return;
	}
	struct im_session *session = im_session_open(a->im, s, o);
	if (session)
		svcproto_set_data(s, session);
}

static void on_closed(void *arg, struct svcproto_session *s, const char *condition, const char *text)
{
	(void)arg;
	(void)condition;
	(void)text;
	if (svcproto_data(s))
		im_session_closed(svcproto_data(s));
}

static void on_detached(void *arg, struct svcproto_session *s)
{
	(void)arg;
	if (svcproto_data(s))
		im_session_detached(svcproto_data(s), true);
}

static void on_resumed(void *arg, struct svcproto_session *s, const struct svcproto_open *o)
{
	(void)arg;
	(void)o;
	if (svcproto_data(s))
		im_session_detached(svcproto_data(s), false);
}

static void on_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	struct app *a = arg;
	im_stanza(a->im, s ? svcproto_data(s) : NULL, st);
}

static void on_delivered(void *arg, uint64_t cookie)
{
	struct app *a = arg;
	im_delivered(a->im, cookie);
}

static void on_undeliverable(void *arg, uint64_t cookie, const char *type, const char *condition, const char *xml, size_t length)
{
	struct app *a = arg;
	im_undeliverable(a->im, cookie, type, condition, xml, length);
}

static void on_linked(void *arg, unsigned nr_gateways)
{
	struct app *a = arg;
	log_info("im", 0, "linked", "gateways=%u", nr_gateways);
	if (!nr_gateways)
		return;
	im_linked(a->im);
	if (a->ready)
		return;
	a->ready = true;
	daemon_ready("domain=%s", a->o.domains.v[0]);
}

static void on_refused(void *arg, const char *what)
{
	(void)arg;
	log_error("im", 0, "refused", "what=\"%s\"", log_escape(slice_str(what)));
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
	(void)arg;
	if (log_on(levels[level]))
		log_event(levels[level], "svcproto", 0, "log", "%s", line);
}

static void on_before_flush(void *arg)
{
	(void)commit(arg);
}

static const struct svcproto_callbacks callbacks = {
	.session_open = on_open,
	.session_closed = on_closed,
	.session_detached = on_detached,
	.session_resumed = on_resumed,
	.stanza = on_stanza,
	.delivered = on_delivered,
	.undeliverable = on_undeliverable,
	.linked = on_linked,
	.refused = on_refused,
	.before_flush = on_before_flush,
	.log = on_log,
};

/* The loop. */

static void turn(void *arg)
{
	struct app *a = arg;
	uint64_t now = now_ms();
	im_turn_begin(a->im, now, (int64_t)time(NULL));
	int err = svcproto_dispatch(a->sp);
	if (err < 0)
		daemon_die("the link to the gateways ended: %s", svcproto_strerror(err));
	uint64_t next = commit(a); /* what a link that broke while it was written to has brought */
	if (a->stopping && (now >= a->stop_at_ms || im_nr_unacknowledged(a->im) == 0)) {
		loop_stop(a->loop);
		return;
	}
	if (a->stopping && next > a->stop_at_ms)
		next = a->stop_at_ms;
	if (next == UINT64_MAX)
		loop_timer_cancel(&a->timer);
	else
		loop_timer_set(&a->timer, next > now ? next - now : 0);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	turn(arg);
}

static void on_terminate(void *arg)
{
	struct app *a = arg;
	if (a->stopping) {
		loop_stop(a->loop);
		return;
	}
	a->stopping = true; /* what waits for its next hop is delivered or stored first */
	a->stop_at_ms = now_ms() + STOP_MAX_MS;
	turn(a);
}

static const struct daemon_ops signals = {.terminate = on_terminate};

static char *join(const char *dir, const char *name)
{
	size_t n = strlen(dir) + strlen(name) + 2;
	char *path = mem_alloc(n);
	snprintf(path, n, "%s/%s", dir, name);
	return path;
}

static void open_database(struct app *a, const char *state_dir)
{
	char why[256];
	a->ops = core_ops;
	if (strcmp(a->o.policy, "hash") != 0) { /* users have no place then: nobody is looked for, or moved */
		a->ops.is_here = NULL;
		a->ops.send_peer = NULL;
	}
	char *path = a->o.database ? mem_strdup(a->o.database) : join(state_dir, "im.sqlite");
	a->im = im_new(path, a->o.domains.v, a->o.domains.nr, NULL, &a->ops, a, why, sizeof why);
	if (!a->im)
		daemon_die("cannot serve from the database%s%s: %s", store_is_file(path) ? " " : "", store_is_file(path) ? path : "", why);
	free(path);
}

static void open_link(struct app *a, const char *state_dir)
{
	struct svcproto_options so = {.registry = a->o.registry, .key_file = a->o.key, .state_dir = state_dir, .name = "ambrosia-im",
				     .resume_seconds_max = (uint32_t)a->o.resumption};
	int err;
	a->sp = svcproto_new(&so, &callbacks, a, &err);
	if (!a->sp)
		daemon_die("cannot look for gateways: %s", svcproto_strerror(err));
	for (size_t i = 0; i < a->o.domains.nr; i++) {
		struct svcproto_registration r = {.domain = a->o.domains.v[i], .types = SVCPROTO_CLIENT | SVCPROTO_SERVER,
						  .policy = a->o.policy, .weight = (uint32_t)a->o.weight, .failover = a->o.failover,
						  .certificates_only = strcmp(a->o.s2s_auth, "certificates-only") == 0};
		err = svcproto_register(a->sp, &r);
		if (err < 0)
			daemon_die("cannot register %s: %s", a->o.domains.v[i], svcproto_strerror(err));
	}
}

static void start(struct app *a)
{
	char *state_dir = a->o.state_dir ? mem_strdup(a->o.state_dir) : daemon_state_dir();
	if (daemon_make_dir(state_dir) < 0)
		daemon_die("cannot make the state folder %s: %s; name another with --state-dir", state_dir, strerror(errno));
	if (daemon_become_owner(state_dir) < 0)
		daemon_die("cannot become the user that owns %s: %s; start as that user", state_dir, strerror(errno));
	open_database(a, state_dir);
	open_link(a, state_dir);
	free(state_dir);
}

static void run(struct app *a)
{
	a->loop = loop_new();
	daemon_signals(a->loop, &signals, a);
	loop_timer_init(a->loop, &a->timer, turn, a);
	a->readable = event_new(loop_base(a->loop), svcproto_fd(a->sp), EV_READ | EV_PERSIST, on_readable, a);
	if (!a->readable || event_add(a->readable, NULL) < 0)
		daemon_die("cannot watch the link to the gateways");
	loop_timer_set(&a->timer, 0);
	loop_run(a->loop);
	event_free(a->readable);
	loop_timer_cancel(&a->timer);
}

/* What the option table can't say. Ends the process with status 2. */
static void check_options(const struct options *o)
{
	if (o->domains.nr == 0)
		option_wrong(&program, "no domain to serve; name one with --domain NAME");
	if (strcmp(o->policy, "round-robin") != 0 && strcmp(o->policy, "hash") != 0)
		option_wrong(&program, "--policy is round-robin or hash, not %s", log_escape(slice_str(o->policy)));
	if (strcmp(o->failover, "close") != 0 && strcmp(o->failover, "reopen") != 0)
		option_wrong(&program, "--failover is close or reopen, not %s", log_escape(slice_str(o->failover)));
	if (strcmp(o->s2s_auth, "dialback") != 0 && strcmp(o->s2s_auth, "certificates-only") != 0)
		option_wrong(&program, "--s2s-auth is dialback or certificates-only, not %s", log_escape(slice_str(o->s2s_auth)));
	for (size_t i = 0; i < o->domains.nr; i++) {
		char *prepared = jid_prep_domain(slice_str(o->domains.v[i]));
		if (!prepared)
			option_wrong(&program, "--domain wants a domain name, not %s", log_escape(slice_str(o->domains.v[i])));
		free(prepared);
	}
}

int main(int argc, char **argv)
{
	struct app a = {0};
	option_parse(&program, &a.o, argc, argv, NULL, NULL);
	check_options(&a.o);
	log_set_level(a.o.log_level);
	daemon_init();
	mem_keep_freed(KEPT_BYTES);
	start(&a);
	run(&a);
	svcproto_free(a.sp);
	im_free(a.im);
	loop_free(a.loop);
	option_free(&program, &a.o);
	return 0;
}
