#include "role/c2s.h"

#include <stdlib.h>

#include "auth/extern.h"
#include "common/log.h"
#include "common/stat.h"
#include "role/acks.h"
#include "role/counts.h"
#include "role/edge.h"
#include "route/policy.h"
#include "svcproto/otherhost.h"
#include "xml/ns.h"

/*
 * One client. Glue only: the stream machine says what the client may do, auth whether it is who it says, the service what its session is,
 * policy what its stanzas must look like. After bind nothing is invented or swallowed: every stanza goes on, as itself or as a REJECT that
 * keeps its place.
 */

struct c2s {
	struct edge e;              /* first: it is the stream machine's arg too */
	struct auth *auth;
	char *mechanism;            /* in use, then the one that succeeded */
	struct link_end end;
	struct acks acks;
	bool counted;               /* among env->nr_sessions */
	struct locate_ask ask;      /* where the user is whom SASL does not know */
	char *elsewhere;            /* the answer: a host, or NULL */
};

static struct c2s *c2s_of(void *arg)
{
	OBJ_CHECK((struct edge *)arg, EDGE_MAGIC);
	return arg;
}

static struct c2s *c2s_of_end(struct link_end *end)
{
	return c2s_of(container_of(end, struct c2s, end));
}

/* --- authentication ----------------------------------------------------- */

static void fill_bindings(struct c2s *c, struct auth_params *p)
{
	static const char *const types[] = {"tls-exporter", "tls-server-end-point", "tls-unique"};
	SSL *ssl = conn_ssl(c->e.conn);

	for (size_t i = 0; i < ARRAY_LEN(types) && p->nr_cb < AUTH_CB_MAX; i++) {
		struct auth_cb *cb = &p->cb[p->nr_cb];

		cb->n = tls_channel_binding(ssl, types[i], cb->data, sizeof cb->data);
		cb->type = types[i];
		p->nr_cb += cb->n > 0;
	}
}

/* The caller frees the JIDs. */
static void fill_params(struct c2s *c, struct auth_params *p, char ***jids)
{
	SSL *ssl = conn_ssl(c->e.conn);
	const char *why;

	*p = (struct auth_params){
		.domain = stream_local_domain(c->e.stream),
		.address = conn_peer_text(c->e.conn),
		.tls = ssl != NULL,
	};
	*jids = NULL;
	if (ssl == NULL)
		return;
	fill_bindings(c, p);
	if (tls_peer_trusted(ssl, &why)) {
		X509 *cert = SSL_get1_peer_certificate(ssl);

		*jids = cert ? extern_cert_jids(cert) : NULL;
		X509_free(cert);
	}
	p->external = (const char *const *)*jids;
}

static void offer(void *arg, const char *mech)
{
	stream_offer_mechanism(arg, mech);
}

static void op_mechanisms(void *arg, struct stream *s)
{
	struct c2s *c = c2s_of(arg);
	struct auth_params p;
	char **jids;

	fill_params(c, &p, &jids);
	auth_each_mechanism(c->e.env->auth, &p, offer, s);
	for (size_t i = 0; i < p.nr_cb; i++)
		stream_offer_binding(s, p.cb[i].type);
	extern_jids_free(jids);
}

static void end_auth(struct c2s *c)
{
	auth_free(c->auth);
	c->auth = NULL;
}

static void on_challenge(void *arg, struct slice data)
{
	struct c2s *c = c2s_of(arg);

	stream_auth_challenge(c->e.stream, data);
	edge_kick(&c->e);
}

static void on_success(void *arg, const char *user, struct slice data)
{
	struct c2s *c = c2s_of(arg);

	stat_add(count_login(c->mechanism, true), 1);
	log_info("c2s", c->e.id, "auth", "user=%s domain=%s mechanism=%s", log_escape(slice_str(user)),
		 log_escape(slice_str(stream_local_domain(c->e.stream))), log_escape(slice_str(c->mechanism)));
	edge_authenticated(&c->e);
	stream_auth_success(c->e.stream, user, data);
	end_auth(c);
	edge_kick(&c->e);
}

