#include "role/s2s_in_int.h"

#include <stdlib.h>

#include "auth/extern.h"
#include "common/log.h"
#include "role/blocks.h"
#include "role/s2s_in.h"
#include "role/s2s_lane.h"
#include "role/s2s_out.h"

/*
 * Who a remote server is: its certificate, held against the authorities and DNSSEC (XEP-0178, RFC 7673), or a dialback key, held against
 * the word of the domain's own server (XEP-0220). And, as that server, whether a key is ours.
 */

/* So many of a stream's keys wait for a place (env->checks) while nothing is proven: what a stranger has us keep for him. Behind that, as
 * many as a stream may have pairs. */
#define STRANGERS_WAITING_MAX 16

/* A dialback key that came, and what it takes to believe it. */
struct in_check {
	struct s2s_in *in;
	struct share *place;       /* to look into it in, or the wait for one; NULL: it is not to be looked into any more */
	struct peer_dane dane;     /* of `from`, where that is not the stream's own */
	struct s2s_out *out;
	char *from, *to, *key, *id;
	bool asked;
	struct in_check *next;
};

/* --- EXTERNAL ------------------------------------------------------------ */

static void on_dane(void *arg)
{
	struct s2s_in *in = s2s_in_of(arg);

	stream_peer_known(in->e.stream);
	edge_kick(&in->e);
}

bool s2s_in_is_local(const struct s2s_in *in, const char *domain)
{
	return directory_is_local(in->e.env->directory, domain);
}

bool s2s_in_op_peer_named(void *arg)
{
	struct s2s_in *in = s2s_in_of(arg);
	const char *peer = stream_peer_domain(in->e.stream);

	if (s2s_in_is_local(in, peer))
		return false;
	return peer_dane_ask(&in->dane, &in->e, peer, on_dane, in);
}

/* What makes the peer's certificate one of this domain, "dane" or "pkix"; NULL: nothing does. */
static const char *certificate_proof(const struct s2s_in *in, const char *domain, enum tls_dane verdict)
{
	SSL *ssl = conn_ssl(in->e.conn);
	X509 *cert = ssl && verdict == TLS_DANE_NONE ? SSL_get1_peer_certificate(ssl) : NULL;
	const char *why;
	bool pkix = cert != NULL && tls_peer_trusted(ssl, &why) && extern_cert_is_domain(cert, domain);

	X509_free(cert);
	if (s2s_in_is_local(in, domain))
		return NULL;
	return verdict == TLS_DANE_MATCH ? "dane" : pkix ? "pkix" : NULL;
}

/* Who can speak to us may well be reached again. dane: of this domain. */
static void authenticated(struct s2s_in *in, const char *domain, const char *proof, const struct peer_dane *dane)
{
	if (in->e.proof == NULL)
		in->e.proof = proof;
	edge_authenticated(&in->e);
	in->e.env->heard_from(in->e.env->heard_from_arg, domain);
	if (stream_bidi(in->e.stream) && peer_dane_may_send(dane))
		s2s_ways_add(&in->e.env->ways, &in->e, domain);
}

bool s2s_in_is_blocked(const struct s2s_in *in, const char *domain)
{
	return blocks_domain(in->e.env->blocks, domain, loop_now_ms(in->e.env->loop));
}

void s2s_in_op_mechanisms(void *arg, struct stream *s)
{
	struct s2s_in *in = s2s_in_of(arg);
	const char *peer = stream_peer_domain(s);

	if (peer != NULL && !s2s_in_is_blocked(in, peer) && certificate_proof(in, peer, in->dane.verdict) != NULL)
		stream_offer_mechanism(s, "EXTERNAL");
}

