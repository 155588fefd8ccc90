#include "common/log.h"
#include "role/s2s_in_int.h"

/*
 * A remote server's stream management (XEP-0198). Only this gateway knows of it: the stream can't be resumed, so that the service need not.
 * What it has handled it says anyway; from <enable/> on that is counted. The stream machine sees to it that there is one pair.
 */

void s2s_in_op_sm_enable(void *arg, uint32_t resume_s)
{
	struct s2s_in *in = s2s_in_of(arg);

	(void)resume_s;
	in->h = 0;
	in->nr_before = in->pairs != NULL ? in->pairs->sent - in->pairs->acked : 0;
	stream_sm_enabled(in->e.stream, NULL, 0);
	log_info("s2s-in", in->e.id, "managed", "domain=%s", log_escape(slice_str(stream_peer_domain(in->e.stream))));
	edge_kick(&in->e);
}

/* Nothing is sent this way. */
bool s2s_in_op_sm_handled(void *arg, uint32_t h)
{
	(void)arg;
	return h == 0;
}

void s2s_in_op_sm_counts(void *arg, struct stream_counts *out)
{
	out->h = s2s_in_of(arg)->h;
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
