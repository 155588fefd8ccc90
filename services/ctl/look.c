/* The commands that only look. */
#include <stdio.h>

#include "services/ctl/commands.h"

int command_status(struct ctl *c)
{
	static const struct column columns[] = {
		{"public-host", "HOST", COLUMN_TEXT},
		{"gateway", "GATEWAY", COLUMN_ID},
		{"worker", "WORKER", COLUMN_TEXT},
		{"state", "STATE", COLUMN_TEXT},
		{"uptime-seconds", "UP", COLUMN_SECONDS},
		{"clients", "CLIENTS", COLUMN_NUMBER},
		{"servers-in", "IN", COLUMN_NUMBER},
		{"servers-out", "OUT", COLUMN_NUMBER},
		{"negotiating", "NEW", COLUMN_NUMBER},
		{"services", "SERVICES", COLUMN_NUMBER},
		{"version", "VERSION", COLUMN_TEXT},
		{"pid", NULL, COLUMN_NUMBER},
	};
	int status = ctl_ask(c, "status", NULL, 0);

	rows_sort(&c->ask.ends, "worker");
	rows_sort(&c->ask.ends, "public-host");
	ctl_show(c, &c->ask.ends, columns, ARRAY_LEN(columns));
	return status;
}

int command_gateways(struct ctl *c)
{
	static const struct column columns[] = {
		{"public-host", "HOST", COLUMN_TEXT},     {"client-port", "PORT", COLUMN_NUMBER}, {"gateway", "GATEWAY", COLUMN_ID},
		{"endpoint", "ENDPOINT", COLUMN_TEXT},    {"load", "LOAD", COLUMN_NUMBER},        {"room", "ROOM", COLUMN_NUMBER},
		{"draining", "DRAINING", COLUMN_BOOL},    {"linked", "LINKED", COLUMN_BOOL},
	};
	struct rows r = {0};
	int status = 0;

	for (size_t i = 0; i < c->ask.nr_gateways; i++) {
		const struct ask_gateway *g = &c->ask.gateways[i];
		struct row *row;

		if (!g->chosen)
			continue;
		row = rows_add(&r);
		row_put(row, "gateway", g->id);
		row_put(row, "public-host", g->public_host);
		row_put_number(row, "client-port", g->client_port);
		row_put(row, "endpoint", g->endpoint);
		row_put_number(row, "load", g->load);
		if (g->has_room)
			row_put_number(row, "room", g->room);
		row_put(row, "draining", g->draining ? "yes" : "no");
		row_put(row, "linked", g->linked ? "yes" : "no");
		if (!g->linked)
			status = 1;
	}
	rows_sort(&r, "endpoint");
	rows_sort(&r, "public-host");
	ctl_show(c, &r, columns, ARRAY_LEN(columns));
	rows_clear(&r);
	return status;
}

/* --- services ------------------------------------------------------------- */

static bool same(const struct row *a, const struct row *b, const char *name)
{
	const char *x = row_get(a, name), *y = row_get(b, name);

	return strcmp(x != NULL ? x : "", y != NULL ? y : "") == 0;
}

static struct row *same_registration(struct rows *r, const struct row *of)
{
	for (size_t i = 0; i < r->nr; i++) {
		if (same(&r->v[i], of, "instance") && same(&r->v[i], of, "key") && same(&r->v[i], of, "domain"))
			return &r->v[i];
	}
	return NULL;
}

