#include "role/s2s_in.h"

#include <stdlib.h>

#include "auth/extern.h"
#include "common/log.h"
#include "common/stat.h"
#include "role/blocks.h"
#include "role/edge.h"
#include "role/peer_dane.h"
#include "role/s2s_out.h"
#include "route/policy.h"
#include "xml/ns.h"

/*
 * One remote server. The stream machine knows which pairs of domains are authenticated; nothing of another pair passes. Each pair is a
 * svcproto stream of its own, opened with its first stanza. While one of them is full nothing is read: the remote's TCP is the only
 * back-pressure that XMPP has here.
 */

#define PAIRS_MAX 128
/* Questions to authoritative servers at once: each is a connection of ours that a stranger asked for. */
#define CHECKS_MAX 16

struct s2s_in;

struct in_pair {
	struct link_end end;
	struct s2s_in *in;
	char *from, *to;
	struct in_pair *next;
};

/* A dialback key that the authoritative server is asked about. */
struct in_check {
	struct s2s_in *in;
	struct s2s_out *out;
	char *from, *to, *key, *id;
	bool asked;
	struct in_check *next;
};

struct s2s_in {
	struct edge e;             /* first */
	struct in_pair *pairs;
	struct in_check *checks;
	unsigned nr_pairs, nr_checks;
	struct peer_dane dane;
};

static struct s2s_in *in_of(void *arg)
{
	OBJ_CHECK((struct edge *)arg, EDGE_MAGIC);
	return arg;
}

/* --- EXTERNAL ------------------------------------------------------------ */

static void on_dane(void *arg)
{
	struct s2s_in *in = in_of(arg);

	stream_peer_known(in->e.stream);
	edge_kick(&in->e);
}

/* A domain of this cluster: no certificate and no key from outside speaks for it, and DNS is not asked about it. */
static bool is_local(const struct s2s_in *in, const char *domain)
{
	return directory_is_local(in->e.env->directory, domain);
}

static bool op_peer_named(void *arg)
{
	struct s2s_in *in = in_of(arg);
	const char *peer = stream_peer_domain(in->e.stream);

	if (is_local(in, peer))
		return false;
	return peer_dane_ask(&in->dane, in->e.env, conn_ssl(in->e.conn), peer, in->e.id, on_dane, in);
}

static bool certificate_is(struct s2s_in *in, const char *domain)
{
	SSL *ssl = conn_ssl(in->e.conn);
	X509 *cert = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
	const char *why;
	bool is = in->dane.verdict == TLS_DANE_NONE && cert != NULL && tls_peer_trusted(ssl, &why) && extern_cert_is_domain(cert, domain);

	X509_free(cert);
	return !is_local(in, domain) && (is || in->dane.verdict == TLS_DANE_MATCH);
}

/* Who can speak to us may well be reached again. */
static void authenticated(struct s2s_in *in, const char *domain, const char *proof)
{
	if (in->e.proof == NULL)
		in->e.proof = proof;
	edge_authenticated(&in->e);
	in->e.env->heard_from(in->e.env->heard_from_arg, domain);
}

static bool is_blocked(const struct s2s_in *in, const char *domain)
{
	return blocks_domain(in->e.env->blocks, domain, loop_now_ms(in->e.env->loop));
}

static void op_mechanisms(void *arg, struct stream *s)
{
	struct s2s_in *in = in_of(arg);
	const char *peer = stream_peer_domain(s);

	if (peer != NULL && !is_blocked(in, peer) && certificate_is(in, peer))
		stream_offer_mechanism(s, "EXTERNAL");
}

static void op_auth_start(void *arg, struct slice mech, struct slice initial)
{
	struct s2s_in *in = in_of(arg);
	const char *peer = stream_peer_domain(in->e.stream);
	char *authzid = initial.n > 0 ? jid_prep_domain(initial) : NULL;
	const char *failure = NULL;

	if (!slice_is(mech, "EXTERNAL"))
		failure = "invalid-mechanism";
	else if (initial.n > 0 && (peer == NULL || authzid == NULL || strcmp(authzid, peer) != 0))
		failure = "invalid-authzid";
	else if (peer == NULL || is_blocked(in, peer) || !certificate_is(in, peer))
		failure = "not-authorized";
	free(authzid);
	if (failure != NULL) {
		log_info("s2s-in", in->e.id, "auth-failed", "domain=%s condition=%s", log_escape(slice_str(peer)), failure);
		stream_auth_failure(in->e.stream, failure, NULL);
	} else {
		const char *proof = in->dane.verdict == TLS_DANE_MATCH ? "dane" : "pkix";

		log_info("s2s-in", in->e.id, "auth", "domain=%s mechanism=EXTERNAL by=%s", log_escape(slice_str(peer)), proof);
		authenticated(in, peer, proof);
		stream_auth_success(in->e.stream, NULL, SLICE_NONE);
	}
	edge_kick(&in->e);
}

static void op_auth_step(void *arg, struct slice response)
{
	(void)response;
	stream_auth_failure(in_of(arg)->e.stream, "malformed-request", NULL);
}

