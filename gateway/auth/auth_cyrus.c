#include "auth/auth_cyrus.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"

/* Cyrus SASL, blocking as it may be. Its default mutexes do nothing, so they are replaced before anything else. */

static void *mutex_new(void)
{
	pthread_mutex_t *m = NEW(pthread_mutex_t);

	pthread_mutex_init(m, NULL);
	return m;
}

static int mutex_lock(void *m)
{
	return pthread_mutex_lock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static int mutex_unlock(void *m)
{
	return pthread_mutex_unlock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static void mutex_free(void *m)
{
	pthread_mutex_destroy(m);
	free(m);
}

static int on_log(void *context, int level, const char *message)
{
	(void)context;
	log_debug("sasl", 0, "note", "level=%d text=%s", level, log_escape(slice_str(message)));
	return SASL_OK;
}

/* Nobody may act for somebody else: an authzid is taken only when it names who authenticated. */
static int on_proxy(sasl_conn_t *conn, void *context, const char *wanted, unsigned wanted_n, const char *is, unsigned is_n, const char *realm,
		    unsigned realm_n, struct propctx *props)
{
	struct cyrus *c = context;

	(void)realm;
	(void)realm_n;
	(void)props;
	if (slice_eq((struct slice){wanted, wanted_n}, (struct slice){is, is_n}))
		return SASL_OK;
	c->foreign = true;
	sasl_seterror(conn, 0, "another identity was asked for");
	return SASL_NOAUTHZ;
}

int cyrus_init(char *why, size_t why_size)
{
	static const sasl_callback_t callbacks[] = {
		{SASL_CB_LOG, (int (*)(void))(void *)on_log, NULL},
		{SASL_CB_LIST_END, NULL, NULL},
	};
	int r;

	sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
	r = sasl_server_init(callbacks, "xmpp");
	if (r != SASL_OK)
		snprintf(why, why_size, "Cyrus SASL does not start: %s; look at xmpp.conf", sasl_errstring(r, NULL, NULL));
	return r == SASL_OK ? 0 : -ERR_SYSTEM;
}

char *cyrus_mechanisms(void)
{
	static const unsigned char some[32];
	sasl_channel_binding_t binding = {.name = "tls-exporter", .data = some, .len = sizeof some};
	const char *list = NULL;
	sasl_conn_t *conn = NULL;
	char *copy = NULL;

	if (sasl_server_new("xmpp", "localhost", "localhost", NULL, NULL, NULL, 0, &conn) == SASL_OK &&
	    sasl_setprop(conn, SASL_CHANNEL_BINDING, &binding) == SASL_OK &&
	    sasl_listmech(conn, NULL, "", " ", "", &list, NULL, NULL) == SASL_OK)
		copy = mem_strdup(list);
	sasl_dispose(&conn);
	return copy != NULL ? copy : mem_strdup("");
}

static enum auth_failure failure_of(const struct cyrus *c, int r)
{
	if (c->foreign)
		return AUTH_INVALID_AUTHZID;
	switch (r) {
	case SASL_NOMECH:
		return AUTH_INVALID_MECHANISM;
	case SASL_BADPROT:
	case SASL_BADPARAM:
		return AUTH_MALFORMED_REQUEST;
	case SASL_ENCRYPT:
		return AUTH_ENCRYPTION_REQUIRED;
	case SASL_TOOWEAK:
		return AUTH_MECHANISM_TOO_WEAK;
	case SASL_EXPIRED:
		return AUTH_CREDENTIALS_EXPIRED;
	case SASL_DISABLED:
		return AUTH_ACCOUNT_DISABLED;
	case SASL_UNAVAIL:
	case SASL_TRYAGAIN:
	case SASL_NOMEM:
		return AUTH_TEMPORARY_FAILURE;
	default: /* SASL_NOUSER and SASL_BADAUTH alike: who exists is nobody's business */
		return AUTH_NOT_AUTHORIZED;
	}
}

/* "user@realm" as Cyrus names it, where realm must be the stream's domain: alice of one domain is nobody at another. */
static char *local_user(sasl_conn_t *conn, const char *domain)
{
	const void *name = NULL;
	const char *at;

	if (sasl_getprop(conn, SASL_USERNAME, &name) != SASL_OK || name == NULL)
		return NULL;
	at = strrchr(name, '@');
	if (at == NULL)
		return mem_strdup(name);
	return strcmp(at + 1, domain) == 0 ? mem_slicedup((struct slice){name, (size_t)(at - (const char *)name)}) : NULL;
}

static int begin(struct cyrus *c, const char *domain, const struct auth_cb *cb, const char *mech, const struct slice *in, const char **out,
		 unsigned *out_n)
{
	sasl_callback_t callbacks[] = {
		{SASL_CB_PROXY_POLICY, (int (*)(void))(void *)on_proxy, c},
		{SASL_CB_LIST_END, NULL, NULL},
	};
	sasl_callback_t *kept = mem_alloc(sizeof callbacks);
	int r;

	memcpy(kept, callbacks, sizeof callbacks);
	r = sasl_server_new("xmpp", domain, domain, NULL, NULL, kept, SASL_SUCCESS_DATA, &c->conn);
	c->callbacks = kept;
	if (r != SASL_OK)
		return r;
	if (cb != NULL) {
		c->binding = (sasl_channel_binding_t){.name = cb->type, .data = cb->data, .len = cb->n, .critical = 0};
		sasl_setprop(c->conn, SASL_CHANNEL_BINDING, &c->binding);
	}
	return sasl_server_start(c->conn, mech, in->p, (unsigned)in->n, out, out_n);
}

struct cyrus_answer cyrus_go(struct cyrus *c, const char *domain, const struct auth_cb *cb, const char *mech, const struct slice *in)
{
	struct cyrus_answer a = {.step = CYRUS_CHALLENGE};
	const char *out = NULL;
	unsigned out_n = 0;
	int r = c->conn == NULL ? begin(c, domain, cb, mech, in, &out, &out_n) : sasl_server_step(c->conn, in->p, (unsigned)in->n, &out, &out_n);

	if (r == SASL_OK) {
		a.step = CYRUS_SUCCESS;
		a.user = local_user(c->conn, domain);
	}
	if ((r != SASL_OK && r != SASL_CONTINUE) || (r == SASL_OK && a.user == NULL)) {
		a.step = CYRUS_FAILURE;
		a.failure = failure_of(c, r);
		return a;
	}
	if (out != NULL) {
		a.data = mem_slicedup((struct slice){out, out_n});
		a.n = out_n;
	}
	return a;
}

void cyrus_clear(struct cyrus *c)
{
	sasl_dispose(&c->conn);
	free(c->callbacks);
	c->callbacks = NULL;
}
