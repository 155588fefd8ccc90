#include "role/s2s_out.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/extern.h"
#include "common/log.h"
#include "role/edge.h"

/*
 * The wish (struct s2s_out: DNS, the list of addresses, one deadline over all) outlives its attempts (struct attempt: one connection and
 * stream each). An attempt that ends before the pair is established makes the next address's turn; the wish fails when there is none left.
 * No plaintext, ever: the stream machine ends a stream to a server that offers no TLS.
 */

#define ADDRS_MAX 32
#define ATTEMPT_MS 8000

struct attempt {
	struct edge e;                   /* first */
	struct s2s_out *out;             /* NULL once the wish let go */
	struct loop_timer timer;
};

struct s2s_out {
	struct role_env *env;
	char *from, *to;
	char *verify_id;                 /* asked about, or NULL */
	bool verify_only, established, over;
	enum s2s_out_result result;      /* of the attempts so far, when all of them fail */
	const struct s2s_out_ops *ops;
	void *arg;
	struct resolve *resolve;
	struct attempt *attempt;
	struct loop_timer deadline;
	struct sockaddr_storage addrs[ADDRS_MAX];
	unsigned nr_addrs, next_addr;
	char why[160];
};

static void free_out(void *p)
{
	struct s2s_out *o = p;

	free(o->from);
	free(o->to);
	free(o->verify_id);
	free(o);
}

static void let_go(struct s2s_out *o)
{
	struct attempt *a = o->attempt;

	o->over = true;
	loop_timer_cancel(&o->deadline);
	if (o->resolve != NULL)
		resolve_cancel(o->resolve);
	o->resolve = NULL;
	o->attempt = NULL;
	if (a != NULL) {
		a->out = NULL;
		loop_timer_cancel(&a->timer);
		edge_close(&a->e, CLOSE_DONE);
	}
	loop_reap(o->env->loop, free_out, o);
}

static void end(struct s2s_out *o, enum s2s_out_result r, const char *why)
{
	if (o->over)
		return;
	log_info("s2s-out", 0, "ended", "from=%s to=%s established=%d why=%s", log_escape(slice_str(o->from)), log_escape(slice_str(o->to)),
		 o->established, log_escape(slice_str(why)));
	o->over = true;
	o->ops->ended(o->arg, r, why);
	let_go(o);
}

static void try_next(struct s2s_out *o);

/* --- an attempt ---------------------------------------------------------- */

static struct attempt *attempt_of(void *arg)
{
	OBJ_CHECK((struct edge *)arg, EDGE_MAGIC);
	return arg;
}

static bool op_host_known(void *arg, const char *domain)
{
	(void)arg;
	(void)domain;
	return true;
}

static bool op_own_certificate(void *arg)
{
	struct attempt *a = attempt_of(arg);
	char *name = a->out ? jid_domain_ascii(slice_str(a->out->from)) : NULL;
	bool has = name != NULL && tls_store_has(a->e.env->tls, name);

	free(name);
	return has;
}

static void op_make_key(void *arg, struct slice stream_id, char *out)
{
	struct attempt *a = attempt_of(arg);

	ASSERT(a->out != NULL);
	dialback_key(a->e.env->dialback_secret, sizeof a->e.env->dialback_secret, a->out->to, a->out->from, stream_id, out);
}

/*
 * Dialback is allowed (the default policy), so a certificate that proves nothing (self-signed, expired, an authority unknown here) is noted
 * and the stream goes on. One that is to be trusted and names another domain does prove something: that this is not whom we dialled.
 */
static bool op_peer_acceptable(void *arg)
{
	struct attempt *a = attempt_of(arg);
	SSL *ssl = conn_ssl(a->e.conn);
	X509 *cert = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
	const char *why = NULL;
	bool trusted = cert != NULL && tls_peer_trusted(ssl, &why);
	bool named = cert != NULL && a->out != NULL && extern_cert_is_domain(cert, a->out->to);

	X509_free(cert);
	log_info("s2s-out", a->e.id, "certificate", "trusted=%d named=%d why=%s", trusted, named, why ? log_escape(slice_str(why)) : "-");
	return named || !trusted;
}

