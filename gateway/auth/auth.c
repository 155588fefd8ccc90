/*
 * One exchange on its loop: a step that needs no more than a SCRAM key that is at hand is taken here, since it costs less than to wake two
 * threads; the others go to the lanes, and their answers come back here. A failure, whatever its reason, leaves at a multiple of one fixed
 * time after the beginning, so that neither text nor time tells an unknown user from a wrong password. A step that takes too long is
 * answered and forgotten: its exchange ends behind, owned by nobody.
 */
#include "auth/auth.h"

#include <stdlib.h>

#include "auth/auth_pool.h"
#include "common/log.h"

#define MAGIC 0x41757468u
#define MESSAGE_MAX 65536       /* the stream's own limit is far lower */

enum waiting {
	WAITING_CLIENT,         /* for its next message */
	WAITING_STEP,           /* for a job thread, at most job_ms */
	WAITING_CHALLENGE,      /* a challenge is at hand, and its time has not come */
	WAITING_FAILURE,
	WAITING_TURN,           /* for the end of the loop's turn: the answer is in the exchange */
};

struct auth {
	unsigned magic;
	struct auth_pool *pool;
	struct loop *loop;
	struct exchange *x;
	const struct auth_ops *ops;
	void *arg;
	char *address;
	char **external;
	uint64_t started_ms, asked_ms;
	struct loop_timer timer;
	struct loop_task at_hand;
	enum waiting waiting;
	enum auth_failure failure;
	const char *text;
};

static void wait_for(struct auth *a, enum waiting what, uint64_t in_ms)
{
	a->waiting = what;
	loop_timer_set(&a->timer, in_ms);
}

/* Nobody waits for this exchange any more; if a job thread has it, it ends when that is done. */
static void let_go(struct auth *a)
{
	struct exchange *x = a->x;

	a->x = NULL;
	if (!x)
		return;
	x->owner = NULL;
	atomic_store(&x->abandoned, true);
	if (a->waiting != WAITING_STEP)
		exchange_free(x);
}

static bool counts_against_address(enum auth_failure f)
{
	return f != AUTH_TEMPORARY_FAILURE;
}

/* It has had a look-up, and a key derived, as dear as for one that fails: so it counts as one that did. Also where the key was at hand, or
 * the count would tell which names log in here. Whether a job thread has taken a step that was with the lanes shows behind. */
static void count_given_up(struct auth *a)
{
	if (a->waiting == WAITING_STEP)
		a->x->given_up_by = mem_strdup(a->address);
	else if (a->x->ran)
		failures_add(a->pool->failures, a->address, loop_now_ms(a->loop));
}

static void given_up(struct auth *a, enum auth_over over)
{
	if (a->x && (over == AUTH_LEFT || (over == AUTH_LATE && a->waiting != WAITING_STEP)))
		count_given_up(a);
	let_go(a);
}

static void fail_at_deadline(struct auth *a, enum auth_failure f, const char *text)
{
	uint64_t every = a->pool->o.failure_ms, now = loop_now_ms(a->loop);

	let_go(a);
	a->failure = f;
	a->text = text;
	if (counts_against_address(f))
		failures_add(a->pool->failures, a->address, now);
	wait_for(a, WAITING_FAILURE, every - (now - a->started_ms) % every);
}

/* What the callback is given must outlive it, and the callback may call auth_free: so the answer is taken out of the exchange first, and
 * `a` not touched after. */
static void deliver_challenge(struct auth *a)
{
	struct exchange *x = a->x;
	char *out = x->out;
	size_t n = x->out_n;

	x->out = NULL;
	x->out_n = 0;
	a->waiting = WAITING_CLIENT;
	a->ops->challenge(a->arg, (struct slice){out ? out : "", n});
	if (out)
		mem_wipe(out, n);
	free(out);
}

static void deliver_success(struct auth *a)
{
	struct exchange *x = a->x;

	a->x = NULL;
	a->waiting = WAITING_CLIENT;
	a->ops->success(a->arg, x->user, x->out ? (struct slice){x->out, x->out_n} : SLICE_NONE);
	exchange_free(x);
}

static void deliver_failure(struct auth *a)
{
	a->waiting = WAITING_CLIENT;
	a->ops->failure(a->arg, a->failure, a->text);
}

static void on_timer(void *arg)
{
	struct auth *a = arg;

	OBJ_CHECK(a, MAGIC);
	switch (a->waiting) {
	case WAITING_STEP:
		log_warn("auth", 0, "slow", "domain=%s mech=%s: a login waits too long for its database",
			 log_escape(slice_str(a->x->domain)), a->x->mech->name);
		fail_at_deadline(a, AUTH_TEMPORARY_FAILURE, NULL);
		break;
	case WAITING_CHALLENGE:
		deliver_challenge(a);
		break;
	case WAITING_FAILURE:
		deliver_failure(a);
		break;
	case WAITING_TURN:
	case WAITING_CLIENT:
		break;
	}
}

