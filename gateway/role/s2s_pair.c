#include "role/s2s_pair.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/stat.h"
#include "role/acks.h"
#include "role/s2s_in_int.h"
#include "role/s2s_out.h"
#include "route/policy.h"

/*
 * Every stanza's from and to are held against the pair before it leaves (promise 6). One that does not fit ends the pair: the service's key
 * may send from its own domains only.
 *
 * A pair that leaves for another gateway ends its stream only when the other server has read everything: the next one, over another
 * connection, can't overtake it then.
 */

#define PAIR_MAGIC 0x50414952u
#define GROWTH_MAX 64
#define LEAVE_MS 5000   /* for acknowledgements, when leaving; what has none then is repeated elsewhere */
#define RESET "reset"   /* to the service: what it does not admit any more ends */

struct pair {
	unsigned magic;
	struct role_env *env;
	char *from, *to;
	struct link_end end;          /* the service that sends */
	struct s2s_out *out;
	struct acks acks;
	unsigned nr_repeated;         /* not told in the log yet */
	uint32_t max_bytes;           /* that the remote takes (XEP-0478); 0: it has not said */
	bool leaving, over;
	bool strict, resetting;       /* certificates alone; it was not opened so, and what stands won't do */
	struct loop_timer patience;   /* leaving, resetting */
	struct pair *next, **prev;    /* env->pairs */
};

static struct pair *pair_of(struct link_end *end)
{
	struct pair *p = container_of(end, struct pair, end);

	OBJ_CHECK(p, PAIR_MAGIC);
	return p;
}

static void free_pair(void *arg)
{
	struct pair *p = arg;

	free(p->from);
	free(p->to);
	acks_clear(&p->acks);
	p->magic = 0;
	free(p);
}

/* Nothing in XMPP tells the other server: whoever wonders why something came twice finds it here. */
static void tell_repeated(struct pair *p)
{
	if (p->nr_repeated > 0)
		log_info("s2s-out", 0, "repeated", "from=%s to=%s stanzas=%u", log_escape(slice_str(p->from)),
			 log_escape(slice_str(p->to)), p->nr_repeated);
	p->nr_repeated = 0;
}

static void finish(struct pair *p)
{
	if (p->over)
		return;
	p->over = true;
	p->env->nr_leaving -= p->leaving;
	loop_timer_cancel(&p->patience);
	*p->prev = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	stat_add(STAT_s2s_unacknowledged, (uint64_t)0 - acks_count(&p->acks));
	tell_repeated(p);
	s2s_out_release(p->out);
	p->out = NULL;
	loop_reap(p->env->loop, free_pair, p);
	links_touch(p->env->links);
}

/* What the service may send: its stanza is written anew before it leaves, and may grow a little if it was not written as we do. */
static uint32_t narrowed(uint32_t max_bytes)
{
	return max_bytes > GROWTH_MAX ? max_bytes - GROWTH_MAX : max_bytes > 0 ? 1 : 0;
}

static void on_established(void *arg)
{
	struct pair *p = arg;

	p->max_bytes = s2s_out_max_bytes(p->out);
	if (p->end.stream != NULL)
		(void)svc_stream_accept_narrow(p->end.stream, NULL, narrowed(p->max_bytes));
	links_touch(p->env->links);
}

static void on_ended(void *arg, enum s2s_out_result r, const char *why)
{
	static const struct { const char *type, *condition; } errors[] = {
		[S2S_OUT_NOT_FOUND] = {"cancel", "remote-server-not-found"},
		[S2S_OUT_TIMEOUT] = {"wait", "remote-server-timeout"},
		[S2S_OUT_REFUSED] = {"cancel", "remote-server-timeout"},
		[S2S_OUT_INVALID] = {"cancel", "internal-server-error"},
		[S2S_OUT_STALLED] = {"wait", "remote-server-timeout"},
	};
	struct pair *p = arg;
	struct svc_stream *s = p->end.stream;
	struct svc_refusal refusal = {.type = errors[r].type, .condition = errors[r].condition, .text = why};

	p->out = NULL;
	p->end.stream = NULL;
	if (acks_count(&p->acks) > 0)
		log_info("s2s-out", 0, "unacknowledged", "from=%s to=%s stanzas=%u", log_escape(slice_str(p->from)),
			 log_escape(slice_str(p->to)), acks_count(&p->acks));
	if (s != NULL) {
		svc_stream_set_data(s, NULL);
		/* Refused before it was accepted, closed after: an error from the first means just the other. */
		if (svc_stream_refuse(s, &refusal) != 0)
			(void)svc_stream_close(s, p->leaving ? "system-shutdown" : r == S2S_OUT_STALLED ? "connection-timeout"
							: "remote-connection-failed", why);
	}
	finish(p);
}

