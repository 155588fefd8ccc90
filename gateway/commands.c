#include "commands_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "role/blocks.h"

/*
 * The table of commands, and those that only look: status, gateways, services. An unknown command is told which there are.
 */

/* --- rows ----------------------------------------------------------------- */

void row_add_slice(struct row *r, const char *name, struct slice value)
{
	size_t room = sizeof r->text - r->used;
	size_t n = value.n < room ? value.n : room - 1;

	if (r->nr == ROW_MAX || room == 0)
		return;
	memcpy(r->text + r->used, value.p, n);
	r->text[r->used + n] = '\0';
	r->v[r->nr++] = (struct svcproto_property){name, r->text + r->used};
	r->used += n + 1;
}

void row_add(struct row *r, const char *name, const char *value)
{
	if (value != NULL)
		row_add_slice(r, name, slice_str(value));
}

void row_add_number(struct row *r, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	row_add(r, name, text);
}

void row_add_bool(struct row *r, const char *name, bool value)
{
	row_add(r, name, value ? "yes" : "no");
}

void row_add_id(struct row *r, const char *name, const struct svc_id *id)
{
	char text[2 * sizeof id->b + 1];

	for (size_t i = 0; i < sizeof id->b; i++)
		snprintf(text + 2 * i, 3, "%02x", id->b[i]);
	row_add(r, name, text);
}

struct telling {
	struct commands *c;
	struct admin_request *q;
	const char *domain;      /* NULL: all */
	uint64_t nr;
};

/* --- status --------------------------------------------------------------- */

static size_t nr_established(const struct role_env *env, enum stream_role role)
{
	return env->counts[role][STREAM_ESTABLISHED];
}

/* Administrators are linked too, but serve nobody. */
static void count_service(void *arg, const struct links_info *i)
{
	struct telling *t = arg;

	t->nr += directory_role(t->c->o.env->directory, i->key) == DIR_ROLE_SERVICE;
}

static void status(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	const struct role_env *env = c->o.env;
	size_t c2s = nr_established(env, STREAM_C2S), in = nr_established(env, STREAM_S2S_IN), out = nr_established(env, STREAM_S2S_OUT);
	struct telling t = {.c = c};
	struct row r = {.nr = 0};

	(void)a;
	links_each(env->links, count_service, &t);
	row_add_id(&r, "id", &c->o.id);
	row_add(&r, "public-host", c->o.public_host);
	row_add(&r, "endpoint", c->o.endpoint);
	row_add(&r, "worker", c->o.name);
	row_add_number(&r, "pid", (uint64_t)getpid());
	row_add(&r, "version", AMBROSIA_VERSION);
	row_add_number(&r, "uptime-seconds", (loop_now_ms(env->loop) - c->since_ms) / 1000);
	row_add(&r, "state", env->draining ? "draining" : "ready");
	row_add_number(&r, "clients", c2s);
	row_add_number(&r, "servers-in", in);
	row_add_number(&r, "servers-out", out);
	row_add_number(&r, "connections", env->nr_edges);
	row_add_number(&r, "negotiating", env->nr_edges - c2s - in - out);
	row_add_number(&r, "services", t.nr);
	row_add_number(&r, "blocks", blocks_nr(env->blocks, loop_now_ms(env->loop)));
	row_add(&r, "log-level", log_level_name(log_get_level()));
	admin_done(q, r.v, r.nr);
}

/* --- the directory -------------------------------------------------------- */

static int tell_gateway(void *arg, const struct directory_gateway *g)
{
	struct telling *t = arg;
	struct row r = {.nr = 0};

	row_add_id(&r, "id", &g->owner);
	row_add(&r, "public-host", g->public_host);
	row_add(&r, "endpoint", g->endpoint);
	row_add_number(&r, "client-port", g->client_port);
	row_add_number(&r, "load", g->load);
	row_add_bool(&r, "draining", g->draining);
	row_add(&r, "key", g->key);
	admin_row(t->q, r.v, r.nr);
	t->nr++;
	return 0;
}