/* One row for each registration out of every gateway's view of it. */
static void merge(struct rows *out, const struct row *seen)
{
	struct row *r;

	if (row_get(seen, "instance") == NULL || row_get(seen, "domain") == NULL)
		return;
	r = same_registration(out, seen);
	if (r == NULL) {
		r = rows_add(out);
		for (size_t i = 0; i < seen->nr; i++) {
			if (strcmp(seen->v[i].name, "gateway") != 0 && strcmp(seen->v[i].name, "linked") != 0 &&
			    strcmp(seen->v[i].name, "streams") != 0)
				row_put(r, seen->v[i].name, seen->v[i].value);
		}
	}
	if (row_get(seen, "name") != NULL)
		row_put(r, "name", row_get(seen, "name"));
	row_put_number(r, "seen", row_number(r, "seen") + 1);
	row_put_number(r, "linked", row_number(r, "linked") + (strcmp(row_get(seen, "linked") ? row_get(seen, "linked") : "", "yes") == 0));
	row_put_number(r, "streams", row_number(r, "streams") + row_number(seen, "streams"));
}

int command_services(struct ctl *c)
{
	static const struct column columns[] = {
		{"domain", "DOMAIN", COLUMN_TEXT},       {"instance", "INSTANCE", COLUMN_ID},    {"name", "NAME", COLUMN_TEXT},
		{"types", "TYPES", COLUMN_TEXT},         {"policy", "POLICY", COLUMN_TEXT},      {"weight", "WEIGHT", COLUMN_NUMBER},
		{"failover", "FAILOVER", COLUMN_TEXT},
		{"draining", "DRAINING", COLUMN_BOOL},   {"seen", "SEEN", COLUMN_NUMBER},        {"linked", "LINKED", COLUMN_NUMBER},
		{"streams", "STREAMS", COLUMN_NUMBER},   {"authorised", NULL, COLUMN_BOOL},
		{"s2s-auth", "S2S-AUTH", COLUMN_TEXT},
	};
	struct svcproto_property args[3];
	struct rows r = {0};
	int status;

	if (c->o.jid != NULL || c->o.role != NULL)
		option_wrong(c->program, "services takes --domain only");
	status = ctl_ask(c, "services", args, ctl_filter(c, args));
	for (size_t i = 0; i < c->ask.rows.nr; i++)
		merge(&r, &c->ask.rows.v[i]);
	rows_sort(&r, "instance");
	rows_sort(&r, "domain");
	ctl_show(c, &r, columns, ARRAY_LEN(columns));
	rows_clear(&r);
	return status;
}

/* --- streams -------------------------------------------------------------- */

int command_streams(struct ctl *c)
{
	static const struct column columns[] = {
		{"id", "STREAM", COLUMN_TEXT},           {"role", "ROLE", COLUMN_TEXT},
		{"state", "STATE", COLUMN_TEXT},         {"jid", "JID", COLUMN_TEXT},
		{"domain", "DOMAIN", COLUMN_TEXT},       {"remote", "REMOTE", COLUMN_TEXT},
		{"address", "ADDRESS", COLUMN_TEXT},     {"tls", "TLS", COLUMN_BOOL},
		{"seconds", "AGE", COLUMN_SECONDS},      {"bytes-in", "IN", COLUMN_BYTES},
		{"bytes-out", "OUT", COLUMN_BYTES},      {"port", NULL, COLUMN_NUMBER},
		{"stream", NULL, COLUMN_NUMBER},         {"proof", "PROOF", COLUMN_TEXT},
		{"sm", "SM", COLUMN_BOOL},               {"bidi", "BIDI", COLUMN_BOOL},
		{"pairs-in", "PAIRS-IN", COLUMN_NUMBER}, {"pairs-out", "PAIRS-OUT", COLUMN_NUMBER},
	};
	struct svcproto_property args[3];
	int status = ctl_ask(c, "streams", args, ctl_filter(c, args));

	for (size_t i = 0; i < c->ask.rows.nr; i++) {
		struct row *r = &c->ask.rows.v[i];
		const char *gateway = row_get(r, "gateway"), *stream = row_get(r, "stream");
		char id[64];

		snprintf(id, sizeof id, "%.8s:%s", gateway ? gateway : "", stream ? stream : "");
		row_put(r, "id", id);
	}
	ctl_show(c, &c->ask.rows, columns, ARRAY_LEN(columns));
	return status;
}
