#include "role/s2s_out.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "role/blocks.h"
#include "role/counts.h"
#include "role/s2s_out_int.h"

/*
 * The wish to reach a domain: DNS, the addresses in the race's order, one deadline over all. It outlives its attempts. One that ends before
 * the pair is established makes the next address's turn; the wish fails when there is none left. A domain that failed lately is not dialled
 * (route/backoff.h): the wish for it ends as the last one did. Before all that, a stream that is there already is asked to take the pair
 * (role/s2s_lane.h).
 */

static void free_out(void *p)
{
	struct s2s_out *o = p;

	free(o->from);
	free(o->to);
	free(o->verify_id);
	for (size_t i = 0; i < RESOLVE_TARGETS_MAX; i++)
		free(o->targets[i].tlsa);
	free(o);
}

static void release_all_but(struct s2s_out *o, const struct s2s_attempt *kept)
{
	for (unsigned i = 0; i < RACE_MAX; i++) {
		if (o->v[i].attempt == kept)
			continue;
		s2s_attempt_release(o->v[i].attempt);
		o->v[i].attempt = NULL;
	}
}

static void let_go(struct s2s_out *o)
{
	o->over = true;
	loop_timer_cancel(&o->deadline);
	loop_timer_cancel(&o->next);
	if (o->resolve != NULL)
		resolve_cancel(o->resolve);
	o->resolve = NULL;
	o->chosen = NULL;
	s2s_lane_leave(&o->lane);
	release_all_but(o, NULL);
	loop_reap(o->env->loop, free_out, o);
}

/* The remote's doing, not ours. A stream on which the remote said that it has stanzas was of use, however soon it broke: what it has not is
 * to be repeated at once, not handed back. */
static void tell_backoff(struct s2s_out *o, enum s2s_out_result r)
{
	uint64_t now = loop_now_ms(o->env->loop);

	if (!o->dialled)
		return;
	bool useful = o->took_stanzas || (o->established && now - o->established_at_ms >= BACKOFF_STEADY_MS);

	o->dialled = false;
	if (r == S2S_OUT_CROWDED)
		backoff_abandoned(o->env->backoff, o->to);
	else if (useful && r != S2S_OUT_STALLED)
		backoff_worked(o->env->backoff, o->to);
	else
		backoff_failed(o->env->backoff, o->to, now, (int)(r == S2S_OUT_STALLED ? S2S_OUT_TIMEOUT : r));
}

void s2s_out_end(struct s2s_out *o, enum s2s_out_result r, const char *why)
{
	if (o->over)
		return;
	/* what is held back has been told when it failed */
	log_event(o->dialled ? LOG_INFO : LOG_DEBUG, "s2s-out", 0, "ended", "from=%s to=%s established=%d why=%s",
		  log_escape(slice_str(o->from)), log_escape(slice_str(o->to)), o->established, log_escape(slice_str(why)));
	o->over = true;
	if (!o->established && o->dialled)
		stat_add(count_s2s_out(r), 1);
	tell_backoff(o, r);
	o->ops->ended(o->arg, r, why);
	let_go(o);
}

/* What a remote took nothing of goes back: another connection would only fill its buffers once more. What it took and did not acknowledge
 * is to be sent again, as after any stream that broke. */
void s2s_out_broke(struct s2s_out *o, enum close_reason r, const char *why)
{
	s2s_out_end(o, r == CLOSE_STALLED ? S2S_OUT_STALLED : S2S_OUT_TIMEOUT, why);
}

/* --- attempts ------------------------------------------------------------- */

static void go_on(struct s2s_out *o);

static void on_connected(void *arg, struct s2s_attempt *a)
{
	struct s2s_out *o = arg;

	race_connected(&o->race, s2s_attempt_number(a));
	o->chosen = a;
	release_all_but(o, a);
}

static void on_established(void *arg, struct s2s_attempt *a)
{
	struct s2s_out *o = arg;

	(void)a;
	o->established = true;
	o->established_at_ms = loop_now_ms(o->env->loop);
	backoff_reached(o->env->backoff, o->to, o->established_at_ms);
	stat_add(count_s2s_out(S2S_OUT_OK), 1);
	/* A verification is over with its answer only. */
	if (o->place == NULL)
		loop_timer_cancel(&o->deadline);
	o->ops->established(o->arg);
}