static void tell_number(struct telling *t)
{
	struct row r = {.nr = 0};

	row_add_number(&r, "rows", t->nr);
	admin_done(t->q, r.v, r.nr);
}

static void gateways(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	struct telling t = {.c = c, .q = q};

	(void)a;
	(void)directory_each_gateway(c->o.env->directory, tell_gateway, &t);
	tell_number(&t);
}

/* A registration, and how this worker is linked with its instance. */
struct linked {
	const struct directory_registration *of;
	const struct links_info *found;
	struct links_info copy;
};

static void find_link(void *arg, const struct links_info *i)
{
	struct linked *l = arg;

	if (memcmp(&i->peer->instance, &l->of->instance, sizeof l->of->instance) == 0 && strcmp(i->key, l->of->key) == 0) {
		l->copy = *i;
		l->found = &l->copy;
	}
}

static int tell_service(void *arg, const struct directory_registration *s)
{
	struct linked l = {.of = s};
	struct telling *t = arg;
	struct row r = {.nr = 0};
	bool client = s->types & SVCPROTO_CLIENT, server = s->types & SVCPROTO_SERVER;

	if (t->domain != NULL && strcmp(t->domain, s->domain) != 0)
		return 0;
	links_each(t->c->o.env->links, find_link, &l);
	row_add(&r, "domain", s->domain);
	row_add(&r, "types", client && server ? "client,server" : client ? "client" : "server");
	row_add_id(&r, "instance", &s->instance);
	row_add(&r, "name", l.found != NULL ? l.found->peer->name : NULL);
	row_add(&r, "policy", s->policy);
	row_add(&r, "failover", s->reopens ? "reopen" : "close");
	row_add_number(&r, "weight", s->weight);
	if (server)
		row_add(&r, "s2s-auth", s->certificates_only ? "certificates-only" : "dialback");
	row_add_bool(&r, "draining", s->draining);
	row_add_bool(&r, "authorised", directory_may(t->c->o.env->directory, s->key, s->domain, s->types));
	row_add_bool(&r, "linked", l.found != NULL);
	if (l.found != NULL)
		row_add_number(&r, "streams", l.found->nr_streams);
	row_add(&r, "key", s->key);
	admin_row(t->q, r.v, r.nr);
	t->nr++;
	return 0;
}

static void services(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	struct telling t = {.c = c, .q = q, .domain = admin_arg(a, "domain")};

	(void)directory_every_registration(c->o.env->directory, tell_service, &t);
	tell_number(&t);
}

/* --- the table ------------------------------------------------------------ */

static const struct { const char *name; command_fn *fn; } table[] = {
	{"block", command_block},
	{"blocks", command_blocks},
	{"drain", command_drain},
	{"gateways", gateways},
	{"kick", command_kick},
	{"log-level", command_log_level},
	{"reload", command_reload},
	{"services", services},
	{"status", status},
	{"streams", command_streams},
	{"unblock", command_unblock},
	{"undrain", command_undrain},
};

void commands_ask(void *arg, struct admin_request *q, const char *command, const struct admin_args *a)
{
	struct commands *c = arg;
	char names[200] = "";

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		size_t n = strlen(names);

		if (strcmp(table[i].name, command) == 0) {
			table[i].fn(c, q, a);
			return;
		}
		snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", table[i].name);
	}
	admin_fail(q, "unknown command; there are %s", names);
}

void commands_gone(void *arg, struct admin_request *q)
{
	(void)arg;
	walking_free(q);
}

struct commands *commands_new(const struct commands_options *o)
{
	struct commands *c = NEW(struct commands);

	c->o = *o;
	c->since_ms = loop_now_ms(o->env->loop);
	return c;
}

void commands_free(struct commands *c)
{
	free(c);
}
