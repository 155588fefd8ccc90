#include "role/s2s_in.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/stat.h"
#include "role/s2s_in_int.h"
#include "role/s2s_lane.h"
#include "route/policy.h"

/*
 * One remote server. The stream machine knows which pairs of domains are authenticated; nothing of another pair passes. Each pair is a
 * svcproto stream of its own, opened with its first stanza. While one of them is full nothing is read: the remote's TCP is the only
 * back-pressure that XMPP has here.
 */

#define PAIRS_MAX 128

/* --- stanzas ------------------------------------------------------------- */

/* The stanza that waits, if there is one. SVCPROTO_E_*: it does not go. */
static int give_kept(struct s2s_in *in)
{
	struct in_pair *p = in->waiting;
	int err = p != NULL ? kept_again(&in->e.kept, in->e.env->links, &p->end) : 0;

	if (p != NULL && err != SVCPROTO_E_FULL)
		in->waiting = NULL;
	if (p != NULL && err == 0)
		p->sent++;
	return err;
}

/* err: of what was offered to a service last. */
static void hold_after(struct s2s_in *in, int err)
{
	bool full = err != 0;

	if (err != 0 && err != SVCPROTO_E_FULL) {
		edge_close(&in->e, CLOSE_RESOURCE_CONSTRAINT);
		return;
	}
	for (struct in_pair *p = in->pairs; p != NULL; p = p->next)
		full |= p->end.stream != NULL && kept_is_full(&p->end);
	edge_hold(&in->e, full);
}

static void hold_if_full(struct s2s_in *in)
{
	hold_after(in, give_kept(in));
}

static struct in_pair *pair_of(struct link_end *end)
{
	return container_of(end, struct in_pair, end);
}

static void end_accepted(struct link_end *end, const char *full_jid)
{
	(void)end;
	(void)full_jid;
}

static void end_writable(struct link_end *end);

/* Other pairs go on: true, and the next stanza of this one asks for a service anew. What nobody has acknowledged is lost with it: that the
 * other server learns by the end of its stream, which says so. */
static bool ends_alone(struct in_pair *p, const char *condition)
{
	struct s2s_in *in = p->in;

	if (stream_nr_pairs(in->e.stream) < 2 || p->sent != p->acked || p == in->waiting)
		return false;
	log_info(in->e.role, in->e.id, "pair-ended", "from=%s to=%s condition=%s", log_escape(slice_str(p->from)),
		 log_escape(slice_str(p->to)), condition != NULL ? log_escape(slice_str(condition)) : "-");
	end_writable(&p->end);
	return true;
}

static void end_refused(struct link_end *end, const struct svc_refusal *r)
{
	struct s2s_in *in = pair_of(end)->in;

	log_info(in->e.role, in->e.id, "refused", "to=%s condition=%s", log_escape(slice_str(pair_of(end)->to)),
		 log_escape(slice_str(r->condition)));
	if (!ends_alone(pair_of(end), r->condition))
		edge_close(&in->e, CLOSE_HOST_GONE);
}

/* Its service has no right to one. What it has not acknowledged it never will. */
static void end_stanza(struct link_end *end, uint32_t seq, unsigned flags, struct slice xml)
{
	struct in_pair *p = pair_of(end);
	struct edge *e = &p->in->e;

	(void)seq, (void)flags, (void)xml;
	log_warn(e->role, e->id, "stanza", "from=%s to=%s why=\"the service sent one, on a pair that has one direction\"",
		 log_escape(slice_str(p->from)), log_escape(slice_str(p->to)));
	links_release(end, "not-authorized", "an inbound server pair has one direction");
	if (!ends_alone(p, "not-authorized"))
		edge_close(e, CLOSE_INTERNAL);
}

static void end_writable(struct link_end *end)
{
	struct s2s_in *in = pair_of(end)->in;

	hold_if_full(in);
	edge_kick(&in->e);
}