/* What the sender is told if no other address does better. */
static enum s2s_out_result result_of(enum close_reason r)
{
	switch (r) {
	case CLOSE_KEY_REFUSED:
		return S2S_OUT_INVALID;
	case CLOSE_NOT_AUTHORIZED:
	case CLOSE_TLS_REQUIRED:
	case CLOSE_UNSUPPORTED_FEATURE: /* nothing that both sides could be known by */
		return S2S_OUT_REFUSED;
	default:
		return S2S_OUT_TIMEOUT;
	}
}

static void on_ended(void *arg, struct s2s_attempt *a, enum close_reason r, const char *detail)
{
	struct s2s_out *o = arg;
	unsigned i = s2s_attempt_number(a);

	o->v[i].attempt = NULL;
	if (o->chosen == a)
		o->chosen = NULL;
	/* once it stands, that is the key of another pair */
	o->took_stanzas |= o->established && r == CLOSE_KEY_REFUSED;
	if (result_of(r) != S2S_OUT_TIMEOUT)
		o->result = result_of(r);
	snprintf(o->why, sizeof o->why, "%s%s%s", close_word(r), detail ? ": " : "", detail ? detail : "");
	race_failed(&o->race, i);
	if (o->established)
		s2s_out_broke(o, r, o->why);
	else
		go_on(o);
}

static void on_acked(void *arg, uint64_t pos)
{
	struct s2s_out *o = arg;

	if (o->ops->acked != NULL)
		o->ops->acked(o->arg, pos);
}

static void on_handled(void *arg, uint32_t nr)
{
	struct s2s_out *o = arg;

	o->took_stanzas = true;
	if (o->ops->handled != NULL)
		o->ops->handled(o->arg, nr);
}

static void on_drained(void *arg)
{
	struct s2s_out *o = arg;

	if (o->ops->drained != NULL)
		o->ops->drained(o->arg);
}

/* The answer is the peer's word: only one to the question that was asked counts. */
static void on_verified(void *arg, const char *from, const char *to, struct slice id, enum stream_verdict v)
{
	struct s2s_out *o = arg;

	if (strcmp(from, o->to) == 0 && strcmp(to, o->from) == 0 && o->verify_id != NULL && slice_is(id, o->verify_id))
		o->ops->verified(o->arg, v);
}

static const struct s2s_attempt_ops attempt_ops = {
	.connected = on_connected,
	.established = on_established,
	.ended = on_ended,
	.acked = on_acked,
	.handled = on_handled,
	.drained = on_drained,
	.verified = on_verified,
};

/* --- the wish ------------------------------------------------------------ */

static bool start(struct s2s_out *o, unsigned i)
{
	unsigned target = o->v[i].target;
	struct s2s_attempt_params p = {
		.from = o->from,
		.to = o->to,
		.place = o->place,
		.certificates_only = o->certificates_only,
		.direct_tls = o->targets[target].direct_tls,
		.host = o->targets[target].host,
		.tlsa = o->targets[target].tlsa,
		.addr = o->v[i].addr,
		.number = i,
		.stanzas_max = o->stanzas_max,
		.bytes_max = o->bytes_max,
	};

	o->v[i].attempt = s2s_attempt_new(o->env, &p, &attempt_ops, o);
	return o->v[i].attempt != NULL;
}

/* All whose turn it is. */
static void go_on(struct s2s_out *o)
{
	uint64_t now = loop_now_ms(o->env->loop), at;
	int i;

	while ((i = race_next(&o->race, now, &at)) >= 0) {
		if (start(o, (unsigned)i))
			continue;
		race_failed(&o->race, (unsigned)i);
		snprintf(o->why, sizeof o->why, "the system refuses to connect");
	}
	if (race_lost(&o->race))
		s2s_out_end(o, o->result, o->why[0] ? o->why : "no address");
	else if (at != UINT64_MAX)
		loop_timer_set(&o->next, at - now);
}