void s2s_in_op_auth_start(void *arg, struct slice mech, struct slice initial)
{
	struct s2s_in *in = s2s_in_of(arg);
	const char *peer = stream_peer_domain(in->e.stream);
	char *authzid = initial.n > 0 ? jid_prep_domain(initial) : NULL;
	const char *failure = NULL, *proof = NULL;

	if (!slice_is(mech, "EXTERNAL"))
		failure = "invalid-mechanism";
	else if (initial.n > 0 && (peer == NULL || authzid == NULL || strcmp(authzid, peer) != 0))
		failure = "invalid-authzid";
	else if (peer == NULL || s2s_in_is_blocked(in, peer) || (proof = certificate_proof(in, peer, in->dane.verdict)) == NULL)
		failure = "not-authorized";
	free(authzid);
	if (failure != NULL) {
		log_info(in->e.role, in->e.id, "auth-failed", "domain=%s condition=%s", log_escape(slice_str(peer)), failure);
		stream_auth_failure(in->e.stream, failure, NULL);
	} else {
		log_info(in->e.role, in->e.id, "auth", "domain=%s mechanism=EXTERNAL by=%s", log_escape(slice_str(peer)), proof);
		authenticated(in, peer, proof, &in->dane);
		stream_auth_success(in->e.stream, NULL, SLICE_NONE);
	}
	edge_kick(&in->e);
}

void s2s_in_op_auth_step(void *arg, struct slice response)
{
	(void)response;
	stream_auth_failure(s2s_in_of(arg)->e.stream, "malformed-request", NULL);
}

/* EXTERNAL is answered as it is asked: no exchange is ever left to be ended. */
void s2s_in_op_auth_abort(void *arg)
{
	(void)arg;
}

/* --- dialback ------------------------------------------------------------ */

struct strictness {
	struct s2s_in *in;
	const char *domain;
};

/* Whoever is not the stream's own on a stream that we made is there by its certificate (decide() below). */
static bool is_pair_unproven(void *arg, const char *from, const char *to)
{
	const struct strictness *q = arg;
	const char *own = stream_peer_domain(q->in->e.stream);
	bool is_own = own != NULL && strcmp(from, own) == 0;

	if (strcmp(to, q->domain) != 0)
		return false;
	if (q->in->e.kind == STREAM_S2S_OUT)
		return is_own && !s2s_lane_is_proven(&q->in->e);
	return certificate_proof(q->in, from, is_own ? q->in->dane.verdict : TLS_DANE_NONE) == NULL;
}

bool s2s_in_is_too_lax(struct s2s_in *in, const char *domain)
{
	return stream_any_pair(in->e.stream, is_pair_unproven, &(struct strictness){in, domain});
}

static void free_check(struct in_check *c)
{
	peer_dane_cancel(&c->dane);
	free(c->from);
	free(c->to);
	free(c->key);
	free(c->id);
	share_drop(c->place);
	free(c);
}

static bool is_streams_own(const struct in_check *c)
{
	const char *peer = stream_peer_domain(c->in->e.stream);

	return peer != NULL && strcmp(c->from, peer) == 0;
}

/* proof: what shows that the pair is whose key it is; NULL: nothing does. */
static void end_check(struct in_check *c, const char *proof, const char *error)
{
	struct s2s_in *in = c->in;
	struct in_check **p = &in->checks;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	log_info(in->e.role, in->e.id, "dialback", "domain=%s to=%s valid=%d %s=%s", log_escape(slice_str(c->from)),
		 log_escape(slice_str(c->to)), proof != NULL, proof ? "by" : "error", proof ? proof : error ? error : "-");
	if (proof != NULL)
		authenticated(in, c->from, proof, is_streams_own(c) ? &in->dane : &c->dane);
	stream_db_result(in->e.stream, c->from, c->to, proof != NULL, error);
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
	end_check(c, NULL,
		  r == S2S_OUT_NOT_FOUND ? "remote-server-not-found"
		  : r == S2S_OUT_CROWDED ? "resource-constraint"
		  : c->asked             ? "remote-server-timeout"
					 : "remote-connection-failed");
}

/* XEP-0220 section 2.4.2: an authoritative server that says "error" denies nothing. The policy may have changed since it was asked. */
static void on_check_verified(void *arg, enum stream_verdict v)
{
	const struct in_check *c = arg;

	if (links_certificates_only(c->in->e.env->links, c->to))
		end_check(arg, NULL, "not-authorized");
	else
		end_check(arg, v == STREAM_DB_VALID ? "dialback" : NULL, v == STREAM_DB_ERROR ? "remote-server-not-found" : NULL);
}

