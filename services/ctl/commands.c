/* The table of commands, and what they share. */
#include "services/ctl/commands.h"

#include <stdlib.h>

const struct command commands[] = {
	{"status", 0, 0, false, OF_ALL, command_status, "status                     how each gateway worker is"},
	{"gateways", 0, 0, false, OF_ALL, command_gateways, "gateways                   the gateways that the registry knows"},
	{"services", 0, 0, false, OF_ALL, command_services, "services                   registrations, and who is linked with them"},
	{"streams", 0, 0, false, OF_ALL, command_streams, "streams                    clients and servers; --domain, --jid, --role"},
	{"drain", 0, 64, false, OF_GATEWAYS, command_drain, "drain GATEWAY ...          send clients to others, until nobody is left"},
	{"undrain", 0, 64, false, OF_GATEWAYS, command_undrain, "undrain GATEWAY ...        take new clients again"},
	{"kick", 0, 1, false, OF_ALL, command_kick, "kick [JID|STREAM]          end streams: a user's, one by its id, or as flags say"},
	{"redirect", 1, 3, false, OF_REGISTRIES, command_redirect,
	 "redirect set WHO HOST      send a user or a whole domain to another host, as gw2.example.org or [2001:db8::1]:5222; --for\n"
	 "  redirect remove WHO        ... no more\n"
	 "  redirect list              who is sent where; --domain"},
	{"block", 0, 1, false, OF_ALL, command_block, "block [RANGE|DOMAIN]       let nobody in from there; alone: list blocks"},
	{"unblock", 1, 1, false, OF_ALL, command_unblock, "unblock RANGE|DOMAIN       take a block away"},
	{"reload", 0, 0, false, OF_ALL, command_reload, "reload                     read certificates and keys again"},
	{"log-level", 1, 1, false, OF_ALL, command_log_level, "log-level LEVEL            error, warn, info or debug, until a start"},
	{"keygen", 1, 1, true, OF_ALL, command_keygen, "keygen FILE                make a key pair and print its public key"},
	{.name = NULL},
};

void ctl_show(struct ctl *c, const struct rows *r, const struct column *columns, size_t nr)
{
	if (c->o.json)
		print_json(stdout, r, columns, nr);
	else
		print_table(stdout, r, columns, nr);
}

int ctl_ask(struct ctl *c, const char *command, const struct svcproto_property *args, size_t nr)
{
	bool ok = ask_all(&c->ask, command, args, nr);

	ask_print_errors(&c->ask, c->program->name);
	return ok ? 0 : 1;
}

size_t ctl_filter(const struct ctl *c, struct svcproto_property args[3])
{
	size_t nr = 0;

	if (c->o.domain != NULL)
		args[nr++] = (struct svcproto_property){"domain", c->o.domain};
	if (c->o.jid != NULL)
		args[nr++] = (struct svcproto_property){"jid", c->o.jid};
	if (c->o.role != NULL)
		args[nr++] = (struct svcproto_property){"role", c->o.role};
	return nr;
}

int command_keygen(struct ctl *c)
{
	struct rows r = {0};
	char key[41];
	int error = svcproto_keygen(c->args[0], key);

	if (error != 0) {
		fprintf(stderr, "%s: %s: cannot be made (%s); it must not be there yet, and its folder must be writable\n",
			c->program->name, c->args[0], svcproto_strerror(error));
		return 1;
	}
	if (c->o.json) {
		struct row *row = rows_add(&r);

		row_put(row, "file", c->args[0]);
		row_put(row, "public-key", key);
		print_json(stdout, &r, NULL, 0);
		rows_clear(&r);
	} else {
		puts(key);
	}
	return 0;
}