/* An address's turn, or a stream that has not said whether it takes the pair. */
static void on_next(void *arg)
{
	struct s2s_out *o = arg;

	if (o->lane.e != NULL)
		s2s_out_lane_refused(o, "remote-server-timeout");
	else
		go_on(o);
}

static void keep_target(struct s2s_out *o, unsigned i, const struct resolve_target *t)
{
	snprintf(o->targets[i].host, sizeof o->targets[i].host, "%s", t->host);
	o->targets[i].direct_tls = t->direct_tls;
	if (t->tlsa != NULL) {
		o->targets[i].tlsa = NEW(struct tlsa_set);
		*o->targets[i].tlsa = *t->tlsa;
	}
}

static bool is_blocked(struct s2s_out *o, const struct sockaddr_storage *addr)
{
	if (!blocks_address(o->env->blocks, (const struct sockaddr *)addr, loop_now_ms(o->env->loop)))
		return false;
	snprintf(o->why, sizeof o->why, "its address is blocked here");
	return true;
}

static void on_resolved(void *arg, enum resolve_status status, const struct resolve_target *targets, size_t nr, const char *why)
{
	struct s2s_out *o = arg;

	o->resolve = NULL;
	stat_add(count_lookup(status), 1);
	if (status != RESOLVE_OK) {
		bool none = status == RESOLVE_NO_DOMAIN || status == RESOLVE_NO_SERVICE;

		s2s_out_end(o, none ? S2S_OUT_NOT_FOUND : status == RESOLVE_CROWDED ? S2S_OUT_CROWDED : S2S_OUT_TIMEOUT, why ? why : "DNS");
		return;
	}
	for (unsigned i = 0, n = 0; i < nr; i++) {
		keep_target(o, i, &targets[i]);
		for (unsigned j = 0; j < targets[i].nr_addrs; j++) {
			if (is_blocked(o, &targets[i].addrs[j]))
				continue;
			if (!race_add(&o->race, i))
				break;
			o->v[n].addr = targets[i].addrs[j];
			o->v[n++].target = i;
		}
	}
	go_on(o);
}

static void on_deadline(void *arg)
{
	s2s_out_end(arg, S2S_OUT_TIMEOUT, "no stream within the time allowed");
}

static void on_blocked(void *arg)
{
	s2s_out_end(arg, S2S_OUT_REFUSED, "the domain is blocked here");
}

static void on_hopeless(void *arg)
{
	s2s_out_end(arg, S2S_OUT_NOT_FOUND, "not a domain that DNS can hold");
}

static void on_held_back(void *arg)
{
	struct s2s_out *o = arg;

	s2s_out_end(o, o->result, "it failed lately, and is not tried again yet");
}

/* Which of the three this wish is; false: no connection will be tried. */
static bool set_out(struct s2s_out *o, const char *name_ascii)
{
	uint64_t now = loop_now_ms(o->env->loop);
	int reason;

	if (blocks_domain(o->env->blocks, o->to, now)) {
		loop_timer_init(o->env->loop, &o->deadline, on_blocked, o);
	} else if (name_ascii == NULL) {
		loop_timer_init(o->env->loop, &o->deadline, on_hopeless, o);
	} else if (!backoff_may(o->env->backoff, o->to, now, &reason)) {
		o->result = (enum s2s_out_result)reason;
		loop_timer_init(o->env->loop, &o->deadline, on_held_back, o);
	} else {
		o->dialled = true;
		loop_timer_init(o->env->loop, &o->deadline, on_deadline, o);
	}
	loop_timer_set(&o->deadline, o->dialled ? o->env->limits.s2s_connect_ms : 0);
	return o->dialled;
}

void s2s_out_dial(struct s2s_out *o)
{
	char *name = jid_domain_ascii(slice_str(o->to));

	loop_timer_cancel(&o->next);
	s2s_lane_leave(&o->lane);
	if (set_out(o, name))
		o->resolve = resolve_server(o->env->resolver, name, o->place != NULL ? share_who(o->place) : SLICE_NONE, on_resolved, o);
	free(name);
}

static struct s2s_out *make(struct role_env *env, const char *from, const char *to, const struct s2s_out_ops *ops, void *arg)
{
	struct s2s_out *o = NEW(struct s2s_out);