static void on_located(struct locate_ask *a, const char *see_other_host)
{
	struct c2s *c = c2s_of(container_of(a, struct c2s, ask));

	free(c->elsewhere);
	c->elsewhere = mem_strdup(see_other_host);
}

/* Asked while the failure waits for its time, so that the answer shows by nothing but itself. */
static void on_unknown(void *arg, const char *user)
{
	struct c2s *c = c2s_of(arg);
	const char *domain = stream_local_domain(c->e.stream);
	struct jid jid;

	if (jid_make(&jid, slice_str(user), slice_str(domain), SLICE_NONE) != 0)
		return;
	c->ask.answered = on_located;
	if (links_locate(c->e.env->links, domain, jid.bare.p, &c->ask))
		log_debug("c2s", c->e.id, "locate", "jid=%s", log_escape(jid.bare));
	jid_clear(&jid);
}

static void redirect(struct c2s *c, const char *host)
{
	log_info("c2s", c->e.id, "redirect", "address=%s host=%s", conn_peer_text(c->e.conn), log_escape(slice_str(host)));
	stat_add(STAT_redirects, 1);
	stream_close_see_other_host(c->e.stream, host);
}

static void on_failure(void *arg, enum auth_failure f, const char *text)
{
	struct c2s *c = c2s_of(arg);

	stat_add(count_login(c->mechanism, false), 1);
	log_info("c2s", c->e.id, "auth-failed", "address=%s mechanism=%s condition=%s", conn_peer_text(c->e.conn),
		 log_escape(slice_str(c->mechanism)), auth_failure_name(f));
	end_auth(c);
	links_locate_drop(c->e.env->links, &c->ask);
	if (c->elsewhere != NULL)
		redirect(c, c->elsewhere);
	else
		stream_auth_failure(c->e.stream, auth_failure_name(f), text);
	edge_kick(&c->e);
}

static const struct auth_ops auth_ops = {.challenge = on_challenge, .success = on_success, .failure = on_failure, .unknown = on_unknown};

static void op_auth_start(void *arg, struct slice mech, struct slice initial)
{
	struct c2s *c = c2s_of(arg);
	enum auth_failure why = AUTH_TEMPORARY_FAILURE;
	struct auth_params p;
	char **jids;

	fill_params(c, &p, &jids);
	free(c->mechanism);
	c->mechanism = mem_slicedup(mech);
	c->auth = auth_start(c->e.env->auth, c->e.env->loop, &p, mech, initial, &auth_ops, c, &why);
	extern_jids_free(jids);
	if (c->auth == NULL)
		on_failure(c, why, NULL);
}

static void op_auth_step(void *arg, struct slice response)
{
	struct c2s *c = c2s_of(arg);

	if (c->auth != NULL)
		auth_step(c->auth, response);
}

static void op_auth_abort(void *arg)
{
	struct c2s *c = c2s_of(arg);

	if (c->auth != NULL)
		auth_abort(c->auth);
}

/* --- the session at the service ------------------------------------------ */

static void fill_open(struct c2s *c, struct svc_open *o, const char *resource)
{
	*o = (struct svc_open){
		.kind = SVC_KIND_CLIENT,
		.bare_jid = mem_slicedup(stream_jid(c->e.stream)->bare),
		.resource = resource,
		.mechanism = c->mechanism,
		.address = conn_peer_text(c->e.conn),
		.secure = stream_secure(c->e.stream),
	};
	mem_random(&o->stream_id, sizeof o->stream_id);
}

static void op_bind(void *arg, struct slice resource)
{
	struct c2s *c = c2s_of(arg);
	char *wanted = slice_empty(resource) ? NULL : mem_slicedup(resource);
	struct svc_open o;
	int err;

	fill_open(c, &o, wanted);
	err = links_open(c->e.env->links, stream_local_domain(c->e.stream), SVCPROTO_CLIENT, o.bare_jid, &o, &c->end);
	free((char *)o.bare_jid);
	free(wanted);
	if (err != 0) {
		log_info("c2s", c->e.id, "bind-refused", "domain=%s why=\"%s\"", log_escape(slice_str(stream_local_domain(c->e.stream))),
			 err == -ERR_LIMIT ? "the service's link is full" : "no service of that domain is linked");
		stream_bind_refused(c->e.stream, "wait", err == -ERR_LIMIT ? "resource-constraint" : "internal-server-error", NULL);
		edge_kick(&c->e);
	}
}