static void op_auth_abort(void *arg)
{
	stream_auth_failure(in_of(arg)->e.stream, "aborted", NULL);
}

/* --- dialback ------------------------------------------------------------ */

static void free_check(struct in_check *c)
{
	free(c->from);
	free(c->to);
	free(c->key);
	free(c->id);
	free(c);
}

static void end_check(struct in_check *c, bool valid, const char *error)
{
	struct s2s_in *in = c->in;
	struct in_check **p = &in->checks;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	in->nr_checks--;
	log_info("s2s-in", in->e.id, "dialback", "domain=%s to=%s valid=%d%s%s", log_escape(slice_str(c->from)),
		 log_escape(slice_str(c->to)), valid, error ? " error=" : "", error ? error : "");
	if (valid)
		authenticated(in, c->from, "dialback");
	stream_db_result(in->e.stream, c->from, c->to, valid, error);
	s2s_out_release(c->out);
	edge_kick(&in->e);
	free_check(c);
}

static void on_check_established(void *arg)
{
	struct in_check *c = arg;

	c->asked = true;
	s2s_out_verify(c->out, slice_str(c->id), slice_str(c->key));
}

/* XEP-0220 section 2.4.2: no server, no connection, or no answer. */
static void on_check_ended(void *arg, enum s2s_out_result r, const char *why)
{
	struct in_check *c = arg;

	(void)why;
	c->out = NULL;
	end_check(c, false,
		  r == S2S_OUT_NOT_FOUND ? "remote-server-not-found" : c->asked ? "remote-server-timeout" : "remote-connection-failed");
}

/* XEP-0220 section 2.4.2: an authoritative server that says "error" denies nothing. */
static void on_check_verified(void *arg, enum stream_verdict v)
{
	end_check(arg, v == STREAM_DB_VALID, v == STREAM_DB_ERROR ? "remote-server-not-found" : NULL);
}

static const struct s2s_out_ops check_ops = {
	.established = on_check_established,
	.ended = on_check_ended,
	.verified = on_check_verified,
};

static void op_db_result(void *arg, const char *from, const char *to, struct slice key)
{
	struct s2s_in *in = in_of(arg);
	const char *error = in->nr_checks >= CHECKS_MAX ? "resource-constraint" : is_blocked(in, from) ? "policy-violation" : NULL;
	struct in_check *c;

	if (error != NULL || is_local(in, from)) {
		stream_db_result(in->e.stream, from, to, false, error);
		edge_kick(&in->e);
		return;
	}
	c = NEW(struct in_check);
	c->in = in;
	c->from = mem_strdup(from);
	c->to = mem_strdup(to);
	c->key = mem_slicedup(key);
	c->id = mem_slicedup(stream_id(in->e.stream));
	c->next = in->checks;
	in->checks = c;
	in->nr_checks++;
	/* We, `to`, ask the authoritative server of `from`. */
	c->out = s2s_out_new(in->e.env, to, from, true, &check_ops, c);
}

static void op_db_verify(void *arg, const char *from, const char *to, struct slice id, struct slice key)
{
	struct s2s_in *in = in_of(arg);
	const struct dialback_secrets *secrets = &in->e.env->dialback;
	bool valid = dialback_is_ours(secrets, from, to, id, key);

	log_info("s2s-in", in->e.id, "dialback-asked", "domain=%s by=%s valid=%d secrets=%u", log_escape(slice_str(to)),
		 log_escape(slice_str(from)), valid, secrets->nr);
	stream_db_verify_answer(in->e.stream, from, to, id,
				valid ? STREAM_DB_VALID : secrets->nr > 0 ? STREAM_DB_INVALID : STREAM_DB_ERROR);
	edge_kick(&in->e);
}

/* --- stanzas ------------------------------------------------------------- */