static void acknowledge(struct pair *p, uint32_t seq)
{
	stat_add(STAT_s2s_unacknowledged, (uint64_t)-1);
	(void)svc_stream_ack(p->end.stream, seq);
}

/* The remote's stream is left to those who may use it. */
static void reset(struct pair *p)
{
	links_release(&p->end, RESET, "certificates only");
	finish(p);
}

/* Something may have been acknowledged. */
static void acknowledged(struct pair *p)
{
	if (acks_count(&p->acks) == 0)
		tell_repeated(p);
	if (p->resetting && acks_count(&p->acks) == 0)
		reset(p);
	else if (p->leaving && acks_count(&p->acks) == 0)
		s2s_out_leave(p->out);
	links_touch(p->env->links);
}

static void on_acked(void *arg, uint64_t pos)
{
	struct pair *p = arg;
	uint32_t seq;

	while (p->end.stream != NULL && acks_pop(&p->acks, pos, &seq))
		acknowledge(p, seq);
	acknowledged(p);
}

/* In the order they were sent. */
static void on_handled(void *arg, uint32_t nr)
{
	struct pair *p = arg;
	uint32_t seq;

	for (; nr > 0 && p->end.stream != NULL && acks_pop(&p->acks, UINT64_MAX, &seq); nr--)
		acknowledge(p, seq);
	acknowledged(p);
}

static void on_drained(void *arg)
{
	struct pair *p = arg;

	if (p->end.stream != NULL && !p->leaving && !p->resetting)
		svc_stream_pause(p->end.stream, false);
	links_touch(p->env->links);
}

static const struct s2s_out_ops out_ops = {
	.established = on_established,
	.ended = on_ended,
	.acked = on_acked,
	.handled = on_handled,
	.drained = on_drained,
};

static void end_stanza(struct link_end *end, uint32_t seq, unsigned flags, struct slice xml)
{
	struct pair *p = pair_of(end);
	struct buf out;

	/* Behind our closing tag nothing is said: it is not acknowledged, and comes again over the next stream. */
	if (p->leaving || p->resetting || !s2s_out_takes(p->out)) {
		svc_stream_pause(end->stream, true);
		return;
	}
	buf_init(&out, xml.n + 4096);
	if (policy_to_server(xml, &p->env->limits.from_service, slice_str(p->from), slice_str(p->to), &out) != 0) {
		log_warn("s2s-out", 0, "stanza", "from=%s to=%s why=\"the stanza's addresses are not this pair's\"",
			 log_escape(slice_str(p->from)), log_escape(slice_str(p->to)));
		links_release(end, "invalid-from", "a stanza's addresses are not this pair's");
		finish(p);
	} else if (p->max_bytes > 0 && buf_len(&out) > p->max_bytes) {
		links_release(end, "policy-violation", "a stanza is larger than the other server takes");
		finish(p);
	} else {
		stat_add(STAT_stanzas_out, 1);
		if (flags & SVC_REPEATED) {
			stat_add(STAT_stanzas_repeated, 1);
			p->nr_repeated++;
		} else {
			tell_repeated(p);
		}
		s2s_out_send(p->out, buf_slice(&out));
		acks_push(&p->acks, s2s_out_position(p->out), seq);
		stat_add(STAT_s2s_unacknowledged, 1);
		if (s2s_out_full(p->out))
			svc_stream_pause(end->stream, true);
	}
	buf_clear(&out);
}

