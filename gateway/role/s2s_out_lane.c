#include "role/s2s_out_int.h"

#include "common/log.h"
#include "role/blocks.h"

/* The wish's other way than dialling: a place on a stream that leads there already. What does not work out is dialled. */

#define LANE_MS 8000   /* for an answer */

/* It need not be asked again with every connection. */
void s2s_out_lane_refused(struct s2s_out *o, const char *condition)
{
	log_info("s2s-out", 0, "lane-refused", "from=%s to=%s condition=%s", log_escape(slice_str(o->from)), log_escape(slice_str(o->to)),
		 condition);
	s2s_ways_alone(&o->env->ways, o->from, o->to, loop_now_ms(o->env->loop));
	s2s_out_dial(o);
}

static void on_lane_answered(void *arg, enum stream_verdict v, const char *detail)
{
	struct s2s_out *o = arg;

	loop_timer_cancel(&o->next);
	if (v == STREAM_DB_VALID) {
		o->established = true;
		o->established_at_ms = loop_now_ms(o->env->loop);
		o->ops->established(o->arg);
	} else if (v == STREAM_DB_INVALID) {
		s2s_out_end(o, S2S_OUT_INVALID, close_word(CLOSE_KEY_REFUSED));
	} else {
		s2s_out_lane_refused(o, detail);
	}
}

static void on_lane_ended(void *arg, enum close_reason r)
{
	struct s2s_out *o = arg;

	if (o->established)
		s2s_out_broke(o, r, close_word(r));
	else
		s2s_out_dial(o);
}

static void on_lane_acked(void *arg, uint64_t pos)
{
	struct s2s_out *o = arg;

	o->ops->acked(o->arg, pos);
}

static void on_lane_handled(void *arg, uint32_t nr)
{
	struct s2s_out *o = arg;

	o->took_stanzas = true;
	o->ops->handled(o->arg, nr);
}

static void on_lane_drained(void *arg)
{
	struct s2s_out *o = arg;

	o->ops->drained(o->arg);
}

static const struct s2s_lane_ops lane_ops = {
	.answered = on_lane_answered,
	.acked = on_lane_acked,
	.handled = on_lane_handled,
	.drained = on_lane_drained,
	.ended = on_lane_ended,
};

/* A verification is not for sharing. Blocked domains are dialled, so to say: that finds out. */
bool s2s_out_lane_find(struct s2s_out *o)
{
	uint64_t now = loop_now_ms(o->env->loop);
	bool found;

	s2s_lane_init(&o->lane, o->from, o->to, &lane_ops, o);
	o->lane.certificates_only = o->certificates_only;
	found = o->place == NULL && !blocks_domain(o->env->blocks, o->to, now) && s2s_lane_find(&o->lane, o->env);
	if (found)
		loop_timer_set(&o->next, LANE_MS);
	return found;
}