/* A service names the session within the account that authenticated, nothing else (promise 6). */
static void end_accepted(struct link_end *end, const char *full_jid)
{
	struct c2s *c = c2s_of_end(end);
	struct jid jid;

	if (full_jid == NULL || jid_parse(&jid, slice_str(full_jid)) != 0) {
		edge_close(&c->e, CLOSE_INTERNAL);
		return;
	}
	if (slice_eq(jid.bare, stream_jid(c->e.stream)->bare) && !slice_empty(jid.resource)) {
		log_info("c2s", c->e.id, "bind", "jid=%s", log_escape(jid.full));
		stream_bound(c->e.stream, full_jid);
		edge_kick(&c->e);
	} else {
		log_warn("c2s", c->e.id, "bind", "why=\"the service gave another account's JID\" jid=%s", log_escape(jid.full));
		edge_close(&c->e, CLOSE_INTERNAL);
	}
	jid_clear(&jid);
}

static void end_refused(struct link_end *end, const struct svc_refusal *r)
{
	struct c2s *c = c2s_of_end(end);

	if (r->see_other_host != NULL && other_host_ok(r->see_other_host))
		redirect(c, r->see_other_host);
	else if (r->stream_error)
		stream_close_with(c->e.stream, r->condition, r->text);
	else
		stream_bind_refused(c->e.stream, r->type ? r->type : "cancel", r->condition, r->text);
	edge_kick(&c->e);
}

/* --- stanzas ------------------------------------------------------------- */

static void hold_if_full(struct c2s *c)
{
	stream_hold(c->e.stream, c->end.stream == NULL || !svc_stream_can_send(c->end.stream));
}

static void op_stanza(void *arg, const struct xml_element *el)
{
	struct c2s *c = c2s_of(arg);
	const struct jid *me = stream_jid(c->e.stream);
	struct policy_result r;
	struct slice xml;
	struct buf out;
	int err = 0;

	if (c->end.stream == NULL)
		return;
	stat_add(STAT_stanzas_in, 1);
	buf_init(&out, c->e.env->limits.c2s.after_auth.element_bytes * 2 + 8192);
	r = policy_from_client(el, me, &out);
	xml = buf_slice(&out);
	if (r.verdict == POLICY_PASS) {
		err = links_send(c->e.env->links, &c->end, xml);
	} else {
		stat_add(STAT_stanzas_refused, 1);
		if (r.verdict == POLICY_CLOSE)
			stream_close_with(c->e.stream, r.condition, NULL);
		else
			err = svc_stream_send_reject(c->end.stream, xml.p, xml.n, r.type, r.condition, NULL);
	}
	buf_clear(&out);
	links_touch(c->e.env->links);
	if (err != 0) {
		log_warn("c2s", c->e.id, "stanza", "why=\"%s\"", svcproto_strerror(err));
		edge_close(&c->e, CLOSE_INTERNAL);
		return;
	}
	if (r.verdict != POLICY_CLOSE)
		hold_if_full(c);
}

static void end_stanza(struct link_end *end, uint32_t seq, struct slice xml)
{
	struct c2s *c = c2s_of_end(end);
	struct buf out;

	buf_init(&out, xml.n + 4096);
	if (policy_to_client(xml, &c->e.env->limits.from_service, &out) != 0) {
		log_warn("c2s", c->e.id, "stanza", "why=\"the service sent no well-formed stanza\" bytes=%zu", xml.n);
		buf_clear(&out);
		edge_close(&c->e, CLOSE_INTERNAL);
		return;
	}
	stat_add(STAT_stanzas_out, 1);
	conn_send(c->e.conn, buf_slice(&out));
	stream_sent(c->e.stream, loop_now_ms(c->e.env->loop));
	buf_clear(&out);
	acks_push(&c->acks, conn_position(c->e.conn), seq);
	conn_watch_acks(c->e.conn);
	if (conn_full(c->e.conn))
		svc_stream_pause(end->stream, true);
}

