#include "role/s2s_attempt.h"

#include <stdlib.h>

#include "auth/extern.h"
#include "common/log.h"
#include "common/stat.h"
#include "net/tls_dane.h"
#include "role/s2s_in_int.h"
#include "role/s2s_lane.h"

/*
 * Connecting, TLS before the stream (XEP-0368) or inside it, and what the stream machine asks. No plaintext, ever: the stream machine ends
 * a stream to a server that offers no TLS. The connection outlives its owner's interest for as long as closing takes.
 */

#define ATTEMPT_MS 8000

/* How long a stream that none of our pairs needs is kept for what the remote sends us on it. */
#define BACK_QUIET_MS 60000

struct s2s_attempt {
	union {                          /* first */
		struct edge e;
		struct s2s_in in;        /* what the remote says to us; its own first member is e */
	};
	struct s2s_attempt_params p;
	const struct s2s_attempt_ops *ops;
	void *arg;                       /* NULL once let go */
	bool established;
	uint32_t own_sent, own_handled;  /* stanzas of the pair that it was made for, with stream management: the first on the stream */
	uint64_t heard_at_ms;            /* the last stanza */
	struct loop_timer timer;
};

static struct s2s_attempt *attempt_of(void *arg)
{
	OBJ_CHECK((struct edge *)arg, EDGE_MAGIC);
	return arg;
}

/* --- what the stream asks ------------------------------------------------- */

static bool op_host_known(void *arg, const char *domain)
{
	return links_registered(attempt_of(arg)->e.env->links, domain, SVCPROTO_SERVER);
}

static bool op_dialback_allowed(void *arg, const char *domain)
{
	struct s2s_attempt *a = attempt_of(arg);

	return !a->p.certificates_only && !links_certificates_only(a->e.env->links, domain);
}

static bool op_own_certificate(void *arg)
{
	struct s2s_attempt *a = attempt_of(arg);
	char *name = a->arg != NULL ? jid_domain_ascii(slice_str(a->p.from)) : NULL;
	bool has = name != NULL && tls_store_has(a->e.env->tls, name);

	free(name);
	return has;
}

static bool op_make_key(void *arg, const char *from, const char *to, struct slice stream_id, char *out)
{
	struct s2s_attempt *a = attempt_of(arg);

	if (dialback_make(&a->e.env->dialback, to, from, stream_id, out))
		return true;
	log_warn("s2s-out", a->e.id, "dialback", "why=\"no registry has given the cluster's secrets yet\"");
	return false;
}

/* RFC 7673: where there are TLSA records, they alone decide. */
static enum tls_dane ask_dane(const struct s2s_attempt *a, SSL *ssl)
{
	char *domain = a->arg != NULL && a->p.tlsa != NULL ? jid_domain_ascii(slice_str(a->p.to)) : NULL;
	enum tls_dane dane = TLS_DANE_NONE;
	const char *why = NULL;

	if (domain != NULL)
		dane = tls_peer_dane(ssl, a->p.tlsa, a->p.host, domain, &why);
	free(domain);
	if (dane == TLS_DANE_NONE)
		return dane;
	stat_add(dane == TLS_DANE_MATCH ? STAT_dane_matched : STAT_dane_refused, 1);
	log_info("s2s-out", a->e.id, "dane", "to=%s host=%s match=%d why=%s", log_escape(slice_str(a->p.to)), a->p.host,
		 dane == TLS_DANE_MATCH, why ? log_escape(slice_str(why)) : "-");
	return dane;
}

/*
 * Where dialback is allowed, a certificate that proves nothing (self-signed, expired, an authority unknown here) is noted and the stream
 * goes on. One that is to be trusted and names another domain does prove something: that this is not whom we dialled.
 */
static bool pkix_acceptable(struct s2s_attempt *a, SSL *ssl)
{
	X509 *cert = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
	const char *why = NULL;
	bool trusted = cert != NULL && tls_peer_trusted(ssl, &why);
	bool named = cert != NULL && a->arg != NULL && extern_cert_is_domain(cert, a->p.to);

	X509_free(cert);
	a->e.proof = trusted && named ? "pkix" : "dialback";   /* which knows no more than the DNS does */
	log_info("s2s-out", a->e.id, "certificate", "to=%s trusted=%d named=%d why=%s",
		 a->arg != NULL ? log_escape(slice_str(a->p.to)) : "-", trusted, named, why ? log_escape(slice_str(why)) : "-");
	return a->p.certificates_only ? trusted && named : named || !trusted;
}

static bool op_peer_acceptable(void *arg)
{
	struct s2s_attempt *a = attempt_of(arg);
	SSL *ssl = conn_ssl(a->e.conn);
	enum tls_dane dane = ask_dane(a, ssl);

	if (dane == TLS_DANE_MATCH)
		a->e.proof = "dane";
	return dane == TLS_DANE_NONE ? pkix_acceptable(a, ssl) : dane == TLS_DANE_MATCH;
}

