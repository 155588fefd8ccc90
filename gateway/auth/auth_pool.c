/*
 * The pool: Cyrus SASL initialised once, what it can do under its configuration, and what we offer of that. It reads its configuration here
 * and never again. After auth_pool_new everything is read only but the lanes, the failure counters and the key cache, which look after
 * themselves; old keys go by a timer of the loop that was given, which is set only while there are any.
 */
#include "auth/auth_pool.h"

#include <malloc.h>
#include <pthread.h>
#include <sasl/sasl.h>
/* needs sasl.h before it */
#include <sasl/saslplug.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"

#define WAITING_MAX 1024        /* logins of one domain that may wait for a job thread: a second of keys, or two */
#define KEYS_MAX 10000
#define FORGET_EVERY_MS 1000    /* at most: what falls due between goes with the next */

/* Never CRAM-MD5, DIGEST-MD5, NTLM (broken), LOGIN (not a standard), ANONYMOUS (nobody's account), GSS-SPNEGO and GS2-* (no client has
 * them). */
const struct mech auth_mechs[MECH_COUNT] = {
	{"SCRAM-SHA-512-PLUS", "SCRAM-SHA-512", MECH_SCRAM, true},
	{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", MECH_SCRAM, true},
	{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", MECH_SCRAM, true},
	{"SCRAM-SHA-512", "SCRAM-SHA-512", MECH_SCRAM, false},
	{"SCRAM-SHA-256", "SCRAM-SHA-256", MECH_SCRAM, false},
	{"SCRAM-SHA-1", "SCRAM-SHA-1", MECH_SCRAM, false},
	{"GSSAPI", "GSSAPI", MECH_GSSAPI, false},
	{"EXTERNAL", "EXTERNAL", MECH_EXTERNAL, false},
	{"PLAIN", "PLAIN", MECH_PLAIN, false},
};

static atomic_bool started_;    /* until then the library's grumbling about plugins without configuration is not for everybody */

static void *sasl_mutex_new(void)
{
	pthread_mutex_t *m = NEW(pthread_mutex_t);

	pthread_mutex_init(m, NULL);
	return m;
}

static int sasl_mutex_lock(void *m)
{
	return pthread_mutex_lock(m) ? SASL_FAIL : SASL_OK;
}

static int sasl_mutex_unlock(void *m)
{
	return pthread_mutex_unlock(m) ? SASL_FAIL : SASL_OK;
}

static void sasl_mutex_delete(void *m)
{
	if (!m)
		return;
	pthread_mutex_destroy(m);
	free(m);
}

/* Passwords and keys pass through the library's memory, and it does not wipe all of them: we do, whatever it frees. */
static void wiping_free(void *p)
{
	if (p)
		mem_wipe(p, malloc_usable_size(p));
	free(p);
}

static void *wiping_realloc(void *p, size_t n)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *q = malloc(n ? n : 1);

	if (q && p) {
		memcpy(q, p, old < n ? old : n);
		wiping_free(p);
	}
	return q;
}

static int on_getopt(void *ctx, const char *plugin, const char *option, const char **result, unsigned *len)
{
	const char *ours = auxprop_option();

	(void)ctx;
	(void)plugin;
	if (!ours || strcmp(option, "auxprop_plugin") != 0)
		return SASL_FAIL;
	*result = ours;
	if (len)
		*len = (unsigned)strlen(ours);
	return SASL_OK;
}

/* Its errors are the operator's concern. The rest names users, and is dropped. */
static int on_log(void *ctx, int level, const char *message)
{
	static _Atomic uint64_t last;
	uint64_t seen = atomic_load(&last);

	(void)ctx;
	/* a step that will be run again on a job thread is no error */
	if (level > SASL_LOG_ERR || level == SASL_LOG_NONE || !message || auxprop_is_put_off())
		return SASL_OK;
	if (!atomic_load(&started_))
		log_debug("auth", 0, "sasl", "message=%s", log_escape(slice_str(message)));
	else if (log_once_a_second(&seen))
		log_warn("auth", 0, "sasl", "message=%s", log_escape(slice_str(message)));
	atomic_store(&last, seen);
	return SASL_OK;
}

#define CALLBACK(fn) ((sasl_callback_ft)(void (*)(void))(fn))

static int init_library(void)
{
	static sasl_callback_t callbacks[3];    /* the library keeps the pointer */

	callbacks[0] = (sasl_callback_t){SASL_CB_GETOPT, CALLBACK(on_getopt), NULL};
	callbacks[1] = (sasl_callback_t){SASL_CB_LOG, CALLBACK(on_log), NULL};
	callbacks[2] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
	sasl_set_mutex(sasl_mutex_new, sasl_mutex_lock, sasl_mutex_unlock, sasl_mutex_delete);
	sasl_set_alloc(malloc, calloc, wiping_realloc, wiping_free);
	return sasl_server_init(callbacks, "xmpp");
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p && *p;) {
		size_t len = strcspn(p, " \t,");

		if (len == n && strncasecmp(p, word, n) == 0)
			return true;
		p += len + strspn(p + len, " \t,");
	}
	return false;
}