static void end_acked(struct link_end *end, uint32_t seq)
{
	s2s_in_sm_acked(pair_of(end), seq);
	end_writable(end);
}

static void end_closed(struct link_end *end, const char *condition, const char *text, bool link_lost)
{
	struct s2s_in *in = pair_of(end)->in;

	if (ends_alone(pair_of(end), condition))
		return;
	if (link_lost)
		stream_close(in->e.stream, CLOSE_SERVICE_LOST);
	else
		stream_close_with(in->e.stream, condition, text);
	edge_kick(&in->e);
}

static const struct link_end_ops end_ops = {
	.accepted = end_accepted,
	.refused = end_refused,
	.stanza = end_stanza,
	.acked = end_acked,
	.writable = end_writable,
	.closed = end_closed,
};

static struct in_pair *find_pair(struct s2s_in *in, const char *from, const char *to)
{
	struct in_pair *p = in->pairs;

	while (p != NULL && (strcmp(p->from, from) != 0 || strcmp(p->to, to) != 0))
		p = p->next;
	return p;
}

static struct in_pair *add_pair(struct s2s_in *in, const char *from, const char *to)
{
	struct in_pair *p;

	if (in->nr_pairs >= PAIRS_MAX)
		return NULL;
	p = NEW(struct in_pair);
	p->end.ops = &end_ops;
	p->in = in;
	p->from = mem_strdup(from);
	p->to = mem_strdup(to);
	p->next = in->pairs;
	in->pairs = p;
	in->nr_pairs++;
	return p;
}

static enum close_reason open_pair(struct in_pair *p)
{
	struct s2s_in *in = p->in;
	struct svc_open o = {.kind = SVC_KIND_SERVER_IN, .from_domain = p->from, .to_domain = p->to,
			     .address = conn_peer_text(in->e.conn), .secure = true};
	int err;

	mem_random(&o.stream_id, sizeof o.stream_id);
	p->sent = p->acked = 0;
	err = links_open(in->e.env->links, p->to, SVCPROTO_SERVER, p->from, &o, &p->end);
	return err == 0 ? CLOSE_DONE : err == -ERR_NOTFOUND ? CLOSE_HOST_UNKNOWN : CLOSE_SERVICE_LOST;
}

/* The pair's stream to a service, opened if it is not; NULL when it can't be, with the close reason. */
static struct in_pair *pair_for(struct s2s_in *in, const char *from, const char *to, enum close_reason *why)
{
	struct in_pair *p = find_pair(in, from, to);

	if (p == NULL)
		p = add_pair(in, from, to);
	if (p == NULL)
		*why = CLOSE_RESOURCE_CONSTRAINT;
	else if (p->end.stream == NULL)
		*why = open_pair(p);
	return p != NULL && p->end.stream != NULL ? p : NULL;
}

static void pass(struct s2s_in *in, const struct policy_result *r, struct slice xml, const char *from, const char *to)
{
	enum close_reason why = s2s_in_is_blocked(in, from) ? CLOSE_POLICY : CLOSE_INTERNAL;
	struct in_pair *p;
	int err;

	/* It may have become ours since it was proven. */
	if (!stream_pair_ok(in->e.stream, from, to) || s2s_in_is_local(in, from)) {
		edge_close(&in->e, links_registered(in->e.env->links, to, SVCPROTO_SERVER) ? CLOSE_INVALID_FROM : CLOSE_HOST_UNKNOWN);
		return;
	}
	p = why == CLOSE_POLICY ? NULL : pair_for(in, from, to, &why);
	if (p == NULL) {
		edge_close(&in->e, why);
		return;
	}
	err = kept_pass(&in->e.kept, in->e.env->links, &p->end, r, xml);
	if (err == 0)
		p->sent++;
	else if (err == SVCPROTO_E_FULL)
		in->waiting = p;
	hold_after(in, err);
}

