/*
 * What becomes of streams without a link: the hub's events, for sessions and for pairs of domains. A session outlives its client's
 * connection and its gateway; a stream to another domain waits a little for its gateway and then ends, to be opened at another one.
 */
#include "svcproto/client.h"

static void on_detached(void *arg, struct svc_stream *s)
{
	if (!svc_stream_is_ours(s))
		client_inbound_detached(arg, s);
}

static void on_attached(void *arg, struct svc_stream *s, const struct svc_resume *r)
{
	if (svc_stream_is_ours(s))
		client_pair_writable(arg, s);
	else
		client_inbound_attached(arg, s, r);
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	if (svc_stream_is_ours(s))
		client_pair_closed(arg, s, condition, true);
	else
		client_inbound_closed(arg, s, condition, text);
}

static const char *on_full_jid(void *arg, const struct svc_stream *s)
{
	(void)arg;
	return client_inbound_jid(s);
}

static const struct svc_hub_ops hub_ops = {
	.detached = on_detached, .attached = on_attached, .closed = on_closed, .full_jid = on_full_jid,
};

int client_hub_start(struct svcproto *sp, const struct svcproto_options *o)
{
	struct svc_hub_limits limits = { .resume_s_max = o->resume_seconds_max, .detached_max = o->detached_sessions_max,
					 .detached_bytes_max = o->detached_bytes_max,
					 .held_bytes_max = o->held_bytes_max };

	sp->ack_after_ms = o->ack_after_ms;
	sp->pair_bytes_max = (o->held_bytes_max != 0 ? o->held_bytes_max : SVC_HELD_BYTES) / 4;
	sp->hub = svc_hub_new(SVC_SERVICE, &sp->hello, &limits, &hub_ops, sp);
	return sp->hub != NULL ? 0 : SVCPROTO_E_NOMEM;
}
