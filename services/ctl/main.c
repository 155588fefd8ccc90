/* ambrosiactl: options, the command, its exit status: 0, 1 for what failed, 2 for wrong usage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buf.h"
#include "common/daemon.h"
#include "services/ctl/commands.h"

#define AT(field) offsetof(struct options, field)

static const struct option_def defs[] = {
	{.flag = "--registry",
	 .arg = "ENDPOINT=KEY[,...]",
	 .type = OPTION_STRING,
	 .offset = AT(registry),
	 .def_text = "the local gateway's, found in the state folder",
	 .help = "registries of the cluster, with their public keys"},
	{.flag = "--key",
	 .arg = "FILE",
	 .type = OPTION_STRING,
	 .offset = AT(key),
	 .def_text = "admin.key in the state folder",
	 .help = "our CURVE key pair, which needs the role admin"},
	{.flag = "--state-dir",
	 .arg = "DIR",
	 .type = OPTION_STRING,
	 .offset = AT(state_dir),
	 .def_text = "/var/lib/ambrosia as root, else the user's state folder",
	 .help = "where the local gateway's registry and our key are found"},
	{.flag = "--gateway",
	 .arg = "NAME",
	 .type = OPTION_LIST,
	 .offset = AT(gateways),
	 .def_text = "all of them",
	 .help = "a gateway to speak to: its public host, its endpoint, or the beginning of its id"},
	{.flag = "--timeout",
	 .arg = "SECONDS",
	 .type = OPTION_NUMBER,
	 .offset = AT(timeout),
	 .def = "5",
	 .help = "how long to wait for the registry, for links, and for each part of an answer",
	 .min = 1,
	 .max = 3600},
	{.flag = "--json", .type = OPTION_SWITCH, .offset = AT(json), .help = "print JSON instead of a table"},
	{.flag = "--domain",
	 .arg = "NAME",
	 .type = OPTION_STRING,
	 .offset = AT(domain),
	 .help = "streams of this domain, ours or a remote one; its registrations or redirects"},
	{.flag = "--jid",
	 .arg = "JID",
	 .type = OPTION_STRING,
	 .offset = AT(jid),
	 .help = "streams of this user, or of one of their resources"},
	{.flag = "--role",
	 .arg = "ROLE",
	 .type = OPTION_STRING,
	 .offset = AT(role),
	 .help = "streams of this kind: c2s, s2s-in or s2s-out"},
	{.flag = "--condition",
	 .arg = "NAME",
	 .type = OPTION_STRING,
	 .offset = AT(condition),
	 .def_text = "policy-violation",
	 .help = "stream error that a kicked peer is told, of RFC 6120 section 4.9.3"},
	{.flag = "--text", .arg = "TEXT", .type = OPTION_STRING, .offset = AT(text), .help = "text that a kicked peer is told with it"},
	{.flag = "--for",
	 .arg = "SECONDS",
	 .type = OPTION_NUMBER,
	 .offset = AT(seconds),
	 .def_text = "until the gateway ends; a redirect: 86400",
	 .help = "how long a block or a redirect lasts",
	 .max = 315360000},
	{.flag = "--over",
	 .arg = "SECONDS",
	 .type = OPTION_NUMBER,
	 .offset = AT(over),
	 .def = "30",
	 .help = "how long a drain takes: clients leave evenly in this time",
	 .max = 86400},
	{.flag = "--no-wait", .type = OPTION_SWITCH, .offset = AT(no_wait), .help = "do not wait until a drain is over"},
	{0},
};

/* The rest belongs to one question. */
static const char *const env[] = {"--registry", "--state-dir", NULL};

static const struct command *find(const char *name)
{
	for (const struct command *k = commands; k->name != NULL; k++) {
		if (strcmp(k->name, name) == 0)
			return k;
	}
	return NULL;
}

/* "Commands:" and a line for each. */
static char *notes(void)
{
	struct buf b;
	char *text;

	buf_init(&b, 8192);
	if (buf_add_str(&b, "Commands:\n") != 0)
		abort();
	for (const struct command *k = commands; k->name != NULL; k++) {
		if (buf_printf(&b, "  %s\n", k->usage) != 0)
			abort();
	}
	text = mem_slicedup(buf_slice(&b));
	buf_clear(&b);
	return text;
}

static char *admin_key(const struct options *o)
{
	char *dir = o->state_dir ? mem_strdup(o->state_dir) : daemon_state_dir(), *path = NULL;

	if (asprintf(&path, "%s/admin.key", dir) < 0)
		abort();
	free(dir);
	return path;
}

/* `drain gw1` is `--gateway gw1 drain`. */
static void take_gateways(struct ctl *c)
{
	struct option_list *l = &c->o.gateways;

	for (int i = 0; i < c->nr_args; i++) {
		l->v = mem_resize(l->v, (l->nr + 1) * sizeof *l->v);
		l->v[l->nr++] = mem_strdup(c->args[i]);
	}
}

static int speak(struct ctl *c, const struct command *k)
{
	char *key = c->o.key ? mem_strdup(c->o.key) : admin_key(&c->o);
	struct ask_options ao = {.registry = c->o.registry, .key_file = key, .state_dir = c->o.state_dir, .gateways = &c->o.gateways,
				 .no_gateways = k->about == OF_REGISTRIES, .patience_seconds = (unsigned)c->o.timeout};
	int status = 1;

	if (ask_begin(&c->ask, &ao))
		status = k->run(c);
	else
		fprintf(stderr, "%s: %s (key %s; see --registry, --key and --state-dir)\n", c->program->name, c->ask.refused, key);
	ask_end(&c->ask);
	free(key);
	return status;
}

int main(int argc, char **argv)
{
	char *text = notes();
	struct option_program program = {.name = "ambrosiactl", .summary = "asks and tells the gateways of a cluster", .defs = defs,
					 .arguments = "COMMAND [ARGUMENT ...]", .notes = text, .env = env};
	struct ctl c = {.program = &program};
	const struct command *k;
	int status;

	option_parse(&program, &c.o, argc, argv, &c.args, &c.nr_args);
	if (c.nr_args == 0)
		option_wrong(&program, "no command: %s --help lists them", program.name);
	k = find(c.args[0]);
	if (k == NULL)
		option_wrong(&program, "unknown command \"%s\": %s --help lists them", c.args[0], program.name);
	c.args++;
	c.nr_args--;
	if (c.nr_args < k->min_args || c.nr_args > k->max_args)
		option_wrong(&program, "%s takes other arguments: %s --help shows them", k->name, program.name);
	if (k->about == OF_GATEWAYS)
		take_gateways(&c);
	status = k->local ? k->run(&c) : speak(&c, k);
	option_free(&program, &c.o);
	free(text);
	if (fflush(stdout) != 0)
		daemon_die("cannot write: %s", strerror(errno));
	return status;
}