static void op_established(void *arg)
{
	struct attempt *a = attempt_of(arg);
	struct s2s_out *o = a->out;

	if (o == NULL)
		return;
	log_info("s2s-out", a->e.id, "established", "from=%s to=%s", log_escape(slice_str(o->from)), log_escape(slice_str(o->to)));
	o->established = true;
	loop_timer_cancel(&a->timer);
	/* A verification is over with its answer only. */
	if (!o->verify_only)
		loop_timer_cancel(&o->deadline);
	o->ops->established(o->arg);
}

static void op_db_verified(void *arg, const char *from, const char *to, struct slice id, enum stream_verdict v)
{
	struct s2s_out *o = attempt_of(arg)->out;

	/* The answer is the peer's word: only one to the question that was asked counts. */
	if (o != NULL && strcmp(from, o->to) == 0 && strcmp(to, o->from) == 0 && o->verify_id != NULL && slice_is(id, o->verify_id))
		o->ops->verified(o->arg, v);
}

/* A server stream carries stanzas one way; what comes the other way was never agreed (no XEP-0288). */
static void op_stanza(void *arg, const struct xml_element *el)
{
	(void)el;
	edge_close(&attempt_of(arg)->e, CLOSE_NOT_AUTHORIZED);
}

static const struct stream_ops stream_ops = {
	.send = edge_op_send,
	.start_tls = edge_op_start_tls,
	.host_known = op_host_known,
	.own_certificate = op_own_certificate,
	.make_key = op_make_key,
	.peer_acceptable = op_peer_acceptable,
	.stanza = op_stanza,
	.db_verified = op_db_verified,
	.established = op_established,
	.closed = edge_op_closed,
};

static SSL *make_ssl(struct edge *e)
{
	struct attempt *a = attempt_of(e);
	char *to, *from;
	SSL *ssl;

	if (a->out == NULL)
		return NULL;
	to = jid_domain_ascii(slice_str(a->out->to));
	from = jid_domain_ascii(slice_str(a->out->from));
	ssl = to ? tls_store_ssl(e->env->tls, TLS_S2S_OUT, to, from, NULL) : NULL;
	free(to);
	free(from);
	return ssl;
}

static void edge_drained(struct edge *e)
{
	struct attempt *a = attempt_of(e);

	if (a->out != NULL)
		a->out->ops->drained(a->out->arg);
}

static void edge_acked(struct edge *e, uint64_t pos)
{
	struct attempt *a = attempt_of(e);

	if (a->out != NULL)
		a->out->ops->acked(a->out->arg, pos);
}

/* What the sender is told if no other address does better. */
static enum s2s_out_result result_of(enum close_reason r)
{
	switch (r) {
	case CLOSE_KEY_REFUSED:
		return S2S_OUT_INVALID;
	case CLOSE_NOT_AUTHORIZED:
	case CLOSE_TLS_REQUIRED:
		return S2S_OUT_REFUSED;
	default:
		return S2S_OUT_TIMEOUT;
	}
}

static void edge_ended(struct edge *e, enum close_reason r, const char *detail)
{
	struct attempt *a = attempt_of(e);
	struct s2s_out *o = a->out;

	loop_timer_cancel(&a->timer);
	if (o == NULL)
		return;
	a->out = NULL;
	o->attempt = NULL;
	if (result_of(r) != S2S_OUT_TIMEOUT)
		o->result = result_of(r);
	snprintf(o->why, sizeof o->why, "%s%s%s", close_word(r), detail ? ": " : "", detail ? detail : "");
	if (o->established)
		end(o, S2S_OUT_TIMEOUT, o->why);
	else
		try_next(o);
}

static const struct edge_ops edge_ops = {
	.drained = edge_drained,
	.acked = edge_acked,
	.ended = edge_ended,
	.gone = edge_free_later,
	.make_ssl = make_ssl,
};

static void on_attempt_timer(void *arg)
{
	edge_close(&attempt_of(arg)->e, CLOSE_TIMEOUT_NEGOTIATION);
}