static void step_run(struct lane_work *w)
{
	struct exchange *x = container_of(w, struct exchange, work);
	uint64_t begun = jobs_used_us();

	if (!atomic_load(&x->abandoned)) {
		x->ran = true;
		exchange_run(x);
	}
	x->step_us = jobs_used_us() - begun;
}

/* Nobody of that name: its owner may look elsewhere until the failure's time has come. Limited, since it asks others. */
static void tell_unknown(struct auth *a, const char *name)
{
	uint64_t now = loop_now_ms(a->loop);
	const char *at = strrchr(name, '@');
	char *user;

	if (!a->ops->unknown || !at || failures_count(a->pool->unknown, a->address, now) >= a->pool->o.per_address_unknown_max)
		return;
	failures_add(a->pool->unknown, a->address, now);
	user = mem_slicedup((struct slice){name, (size_t)(at - name)});
	a->ops->unknown(a->arg, user);
	free(user);
}

static void step_failed(struct auth *a)
{
	struct exchange *x = a->x;
	bool unknown = x->unknown && x->name && x->failure == AUTH_NOT_AUTHORIZED;
	char *name = x->name;

	x->name = NULL;
	fail_at_deadline(a, x->failure, x->text); /* x is gone */
	if (unknown)
		tell_unknown(a, name);
	free(name);
}

/* Since it was asked, or, where keys of others were derived before, had its turn: who had none to derive has waited for them as well, and
 * is done as late as who had. */
static uint64_t held_ms(const struct auth *a)
{
	uint64_t now = loop_now_ms(a->loop), since = a->x->turn_ms > a->asked_ms ? a->x->turn_ms : a->asked_ms;

	return now > since ? now - since : 0; /* the loop's time may be older than the job thread's */
}

static void step_answered(struct auth *a)
{
	const struct exchange *x = a->x;
	uint64_t held = held_ms(a);

	a->waiting = WAITING_CLIENT;
	if (x->answer == EXCHANGE_FAILURE)
		step_failed(a);
	else if (x->answer == EXCHANGE_SUCCESS)
		deliver_success(a);
	else if (x->mech->kind == MECH_SCRAM && held < a->pool->o.challenge_ms)
		wait_for(a, WAITING_CHALLENGE, a->pool->o.challenge_ms - held);
	else
		deliver_challenge(a);
}

static void step_done(struct lane_work *w)
{
	struct exchange *x = container_of(w, struct exchange, work);
	struct auth *a = x->owner;

	if (x->spent)
		x->spent(x->spent_arg, a ? a->arg : NULL, x->step_us);
	if (!a) {
		if (x->given_up_by && x->ran)
			failures_add(x->pool->failures, x->given_up_by, loop_now_ms(x->loop));
		exchange_free(x);
		return;
	}
	OBJ_CHECK(a, MAGIC);
	loop_timer_cancel(&a->timer);
	step_answered(a);
}

static void on_turn(void *arg)
{
	struct auth *a = arg;

	OBJ_CHECK(a, MAGIC);
	if (a->waiting == WAITING_TURN)
		step_answered(a);
}

/* Who asked is not answered from inside. */
static void answer_at_turn(struct auth *a)
{
	a->waiting = WAITING_TURN;
	loop_task_queue(a->loop, &a->at_hand);
}

/* The loop has stopped; its auths are gone or will never be looked at again. */
static void step_drop(struct lane_work *w)
{
	exchange_free(container_of(w, struct exchange, work));
}

static int submit(struct auth *a, struct slice in)
{
	struct exchange *x = a->x;
	int err;

	exchange_input(x, in);
	a->asked_ms = loop_now_ms(a->loop);
	if (exchange_run_at_once(x)) {
		x->ran = true;
		answer_at_turn(a);
		return 0;
	}
	x->owner = a;
	x->loop = a->loop;
	x->work.run = step_run;
	x->work.done = step_done;
	x->work.drop = step_drop;
	err = lanes_submit(a->pool->lanes, x->domain, a->loop, &x->work);
	if (err == 0)
		wait_for(a, WAITING_STEP, a->pool->o.job_ms);
	return err;
}

/* Prepared bare JID of a certificate, or NULL when it is none of this domain's. */
static char *external_name(struct auth *a, const char *jid)
{
	bool foreign;
	char *name = strchr(jid, '@') ? auth_pool_name(a->pool, slice_str(jid), a->x->domain, &foreign) : NULL;

	if (name && foreign) {
		free(name);
		name = NULL;
	}
	return name;
}