/*
 * What the library lists is what has a plugin, not what can work. GSSAPI is listed without a keytab too, and clients that find a ticket
 * then fail; SCRAM is listed though passwords are only ever checked by saslauthd, which has no secret to show. So GSSAPI, and without
 * auxprop SCRAM, are offered when mech_list names them.
 */
static bool wanted(const struct mech *m, const char *mech_list, const char *pwcheck)
{
	if (mech_list)
		return has_word(mech_list, m->base);
	if (m->kind == MECH_GSSAPI)
		return false;
	return m->kind != MECH_SCRAM || !pwcheck || has_word(pwcheck, "auxprop");
}

static int look_at_mechanisms(struct auth_pool *p)
{
	sasl_security_properties_t props = {.security_flags = SASL_SEC_NOANONYMOUS};
	sasl_ssf_t ssf = 256;
	sasl_conn_t *conn = NULL;
	const char *list = NULL;
	int code = sasl_server_new("xmpp", "localhost", "localhost", NULL, NULL, NULL, SASL_SUCCESS_DATA, &conn);

	if (code == SASL_OK)
		code = sasl_setprop(conn, SASL_SSF_EXTERNAL, &ssf);
	if (code == SASL_OK)
		code = sasl_setprop(conn, SASL_SEC_PROPS, &props);
	if (code == SASL_OK && sasl_listmech(conn, NULL, "", " ", "", &list, NULL, NULL) != SASL_OK)
		list = "";      /* no mechanism at all: EXTERNAL is still ours */
	for (size_t i = 0; code == SASL_OK && i < MECH_COUNT; i++) {
		const struct mech *m = &auth_mechs[i];

		/* EXTERNAL is done here, with the certificate's names: the library needs no plugin for it. */
		p->has[i] = (m->kind == MECH_EXTERNAL || has_word(list, m->base)) &&
			    wanted(m, p->mech_list, p->pwcheck);
	}
	sasl_dispose(&conn);
	return code;
}

static char *lower_case(struct slice text)
{
	char *copy = mem_slicedup(text);

	for (size_t i = 0; i < text.n; i++)
		if (copy[i] >= 'A' && copy[i] <= 'Z')
			copy[i] = (char)(copy[i] | 0x20);
	return copy;
}

static void set_defaults(struct auth_pool *p, const struct auth_pool_options *o)
{
	ASSERT(o->prep_local && o->loop);
	p->o = *o;
	p->o.prep_domain = o->prep_domain ? o->prep_domain : lower_case;
	p->o.failure_ms = o->failure_ms ? o->failure_ms : 1000;
	p->o.per_address_failures_max = o->per_address_failures_max ? o->per_address_failures_max : 30;
	p->o.per_address_unknown_max = o->per_address_unknown_max ? o->per_address_unknown_max : 10;
	p->o.threads_per_domain = o->threads_per_domain ? o->threads_per_domain : 4;
	p->o.job_ms = o->job_ms ? o->job_ms : 10000;
	p->o.challenge_ms = o->challenge_ms ? o->challenge_ms : 10;
	p->o.key_life_ms = o->key_life_ms ? o->key_life_ms : 60000;
}

static void on_forget(void *arg)
{
	struct auth_pool *p = arg;
	uint64_t in_ms = keycache_expire(p->keys, loop_now_ms(p->o.loop));

	if (in_ms != UINT64_MAX)
		loop_timer_set(&p->forget, in_ms > FORGET_EVERY_MS ? in_ms : FORGET_EVERY_MS);
}

/* On a loop that has stopped there is no timer, and the pool's end is near, which wipes all. */
void auth_pool_watch_keys(struct auth_pool *p)
{
	(void)!loop_post(p->o.loop, on_forget, p);
}

struct auth_pool *auth_pool_new(struct jobs *jobs, const struct auth_pool_options *o, char *why, size_t why_size)
{
	struct auth_pool *p = NEW(struct auth_pool);
	int code;

