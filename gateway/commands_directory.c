#include "commands_int.h"

#include "common/mem.h"

/*
 * What the directory holds: gateways, and services with how they are linked here. Some entries are looked at in a turn, so that a worker
 * serves its streams meanwhile however large the cluster is, and no more is made than the link takes.
 */

#define LOOKED_AT_A_TURN 128u

/* The request's data. */
struct telling {
	struct walking w;        /* first */
	struct commands *c;
	struct admin_request *q;
	uint64_t nr;
	const struct directory_walk_ops *ops;
};

static void tell_gateway(void *arg, const struct directory_gateway *g)
{
	struct telling *t = arg;
	struct row r = {.nr = 0};

	row_add_id(&r, "id", &g->owner);
	row_add(&r, "public-host", g->public_host);
	row_add(&r, "endpoint", g->endpoint);
	row_add_number(&r, "client-port", g->client_port);
	row_add_number(&r, "load", g->load);
	if (g->has_room)
		row_add_number(&r, "room", g->room);
	row_add_bool(&r, "draining", g->draining);
	row_add(&r, "key", g->key);
	admin_row(t->q, r.v, r.nr);
	t->nr++;
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

static void tell_service(void *arg, const struct directory_registration *s)
{
	struct linked l = {.of = s};
	struct telling *t = arg;
	struct row r = {.nr = 0};
	bool client = s->types & SVCPROTO_CLIENT, server = s->types & SVCPROTO_SERVER;

	if (t->w.filter.domain != NULL && strcmp(t->w.filter.domain, s->domain) != 0)
		return;
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
}

static bool step(struct admin_request *q)
{
	struct telling *t = q->data;
	struct row r = {.nr = 0};

	if (directory_walk(&t->w.directory, LOOKED_AT_A_TURN, t->ops, t))
		return false;
	row_add_number(&r, "rows", t->nr);
	walking_free(q);
	admin_done(q, r.v, r.nr);
	return true;
}

static void tell_all(struct commands *c, struct admin_request *q, const char *domain, const struct directory_walk_ops *ops)
{
	struct telling *t = NEW(struct telling);

	t->c = c;
	t->q = q;
	t->ops = ops;
	t->w.of_directory = true;
	jid_init(&t->w.filter.jid);
	t->w.filter.domain = domain != NULL ? mem_strdup(domain) : NULL;
	directory_walk_begin(&t->w.directory, c->o.env->directory);
	q->data = t;
	admin_list(links_admin(c->o.env->links), q, step);
}

void command_gateways(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	static const struct directory_walk_ops ops = {.gateway = tell_gateway};

	(void)a;
	tell_all(c, q, NULL, &ops);
}

void command_services(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	static const struct directory_walk_ops ops = {.registration = tell_service};

	tell_all(c, q, admin_arg(a, "domain"), &ops);
}
