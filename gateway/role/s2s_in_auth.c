#include "role/s2s_in_int.h"

#include <stdlib.h>

#include "auth/extern.h"
#include "common/log.h"
#include "role/blocks.h"
#include "role/s2s_out.h"

/*
 * Who a remote server is: its certificate, held against the authorities and DNSSEC (XEP-0178, RFC 7673), or a dialback key, held against
 * the word of the domain's own server (XEP-0220). And, as that server, whether a key is ours.
 */

/* Questions to authoritative servers at once: each is a connection of ours that a stranger asked for. */
#define CHECKS_MAX 16

/* A dialback key that the authoritative server is asked about. */
struct in_check {
	struct s2s_in *in;
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
	return peer_dane_ask(&in->dane, in->e.env, conn_ssl(in->e.conn), peer, in->e.id, on_dane, in);
}

static bool certificate_is(struct s2s_in *in, const char *domain)
{
	SSL *ssl = conn_ssl(in->e.conn);
	X509 *cert = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
	const char *why;
	bool is = in->dane.verdict == TLS_DANE_NONE && cert != NULL && tls_peer_trusted(ssl, &why) && extern_cert_is_domain(cert, domain);

	X509_free(cert);
	return !s2s_in_is_local(in, domain) && (is || in->dane.verdict == TLS_DANE_MATCH);
}

/* Who can speak to us may well be reached again. */
static void authenticated(struct s2s_in *in, const char *domain, const char *proof)
{
	if (in->e.proof == NULL)
		in->e.proof = proof;
	edge_authenticated(&in->e);
	in->e.env->heard_from(in->e.env->heard_from_arg, domain);
}

bool s2s_in_is_blocked(const struct s2s_in *in, const char *domain)
{
	return blocks_domain(in->e.env->blocks, domain, loop_now_ms(in->e.env->loop));
}

void s2s_in_op_mechanisms(void *arg, struct stream *s)
{
	struct s2s_in *in = s2s_in_of(arg);
	const char *peer = stream_peer_domain(s);

	if (peer != NULL && !s2s_in_is_blocked(in, peer) && certificate_is(in, peer))
		stream_offer_mechanism(s, "EXTERNAL");
}

void s2s_in_op_auth_start(void *arg, struct slice mech, struct slice initial)
{
	struct s2s_in *in = s2s_in_of(arg);
	const char *peer = stream_peer_domain(in->e.stream);
	char *authzid = initial.n > 0 ? jid_prep_domain(initial) : NULL;
	const char *failure = NULL;

	if (!slice_is(mech, "EXTERNAL"))
		failure = "invalid-mechanism";
	else if (initial.n > 0 && (peer == NULL || authzid == NULL || strcmp(authzid, peer) != 0))
		failure = "invalid-authzid";
	else if (peer == NULL || s2s_in_is_blocked(in, peer) || !certificate_is(in, peer))
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

void s2s_in_op_auth_step(void *arg, struct slice response)
{
	(void)response;
	stream_auth_failure(s2s_in_of(arg)->e.stream, "malformed-request", NULL);
}

void s2s_in_op_auth_abort(void *arg)
{
	stream_auth_failure(s2s_in_of(arg)->e.stream, "aborted", NULL);
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

void s2s_in_op_db_result(void *arg, const char *from, const char *to, struct slice key)
{
	struct s2s_in *in = s2s_in_of(arg);
	const char *error = in->nr_checks >= CHECKS_MAX ? "resource-constraint" : s2s_in_is_blocked(in, from) ? "policy-violation" : NULL;
	struct in_check *c;

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
	c->next = in->checks;
	in->checks = c;
	in->nr_checks++;
	/* We, `to`, ask the authoritative server of `from`. */
	c->out = s2s_out_new(in->e.env, to, from, true, &check_ops, c);
}

void s2s_in_op_db_verify(void *arg, const char *from, const char *to, struct slice id, struct slice key)
{
	struct s2s_in *in = s2s_in_of(arg);
	const struct dialback_secrets *secrets = &in->e.env->dialback;
	bool valid = dialback_is_ours(secrets, from, to, id, key);

	log_info("s2s-in", in->e.id, "dialback-asked", "domain=%s by=%s valid=%d secrets=%u", log_escape(slice_str(to)),
		 log_escape(slice_str(from)), valid, secrets->nr);
	stream_db_verify_answer(in->e.stream, from, to, id,
				valid ? STREAM_DB_VALID : secrets->nr > 0 ? STREAM_DB_INVALID : STREAM_DB_ERROR);
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
