#include "role/s2s_lane.h"

#include "common/log.h"
#include "common/stat.h"
#include "role/edge.h"
#include "role/s2s_ways.h"

/* Nothing here makes or closes a stream: that is its role's business, which is told when the last lane has gone (edge_ops.unused). */

static void on_opened(void *arg)
{
	struct s2s_lane *l = arg;

	l->ops->answered(l->arg, STREAM_DB_VALID, NULL);
}

void s2s_lane_init(struct s2s_lane *l, const char *from, const char *to, const struct s2s_lane_ops *ops, void *arg)
{
	*l = (struct s2s_lane){.from = from, .to = to, .ops = ops, .arg = arg};
	loop_task_init(&l->opened, on_opened, l);
}

bool s2s_lane_is_proven(const struct edge *e)
{
	return e->kind == STREAM_S2S_OUT && e->proof != NULL && strcmp(e->proof, "dialback") != 0;
}

/*
 * Where we may already send, at once; where we may ask, when that is answered. A stream that the remote made is among the ways only where
 * its domain's TLSA records allow that (s2s_in_auth.c).
 */
static bool fits(void *arg, struct edge *e)
{
	struct s2s_lane *l = arg;
	struct role_env *env = e->env;

	/* What a remote counts (XEP-0198) are one sender's stanzas, also where another instance sends for the same pair. */
	if (e->ended || e->nr_senders >= (stream_managed(e->stream) ? 1 : S2S_LANES_MAX) ||
	    stream_state(e->stream) != STREAM_ESTABLISHED)
		return false;
	if (l->certificates_only && !s2s_lane_is_proven(e))
		return false;
	l->open = e->kind == STREAM_S2S_IN ? stream_bidi(e->stream) && stream_pair_ok(e->stream, l->to, l->from)
					   : stream_pair_given(e->stream, l->from, l->to);
	if (l->open || e->kind == STREAM_S2S_IN)
		return l->open;
	return !s2s_ways_is_alone(&env->ways, l->from, l->to, loop_now_ms(env->loop)) && stream_ask_pair(e->stream, l->from, l->to);
}

bool s2s_lane_find(struct s2s_lane *l, struct role_env *env)
{
	struct edge *e = s2s_ways_find(&env->ways, l->to, fits, l);

	if (e == NULL)
		return false;
	log_info(e->role, e->id, "lane", "from=%s to=%s way=%s", log_escape(slice_str(l->from)), log_escape(slice_str(l->to)),
		 e->kind == STREAM_S2S_IN ? "back" : l->open ? "known" : "asked");
	l->e = e;
	l->nr_sent = l->nr_handled = 0;
	l->by_tcp = !stream_managed(e->stream);
	l->next = e->lanes;
	l->prev = &e->lanes;
	if (l->next != NULL)
		l->next->prev = &l->next;
	e->lanes = l;
	e->nr_senders++;
	stat_add(STAT_s2s_lanes, 1);
	if (l->open)
		loop_task_queue_next(env->loop, &l->opened);
	else
		edge_kick(e);
	return true;
}

/* Without a word to the role. */
static struct edge *take_off(struct s2s_lane *l)
{
	struct edge *e = l->e;

	if (e == NULL)
		return NULL;
	loop_task_cancel(e->env->loop, &l->opened);
	*l->prev = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
	l->e = NULL;
	l->open = false;
	e->nr_senders--;
	stat_add(STAT_s2s_lanes, (uint64_t)-1);
	return e;
}

void s2s_lane_leave(struct s2s_lane *l)
{
	struct edge *e = take_off(l);

	if (e != NULL && e->lanes == NULL && !e->ended && e->ops->unused != NULL)
		e->ops->unused(e);
}

bool s2s_lane_takes(const struct s2s_lane *l)
{
	return l->e != NULL && l->open && !l->e->ended && stream_state(l->e->stream) == STREAM_ESTABLISHED;
}

void s2s_lane_send(struct s2s_lane *l, struct slice xml)
{
	bool managed = s2s_lane_takes(l) && stream_managed(l->e->stream);

	ASSERT(s2s_lane_takes(l));
	conn_send(l->e->conn, xml);
	if (managed) {
		uint32_t before = s2s_lane_count(l->e);

		if (l->nr_sent++ == 0)
			l->first = before;
	}
	stream_sent(l->e->stream, xml.n, loop_now_ms(l->e->env->loop));
	if (managed)
		edge_kick(l->e); /* an <r/> may be due later */
	if (!managed || l->by_tcp)
		conn_watch_acks(l->e->conn);
}

uint64_t s2s_lane_position(const struct s2s_lane *l)
{
	return l->e != NULL && l->e->conn != NULL ? conn_position(l->e->conn) : 0;
}

bool s2s_lane_full(const struct s2s_lane *l)
{
	return l->e != NULL && l->e->conn != NULL && conn_full(l->e->conn);
}

void s2s_lane_end(struct s2s_lane *l, enum close_reason r, bool cut)
{
	if (l->e == NULL)
		return;
	l->e->cut |= cut;
	edge_close(l->e, r);
}

uint32_t s2s_lane_max_bytes(const struct s2s_lane *l)
{
	return l->e != NULL ? stream_peer_max_bytes(l->e->stream) : 0;
}

/* --- what the stream says ---------------------------------------------------- */

void s2s_lanes_answered(struct edge *e, const char *from, const char *to, enum stream_verdict v, const char *detail)
{
	struct s2s_lane *l = e->lanes;

	while (l != NULL && (l->open || strcmp(l->from, from) != 0 || strcmp(l->to, to) != 0))
		l = l->next;
	if (v == STREAM_DB_INVALID)
		s2s_ways_alone(&e->env->ways, from, to, loop_now_ms(e->env->loop));
	/* nobody: who asked did not wait for it */
	if (l == NULL)
		return;
	if (v == STREAM_DB_VALID)
		l->open = true;
	else
		s2s_lane_leave(l);
	l->ops->answered(l->arg, v, detail);
}

/* One lane at most waits for this: the next one came when it had left. */
void s2s_lanes_handled(struct edge *e, uint32_t h)
{
	for (struct s2s_lane *l = e->lanes, *next; l != NULL; l = next) {
		uint32_t nr = l->nr_sent - l->nr_handled, new = h - l->first - l->nr_handled;

		next = l->next;
		if (l->by_tcp || nr == 0 || new > nr) /* none of its own yet */
			continue;
		l->nr_handled += new;
		if (new > 0)
			l->ops->handled(l->arg, new);
	}
}

/* A callback may take its own lane off, and no other. */
void s2s_lanes_acked(struct edge *e, uint64_t pos)
{
	for (struct s2s_lane *l = e->lanes, *next; l != NULL; l = next) {
		next = l->next;
		if (l->open && (l->by_tcp || !stream_managed(e->stream)))
			l->ops->acked(l->arg, pos);
	}
}

void s2s_lanes_drained(struct edge *e)
{
	for (struct s2s_lane *l = e->lanes, *next; l != NULL; l = next) {
		next = l->next;
		if (l->open)
			l->ops->drained(l->arg);
	}
}

void s2s_lanes_ended(struct edge *e, enum close_reason r)
{
	while (e->lanes != NULL) {
		struct s2s_lane *l = e->lanes;

		(void)take_off(l);
		l->ops->ended(l->arg, r);
	}
}