void s2s_in_op_stanza(void *arg, const struct xml_element *el)
{
	struct s2s_in *in = s2s_in_of(arg);
	char *from = NULL, *to = NULL;
	struct policy_result r;
	struct buf out;

	stat_add(STAT_stanzas_in, 1);
	buf_init(&out, in->e.env->limits.s2s_in.after_auth.element_bytes * 2 + 8192);
	r = policy_from_server(el, &out, &from, &to);
	if (r.verdict == POLICY_CLOSE || from == NULL || to == NULL)
		stream_close_with(in->e.stream, r.condition, NULL);
	else
		pass(in, &r, buf_slice(&out), from, to);
	buf_clear(&out);
	free(from);
	free(to);
}

/* --- the connection ------------------------------------------------------ */

static bool op_host_known(void *arg, const char *domain)
{
	return links_registered(s2s_in_of(arg)->e.env->links, domain, SVCPROTO_SERVER);
}

static bool op_dialback_allowed(void *arg, const char *domain)
{
	return !links_certificates_only(s2s_in_of(arg)->e.env->links, domain);
}

static void op_established(void *arg)
{
	struct s2s_in *in = s2s_in_of(arg);

	edge_authenticated(&in->e);
}

static const struct stream_ops stream_ops = {
	.send = edge_op_send,
	.start_tls = edge_op_start_tls,
	.host_known = op_host_known,
	.dialback_allowed = op_dialback_allowed,
	.peer_named = s2s_in_op_peer_named,
	.mechanisms = s2s_in_op_mechanisms,
	.auth_start = s2s_in_op_auth_start,
	.auth_step = s2s_in_op_auth_step,
	.auth_abort = s2s_in_op_auth_abort,
	.sm_enable = s2s_in_op_sm_enable,
	.sm_handled = s2s_in_op_sm_handled,
	.sm_counts = s2s_in_op_sm_counts,
	.stanza = s2s_in_op_stanza,
	.db_result = s2s_in_op_db_result,
	.db_verify = s2s_in_op_db_verify,
	.established = op_established,
	.closed = edge_op_closed,
};

static SSL *make_ssl(struct edge *e)
{
	const char *to = stream_local_domain(e->stream);
	char *hint = to != NULL ? jid_domain_ascii(slice_str(to)) : NULL;
	/* no stream yet: direct TLS */
	SSL *ssl = tls_store_ssl(e->env->tls, TLS_S2S_IN, hint, NULL, to == NULL ? "xmpp-server" : NULL);

	free(hint);
	return ssl;
}

void s2s_in_end(struct s2s_in *in)
{
	s2s_in_auth_end(in);
	in->waiting = NULL;
	while (in->pairs != NULL) {
		struct in_pair *p = in->pairs;

		in->pairs = p->next;
		links_release(&p->end, NULL, NULL);
		free(p->from);
		free(p->to);
		free(p);
	}
	links_touch(in->e.env->links);
}

static void edge_ended(struct edge *e, enum close_reason r, const char *detail)
{
	(void)detail;
	if (e->cut && e->conn != NULL && conn_queued(e->conn) > 0)
		conn_abort(e->conn);
	s2s_ways_drop(&e->env->ways, e);
	s2s_lanes_ended(e, r);
	s2s_in_end(s2s_in_of(e));
}

static const struct edge_ops edge_ops = {
	.drained = s2s_lanes_drained,
	.acked = s2s_lanes_acked,
	.ended = edge_ended,
	.gone = edge_free_later,
	.make_ssl = make_ssl,
};

void s2s_in_accept(struct role_env *env, int fd, const struct sockaddr *peer, socklen_t len, bool direct_tls)
{
	struct stream_params p = {.role = STREAM_S2S_IN, .limits = &env->limits.s2s_in, .direct_tls = direct_tls, .bidi = true};
	struct s2s_in *in = NEW(struct s2s_in);

	edge_init(&in->e, env, "s2s-in", &edge_ops);
	if (!edge_accept(&in->e, fd, peer, len, &p, &stream_ops))
		free(in);
}
