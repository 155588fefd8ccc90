#include "role/c2s.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/stat.h"
#include "net/handshakes.h"
#include "role/c2s_int.h"
#include "role/drain.h"
#include "route/policy.h"
#include "svcproto/otherhost.h"
#include "xml/ns.h"

/*
 * One client. Glue only: the stream machine says what the client may do, auth whether it is who it says, the service what its session is,
 * policy what its stanzas must look like. After bind nothing is invented or swallowed: every stanza goes on, as itself or as a REJECT that
 * keeps its place.
 */

/* --- the session at the service ------------------------------------------ */

void c2s_fill_open(struct c2s *c, struct svc_open *o, const char *resource)
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

bool c2s_is_crowded(const struct c2s *c)
{
	return handshakes_waiting(c->e.env->limits.conn.handshakes) > 0;
}

static void op_bind(void *arg, struct slice resource)
{
	struct c2s *c = c2s_of(arg);
	char *wanted = slice_empty(resource) ? NULL : mem_slicedup(resource);
	struct svc_open o;
	const char *host;
	int err;

	c2s_fill_open(c, &o, wanted);
	host = c2s_known_redirect(c, o.bare_jid);
	if (host != NULL) {
		free((char *)o.bare_jid);
		free(wanted);
		c2s_redirect(c, host);
		edge_kick(&c->e);
		return;
	}
	/* nobody notices it behind the wait that they had, and each batch wakes three threads */
	c->end.gathers = c2s_is_crowded(c);
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

	c->instance = svc_link_peer(svc_stream_link(end->stream))->instance;
	if (c->rest != NULL) {
		if (!c2s_reopened(c, full_jid))
			edge_close(&c->e, CLOSE_SERVICE_LOST);
		return;
	}
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

	if (c->resuming != NULL) {
		c2s_resume_refused(c, r);
		return;
	}
	if (c->rest != NULL) { /* to the client nothing has been said of it: its service is gone */
		edge_close(&c->e, CLOSE_SERVICE_LOST);
		return;
	}
	if (r->see_other_host != NULL && other_host_ok(r->see_other_host))
		c2s_redirect(c, r->see_other_host);
	else if (r->stream_error)
		stream_close_with(c->e.stream, r->condition, r->text);
	else
		stream_bind_refused(c->e.stream, r->type ? r->type : "cancel", r->condition, r->text);
	edge_kick(&c->e);
}

/* --- stanzas ------------------------------------------------------------- */

static void give_up(struct c2s *c, int err)
{
	log_warn("c2s", c->e.id, "stanza", "why=\"%s\"", svcproto_strerror(err));
	edge_close(&c->e, CLOSE_INTERNAL);
}

/* err: of what was offered to the service last. */
static void hold_after(struct c2s *c, int err)
{
	if (err != 0 && err != SVCPROTO_E_FULL)
		give_up(c, err);
	else
		edge_hold(&c->e, err != 0 || kept_is_full(&c->end));
}

void c2s_hold_if_full(struct c2s *c)
{
	bool away = c->end.stream == NULL || c->rest != NULL;

	hold_after(c, away ? SVCPROTO_E_FULL : kept_again(&c->e.kept, c->e.env->links, &c->end));
}

static void op_stanza(void *arg, const struct xml_element *el)
{
	struct c2s *c = c2s_of(arg);
	const struct jid *me = stream_jid(c->e.stream);
	struct policy_result r;
	struct slice xml;
	struct buf out;

	if (c->end.stream == NULL)
		return;
	stat_add(STAT_stanzas_in, 1);
	buf_init(&out, c->e.env->limits.c2s.after_auth.element_bytes * 2 + 8192);
	r = policy_from_client(el, me, &out);
	xml = buf_slice(&out);
	if (r.verdict != POLICY_PASS)
		stat_add(STAT_stanzas_refused, 1);
	if (r.verdict == POLICY_CLOSE)
		stream_close_with(c->e.stream, r.condition, NULL);
	else
		hold_after(c, kept_pass(&c->e.kept, c->e.env->links, &c->end, &r, xml));
	buf_clear(&out);
}