/* RFC 6120 section 6.3.8, XEP-0178: no authzid means the certificate's only name here; one that is given must be among its names. */
static char *external_pick(struct auth *a, const char *wanted)
{
	char *picked = NULL;

	for (char **jid = a->external; *jid; jid++) {
		char *name = external_name(a, *jid);

		if (name && picked && !wanted && strcmp(name, picked) != 0) {
			free(name);
			free(picked);
			return NULL;
		}
		if (name && !picked && (!wanted || strcmp(name, wanted) == 0))
			picked = name;
		else
			free(name);
	}
	return picked;
}

static void external_step(struct auth *a, struct slice authzid)
{
	char *wanted = NULL, *name = NULL;

	if (authzid.n && memchr(authzid.p, '\0', authzid.n)) {
		fail_at_deadline(a, AUTH_MALFORMED_REQUEST, NULL);
		return;
	}
	if (authzid.n) {
		char *text = mem_slicedup(authzid);

		wanted = external_name(a, text);
		free(text);
	}
	if (!authzid.n || wanted)
		name = external_pick(a, wanted);
	free(wanted);
	if (!name) {
		fail_at_deadline(a, AUTH_INVALID_AUTHZID, NULL);
		return;
	}
	*strrchr(name, '@') = '\0';
	a->x->user = name;
	a->x->answer = EXCHANGE_SUCCESS;
	answer_at_turn(a);
}

/* Every mechanism of ours lets the client speak first: without an initial response it is asked for one. */
static int begin(struct auth *a, struct slice initial)
{
	if (failures_count(a->pool->failures, a->address, a->started_ms) >= a->pool->o.per_address_failures_max) {
		fail_at_deadline(a, AUTH_TEMPORARY_FAILURE, "Too many failed logins");
		return 0;
	}
	if (!initial.p) {
		a->x->answer = EXCHANGE_CHALLENGE;
		wait_for(a, WAITING_CHALLENGE, 0);
		return 0;
	}
	if (a->x->mech->kind == MECH_EXTERNAL) {
		external_step(a, initial);
		return 0;
	}
	return submit(a, initial);
}

static char **copy_jids(const char *const *jids)
{
	size_t n = 0;
	char **copy;

	while (jids && jids[n])
		n++;
	copy = mem_alloc((n + 1) * sizeof *copy);
	for (size_t i = 0; i < n; i++)
		copy[i] = mem_strdup(jids[i]);
	return copy;
}

static const struct mech *choose(struct auth_pool *p, const struct auth_params *params, struct slice name, enum auth_failure *failure)
{
	*failure = AUTH_INVALID_MECHANISM;
	for (size_t i = 0; i < MECH_COUNT; i++) {
		const struct mech *m = &auth_mechs[i];

		if (!slice_is(name, m->name))
			continue;
		if (auth_pool_offers(p, m, params))
			return m;
		if (m->kind == MECH_PLAIN && p->has[i])
			*failure = AUTH_ENCRYPTION_REQUIRED;
	}
	return NULL;
}

struct auth *auth_start(struct auth_pool *p, struct loop *l, const struct auth_params *params, struct slice mech, struct slice initial,
			const struct auth_ops *ops, void *arg, enum auth_failure *failure)
{
	const struct mech *m = choose(p, params, mech, failure);
	struct auth *a;

	if (!m)
		return NULL;
	if (initial.n > MESSAGE_MAX) {
		*failure = AUTH_MALFORMED_REQUEST;
		return NULL;
	}
	a = NEW(struct auth);
	*a = (struct auth){.magic = MAGIC, .pool = p, .loop = l, .ops = ops, .arg = arg, .started_ms = loop_now_ms(l)};
	a->address = mem_strdup(params->address ? params->address : "");
	a->external = copy_jids(params->external);
	a->x = exchange_new(p, params, m);
	loop_timer_init(l, &a->timer, on_timer, a);
	loop_task_init(&a->at_hand, on_turn, a);
	if (begin(a, initial) < 0) {
		auth_free(a, AUTH_OURS);
		*failure = AUTH_TEMPORARY_FAILURE;
		return NULL;
	}
	return a;
}

void auth_step(struct auth *a, struct slice response)
{
	OBJ_CHECK(a, MAGIC);
	if (a->waiting == WAITING_FAILURE)
		return;
	if (a->waiting != WAITING_CLIENT || !a->x || response.n > MESSAGE_MAX)
		fail_at_deadline(a, AUTH_MALFORMED_REQUEST, NULL);
	else if (a->x->mech->kind == MECH_EXTERNAL)
		external_step(a, response);
	else if (submit(a, response) < 0)
		fail_at_deadline(a, AUTH_TEMPORARY_FAILURE, NULL);
}

void auth_free(struct auth *a, enum auth_over over)
{
	if (!a)
		return;
	OBJ_CHECK(a, MAGIC);
	loop_timer_cancel(&a->timer);
	loop_task_cancel(a->loop, &a->at_hand);
	given_up(a, over);
	for (char **jid = a->external; *jid; jid++)
		free(*jid);
	free(a->external);
	free(a->address);
	a->magic = 0;
	free(a);
}
