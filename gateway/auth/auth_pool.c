#include <stdio.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "auth/auth_cyrus.h"
#include "common/err.h"

/*
 * Exchanges and their answers. An exchange is one object that either the loop or a job thread holds, never both: while a job runs the loop only marks it.
 * A failure is told at a fixed time after the start, or the next multiple of it, so that how long a look-up took does not show.
 */

#define FAILURE_MS 1000
#define RESPONSE_MAX 16384

static const char *const failure_names[] = {
	"aborted", "account-disabled", "credentials-expired", "encryption-required", "incorrect-encoding", "invalid-authzid",
	"invalid-mechanism", "malformed-request", "mechanism-too-weak", "not-authorized", "temporary-auth-failure",
};

/* What we offer, best first. Never what lets a password be guessed from the wire or proves nothing. */
static const char *const allowed[] = {
	"SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", "PLAIN",
};

struct auth_pool {
	struct jobs *jobs;
	unsigned failure_ms;
	char *(*prep_local)(struct slice text);
	char *mechanisms;
};

struct auth {
	struct job job;
	struct auth_pool *pool;
	struct loop *loop;
	const struct auth_ops *ops;
	void *arg;
	char *domain, *mech;
	struct auth_cb cb;
	bool has_cb, running, freed, begun;
	struct cyrus cyrus;
	char *in;                       /* what the running step takes; NULL: no initial response */
	size_t in_n;
	struct cyrus_answer answer;
	enum auth_failure failure;
	struct loop_timer deadline;
	uint64_t started_ms;
};

const char *auth_failure_name(enum auth_failure f)
{
	return failure_names[f];
}

struct auth_pool *auth_pool_new(struct jobs *jobs, const struct auth_pool_options *o, char *why, size_t why_size)
{
	struct auth_pool *p;

	if (cyrus_init(why, why_size) != 0)
		return NULL;
	p = NEW(struct auth_pool);
	p->jobs = jobs;
	p->failure_ms = o->failure_ms ? o->failure_ms : FAILURE_MS;
	p->prep_local = o->prep_local;
	p->mechanisms = cyrus_mechanisms();
	return p;
}

void auth_pool_free(struct auth_pool *p)
{
	if (p == NULL)
		return;
	free(p->mechanisms);
	free(p);
	/* No sasl_done(): it unloads plugins whose memory is theirs to the end, and the process ends with the pool. */
}

static bool in_list(const char *list, struct slice name)
{
	while (*list != '\0') {
		size_t n = strcspn(list, " ");

		if (slice_eq((struct slice){list, n}, name))
			return true;
		list += n + (list[n] == ' ');
	}
	return false;
}

static bool is_plus(struct slice mech)
{
	return mech.n > 5 && memcmp(mech.p + mech.n - 5, "-PLUS", 5) == 0;
}

static bool offered(const struct auth_pool *p, const struct auth_params *params, struct slice mech)
{
	if (slice_is(mech, "EXTERNAL"))
		return params->external != NULL;
	if (!in_list(p->mechanisms, mech) || (is_plus(mech) && params->nr_cb == 0))
		return false;
	return params->tls || !slice_is(mech, "PLAIN");
}

void auth_each_mechanism(struct auth_pool *p, const struct auth_params *params, void (*fn)(void *arg, const char *mech), void *arg)
{
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
		if (offered(p, params, slice_str(allowed[i])))
			fn(arg, allowed[i]);
	}
}

/* --- answers ------------------------------------------------------------- */

static void wipe_in(struct auth *a)
{
	if (a->in != NULL)
		mem_wipe(a->in, a->in_n);
	free(a->in);
	a->in = NULL;
}

static void destroy(struct auth *a)
{
	cyrus_clear(&a->cyrus);
	wipe_in(a);
	free(a->answer.data);
	free(a->answer.user);
	free(a->domain);
	free(a->mech);
	free(a);
}

static void on_deadline(void *arg)
{
	struct auth *a = arg;

	a->ops->failure(a->arg, a->failure, NULL);
}

static void fail(struct auth *a, enum auth_failure f)
{
	uint64_t gone = loop_now_ms(a->loop) - a->started_ms;
	unsigned step = a->pool->failure_ms;

	a->failure = f;
	loop_timer_set(&a->deadline, step - gone % step);
}

static void succeed(struct auth *a)
{
	char *user = a->pool->prep_local(slice_str(a->answer.user));
	struct slice data = {a->answer.data, a->answer.n};

	if (user == NULL)
		fail(a, AUTH_NOT_AUTHORIZED);
	else
		a->ops->success(a->arg, user, data); /* may free a */
	free(user);
}

static void run(struct job *j)
{
	struct auth *a = container_of(j, struct auth, job);
	struct slice in = {a->in, a->in_n};

	a->answer = cyrus_go(&a->cyrus, a->domain, a->has_cb ? &a->cb : NULL, a->mech, &in);
}