static void end_stanza(struct link_end *end, uint32_t seq, unsigned flags, struct slice xml)
{
	struct c2s *c = c2s_of_end(end);
	struct buf room;
	struct slice out;

	(void)flags; /* nothing in XMPP tells the client */
	/* Behind our closing tag nothing is said: it stays with the service. */
	if (stream_state(c->e.stream) != STREAM_ESTABLISHED) {
		svc_stream_pause(end->stream, true);
		return;
	}
	buf_init(&room, xml.n + 4096);
	if (policy_to_client(xml, &c->e.env->limits.from_service, &room, &out) != 0) {
		log_warn("c2s", c->e.id, "stanza", "why=\"the service sent no well-formed stanza\" bytes=%zu", xml.n);
		buf_clear(&room);
		edge_close(&c->e, CLOSE_INTERNAL);
		return;
	}
	stat_add(STAT_stanzas_out, 1);
	conn_send(c->e.conn, out);
	if (!c->managed) {
		acks_push(&c->acks, conn_position(c->e.conn), seq);
		conn_watch_acks(c->e.conn);
	}
	stream_sent(c->e.stream, out.n, loop_now_ms(c->e.env->loop));
	if (c->managed)
		edge_kick(&c->e); /* an <r/> may be due later */
	buf_clear(&room);
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
	stream_sm_grown(c->e.stream);
	c2s_hold_if_full(c);
	edge_kick(&c->e);
}

static void end_writable(struct link_end *end)
{
	struct c2s *c = c2s_of_end(end);

	c2s_hold_if_full(c);
	edge_kick(&c->e);
}

static void end_closed(struct link_end *end, const char *condition, const char *text, bool link_lost)
{
	struct c2s *c = c2s_of_end(end);

	if (link_lost && c->resuming != NULL) {
		c2s_resume_lost(c);
		return;
	}
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
	.orphaned = c2s_end_orphaned,
	.enabled = c2s_end_enabled,
	.resumed = c2s_end_resumed,
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
	c2s_hold_if_full(c);
}

static const struct stream_ops stream_ops = {
	.send = edge_op_send,
	.start_tls = edge_op_start_tls,
	.host_known = op_host_known,
	.mechanisms = c2s_op_mechanisms,
	.auth_start = c2s_op_auth_start,
	.auth_step = c2s_op_auth_step,
	.auth_abort = c2s_op_auth_abort,
	.bind = op_bind,
	.sm_enable = c2s_op_sm_enable,
	.sm_resume = c2s_op_sm_resume,
	.sm_handled = c2s_op_sm_handled,
	.sm_counts = c2s_op_sm_counts,
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

	(void)detail;
	c2s_auth_end(c, r);
	e->env->nr_sessions -= c->counted;
	c->counted = false;
	c2s_leave(c, r);
	acks_clear(&c->acks);
	svc_rest_free(c->rest);
	c->rest = NULL;
}

static void edge_move(struct edge *e, const char *host)
{
	c2s_redirect(c2s_of(e), host);
	edge_kick(e);
}

static const struct edge_ops edge_ops = {
	.drained = edge_drained,
	.acked = edge_acked,
	.ended = edge_ended,
	.gone = edge_free_later,
	.move = edge_move,
	.make_ssl = make_ssl,
};

void c2s_accept(struct role_env *env, int fd, const struct sockaddr *peer, socklen_t len, bool direct_tls)
{
	struct stream_params p = {.role = STREAM_C2S, .limits = &env->limits.c2s, .direct_tls = direct_tls};
	struct c2s *c = NEW(struct c2s);

	if (env->draining)
		p.see_other_host = drain_elsewhere(env->drain);
	edge_init(&c->e, env, "c2s", &edge_ops);
	c->end.ops = &end_ops;
	if (!edge_accept(&c->e, fd, peer, len, &p, &stream_ops))
		free(c);
	else if (env->draining && p.see_other_host == NULL)
		edge_close(&c->e, CLOSE_SHUTDOWN);
}