	o->env = env;
	o->from = mem_strdup(from);
	o->to = mem_strdup(to);
	o->result = S2S_OUT_TIMEOUT;
	o->ops = ops;
	o->arg = arg;
	loop_timer_init(env->loop, &o->next, on_next, o);
	race_init(&o->race);
	return o;
}

static struct s2s_out *begin(struct s2s_out *o)
{
	if (!s2s_out_lane_find(o))
		s2s_out_dial(o);
	return o;
}

struct s2s_out *s2s_out_new(struct role_env *env, const char *from, const char *to, bool certificates_only, const struct s2s_out_ops *ops,
			    void *arg)
{
	struct s2s_out *o = make(env, from, to, ops, arg);

	o->certificates_only = certificates_only;
	return begin(o);
}

struct s2s_out *s2s_out_new_verifier(struct role_env *env, const char *from, const char *to, struct share *place,
				     const struct s2s_out_ops *ops, void *arg)
{
	struct s2s_out *o = make(env, from, to, ops, arg);

	o->place = place;
	return begin(o);
}

void s2s_out_bounds(struct s2s_out *o, uint32_t stanzas_max, uint32_t bytes_max)
{
	o->stanzas_max = stanzas_max;
	o->bytes_max = bytes_max;
}

bool s2s_out_established(const struct s2s_out *o)
{
	return o->established;
}

bool s2s_out_takes(const struct s2s_out *o)
{
	return o->lane.e != NULL ? s2s_lane_takes(&o->lane) : o->established && o->chosen != NULL && s2s_attempt_takes(o->chosen);
}

void s2s_out_send(struct s2s_out *o, struct slice xml)
{
	ASSERT(s2s_out_takes(o));
	if (o->lane.e != NULL)
		s2s_lane_send(&o->lane, xml);
	else
		s2s_attempt_send(o->chosen, xml);
}

void s2s_out_verify(struct s2s_out *o, struct slice id, struct slice key)
{
	ASSERT(o->established && o->chosen != NULL);
	free(o->verify_id);
	o->verify_id = mem_slicedup(id);
	s2s_attempt_verify(o->chosen, id, key);
}

uint64_t s2s_out_position(const struct s2s_out *o)
{
	return o->chosen ? s2s_attempt_position(o->chosen) : s2s_lane_position(&o->lane);
}

uint32_t s2s_out_max_bytes(const struct s2s_out *o)
{
	return o->chosen ? s2s_attempt_max_bytes(o->chosen) : s2s_lane_max_bytes(&o->lane);
}

bool s2s_out_is_proven(const struct s2s_out *o)
{
	return o->chosen != NULL ? s2s_attempt_is_proven(o->chosen) : o->lane.e != NULL && s2s_lane_is_proven(o->lane.e);
}

bool s2s_out_full(const struct s2s_out *o)
{
	return o->chosen != NULL ? s2s_attempt_full(o->chosen) : s2s_lane_full(&o->lane);
}

void s2s_out_cut(struct s2s_out *o)
{
	if (o != NULL && !o->over && o->chosen != NULL) {
		o->v[s2s_attempt_number(o->chosen)].attempt = NULL;
		s2s_attempt_cut(o->chosen);
	} else if (o != NULL && !o->over) {
		s2s_lane_end(&o->lane, CLOSE_DONE, true);
	}
	s2s_out_release(o);
}

void s2s_out_leave(struct s2s_out *o)
{
	if (!s2s_out_takes(o))
		return;
	if (o->dialled)
		backoff_worked(o->env->backoff, o->to);
	o->dialled = false;
	if (o->lane.e != NULL)
		s2s_lane_end(&o->lane, CLOSE_LEAVING, false);
	else
		s2s_attempt_leave(o->chosen);
}

void s2s_out_release(struct s2s_out *o)
{
	if (o == NULL || o->over)
		return;
	if (o->dialled && o->established)
		backoff_worked(o->env->backoff, o->to);
	else if (o->dialled)
		backoff_abandoned(o->env->backoff, o->to);
	let_go(o);
}