static void op_established(void *arg)
{
	struct s2s_attempt *a = attempt_of(arg);

	if (a->arg == NULL)
		return;
	log_info("s2s-out", a->e.id, "established", "from=%s to=%s tls=%s%s", log_escape(slice_str(a->p.from)),
		 log_escape(slice_str(a->p.to)), a->p.direct_tls ? "direct" : "starttls", a->p.place != NULL ? " verify=1" : "");
	a->established = true;
	loop_timer_cancel(&a->timer);
	if (a->p.place == NULL) {
		a->e.nr_senders++;
		s2s_ways_add(&a->e.env->ways, &a->e, a->p.to);
	}
	a->ops->established(a->arg, a);
}

static void op_db_verified(void *arg, const char *from, const char *to, struct slice id, enum stream_verdict v)
{
	struct s2s_attempt *a = attempt_of(arg);

	if (a->arg != NULL)
		a->ops->verified(a->arg, from, to, id, v);
}

/* --- stream management ----------------------------------------------------- */

static void op_sm_answered(void *arg, bool on)
{
	struct s2s_attempt *a = attempt_of(arg);

	log_info("s2s-out", a->e.id, "managed", "on=%d", on);
	/* what has been sent meanwhile is known to have arrived by TCP, as everything from here on */
	if (on)
		s2s_in_sm_begin(&a->in);
	else
		conn_watch_acks(a->e.conn);
}

/* When a lane's stanzas are meant, the pair has left. */
static bool op_sm_handled(void *arg, uint32_t h)
{
	struct s2s_attempt *a = attempt_of(arg);
	uint32_t nr = h - a->own_handled;

	if (!s2s_in_op_sm_handled(arg, h))
		return false;
	if (a->arg == NULL || nr == 0 || nr > a->own_sent - a->own_handled)
		return true;
	a->own_handled = h;
	a->ops->handled(a->arg, nr);
	return true;
}

/* --- further pairs, stanzas the other way -------------------------------- */

static void op_pair_answered(void *arg, const char *from, const char *to, enum stream_verdict v, const char *detail)
{
	s2s_lanes_answered(&attempt_of(arg)->e, from, to, v, detail);
}

/* XEP-0288: as on a stream that it made. */
static void op_stanza(void *arg, const struct xml_element *el)
{
	struct s2s_attempt *a = attempt_of(arg);

	a->heard_at_ms = loop_now_ms(a->e.env->loop);
	s2s_in_op_stanza(arg, el);
}

static const struct stream_ops stream_ops = {
	.send = edge_op_send,
	.start_tls = edge_op_start_tls,
	.host_known = op_host_known,
	.dialback_allowed = op_dialback_allowed,
	.own_certificate = op_own_certificate,
	.make_key = op_make_key,
	.peer_acceptable = op_peer_acceptable,
	.sm_answered = op_sm_answered,
	.sm_handled = op_sm_handled,
	.sm_counts = s2s_in_op_sm_counts,
	.stanza = op_stanza,
	.db_result = s2s_in_op_db_result,
	.db_verify = s2s_in_op_db_verify,
	.pair_answered = op_pair_answered,
	.db_verified = op_db_verified,
	.established = op_established,
	.closed = edge_op_closed,
};

/* --- the connection ------------------------------------------------------- */

static SSL *make_ssl(struct edge *e)
{
	struct s2s_attempt *a = attempt_of(e);
	char *to, *from;
	SSL *ssl;

	if (a->arg == NULL)
		return NULL;
	to = jid_domain_ascii(slice_str(a->p.to));
	from = jid_domain_ascii(slice_str(a->p.from));
	ssl = to ? tls_store_ssl(e->env->tls, TLS_S2S_OUT, to, from, a->p.direct_tls ? "xmpp-server" : NULL) : NULL;
	free(to);
	free(from);
	return ssl;
}

static void edge_connected(struct edge *e)
{
	struct s2s_attempt *a = attempt_of(e);

	if (a->arg != NULL)
		a->ops->connected(a->arg, a);
}

static void edge_drained(struct edge *e)
{
	struct s2s_attempt *a = attempt_of(e);

	if (a->arg != NULL)
		a->ops->drained(a->arg);
	s2s_lanes_drained(e);
}

static void edge_acked(struct edge *e, uint64_t pos)
{
	struct s2s_attempt *a = attempt_of(e);

	/* what the remote's TCP has, the remote need not have */
	if (a->arg != NULL && !stream_managed(e->stream))
		a->ops->acked(a->arg, pos);
	s2s_lanes_acked(e, pos);
}

static void *let_go(struct s2s_attempt *a)
{
	void *arg = a->arg;

	loop_timer_cancel(&a->timer);
	if (arg != NULL && a->established && a->p.place == NULL)
		a->e.nr_senders--;
	a->arg = NULL;
	return arg;
}

static void end(struct s2s_attempt *a, enum close_reason r, const char *detail)
{
	void *arg = let_go(a);

	if (arg != NULL)
		a->ops->ended(arg, a, r, detail);
}

