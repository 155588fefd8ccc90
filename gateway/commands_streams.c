#include "commands_int.h"

#include <stdlib.h>

/*
 * Lists of streams: a walk over the worker's connections with a filter. A few hundred connections are looked at in a turn, so that a worker
 * with very many of them serves them meanwhile.
 */

#define LOOKED_AT_A_TURN 256u

bool filter_init(struct filter *f, const struct admin_args *a, const char **wrong)
{
	const char *jid = admin_arg(a, "jid"), *domain = admin_arg(a, "domain"), *role = admin_arg(a, "role"), *id = admin_arg(a, "stream");

	*f = (struct filter){.role = -1};
	jid_init(&f->jid);
	*wrong = NULL;
	if (jid != NULL && jid_parse(&f->jid, slice_str(jid)) != 0)
		*wrong = "jid is no address";
	if (domain != NULL && (f->domain = jid_prep_domain(slice_str(domain))) == NULL)
		*wrong = "domain is no domain";
	for (int r = STREAM_C2S; role != NULL && r <= STREAM_S2S_OUT; r++) {
		if (strcmp(role, stream_role_name((enum stream_role)r)) == 0)
			f->role = r;
	}
	if (role != NULL && f->role < 0)
		*wrong = "role is c2s, s2s-in or s2s-out";
	if (id != NULL && (f->id = strtoull(id, NULL, 10)) == 0)
		*wrong = "stream is a number from the list of streams";
	if (*wrong != NULL)
		filter_clear(f);
	return *wrong == NULL;
}

void filter_clear(struct filter *f)
{
	jid_clear(&f->jid);
	free(f->domain);
	f->domain = NULL;
}

bool filter_takes(const struct filter *f, const struct edge *e)
{
	const struct stream *s = e->stream;

	if (s == NULL || e->ended || (f->role >= 0 && (int)e->kind != f->role) || (f->id != 0 && e->id != f->id))
		return false;
	if (f->domain != NULL && !stream_concerns(s, f->domain))
		return false;
	if (jid_empty(&f->jid))
		return true;
	return slice_eq(f->jid.bare, stream_jid(s)->bare) &&
	       (slice_empty(f->jid.resource) || slice_eq(f->jid.resource, stream_jid(s)->resource));
}

/* How many pairs of domains the remote server may send for, and how many of ours do. */
static void tell_pairs(struct row *r, const struct edge *e)
{
	row_add_bool(r, "bidi", stream_bidi(e->stream));
	row_add_number(r, "pairs-in", stream_nr_pairs(e->stream));
	row_add_number(r, "pairs-out", e->nr_senders);
}

static void tell(struct admin_request *q, struct role_env *env, const struct edge *e)
{
	const struct jid *jid = stream_jid(e->stream);
	struct row r = {.nr = 0};

	row_add_number(&r, "stream", e->id);
	row_add(&r, "role", stream_role_name(e->kind));
	row_add(&r, "state", stream_state_name(stream_state(e->stream)));
	if (!jid_empty(jid))
		row_add_slice(&r, "jid", jid->full.n > 0 ? jid->full : jid->bare);
	row_add(&r, "domain", stream_local_domain(e->stream));
	row_add(&r, "remote", stream_peer_domain(e->stream));
	row_add(&r, "address", conn_peer_text(e->conn));
	row_add_number(&r, "port", conn_peer_port(e->conn));
	row_add_bool(&r, "tls", stream_secure(e->stream));
	row_add_bool(&r, "sm", stream_managed(e->stream));
	row_add(&r, "proof", e->proof);
	if (e->kind != STREAM_C2S)
		tell_pairs(&r, e);
	row_add_number(&r, "seconds", (loop_now_ms(env->loop) - e->since_ms) / 1000);
	row_add_number(&r, "bytes-in", conn_bytes_in(e->conn));
	row_add_number(&r, "bytes-out", conn_bytes_out(e->conn));
	admin_row(q, r.v, r.nr);
}

struct listing {
	struct walking w;             /* first */
	uint64_t nr;
};

static bool list_step(struct admin_request *q)
{
	struct listing *l = q->data;
	struct row r = {.nr = 0};

	for (unsigned i = 0; i < LOOKED_AT_A_TURN; i++) {
		struct edge *e = edge_walk_next(&l->w.walk);

		if (e == NULL) {
			row_add_number(&r, "rows", l->nr);
			walking_free(q);
			admin_done(q, r.v, r.nr);
			return true;
		}
		if (filter_takes(&l->w.filter, e)) {
			tell(q, l->w.walk.env, e);
			l->nr++;
		}
	}
	return false;
}

bool walking_begin(struct commands *c, struct admin_request *q, const struct admin_args *a, size_t size)
{
	struct walking *w = mem_alloc(size);
	const char *wrong;

	if (!filter_init(&w->filter, a, &wrong)) {
		free(w);
		admin_fail(q, "%s", wrong);
		return false;
	}
	edge_walk_begin(c->o.env, &w->walk);
	q->data = w;
	return true;
}

void walking_free(struct admin_request *q)
{
	struct walking *w = q->data;

	if (w == NULL)
		return;
	if (w->of_directory)
		directory_walk_end(&w->directory);
	else
		edge_walk_end(&w->walk);
	filter_clear(&w->filter);
	free(w);
	q->data = NULL;
}

void command_streams(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	if (walking_begin(c, q, a, sizeof(struct listing)))
		admin_list(links_admin(c->o.env->links), q, list_step);
}
