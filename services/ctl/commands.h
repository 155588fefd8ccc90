#ifndef SERVICES_CTL_COMMANDS_H
#define SERVICES_CTL_COMMANDS_H

/* What ambrosiactl can do: one row for each command. */

#include "services/ctl/ask.h"
#include "services/ctl/print.h"

struct options {
	char *registry, *key, *state_dir;
	struct option_list gateways;
	uint64_t timeout;
	bool json;
	char *domain, *jid, *role;       /* which streams */
	char *condition, *text;          /* what a kicked peer is told */
	uint64_t seconds;                /* 0: not given */
	uint64_t over;                   /* seconds that a drain takes */
	bool no_wait;
};

struct ctl {
	const struct option_program *program;
	struct options o;
	char **args;                     /* behind the command */
	int nr_args;
	struct ask ask;                  /* begun before the command runs, unless it is local */
};

enum command_about {
	OF_ALL,         /* asks the gateways that are meant: all, or those of --gateway */
	OF_GATEWAYS,    /* its arguments name gateways, as --gateway does */
	OF_REGISTRIES,  /* asks no gateway */
};

struct command {
	const char *name;
	int min_args, max_args;
	bool local;                      /* speaks to nobody */
	enum command_about about;
	int (*run)(struct ctl *c);       /* exit status: 0, or 1 when it failed; wrong usage ends in option_wrong() */
	const char *usage;               /* its line in --help: arguments and what it does */
};

extern const struct command commands[];   /* ends with a row without a name */

/* Shows rows as --json says. */
void ctl_show(struct ctl *c, const struct rows *r, const struct column *columns, size_t nr);
/* Asks all gateways that are meant; errors are printed. The exit status. */
int ctl_ask(struct ctl *c, const char *command, const struct svcproto_property *args, size_t nr);
/* --domain, --jid and --role as arguments; how many of them were given. */
size_t ctl_filter(const struct ctl *c, struct svcproto_property args[3]);

int command_keygen(struct ctl *c);

/* act.c */
int command_kick(struct ctl *c);
int command_reload(struct ctl *c);
int command_log_level(struct ctl *c);
int command_block(struct ctl *c);
int command_unblock(struct ctl *c);

/* drain.c */
int command_drain(struct ctl *c);
int command_undrain(struct ctl *c);

/* redirect.c */
int command_redirect(struct ctl *c);

/* look.c */
int command_status(struct ctl *c);
int command_gateways(struct ctl *c);
int command_services(struct ctl *c);
int command_streams(struct ctl *c);

#endif