static void hold_if_full(struct s2s_in *in)
{
	bool full = false;

	for (struct in_pair *p = in->pairs; p != NULL; p = p->next)
		full |= p->end.stream != NULL && !svc_stream_can_send(p->end.stream);
	stream_hold(in->e.stream, full);
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

static void end_refused(struct link_end *end, const struct svc_refusal *r)
{
	struct s2s_in *in = pair_of(end)->in;

	log_info("s2s-in", in->e.id, "refused", "to=%s condition=%s", log_escape(slice_str(pair_of(end)->to)),
		 log_escape(slice_str(r->condition)));
	edge_close(&in->e, CLOSE_HOST_GONE);
}

static void end_stanza(struct link_end *end, uint32_t seq, unsigned flags, struct slice xml)
{
	(void)seq, (void)flags, (void)xml;
	links_release(end, "not-authorized", "an inbound server pair has one direction");
}

static void end_acked(struct link_end *end, uint32_t seq)
{
	struct s2s_in *in = pair_of(end)->in;

	(void)seq;
	hold_if_full(in);
	edge_kick(&in->e);
}

static void end_writable(struct link_end *end)
{
	end_acked(end, 0);
}

static void end_closed(struct link_end *end, const char *condition, const char *text, bool link_lost)
{
	struct s2s_in *in = pair_of(end)->in;

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

/* The pair's stream to a service, opened if it is not; NULL when it can't be, with the close reason. */
static struct in_pair *pair_for(struct s2s_in *in, const char *from, const char *to, enum close_reason *why)
{
	struct svc_open o = {
		.kind = SVC_KIND_SERVER_IN, .from_domain = from, .to_domain = to, .address = conn_peer_text(in->e.conn), .secure = true};
	struct in_pair *p;
	int err;

	for (p = in->pairs; p != NULL; p = p->next) {
		if (strcmp(p->from, from) == 0 && strcmp(p->to, to) == 0)
			return p;
	}
	if (in->nr_pairs >= PAIRS_MAX) {
		*why = CLOSE_RESOURCE_CONSTRAINT;
		return NULL;
	}
	p = NEW(struct in_pair);
	p->end.ops = &end_ops;
	p->in = in;
	mem_random(&o.stream_id, sizeof o.stream_id);
	err = links_open(in->e.env->links, to, SVCPROTO_SERVER, from, &o, &p->end);
	if (err != 0) {
		free(p);
		*why = err == -ERR_NOTFOUND ? CLOSE_HOST_UNKNOWN : CLOSE_SERVICE_LOST;
		return NULL;
	}
	p->from = mem_strdup(from);
	p->to = mem_strdup(to);
	p->next = in->pairs;
	in->pairs = p;
	in->nr_pairs++;
	return p;
}

static void pass(struct s2s_in *in, const struct policy_result *r, struct slice xml, const char *from, const char *to)
{
	enum close_reason why = is_blocked(in, from) ? CLOSE_POLICY : CLOSE_INTERNAL;
	struct in_pair *p;
	int err;

	/* It may have become ours since it was proven. */
	if (!stream_pair_ok(in->e.stream, from, to) || is_local(in, from)) {
		edge_close(&in->e, links_registered(in->e.env->links, to, SVCPROTO_SERVER) ? CLOSE_INVALID_FROM : CLOSE_HOST_UNKNOWN);
		return;
	}
	p = why == CLOSE_POLICY ? NULL : pair_for(in, from, to, &why);
	if (p == NULL || p->end.stream == NULL) {
		edge_close(&in->e, why);
		return;
	}
	if (r->verdict == POLICY_PASS)
		err = links_send(in->e.env->links, &p->end, xml);
	else
		err = svc_stream_send_reject(p->end.stream, xml.p, xml.n, r->type, r->condition, NULL);
	links_touch(in->e.env->links);
	if (err != 0)
		edge_close(&in->e, CLOSE_RESOURCE_CONSTRAINT);
	else
		hold_if_full(in);
}

static void op_stanza(void *arg, const struct xml_element *el)
{
	struct s2s_in *in = in_of(arg);
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
	return links_registered(in_of(arg)->e.env->links, domain, SVCPROTO_SERVER);
}

static void op_established(void *arg)
{
	struct s2s_in *in = in_of(arg);

	edge_authenticated(&in->e);
}

static const struct stream_ops stream_ops = {
	.send = edge_op_send,
	.start_tls = edge_op_start_tls,
	.host_known = op_host_known,
	.peer_named = op_peer_named,
	.mechanisms = op_mechanisms,
	.auth_start = op_auth_start,
	.auth_step = op_auth_step,
	.auth_abort = op_auth_abort,
	.stanza = op_stanza,
	.db_result = op_db_result,
	.db_verify = op_db_verify,
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

static void edge_drained(struct edge *e)
{
	(void)e;
}

static void edge_acked(struct edge *e, uint64_t pos)
{
	(void)e;
	(void)pos;
}

static void edge_ended(struct edge *e, enum close_reason r, const char *detail)
{
	struct s2s_in *in = in_of(e);

	(void)r;
	(void)detail;
	peer_dane_cancel(&in->dane);
	while (in->pairs != NULL) {
		struct in_pair *p = in->pairs;

		in->pairs = p->next;
		links_release(&p->end, NULL, NULL);
		free(p->from);
		free(p->to);
		free(p);
	}
	while (in->checks != NULL) {
		struct in_check *c = in->checks;

		in->checks = c->next;
		s2s_out_release(c->out);
		free_check(c);
	}
	links_touch(e->env->links);
}

static const struct edge_ops edge_ops = {
	.drained = edge_drained,
	.acked = edge_acked,
	.ended = edge_ended,
	.gone = edge_free_later,
	.make_ssl = make_ssl,
};

void s2s_in_accept(struct role_env *env, int fd, const struct sockaddr *peer, socklen_t len, bool direct_tls)
{
	struct stream_params p = {.role = STREAM_S2S_IN, .limits = &env->limits.s2s_in, .direct_tls = direct_tls};
	struct s2s_in *in = NEW(struct s2s_in);

	edge_init(&in->e, env, "s2s-in", &edge_ops);
	if (!edge_accept(&in->e, fd, peer, len, &p, &stream_ops))
		free(in);
}
