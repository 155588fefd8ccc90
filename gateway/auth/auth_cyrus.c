/*
 * One exchange, on the loop where a SCRAM key is at hand and on the job threads otherwise: a sasl_conn_t made for the first message and
 * disposed of with the last, one thread at a time. Before the library sees a SCRAM message, its channel binding is read and held against
 * what the stream has; after it is content, the name that it authenticated is held against the stream's domain.
 */
#include <sasl/sasl.h>
/* needs sasl.h before it */
#include <sasl/saslplug.h>
#include <stdlib.h>

#include "auth/auth_pool.h"
#include "auth/gs2.h"

#define CALLBACK(fn) ((sasl_callback_ft)(void (*)(void))(fn))
#define TEXT_NO_BINDING "Unsupported channel binding type"

static void fail(struct exchange *x, enum auth_failure f, const char *text)
{
	x->answer = EXCHANGE_FAILURE;
	x->failure = f;
	x->text = text;
}

/* Every name that the library takes for a user passes here, whatever the mechanism: it comes out as prepared localpart@domain or not at
 * all. */
static int on_canon_user(sasl_conn_t *conn, void *ctx, const char *in, unsigned n, unsigned flags, const char *realm, char *out,
			 unsigned room, unsigned *out_n)
{
	struct exchange *x = ctx;
	bool foreign;
	char *name = auth_pool_name(x->pool, (struct slice){in, n}, x->domain, &foreign);
	int bad = (flags & SASL_CU_AUTHID) ? SASL_BADAUTH : SASL_NOAUTHZ;

	(void)conn;
	(void)realm;
	if (!name || foreign || strlen(name) >= room) {
		free(name);
		return bad;
	}
	*out_n = (unsigned)strlen(name);
	memcpy(out, name, *out_n + 1);
	if (flags & SASL_CU_AUTHID) {
		free(x->name);
		x->name = name;
	} else {
		free(name);
	}
	return SASL_OK;
}

/* Nobody acts for somebody else. */
static int on_proxy(sasl_conn_t *conn, void *ctx, const char *user, unsigned n, const char *authid, unsigned authid_n, const char *realm,
		    unsigned realm_n, struct propctx *props)
{
	(void)conn;
	(void)ctx;
	(void)realm;
	(void)realm_n;
	(void)props;
	return slice_eq((struct slice){user, n}, (struct slice){authid, authid_n}) ? SASL_OK : SASL_NOAUTHZ;
}

struct exchange *exchange_new(struct auth_pool *p, const struct auth_params *params, const struct mech *m)
{
	struct exchange *x = NEW(struct exchange);

	x->pool = p;
	x->domain = mem_strdup(params->domain);
	x->mech = m;
	x->tls = params->tls;
	x->spent = params->spent;
	x->spent_arg = params->spent_arg;
	x->nr_cb = params->nr_cb < AUTH_CB_MAX ? params->nr_cb : AUTH_CB_MAX;
	memcpy(x->cb, params->cb, x->nr_cb * sizeof x->cb[0]);
	for (size_t i = 0; i < MECH_COUNT; i++)
		if (auth_mechs[i].plus && auth_pool_offers(p, &auth_mechs[i], params))
			x->plus_offered = true;
	return x;
}

static void wipe_input(struct exchange *x)
{
	if (x->in)
		mem_wipe(x->in, x->in_n);
	free(x->in);
	x->in = NULL;
	x->in_n = 0;
}

static void wipe_output(struct exchange *x)
{
	if (x->out)
		mem_wipe(x->out, x->out_n);
	free(x->out);
	x->out = NULL;
	x->out_n = 0;
}

void exchange_input(struct exchange *x, struct slice in)
{
	wipe_input(x);
	x->in = mem_slicedup(in);
	x->in_n = in.n;
}

/* On the loop too, when an exchange is given up half way: the library frees memory then and asks nobody. */
void exchange_free(struct exchange *x)
{
	if (!x)
		return;
	sasl_dispose(&x->conn);
	wipe_input(x);
	wipe_output(x);
	mem_wipe(x->cb, sizeof x->cb);
	free(x->header);
	free(x->user);
	free(x->name);
	free(x->domain);
	free(x->given_up_by);
	free(x);
}

static const struct auth_cb *binding_of(const struct exchange *x, struct slice type)
{
	for (size_t i = 0; i < x->nr_cb; i++)
		if (x->cb[i].n > 0 && slice_is(type, x->cb[i].type))
			return &x->cb[i];
	return NULL;
}

/*
 * RFC 5802 section 6: 'y' is a client that was shown no -PLUS, so somebody took it away if we offered it; a -PLUS name without 'p', or 'p'
 * under the bare name, is a client that contradicts itself (the library would let the first pass).
 */
static bool scram_first(struct exchange *x)
{
	struct gs2 gs2;

	if (gs2_parse((struct slice){x->in, x->in_n}, &gs2) < 0 || (gs2.flag == 'p') != x->mech->plus)
		return fail(x, AUTH_MALFORMED_REQUEST, NULL), false;
	if (gs2.flag == 'y' && x->plus_offered)
		return fail(x, AUTH_NOT_AUTHORIZED, "Channel binding was offered"), false;
	if (gs2.flag == 'p') {
		x->bound = binding_of(x, gs2.type);
		if (!x->bound)
			return fail(x, AUTH_NOT_AUTHORIZED, TEXT_NO_BINDING), false;
	}
	x->header = mem_slicedup(gs2.header);
	x->header_n = gs2.header.n;
	return true;
}

