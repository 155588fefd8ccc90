/* The commands that change something. */
#include <stdio.h>
#include <stdlib.h>

#include "services/ctl/commands.h"

/* Sum of a number over all that answered; where somebody failed, errors say so beside it. */
static uint64_t total(const struct ctl *c, const char *name)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < c->ask.ends.nr; i++)
		sum += row_number(&c->ask.ends.v[i], name);
	return sum;
}

/* A line for people, the gateways' answers for scripts. */
static void say(struct ctl *c, const char *verb, uint64_t n, const char *what)
{
	static const struct column columns[] = {{"kicked", NULL, COLUMN_NUMBER}, {"closed", NULL, COLUMN_NUMBER}};

	if (c->o.json)
		print_json(stdout, &c->ask.ends, columns, ARRAY_LEN(columns));
	else
		printf("%s %llu %s%s\n", verb, (unsigned long long)n, what, n == 1 ? "" : "s");
}

/* "3f2a9c1e:17", as `streams` prints it: the gateway is chosen, the number is left. NULL: it is none. */
static const char *stream_number(struct ctl *c, const char *id)
{
	const char *colon = strchr(id, ':');
	size_t n = colon != NULL ? (size_t)(colon - id) : 0;
	bool found = false;

	if (n < 8 || strspn(id, "0123456789abcdef") != n || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return NULL;
	for (size_t i = 0; i < c->ask.nr_gateways; i++) {
		struct ask_gateway *g = &c->ask.gateways[i];

		g->chosen = g->chosen && strncmp(g->id, id, n) == 0;
		found = found || g->chosen;
	}
	return found ? colon + 1 : NULL;
}

int command_kick(struct ctl *c)
{
	const char *number = NULL, *target = c->nr_args > 0 ? c->args[0] : NULL;
	struct svcproto_property args[6];
	size_t nr;
	int status;

	if (target != NULL && strchr(target, '@') == NULL && strchr(target, ':') != NULL) {
		number = stream_number(c, target);
		if (number == NULL) {
			fprintf(stderr, "%s: no stream %s: `%s streams` lists them\n", c->program->name, target, c->program->name);
			return 1;
		}
	} else if (target != NULL) {
		if (c->o.jid != NULL)
			option_wrong(c->program, "kick: give the JID once");
		c->o.jid = mem_strdup(target);
	}
	nr = ctl_filter(c, args);
	if (number != NULL)
		args[nr++] = (struct svcproto_property){"stream", number};
	if (nr == 0)
		option_wrong(c->program, "kick whom: a JID, a stream's id, --domain or --role");
	if (c->o.condition != NULL)
		args[nr++] = (struct svcproto_property){"condition", c->o.condition};
	if (c->o.text != NULL)
		args[nr++] = (struct svcproto_property){"text", c->o.text};
	status = ctl_ask(c, "kick", args, nr);
	say(c, "kicked", total(c, "kicked"), "stream");
	return status;
}

int command_reload(struct ctl *c)
{
	int status = ctl_ask(c, "reload", NULL, 0);

	say(c, "reloaded at", c->ask.ends.nr, "worker");
	return status;
}

int command_log_level(struct ctl *c)
{
	struct svcproto_property arg = {"level", c->args[0]};
	int status = ctl_ask(c, "log-level", &arg, 1);

	say(c, "log level set at", c->ask.ends.nr, "worker");
	return status;
}

/* --- blocks --------------------------------------------------------------- */

/* One row for each target, and at how many workers it is blocked. */
static void merge(struct rows *out, const struct row *seen)
{
	const char *target = row_get(seen, "target"), *seconds = row_get(seen, "seconds");
	struct row *r = NULL;

	if (target == NULL)
		return;
	for (size_t i = 0; i < out->nr && r == NULL; i++) {
		if (strcmp(row_get(&out->v[i], "target"), target) == 0)
			r = &out->v[i];
	}
	if (r == NULL) {
		r = rows_add(out);
		row_put(r, "target", target);
	}
	row_put_number(r, "workers", row_number(r, "workers") + 1);
	if (seconds != NULL && row_number(seen, "seconds") > row_number(r, "seconds"))
		row_put(r, "seconds", seconds);
}

static int list_blocks(struct ctl *c)
{
	static const struct column columns[] = {
		{"target", "TARGET", COLUMN_TEXT}, {"workers", "WORKERS", COLUMN_NUMBER}, {"seconds", "FOR", COLUMN_SECONDS}};
	int status = ctl_ask(c, "blocks", NULL, 0);
	struct rows r = {0};

	for (size_t i = 0; i < c->ask.rows.nr; i++)
		merge(&r, &c->ask.rows.v[i]);
	rows_sort(&r, "target");
	ctl_show(c, &r, columns, ARRAY_LEN(columns));
	rows_clear(&r);
	return status;
}

int command_block(struct ctl *c)
{
	struct svcproto_property args[2];
	char seconds[24];
	size_t nr = 0;
	int status;

	if (c->nr_args == 0)
		return list_blocks(c);
	args[nr++] = (struct svcproto_property){"target", c->args[0]};
	snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)c->o.seconds);
	if (c->o.seconds > 0)
		args[nr++] = (struct svcproto_property){"seconds", seconds};
	status = ctl_ask(c, "block", args, nr);
	say(c, "blocked; ended", total(c, "closed"), "stream");
	return status;
}

int command_unblock(struct ctl *c)
{
	struct svcproto_property arg = {"target", c->args[0]};
	int status = ctl_ask(c, "unblock", &arg, 1);

	say(c, "unblocked at", c->ask.ends.nr, "worker");
	return status;
}