static void end_closed(struct link_end *end, const char *condition, const char *text, bool link_lost)
{
	struct pair *p = pair_of(end);

	(void)condition;
	(void)text;
	/* Not when all arrived: others may send over the same stream. */
	if (link_lost && acks_count(&p->acks) > 0) {
		s2s_out_cut(p->out);
		p->out = NULL;
	}
	finish(p);
}

/* We open nothing towards this service and send nothing on this stream. */
static void end_never(struct link_end *end, uint32_t seq)
{
	(void)end;
	(void)seq;
}

static void end_writable(struct link_end *end)
{
	(void)end;
}

static const struct link_end_ops end_ops = {
	.stanza = end_stanza,
	.acked = end_never,
	.writable = end_writable,
	.closed = end_closed,
};

static void on_patience(void *arg)
{
	struct pair *p = arg;

	if (p->resetting)
		reset(p);
	else
		s2s_out_leave(p->out);
}

void s2s_pair_open(struct role_env *env, struct svc_stream *s, const struct svc_open *o)
{
	struct svc_link *link = svc_stream_link(s);
	const struct svc_hello *peer = link != NULL ? svc_link_peer(link) : NULL;
	struct pair *p = NEW(struct pair);

	p->magic = PAIR_MAGIC;
	p->env = env;
	p->strict = o->certificates_only || links_certificates_only(env->links, o->from_domain);
	p->from = mem_strdup(o->from_domain);
	p->to = mem_strdup(o->to_domain);
	p->end.ops = &end_ops;
	loop_timer_init(env->loop, &p->patience, on_patience, p);
	p->next = env->pairs;
	p->prev = &env->pairs;
	if (p->next != NULL)
		p->next->prev = &p->next;
	env->pairs = p;
	links_attach(s, &p->end);
	p->out = s2s_out_new(env, p->from, p->to, p->strict, &out_ops, p);
	s2s_out_bounds(p->out, peer != NULL ? peer->unacked_stanzas_max : SVC_UNACKED_STANZAS,
		       peer != NULL ? peer->unacked_bytes_max : SVC_UNACKED_BYTES);
}

static void leave(struct pair *p)
{
	if (p->leaving || p->over)
		return;
	p->leaving = true;
	p->env->nr_leaving++;
	if (!s2s_out_established(p->out)) { /* it gets nowhere here, but the service's stanzas need not come back for that */
		links_release(&p->end, "system-shutdown", NULL);
		finish(p);
		return;
	}
	loop_timer_set(&p->patience, LEAVE_MS);
	acknowledged(p);
}

void s2s_pairs_leave(struct role_env *env)
{
	struct pair *p, *next;

	for (p = env->pairs; p != NULL; p = next) {
		next = p->next;   /* freed at the turn's end at the earliest */
		leave(p);
	}
}

static void restrict_pair(struct pair *p)
{
	bool stands = s2s_out_established(p->out);

	if (stands && s2s_out_is_proven(p->out)) {
		p->strict = true;
		return;
	}
	log_info("s2s-out", 0, "policy-changed", "from=%s to=%s unacknowledged=%u", log_escape(slice_str(p->from)),
		 log_escape(slice_str(p->to)), acks_count(&p->acks));
	p->resetting = true;
	if (!stands || acks_count(&p->acks) == 0)
		reset(p);
	else
		loop_timer_set(&p->patience, LEAVE_MS);
}

static void restrict_edges(struct role_env *env, const char *domain)
{
	struct edge_walk walk;
	struct edge *e;

	edge_walk_begin(env, &walk);
	while ((e = edge_walk_next(&walk)) != NULL) {
		if (e->kind != STREAM_C2S && !e->ended && e->stream != NULL && s2s_in_is_too_lax((struct s2s_in *)e, domain))
			edge_close(e, CLOSE_POLICY_CHANGED);
	}
	edge_walk_end(&walk);
}

/* Pairs first: what is on its way is acknowledged where only they go. */
void s2s_pairs_restrict(struct role_env *env, const char *from)
{
	struct pair *p, *next;

	for (p = env->pairs; p != NULL; p = next) {
		next = p->next;   /* freed at the turn's end at the earliest */
		if (!p->strict && !p->over && !p->leaving && !p->resetting && strcmp(p->from, from) == 0)
			restrict_pair(p);
	}
	restrict_edges(env, from);
}