static void done(struct job *j)
{
	struct auth *a = container_of(j, struct auth, job);

	a->running = false;
	wipe_in(a);
	if (a->freed) {
		destroy(a);
		return;
	}
	if (a->failure == AUTH_ABORTED && a->begun) {
		/* The client gave up while we worked. */
		on_deadline(a);
		return;
	}
	switch (a->answer.step) {
	case CYRUS_CHALLENGE:
		a->ops->challenge(a->arg, (struct slice){a->answer.data ? a->answer.data : "", a->answer.n});
		break;
	case CYRUS_SUCCESS:
		succeed(a);
		break;
	case CYRUS_FAILURE:
		fail(a, a->answer.failure);
		break;
	}
}

static int submit(struct auth *a, struct slice in)
{
	free(a->answer.data);
	free(a->answer.user);
	a->answer = (struct cyrus_answer){0};
	a->in = in.p != NULL ? mem_slicedup(in) : NULL;
	a->in_n = in.n;
	if (jobs_submit(a->pool->jobs, a->loop, &a->job) != 0)
		return -ERR_LIMIT;
	a->running = true;
	return 0;
}

/* --- beginning ----------------------------------------------------------- */

/* The GS2 header says what the client believes of channel bindings (RFC 5802 section 6); Cyrus takes `n` under a -PLUS name, we don't. */
static bool choose_binding(struct auth *a, const struct auth_params *params, struct slice initial)
{
	bool plus = is_plus(slice_str(a->mech));
	size_t n;

	if (strncmp(a->mech, "SCRAM-", 6) != 0 || initial.n < 2)
		return true;
	if (!plus)
		return !(initial.p[0] == 'p' || (initial.p[0] == 'y' && offered(a->pool, params, SLICE("SCRAM-SHA-1-PLUS"))));
	if (initial.p[0] != 'p' || initial.p[1] != '=')
		return false;
	for (n = 2; n < initial.n && initial.p[n] != ','; n++)
		;
	for (size_t i = 0; i < params->nr_cb; i++) {
		if (slice_eq((struct slice){initial.p + 2, n - 2}, slice_str(params->cb[i].type))) {
			a->cb = params->cb[i];
			a->has_cb = true;
		}
	}
	return a->has_cb;
}

/* EXTERNAL is ours: the certificate's addresses in this domain, one of which the client may name. */
static void external(struct auth *a, const struct auth_params *params, struct slice initial)
{
	const char *found = NULL;
	unsigned nr = 0;

	for (size_t i = 0; params->external[i] != NULL; i++) {
		const char *at = strchr(params->external[i], '@');

		if (at == NULL || strcmp(at + 1, a->domain) != 0 || (initial.n > 0 && !slice_is(initial, params->external[i])))
			continue;
		found = params->external[i];
		nr++;
	}
	if (nr == 1) {
		a->answer.user = mem_slicedup((struct slice){found, (size_t)(strchr(found, '@') - found)});
		a->answer.step = CYRUS_SUCCESS;
	} else {
		a->answer.step = CYRUS_FAILURE;
		a->answer.failure = AUTH_INVALID_AUTHZID;
	}
}

static void on_external(void *arg)
{
	struct auth *a = arg;

	if (a->answer.step == CYRUS_SUCCESS)
		succeed(a);
	else
		a->ops->failure(a->arg, a->answer.failure, NULL);
}

struct auth *auth_start(struct auth_pool *p, struct loop *l, const struct auth_params *params, struct slice mech, struct slice initial,
			const struct auth_ops *ops, void *arg, enum auth_failure *failure)
{
	struct auth *a;

	*failure = AUTH_INVALID_MECHANISM;
	if (!offered(p, params, mech))
		return NULL;
	*failure = AUTH_MALFORMED_REQUEST;
	if (initial.n > RESPONSE_MAX)
		return NULL;
	a = NEW(struct auth);
	a->pool = p;
	a->loop = l;
	a->ops = ops;
	a->arg = arg;
	a->domain = mem_strdup(params->domain);
	a->mech = mem_slicedup(mech);
	a->started_ms = loop_now_ms(l);
	a->job.run = run;
	a->job.done = done;
	a->failure = AUTH_NOT_AUTHORIZED;
	a->begun = true;
	if (slice_is(mech, "EXTERNAL")) {
		external(a, params, initial);
		loop_timer_init(l, &a->deadline, on_external, a);
		loop_timer_set(&a->deadline, 0);
		return a;
	}
	loop_timer_init(l, &a->deadline, on_deadline, a);
	if (!choose_binding(a, params, initial)) {
		fail(a, AUTH_NOT_AUTHORIZED);
	} else if (submit(a, initial) != 0) {
		*failure = AUTH_TEMPORARY_FAILURE;
		destroy(a);
		return NULL;
	}
	return a;
}

void auth_step(struct auth *a, struct slice response)
{
	if (response.n > RESPONSE_MAX)
		fail(a, AUTH_MALFORMED_REQUEST);
	else if (submit(a, response.p != NULL ? response : SLICE("")) != 0)
		fail(a, AUTH_TEMPORARY_FAILURE);
}

void auth_abort(struct auth *a)
{
	a->failure = AUTH_ABORTED;
	if (!a->running)
		loop_timer_set(&a->deadline, 0);
}

void auth_free(struct auth *a)
{
	if (a == NULL)
		return;
	loop_timer_cancel(&a->deadline);
	a->freed = true;
	if (!a->running)
		destroy(a);
}