static bool scram_final(struct exchange *x)
{
	struct slice binding = x->bound ? (struct slice){(const char *)x->bound->data, x->bound->n} : SLICE_NONE;

	if (gs2_confirms((struct slice){x->in, x->in_n}, (struct slice){x->header, x->header_n}, binding))
		return true;
	return fail(x, AUTH_NOT_AUTHORIZED, NULL), false;
}

static int set_properties(struct exchange *x)
{
	/* TLS protects the stream: no security layer of SASL's. */
	sasl_security_properties_t props = {.security_flags = SASL_SEC_NOANONYMOUS};
	sasl_ssf_t ssf = 256;
	int code = sasl_setprop(x->conn, SASL_SEC_PROPS, &props);

	if (code == SASL_OK && x->tls)
		code = sasl_setprop(x->conn, SASL_SSF_EXTERNAL, &ssf);
	if (code == SASL_OK && x->bound) {
		x->binding = (sasl_channel_binding_t){.name = x->bound->type, .critical = 1, .len = x->bound->n, .data = x->bound->data};
		code = sasl_setprop(x->conn, SASL_CHANNEL_BINDING, &x->binding);
	}
	return code;
}

static int first_step(struct exchange *x, const char **out, unsigned *out_n)
{
	int code;

	x->callbacks[0] = (sasl_callback_t){SASL_CB_CANON_USER, CALLBACK(on_canon_user), x};
	x->callbacks[1] = (sasl_callback_t){SASL_CB_PROXY_POLICY, CALLBACK(on_proxy), x};
	x->callbacks[2] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
	/* The domain as host name too: given none, the library asks the DNS and waits. */
	code = sasl_server_new("xmpp", x->domain, x->domain, NULL, NULL, x->callbacks, SASL_SUCCESS_DATA, &x->conn);
	if (code == SASL_OK)
		code = set_properties(x);
	if (code == SASL_OK)
		code = sasl_server_start(x->conn, x->mech->base, x->in, (unsigned)x->in_n, out, out_n);
	return code;
}

/* The library's word for who it is, once more against ours: localpart@domain, and this domain. */
static void succeed(struct exchange *x)
{
	const void *name = NULL;
	const char *at;

	if (sasl_getprop(x->conn, SASL_USERNAME, &name) != SASL_OK || !name || !(at = strrchr(name, '@')) || at == (const char *)name ||
	    strcmp(at + 1, x->domain) != 0) {
		fail(x, AUTH_NOT_AUTHORIZED, NULL);
		return;
	}
	x->user = mem_slicedup((struct slice){name, (size_t)(at - (const char *)name)});
	x->answer = EXCHANGE_SUCCESS;
}

static void answer(struct exchange *x, int code, const char *out, unsigned out_n)
{
	if (code != SASL_OK && code != SASL_CONTINUE) {
		if (x->mech->kind == MECH_SCRAM && x->name)
			auxprop_forget(x->mech->base, slice_str(x->name));
		fail(x, exchange_failure(code), NULL);
		return;
	}
	if (out || code == SASL_CONTINUE) {
		x->out = mem_slicedup((struct slice){out, out ? out_n : 0});
		x->out_n = out ? out_n : 0;
	}
	if (code == SASL_CONTINUE)
		x->answer = EXCHANGE_CHALLENGE;
	else
		succeed(x);
}

/* RFC 4616 section 2: a password has at least one character. To some databases an empty one proves nothing and is welcome (RFC 4513 section
 * 5.1.2), so none is asked. */
static bool plain_message(struct exchange *x)
{
	if (x->in_n == 0 || x->in[x->in_n - 1] != '\0')
		return true;
	return fail(x, AUTH_NOT_AUTHORIZED, NULL), false;
}

static bool check(struct exchange *x)
{
	switch (x->mech->kind) {
	case MECH_SCRAM: return x->header ? scram_final(x) : scram_first(x);
	case MECH_PLAIN: return plain_message(x);
	case MECH_GSSAPI:
	case MECH_EXTERNAL: break;
	}
	return true;
}

/* False: a look-up was put off. */
static bool run(struct exchange *x)
{
	const char *out = NULL;
	unsigned out_n = 0;

	wipe_output(x);
	if (check(x)) {
		int code = x->conn ? sasl_server_step(x->conn, x->in, (unsigned)x->in_n, &out, &out_n) : first_step(x, &out, &out_n);

		x->turn_ms = auxprop_take_turn_ms();
		if (auxprop_take_put_off())
			return false;
		x->unknown = auxprop_take_missed() || code == SASL_NOUSER || x->unknown;
		answer(x, code, out, out_n);
	}
	wipe_input(x);
	if (x->answer != EXCHANGE_CHALLENGE)
		sasl_dispose(&x->conn);
	return true;
}

void exchange_run(struct exchange *x)
{
	bool done = run(x);

	ASSERT(done);
}

/* Only the first message looks anything up. */
static void begin_again(struct exchange *x)
{
	sasl_dispose(&x->conn);
	x->bound = NULL;
	free(x->header);
	x->header = NULL;
	free(x->name);
	x->name = NULL;
}

bool exchange_run_at_once(struct exchange *x)
{
	bool done;

	if (x->mech->kind != MECH_SCRAM)
		return false;
	auxprop_cache_only(true);
	done = run(x);
	auxprop_cache_only(false);
	if (!done)
		begin_again(x);
	return done;
}
