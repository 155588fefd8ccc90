#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "role/c2s_int.h"
#include "stream/base64.h"

/*
 * A client's stream management (XEP-0198), glued to the service's stream, which keeps all counts. The id by which a client resumes is the
 * service instance's and the stream's: any gateway finds the way from it, and the service looks who may. "failed" is never said for want of
 * a link: it would make the client give up a session that is still there.
 */

#define ID_BYTES 32
#define ID_TEXT 44           /* in base64 */

/* --- enabling ---------------------------------------------------------------- */

/* The bounds that the service holds itself to: when we ask, a part of them is used up. */
static void learn_bounds(struct c2s *c)
{
	struct svc_link *link = svc_stream_link(c->end.stream);
	const struct svc_hello *peer = link != NULL ? svc_link_peer(link) : NULL;

	c->stanzas_max = peer != NULL ? peer->unacked_stanzas_max : SVC_UNACKED_STANZAS;
	c->bytes_max = peer != NULL ? peer->unacked_bytes_max : SVC_UNACKED_BYTES;
}

void c2s_op_sm_enable(void *arg, uint32_t resume_s)
{
	struct c2s *c = c2s_of(arg);

	c->asked = true;
	if (c->end.stream == NULL || svc_stream_enable(c->end.stream, resume_s) != 0)
		stream_sm_failed(c->e.stream, "internal-server-error", NULL);
	links_touch(c->e.env->links);
}

static void id_write(const struct c2s *c, char *out)
{
	char bytes[ID_BYTES];
	struct buf text;

	memcpy(bytes, &c->instance, sizeof c->instance);
	memcpy(bytes + sizeof c->instance, svc_stream_id(c->end.stream), sizeof(struct svc_id));
	buf_init(&text, ID_TEXT);
	if (base64_encode(&text, (struct slice){bytes, sizeof bytes}) != 0)
		ASSERT(false);
	memcpy(out, buf_slice(&text).p, ID_TEXT);
	out[ID_TEXT] = '\0';
	buf_clear(&text);
}

static bool id_read(struct slice text, struct svc_id *instance, struct svc_id *stream)
{
	struct buf bytes;
	bool ok;

	buf_init(&bytes, ID_BYTES);
	ok = text.n == ID_TEXT && base64_decode(&bytes, text) == 0 && buf_len(&bytes) == ID_BYTES;
	if (ok) {
		memcpy(instance, buf_slice(&bytes).p, sizeof *instance);
		memcpy(stream, buf_slice(&bytes).p + sizeof *instance, sizeof *stream);
	}
	buf_clear(&bytes);
	return ok;
}

void c2s_end_enabled(struct link_end *end, uint32_t resume_s)
{
	struct c2s *c = c2s_of_end(end);
	char id[ID_TEXT + 1];

	learn_bounds(c);
	c->managed = true;
	id_write(c, id);
	stream_sm_enabled(c->e.stream, resume_s > 0 ? id : NULL, resume_s);
	log_info("c2s", c->e.id, "managed", "resumable=%us", (unsigned)resume_s);
	edge_kick(&c->e);
}

/* --- counting ------------------------------------------------------------------ */

bool c2s_op_sm_handled(void *arg, uint32_t h)
{
	struct c2s *c = c2s_of(arg);
	bool ok = c->end.stream == NULL || svc_stream_client_h(c->end.stream, h) != SVCPROTO_E_INVALID;

	links_touch(c->e.env->links);
	return ok;
}

void c2s_op_sm_counts(void *arg, struct stream_counts *out)
{
	struct c2s *c = c2s_of(arg);

	if (c->end.stream == NULL)
		return;
	out->h = svc_stream_h(c->end.stream);
	out->sent = svc_stream_sent_h(c->end.stream);
	out->unhandled = svc_stream_nr_unhandled(c->end.stream);
	out->stanzas_max = c->stanzas_max;
	out->bytes_max = c->bytes_max;
}

/* --- resuming ------------------------------------------------------------------ */

static const char *domain_of(const char *bare_jid)
{
	const char *at = strchr(bare_jid, '@');

	return at != NULL ? at + 1 : bare_jid;
}

void c2s_op_sm_resume(void *arg, struct slice id, uint32_t h)
{
	struct c2s *c = c2s_of(arg);
	struct svc_resume r = {
		.mechanism = c->mechanism,
		.address = conn_peer_text(c->e.conn),
		.secure = stream_secure(c->e.stream),
		.h = h,
	};
	char *bare = mem_slicedup(stream_jid(c->e.stream)->bare);
	int err;

	c->claimed = h;
	r.bare_jid = bare;
	if (!id_read(id, &c->instance, &r.stream_id) || !links_knows(c->e.env->links, &c->instance, domain_of(bare))) {
		free(bare);
		stream_sm_failed(c->e.stream, "item-not-found", NULL);
		edge_kick(&c->e);
		return;
	}
	err = links_resume(c->e.env->links, &c->instance, &r, &c->end);
	free(bare);
	c->resuming = err == 0;
	if (err == 0)
		return;
	log_info("c2s", c->e.id, "resume-refused", "why=\"%s\"",
		 err == -ERR_LIMIT ? "the service's link is full" : "no link to the service");
	stream_close_with(c->e.stream, err == -ERR_LIMIT ? "resource-constraint" : "remote-connection-failed", "try again");
	edge_kick(&c->e);
}

void c2s_end_resumed(struct link_end *end, const char *full_jid)
{
	struct c2s *c = c2s_of_end(end);
	char id[ID_TEXT + 1];

	c->resuming = false;
	c->managed = c->asked = true;
	learn_bounds(c);
	id_write(c, id);
	log_info("c2s", c->e.id, "resumed", "jid=%s", log_escape(slice_str(full_jid)));
	stream_sm_resumed(c->e.stream, id, full_jid, svc_stream_h(end->stream));
	edge_kick(&c->e);
}

void c2s_resume_refused(struct c2s *c, const struct svc_refusal *r)
{
	c->resuming = false;
	log_info("c2s", c->e.id, "resume-refused", "condition=%s", log_escape(slice_str(r->condition)));
	if (r->stream_error && r->counted)
		stream_sm_too_high(c->e.stream, c->claimed, r->sent);
	else if (r->stream_error || (r->type != NULL && strcmp(r->type, "wait") == 0))
		stream_close_with(c->e.stream, r->condition, r->text);
	else
		stream_sm_failed(c->e.stream, r->condition, r->counted ? &r->h : NULL);
	edge_kick(&c->e);
}

/* --- leaving ------------------------------------------------------------------- */

/* Whoever said goodbye, or broke the rules, does not come back to this session. */
static bool may_come_back(enum close_reason r)
{
	switch (r) {
	case CLOSE_EOF:
	case CLOSE_LOST:
	case CLOSE_TLS_FAILED: /* within a session: what somebody on the way can do to it, as a reset */
	case CLOSE_SHUTDOWN:
	case CLOSE_MOVED:
	case CLOSE_SLOW_READER:
	case CLOSE_STALLED:
	case CLOSE_SERVICE_STALLED:
	case CLOSE_TIMEOUT_ACK:
	case CLOSE_TIMEOUT_IDLE:
	case CLOSE_TIMEOUT_STANZA:
	case CLOSE_UNFINISHED:
		return true;
	default:
		return false;
	}
}

void c2s_leave(struct c2s *c, enum close_reason r)
{
	if (may_come_back(r) && (c->resuming || c->managed))
		links_detach(&c->end);
	else
		links_release(&c->end, NULL, NULL);
	links_touch(c->e.env->links);
}
