#include "common/log.h"
#include "role/s2s_in_int.h"
#include "role/s2s_lane.h"

/*
 * A remote server's stream management (XEP-0198). Only this gateway knows of it: the stream can't be resumed, so that the service need not.
 * What it has handled it says anyway; from <enable/> on that is counted. The stream machine sees to it that there is one pair.
 */

void s2s_in_sm_begin(struct s2s_in *in)
{
	in->h = 0;
	in->nr_before = in->pairs != NULL ? in->pairs->sent - in->pairs->acked : 0;
}

void s2s_in_op_sm_enable(void *arg, uint32_t resume_s)
{
	struct s2s_in *in = s2s_in_of(arg);

	(void)resume_s;
	in->sent = in->handled = 0;
	in->stanzas_max = SVC_UNACKED_STANZAS;
	in->bytes_max = SVC_UNACKED_BYTES;
	s2s_in_sm_begin(in);
	stream_sm_enabled(in->e.stream, NULL, 0);
	log_info("s2s-in", in->e.id, "managed", "domain=%s", log_escape(slice_str(stream_peer_domain(in->e.stream))));
	edge_kick(&in->e);
}

/* What was said before is let pass; a greater step than there are stanzas is no truth. */
bool s2s_in_op_sm_handled(void *arg, uint32_t h)
{
	struct s2s_in *in = s2s_in_of(arg);

	if (h - in->handled > in->sent - in->handled)
		return in->handled - h <= in->stanzas_max;
	in->handled = h;
	s2s_lanes_handled(&in->e, h);
	return true;
}

void s2s_in_op_sm_counts(void *arg, struct stream_counts *out)
{
	struct s2s_in *in = s2s_in_of(arg);

	*out = (struct stream_counts){
		.h = in->h,
		.sent = in->sent,
		.unhandled = in->sent - in->handled,
		.stanzas_max = in->stanzas_max,
		.bytes_max = in->bytes_max,
	};
}

uint32_t s2s_lane_count(struct edge *e)
{
	return s2s_in_of(e)->sent++;
}

void s2s_in_sm_acked(struct in_pair *p, uint32_t seq)
{
	struct s2s_in *in = p->in;
	uint32_t n = seq - p->acked, before = n < in->nr_before ? n : in->nr_before;

	p->acked = seq;
	in->nr_before -= before;
	in->h += n - before;
	stream_sm_grown(in->e.stream);
}