static bool start_attempt(struct s2s_out *o, const struct sockaddr_storage *addr)
{
	struct stream_params p = {
		.role = STREAM_S2S_OUT,
		.limits = &o->env->limits.s2s_out,
		.from = o->from,
		.to = o->to,
		.verify_only = o->verify_only,
	};
	socklen_t len = addr->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	struct attempt *a = NEW(struct attempt);

	edge_init(&a->e, o->env, "s2s-out", &edge_ops);
	loop_timer_init(o->env->loop, &a->timer, on_attempt_timer, a);
	if (!edge_connect(&a->e, (const struct sockaddr *)addr, len)) {
		free(a);
		return false;
	}
	a->out = o;
	o->attempt = a;
	edge_start(&a->e, &p, &stream_ops);
	loop_timer_set(&a->timer, ATTEMPT_MS);
	return true;
}

/* --- the wish ------------------------------------------------------------ */

static void try_next(struct s2s_out *o)
{
	while (o->next_addr < o->nr_addrs) {
		if (start_attempt(o, &o->addrs[o->next_addr++]))
			return;
		snprintf(o->why, sizeof o->why, "the system refuses to connect");
	}
	end(o, o->result, o->why[0] ? o->why : "no address");
}

static void on_resolved(void *arg, enum resolve_status status, const struct resolve_target *targets, size_t nr, const char *why)
{
	struct s2s_out *o = arg;

	o->resolve = NULL;
	if (status != RESOLVE_OK) {
		bool none = status == RESOLVE_NO_DOMAIN || status == RESOLVE_NO_SERVICE;

		end(o, none ? S2S_OUT_NOT_FOUND : S2S_OUT_TIMEOUT, why ? why : "DNS");
		return;
	}
	for (size_t i = 0; i < nr; i++) {
		for (unsigned j = 0; j < targets[i].nr_addrs && o->nr_addrs < ADDRS_MAX; j++)
			o->addrs[o->nr_addrs++] = targets[i].addrs[j];
	}
	try_next(o);
}

static void on_deadline(void *arg)
{
	end(arg, S2S_OUT_TIMEOUT, "no stream within the time allowed");
}

static void on_hopeless(void *arg)
{
	end(arg, S2S_OUT_NOT_FOUND, "not a domain that DNS can hold");
}

struct s2s_out *s2s_out_new(struct role_env *env, const char *from, const char *to, bool verify_only, const struct s2s_out_ops *ops,
			    void *arg)
{
	struct s2s_out *o = NEW(struct s2s_out);
	char *name = jid_domain_ascii(slice_str(to));

	o->env = env;
	o->from = mem_strdup(from);
	o->to = mem_strdup(to);
	o->verify_only = verify_only;
	o->result = S2S_OUT_TIMEOUT;
	o->ops = ops;
	o->arg = arg;
	loop_timer_init(env->loop, &o->deadline, name ? on_deadline : on_hopeless, o);
	loop_timer_set(&o->deadline, name ? env->limits.s2s_connect_ms : 0);
	if (name != NULL)
		o->resolve = resolve_server(env->resolver, name, on_resolved, o);
	free(name);
	return o;
}

void s2s_out_send(struct s2s_out *o, struct slice xml)
{
	ASSERT(o->attempt != NULL);
	conn_send(o->attempt->e.conn, xml);
	stream_sent(o->attempt->e.stream, loop_now_ms(o->env->loop));
	conn_watch_acks(o->attempt->e.conn);
}

void s2s_out_verify(struct s2s_out *o, struct slice id, struct slice key)
{
	ASSERT(o->attempt != NULL);
	free(o->verify_id);
	o->verify_id = mem_slicedup(id);
	stream_send_db_verify(o->attempt->e.stream, o->from, o->to, id, key);
	edge_kick(&o->attempt->e);
}

uint64_t s2s_out_position(const struct s2s_out *o)
{
	return o->attempt ? conn_position(o->attempt->e.conn) : 0;
}

bool s2s_out_full(const struct s2s_out *o)
{
	return o->attempt != NULL && conn_full(o->attempt->e.conn);
}

void s2s_out_release(struct s2s_out *o)
{
	if (o != NULL && !o->over)
		let_go(o);
}