static void edge_acked(struct edge *e, uint64_t pos)
{
	struct c2s *c = c2s_of(e);
	uint32_t seq;

	while (c->end.stream != NULL && acks_pop(&c->acks, pos, &seq))
		(void)svc_stream_ack(c->end.stream, seq);
	links_touch(e->env->links);
}

static void edge_drained(struct edge *e)
{
	struct c2s *c = c2s_of(e);

	if (c->end.stream == NULL)
		return;
	svc_stream_pause(c->end.stream, false);
	links_touch(e->env->links);
}

static void end_acked(struct link_end *end, uint32_t seq)
{
	struct c2s *c = c2s_of_end(end);

	(void)seq;
	hold_if_full(c);
	edge_kick(&c->e);
}

static void end_writable(struct link_end *end)
{
	end_acked(end, 0);
}

static void end_closed(struct link_end *end, const char *condition, const char *text, bool link_lost)
{
	struct c2s *c = c2s_of_end(end);

	if (link_lost)
		stream_close(c->e.stream, CLOSE_SERVICE_LOST);
	else
		stream_close_with(c->e.stream, condition, text);
	edge_kick(&c->e);
}

static const struct link_end_ops end_ops = {
	.accepted = end_accepted,
	.refused = end_refused,
	.stanza = end_stanza,
	.acked = end_acked,
	.writable = end_writable,
	.closed = end_closed,
};

/* --- the connection ------------------------------------------------------ */

static bool op_host_known(void *arg, const char *domain)
{
	return links_registered(c2s_of(arg)->e.env->links, domain, SVCPROTO_CLIENT);
}

static void op_established(void *arg)
{
	struct c2s *c = c2s_of(arg);

	c->counted = true;
	c->e.env->nr_sessions++;
	hold_if_full(c);
}

static const struct stream_ops stream_ops = {
	.send = edge_op_send,
	.start_tls = edge_op_start_tls,
	.host_known = op_host_known,
	.mechanisms = op_mechanisms,
	.auth_start = op_auth_start,
	.auth_step = op_auth_step,
	.auth_abort = op_auth_abort,
	.bind = op_bind,
	.stanza = op_stanza,
	.established = op_established,
	.closed = edge_op_closed,
};

static SSL *make_ssl(struct edge *e)
{
	const char *to = stream_local_domain(e->stream);
	char *hint = to != NULL ? jid_domain_ascii(slice_str(to)) : NULL;
	SSL *ssl = tls_store_ssl(e->env->tls, TLS_C2S, hint, NULL, to == NULL ? "xmpp-client" : NULL);

	free(hint);
	if (ssl != NULL)
		tls_tickets_use(ssl, &e->env->tickets);
	return ssl;
}

static void edge_ended(struct edge *e, enum close_reason r, const char *detail)
{
	struct c2s *c = c2s_of(e);

	(void)r;
	(void)detail;
	if (c->auth != NULL)
		end_auth(c);
	e->env->nr_sessions -= c->counted;
	c->counted = false;
	links_locate_drop(e->env->links, &c->ask);
	free(c->elsewhere);
	c->elsewhere = NULL;
	links_release(&c->end, NULL, NULL);
	links_touch(e->env->links);
	acks_clear(&c->acks);
}

static void edge_gone(struct edge *e)
{
	struct c2s *c = c2s_of(e);

	free(c->mechanism);
	c->mechanism = NULL;
	edge_free_later(e);
}

static const struct edge_ops edge_ops = {
	.drained = edge_drained,
	.acked = edge_acked,
	.ended = edge_ended,
	.gone = edge_gone,
	.make_ssl = make_ssl,
};

void c2s_accept(struct role_env *env, int fd, const struct sockaddr *peer, socklen_t len, bool direct_tls)
{
	struct stream_params p = {.role = STREAM_C2S, .limits = &env->limits.c2s, .direct_tls = direct_tls};
	struct c2s *c = NEW(struct c2s);

	edge_init(&c->e, env, "c2s", &edge_ops);
	c->end.ops = &end_ops;
	if (!edge_accept(&c->e, fd, peer, len, &p, &stream_ops))
		free(c);
}