	set_defaults(p, o);
	p->lanes = lanes_new(jobs, p->o.threads_per_domain, WAITING_MAX);
	p->failures = failures_new();
	p->unknown = failures_new();
	p->keys = keycache_new(KEYS_MAX, p->o.key_life_ms);
	loop_timer_init(p->o.loop, &p->forget, on_forget, p);
	code = init_library();
	if (code == SASL_OK)
		code = auxprop_add(p);
	if (code == SASL_OK)
		code = look_at_mechanisms(p);
	if (code != SASL_OK) {
		snprintf(why, why_size, "Cyrus SASL cannot start: %s; see xmpp.conf in /etc/sasl2 or SASL_CONF_PATH",
			 sasl_errstring(code, NULL, NULL));
		auth_pool_free(p);
		return NULL;
	}
	atomic_store(&started_, true);
	return p;
}

void auth_pool_free(struct auth_pool *p)
{
	if (!p)
		return;
	lanes_free(p->lanes);
	auxprop_remove();
	/* No sasl_server_done: it unloads the plugins, nothing follows but the process's end, and a second pool may be made. */
	atomic_store(&started_, false);
	failures_free(p->failures);
	failures_free(p->unknown);
	loop_timer_cancel(&p->forget);
	keycache_free(p->keys);
	free(p->mech_list);
	free(p->pwcheck);
	for (struct salt_key *k = atomic_load(&p->salt_key), *older; k; k = older) {
		older = k->older;
		mem_wipe(k, sizeof *k);
		free(k);
	}
	free(p);
}

/* Every worker gives it, and it hardly ever changes: what is replaced waits for the pool's end. */
void auth_pool_set_salt_key(struct auth_pool *p, const unsigned char *salt_key)
{
	struct salt_key *old = atomic_load(&p->salt_key), *k;

	if (old && memcmp(old->bytes, salt_key, sizeof old->bytes) == 0)
		return;
	k = NEW(struct salt_key);
	memcpy(k->bytes, salt_key, sizeof k->bytes);
	k->older = old;
	while (!atomic_compare_exchange_weak(&p->salt_key, &k->older, k))
		;
}

bool auth_pool_offers(const struct auth_pool *p, const struct mech *m, const struct auth_params *params)
{
	if (!p->has[m - auth_mechs])
		return false;
	switch (m->kind) {
	case MECH_SCRAM: return atomic_load(&p->salt_key) && (!m->plus || params->nr_cb > 0);
	case MECH_EXTERNAL: return params->external && params->external[0];
	case MECH_PLAIN: return params->tls;
	case MECH_GSSAPI: return true;
	}
	return false;
}

static const struct mech *find_mech(struct slice name)
{
	for (size_t i = 0; i < MECH_COUNT; i++)
		if (slice_is(name, auth_mechs[i].name))
			return &auth_mechs[i];
	return NULL;
}

bool auth_binds(struct slice mech)
{
	const struct mech *m = find_mech(mech);

	return m != NULL && m->plus;
}

const char *auth_mechanism_name(struct slice mech)
{
	const struct mech *m = find_mech(mech);

	return m != NULL ? m->name : "other";
}

void auth_each_mechanism(struct auth_pool *p, const struct auth_params *params, void (*fn)(void *arg, const char *mech), void *arg)
{
	for (size_t i = 0; i < MECH_COUNT; i++)
		if (auth_pool_offers(p, &auth_mechs[i], params))
			fn(arg, auth_mechs[i].name);
}

char *auth_pool_name(const struct auth_pool *p, struct slice text, const char *domain, bool *foreign)
{
	const char *at = text.n ? memrchr(text.p, '@', text.n) : NULL;
	struct slice local = {text.p, at ? (size_t)(at - text.p) : text.n};
	char *prepared, *realm = NULL, *name = NULL;

	*foreign = false;
	if (at) {
		realm = p->o.prep_domain((struct slice){at + 1, text.n - local.n - 1});
		*foreign = !realm || strcmp(realm, domain) != 0;
		free(realm);
	}
	prepared = local.n ? p->o.prep_local(local) : NULL;
	if (prepared && *prepared) {
		size_t n = strlen(prepared), d = strlen(domain);

		name = mem_alloc(n + d + 2);
		memcpy(name, prepared, n);
		name[n] = '@';
		memcpy(name + n + 1, domain, d);
	}
	free(prepared);
	return name;
}

bool auth_pool_takes_external(const struct auth_pool *p)
{
	return p->mech_list && has_word(p->mech_list, "EXTERNAL");
}