static void edge_ended(struct edge *e, enum close_reason r, const char *detail)
{
	struct s2s_attempt *a = attempt_of(e);

	if (e->cut && e->conn != NULL && conn_queued(e->conn) > 0)
		conn_abort(e->conn);
	s2s_ways_drop(&e->env->ways, e);
	end(a, r, detail);
	s2s_lanes_ended(e, r);
	s2s_in_end(s2s_in_of(e));
}

/* Neither the pair that it was made for nor a lane needs it; the remote may (XEP-0288), and says no goodbye when it doesn't any more. */
static void leave(struct edge *e)
{
	struct s2s_attempt *a = attempt_of(e);
	uint64_t quiet_ms = loop_now_ms(e->env->loop) - a->heard_at_ms;

	if (a->arg != NULL || e->lanes != NULL)
		return;
	if (a->in.pairs != NULL && quiet_ms < BACK_QUIET_MS)
		loop_timer_set(&a->timer, BACK_QUIET_MS - quiet_ms);
	else
		edge_close(e, CLOSE_DONE);
}

static void edge_gone(struct edge *e)
{
	share_drop(attempt_of(e)->p.place);
	edge_free_later(e);
}

static const struct edge_ops edge_ops = {
	.connected = edge_connected,
	.drained = edge_drained,
	.acked = edge_acked,
	.ended = edge_ended,
	.unused = leave,
	.gone = edge_gone,
	.make_ssl = make_ssl,
};

/* Negotiation took too long, or the remote has been quiet. The next address does not wait until a silent server has been taken leave of. */
static void on_timer(void *arg)
{
	struct s2s_attempt *a = attempt_of(arg);

	if (a->established) {
		leave(&a->e);
		return;
	}
	edge_close(&a->e, CLOSE_TIMEOUT_NEGOTIATION);
	end(a, CLOSE_TIMEOUT_NEGOTIATION, NULL);
}

/* --- what the owner says -------------------------------------------------- */

struct s2s_attempt *s2s_attempt_new(struct role_env *env, const struct s2s_attempt_params *p, const struct s2s_attempt_ops *ops, void *arg)
{
	struct stream_params sp = {
		.role = STREAM_S2S_OUT,
		.limits = &env->limits.s2s_out,
		.direct_tls = p->direct_tls,
		.from = p->from,
		.to = p->to,
		.verify_only = p->place != NULL,
		.bidi = p->place == NULL,
	};
	socklen_t len = p->addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	struct s2s_attempt *a = NEW(struct s2s_attempt);

	edge_init(&a->e, env, "s2s-out", &edge_ops);
	loop_timer_init(env->loop, &a->timer, on_timer, a);
	if (!edge_connect(&a->e, (const struct sockaddr *)&p->addr, len)) {
		free(a);
		return NULL;
	}
	a->p = *p;
	if (p->place != NULL)
		a->p.place = share_ref(p->place);
	a->ops = ops;
	a->arg = arg;
	a->in.stanzas_max = p->stanzas_max;
	a->in.bytes_max = p->bytes_max;
	edge_start(&a->e, &sp, &stream_ops);
	loop_timer_set(&a->timer, ATTEMPT_MS);
	return a;
}

unsigned s2s_attempt_number(const struct s2s_attempt *a)
{
	return a->p.number;
}

bool s2s_attempt_takes(const struct s2s_attempt *a)
{
	return a->established && !a->e.ended && stream_state(a->e.stream) == STREAM_ESTABLISHED;
}

void s2s_attempt_send(struct s2s_attempt *a, struct slice xml)
{
	bool managed = stream_managed(a->e.stream);

	conn_send(a->e.conn, xml);
	a->own_sent += managed;
	a->in.sent += managed;
	stream_sent(a->e.stream, xml.n, loop_now_ms(a->e.env->loop));
	if (managed)
		edge_kick(&a->e); /* an <r/> may be due later */
	else
		conn_watch_acks(a->e.conn);
}

void s2s_attempt_verify(struct s2s_attempt *a, struct slice id, struct slice key)
{
	stream_send_db_verify(a->e.stream, a->p.from, a->p.to, id, key);
	edge_kick(&a->e);
}

uint64_t s2s_attempt_position(const struct s2s_attempt *a)
{
	return conn_position(a->e.conn);
}

uint32_t s2s_attempt_max_bytes(const struct s2s_attempt *a)
{
	return stream_peer_max_bytes(a->e.stream);
}

bool s2s_attempt_is_proven(const struct s2s_attempt *a)
{
	return s2s_lane_is_proven(&a->e);
}

bool s2s_attempt_full(const struct s2s_attempt *a)
{
	return conn_full(a->e.conn);
}

void s2s_attempt_leave(struct s2s_attempt *a)
{
	edge_close(&a->e, CLOSE_LEAVING);
}

void s2s_attempt_cut(struct s2s_attempt *a)
{
	if (a == NULL)
		return;
	a->e.cut = true;
	(void)let_go(a);
	edge_close(&a->e, CLOSE_DONE);
}

void s2s_attempt_release(struct s2s_attempt *a)
{
	if (a == NULL)
		return;
	(void)let_go(a);
	leave(&a->e);
}