static const struct s2s_out_ops check_ops = {
	.established = on_check_established,
	.ended = on_check_ended,
	.verified = on_check_verified,
};

/* A certificate that is the domain's needs no key (XEP-0344). Without one the authoritative server is asked, where our domain allows that.
 */
static void decide(struct in_check *c, enum tls_dane verdict)
{
	const char *proof = certificate_proof(c->in, c->from, verdict);

	if (proof != NULL)
		end_check(c, proof, NULL);
	/* On a stream that we made its id is the other's choice: a key from another time could be shown again. */
	else if (c->in->e.kind == STREAM_S2S_OUT || links_certificates_only(c->in->e.env->links, c->to))
		end_check(c, NULL, "not-authorized");
	else /* We, `to`, ask the authoritative server of `from`. */
		c->out = s2s_out_new_verifier(c->in->e.env, c->to, c->from, c->place, &check_ops, c);
}

static void on_check_dane(void *arg)
{
	struct in_check *c = arg;

	decide(c, c->dane.verdict);
}

static void begin(struct in_check *c)
{
	struct s2s_in *in = c->in;

	if (is_streams_own(c))
		decide(c, in->dane.verdict);
	else if (!peer_dane_ask(&c->dane, &in->e, c->from, on_check_dane, c))
		decide(c, TLS_DANE_NONE);
}

/* Whoever was found to lie has us dial nobody more: his stream ends, and nothing would answer. */
void s2s_in_go_on(void *arg)
{
	struct role_env *env = arg;
	struct in_check *c;

	while ((c = shares_next(env->checks)) != NULL) {
		if (stream_state(c->in->e.stream) < STREAM_CLOSING) {
			begin(c);
		} else {
			share_drop(c->place);
			c->place = NULL;
		}
	}
}

void s2s_in_op_db_result(void *arg, const char *from, const char *to, struct slice key)
{
	struct s2s_in *in = s2s_in_of(arg);
	const char *error = s2s_in_is_blocked(in, from) ? "policy-violation" : NULL;
	struct in_check *c, **last = &in->checks;
	unsigned nr_waiting = 0;

	for (; *last != NULL; last = &(*last)->next)
		nr_waiting += (*last)->place != NULL && !share_is_place((*last)->place);
	if (error == NULL && in->e.proof == NULL && nr_waiting >= STRANGERS_WAITING_MAX)
		error = "resource-constraint";
	if (error != NULL || s2s_in_is_local(in, from)) {
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
	*last = c;
	c->place = shares_ask(in->e.env->checks, edge_who(&in->e), c);
	if (share_is_place(c->place))
		begin(c);
}

void s2s_in_op_db_verify(void *arg, const char *from, const char *to, struct slice id, struct slice key)
{
	struct s2s_in *in = s2s_in_of(arg);
	const struct dialback_secrets *secrets = &in->e.env->dialback;
	/* Who knows others by their certificates only makes no keys. */
	bool none = links_certificates_only(in->e.env->links, to), valid = !none && dialback_is_ours(secrets, from, to, id, key);

	log_info(in->e.role, in->e.id, "dialback-asked", "domain=%s by=%s valid=%d secrets=%u", log_escape(slice_str(to)),
		 log_escape(slice_str(from)), valid, secrets->nr);
	stream_db_verify_answer(in->e.stream, from, to, id,
				valid ? STREAM_DB_VALID : none || secrets->nr > 0 ? STREAM_DB_INVALID : STREAM_DB_ERROR);
	edge_kick(&in->e);
}

void s2s_in_auth_end(struct s2s_in *in)
{
	peer_dane_cancel(&in->dane);
	while (in->checks != NULL) {
		struct in_check *c = in->checks;

		in->checks = c->next;
		s2s_out_release(c->out);
		free_check(c);
	}
}
