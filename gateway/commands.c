#include "commands_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "role/blocks.h"

/*
 * The table of commands, and status. An unknown command is told which there are.
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

/* --- status --------------------------------------------------------------- */

static size_t nr_established(const struct role_env *env, enum stream_role role)
{
	return env->counts[role][STREAM_ESTABLISHED];
}

/* Administrators are linked too, but serve nobody. */
struct counting {
	const struct directory *directory;
	uint64_t nr;
};

static void count_service(void *arg, const struct links_info *i)
{
	struct counting *n = arg;

	n->nr += directory_role(n->directory, i->key) == DIR_ROLE_SERVICE;
}

static void status(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	const struct role_env *env = c->o.env;
	size_t c2s = nr_established(env, STREAM_C2S), in = nr_established(env, STREAM_S2S_IN), out = nr_established(env, STREAM_S2S_OUT);
	struct counting services = {.directory = env->directory};
	struct row r = {.nr = 0};

	(void)a;
	links_each(env->links, count_service, &services);
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
	row_add_number(&r, "services", services.nr);
	row_add_number(&r, "blocks", blocks_nr(env->blocks, loop_now_ms(env->loop)));
	row_add(&r, "log-level", log_level_name(log_get_level()));
	admin_done(q, r.v, r.nr);
}

/* --- the table ------------------------------------------------------------ */

static const struct { const char *name; command_fn *fn; } table[] = {
	{"block", command_block},
	{"blocks", command_blocks},
	{"drain", command_drain},
	{"gateways", command_gateways},
	{"kick", command_kick},
	{"log-level", command_log_level},
	{"reload", command_reload},
	{"services", command_services},
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
