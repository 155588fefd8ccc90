#include "role/c2s_int.h"

#include <stdlib.h>

#include "auth/extern.h"
#include "common/log.h"
#include "common/stat.h"
#include "net/handshakes.h"
#include "role/counts.h"
#include "role/drain.h"
#include "role/ends.h"

/*
 * A client's authentication: what is offered, the exchange between the stream machine and auth, and what becomes of a user whom SASL does
 * not know. Nothing here shows who exists, unless the domain has allowed it (locate_open).
 */

static const char *const binding_types[] = {"tls-exporter", "tls-server-end-point", "tls-unique"};

/* Their data only where the login is bound: to derive it costs a twentieth of a login. */
static void fill_bindings(struct c2s *c, struct auth_params *p, bool bound)
{
	SSL *ssl = conn_ssl(c->e.conn);

	for (size_t i = 0; i < ARRAY_LEN(binding_types) && p->nr_cb < AUTH_CB_MAX; i++) {
		struct auth_cb *cb = &p->cb[p->nr_cb];

		cb->type = binding_types[i];
		if (bound)
			cb->n = tls_channel_binding(ssl, cb->type, cb->data, sizeof cb->data);
		p->nr_cb += bound ? cb->n > 0 : tls_has_channel_binding(ssl, cb->type);
	}
}

/* A key is known to be this client's as long as it is there. */
static void on_spent(void *handshakes, void *arg, uint64_t us)
{
	handshakes_charge(handshakes, arg != NULL ? c2s_of(arg)->e.conn : NULL, us);
}

/* The caller frees the JIDs. */
static void fill_params(struct c2s *c, struct auth_params *p, bool bound, char ***jids)
{
	SSL *ssl = conn_ssl(c->e.conn);
	const char *why;

	*p = (struct auth_params){
		.domain = stream_local_domain(c->e.stream),
		.address = conn_peer_text(c->e.conn),
		.tls = ssl != NULL,
		.spent = on_spent,
		.spent_arg = c->e.env->limits.conn.handshakes,
	};
	*jids = NULL;
	if (ssl == NULL)
		return;
	fill_bindings(c, p, bound);
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

void c2s_op_mechanisms(void *arg, struct stream *s)
{
	struct c2s *c = c2s_of(arg);
	struct auth_params p;
	char **jids;

	fill_params(c, &p, false, &jids);
	auth_each_mechanism(c->e.env->auth, &p, offer, s);
	for (size_t i = 0; i < p.nr_cb; i++)
		stream_offer_binding(s, p.cb[i].type);
	extern_jids_free(jids);
}

static void end_exchange(struct c2s *c, enum auth_over over)
{
	auth_free(c->auth, over);
	c->auth = NULL;
	links_locate_drop(c->e.env->links, &c->ask);
}

void c2s_auth_end(struct c2s *c, enum close_reason r)
{
	end_exchange(c, ends_whose_doing(r));
	free(c->elsewhere);
	c->elsewhere = NULL;
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
		 log_escape(slice_str(stream_local_domain(c->e.stream))), c->mechanism);
	edge_authenticated(&c->e);
	stream_auth_success(c->e.stream, user, data);
	end_exchange(c, AUTH_OURS);
	edge_kick(&c->e);
}

static void on_located(struct locate_ask *a, const char *see_other_host)
{
	struct c2s *c = c2s_of(container_of(a, struct c2s, ask));

	free(c->elsewhere);
	c->elsewhere = mem_strdup(see_other_host);
}

const char *c2s_known_redirect(struct c2s *c, const char *bare_jid)
{
	const char *host = directory_redirect(c->e.env->directory, bare_jid, loop_now_ms(c->e.env->loop));

	return host != NULL && !drain_is_here(c->e.env->drain, host) ? host : NULL;
}

/* Asked while the failure waits for its time, so that the answer shows by nothing but itself. */
static void on_unknown(void *arg, const char *user)
{
	struct c2s *c = c2s_of(arg);
	const char *domain = stream_local_domain(c->e.stream), *host;
	struct jid jid;

	if (!links_locate_open(c->e.env->links, domain) || jid_make(&jid, slice_str(user), slice_str(domain), SLICE_NONE) != 0)
		return;
	c->ask.answered = on_located;
	host = c2s_known_redirect(c, jid.bare.p);
	if (host != NULL)
		on_located(&c->ask, host);
	else if (links_locate(c->e.env->links, domain, jid.bare.p, &c->ask))
		log_debug("c2s", c->e.id, "locate", "jid=%s", log_escape(jid.bare));
	jid_clear(&jid);
}

void c2s_redirect(struct c2s *c, const char *host)
{
	log_info("c2s", c->e.id, "redirect", "address=%s host=%s", conn_peer_text(c->e.conn), log_escape(slice_str(host)));
	stat_add(STAT_redirects, 1);
	stream_close_see_other_host(c->e.stream, host);
}

static void failed(struct c2s *c, const char *condition)
{
	stat_add(count_login(c->mechanism, false), 1);
	log_info("c2s", c->e.id, "auth-failed", "address=%s mechanism=%s condition=%s", conn_peer_text(c->e.conn), c->mechanism, condition);
	end_exchange(c, AUTH_LEFT);
}

static void on_failure(void *arg, enum auth_failure f, const char *text)
{
	struct c2s *c = c2s_of(arg);

	failed(c, auth_failure_name(f));
	if (c->elsewhere != NULL)
		c2s_redirect(c, c->elsewhere);
	else
		stream_auth_failure(c->e.stream, auth_failure_name(f), text);
	edge_kick(&c->e);
}

static const struct auth_ops auth_ops = {.challenge = on_challenge, .success = on_success, .failure = on_failure, .unknown = on_unknown};

void c2s_op_auth_start(void *arg, struct slice mech, struct slice initial)
{
	struct c2s *c = c2s_of(arg);
	enum auth_failure why = AUTH_TEMPORARY_FAILURE;
	struct auth_params p;
	char **jids;

	ASSERT(c->auth == NULL);
	fill_params(c, &p, auth_binds(mech), &jids);
	c->mechanism = auth_mechanism_name(mech);
	c->auth = auth_start(c->e.env->auth, c->e.env->loop, &p, mech, initial, &auth_ops, c, &why);
	extern_jids_free(jids);
	if (c->auth == NULL)
		on_failure(c, why, NULL);
}

void c2s_op_auth_step(void *arg, struct slice response)
{
	struct c2s *c = c2s_of(arg);

	if (c->auth != NULL)
		auth_step(c->auth, response);
}

void c2s_op_auth_abort(void *arg)
{
	failed(c2s_of(arg), "aborted");
}
