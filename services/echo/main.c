/* ambrosia-echo: options, signals, and the library's own loop around echo.c. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/option.h"
#include "services/echo/echo.h"

struct options {
	struct option_list domains, types;
	char *state_dir, *registry, *key, *policy, *failover, *s2s_auth;
	uint64_t weight, resumption;
	enum log_level level;
};

#define AT(field) offsetof(struct options, field)
static const struct option_def defs[] = {
	{.flag = "--domain",
	 .arg = "NAME",
	 .type = OPTION_LIST,
	 .offset = AT(domains),
	 .def_text = "required",
	 .help = "a domain to echo for; may be repeated"},
	{.flag = "--types",
	 .arg = "LIST",
	 .type = OPTION_LIST,
	 .offset = AT(types),
	 .def_text = "client,server",
	 .help = "which streams to take: client, server or both"},
	{.flag = "--state-dir",
	 .arg = "DIR",
	 .type = OPTION_STRING,
	 .offset = AT(state_dir),
	 .def_text = "/var/lib/ambrosia as root, else the user's state folder",
	 .help = "where the local gateway's registry and our key are found"},
	{.flag = "--registry",
	 .arg = "ENDPOINT=KEY[,...]",
	 .type = OPTION_STRING,
	 .offset = AT(registry),
	 .def_text = "the local gateway's, found in the state folder",
	 .help = "registries of a cluster, with their public keys"},
	{.flag = "--key",
	 .arg = "FILE",
	 .type = OPTION_STRING,
	 .offset = AT(key),
	 .def_text = "the one for services in the state folder",
	 .help = "our CURVE key pair"},
	{.flag = "--policy",
	 .arg = "NAME",
	 .type = OPTION_STRING,
	 .offset = AT(policy),
	 .def = "round-robin",
	 .help = "how gateways choose among several instances: round-robin or hash"},
	{.flag = "--weight",
	 .arg = "N",
	 .type = OPTION_NUMBER,
	 .offset = AT(weight),
	 .def = "1",
	 .help = "share of this instance among several",
	 .min = 1,
	 .max = 1000},
	{.flag = "--failover",
	 .arg = "NAME",
	 .type = OPTION_STRING,
	 .offset = AT(failover),
	 .def = "close",
	 .help = "when this instance dies, its clients without stream management: close, or reopen at another instance"},
	{.flag = "--s2s-auth",
	 .arg = "POLICY",
	 .type = OPTION_STRING,
	 .offset = AT(s2s_auth),
	 .def = "dialback",
	 .help = "how other servers prove who they are: dialback (where there is no valid certificate) or certificates-only"},
	{.flag = "--resumption",
	 .arg = "SECONDS",
	 .type = OPTION_NUMBER,
	 .offset = AT(resumption),
	 .def = "600",
	 .help = "how long a client that lost its connection may take to resume its session (XEP-0198)",
	 .min = 1,
	 .max = 86400},
	{.flag = "--log-level",
	 .arg = "LEVEL",
	 .type = OPTION_LEVEL,
	 .offset = AT(level),
	 .def = "info",
	 .help = "error, warn, info or debug"},
	{0},
};
static const struct option_program program = { .name = "ambrosia-echo", .summary = "sends every message back to its sender", .defs = defs };

static struct svcproto *running; /* for the signal handler and echo.c */

static void on_signal(int number)
{
	(void)number;
	svcproto_stop(running);
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	static const enum log_level levels[] = { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

	(void)arg;
	if (log_on(levels[level]))
		log_event(levels[level], "echo", 0, "svcproto", "text=%s", log_escape(slice_str(line)));
}

static void on_refused(void *arg, const char *what)
{
	(void)arg;
	log_error("echo", 0, "refused", "reason=%s", log_escape(slice_str(what)));
}

static void on_linked(void *arg, unsigned nr_gateways)
{
	static bool ready;

	(void)arg;
	log_info("echo", 0, "linked", "gateways=%u", nr_gateways);
	if (nr_gateways > 0 && !ready)
		daemon_ready("gateways=%u", nr_gateways);
	ready = ready || nr_gateways > 0;
}

/* What the option table cannot say. Ends the process with status 2. */
static void check_options(const struct options *o)
{
	if (o->domains.nr == 0)
		option_wrong(&program, "no domain: give --domain NAME");
	if (strcmp(o->policy, "round-robin") != 0 && strcmp(o->policy, "hash") != 0)
		option_wrong(&program, "--policy is round-robin or hash, not %s", log_escape(slice_str(o->policy)));
	if (strcmp(o->failover, "close") != 0 && strcmp(o->failover, "reopen") != 0)
		option_wrong(&program, "--failover is close or reopen, not %s", log_escape(slice_str(o->failover)));
	if (strcmp(o->s2s_auth, "dialback") != 0 && strcmp(o->s2s_auth, "certificates-only") != 0)
		option_wrong(&program, "--s2s-auth is dialback or certificates-only, not %s", log_escape(slice_str(o->s2s_auth)));
}

static unsigned types_of(const struct options *o)
{
	unsigned types = o->types.nr == 0 ? SVCPROTO_CLIENT | SVCPROTO_SERVER : 0;

	for (size_t i = 0; i < o->types.nr; i++) {
		if (strcmp(o->types.v[i], "client") == 0)
			types |= SVCPROTO_CLIENT;
		else if (strcmp(o->types.v[i], "server") == 0)
			types |= SVCPROTO_SERVER;
		else
			option_wrong(&program, "--types %s: write client, server or client,server", o->types.v[i]);
	}
	return types;
}

static void register_all(struct svcproto *sp, const struct options *o)
{
	unsigned types = types_of(o);

	for (size_t i = 0; i < o->domains.nr; i++) {
		struct svcproto_registration r = { .domain = o->domains.v[i], .types = types, .policy = o->policy,
						   .weight = (uint32_t)o->weight, .failover = o->failover,
						   .certificates_only = strcmp(o->s2s_auth, "certificates-only") == 0 };
		int rc = svcproto_register(sp, &r);

		if (rc != 0)
			daemon_die("--domain %s: %s", r.domain, svcproto_strerror(rc));
	}
}

/* The local gateway's key for services is its owner's. */
static void become_owner(const char *dir)
{
	if (daemon_become_owner(dir) != 0 && errno != ENOENT)
		daemon_die("cannot become the user that owns %s: %s; start as that user", dir, strerror(errno));
}

int main(int argc, char **argv)
{
	struct svcproto_callbacks cb = echo_callbacks;
	struct sigaction stop = { .sa_handler = on_signal };
	struct options o = { 0 };
	struct svcproto_options so;
	int rc;

	option_parse(&program, &o, argc, argv, NULL, NULL);
	check_options(&o);
	log_set_level(o.level);
	daemon_init();
	if (o.state_dir == NULL)
		o.state_dir = daemon_state_dir();
	become_owner(o.state_dir);
	cb.linked = on_linked;
	cb.refused = on_refused;
	cb.log = on_log;
	so = (struct svcproto_options){ .registry = o.registry, .key_file = o.key, .state_dir = o.state_dir, .name = "ambrosia-echo",
				       .resume_seconds_max = (uint32_t)o.resumption, .ack_after_ms = 1000 };
	running = svcproto_new(&so, &cb, &running, &rc);
	if (running == NULL)
		daemon_die("cannot start: %s", svcproto_strerror(rc));
	register_all(running, &o);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	rc = svcproto_run(running);
	svcproto_free(running);
	option_free(&program, &o);
	return rc == 0 ? 0 : 1;
}
