#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "role/c2s_int.h"
#include "role/ends.h"
#include "stream/base64.h"

/*
 * A client's stream management (XEP-0198), glued to the service's stream, which keeps all counts. The id by which a client resumes is the
 * service instance's and the stream's: any gateway finds the way from it, and the service looks who may. "failed" is never said for want of
 * a link: it would make the client give up a session that is still there. A question that was lost with its link is asked again over the
 * next one.
 */

#define ID_BYTES 32
#define ID_TEXT 44           /* in base64 */
#define AGAIN_MS 500         /* between two looks whether a link is back */
#define PATIENCE_MS 10000    /* for it; less than clients have, more than it takes to learn that an instance has died */

struct c2s_resuming {
	struct svc_id stream;
	uint32_t h;              /* that the client claims */
	uint64_t until_ms;       /* 0 as long as no link was lost */
	struct loop_timer again;
};

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

static void resuming_end(struct c2s *c)
{
	if (c->resuming != NULL)
		loop_timer_cancel(&c->resuming->again);
	free(c->resuming);
	c->resuming = NULL;
}

/* -ERR_NOTFOUND: the instance is no more; else as links_resume. */
static int ask(struct c2s *c)
{
	char *bare = mem_slicedup(stream_jid(c->e.stream)->bare);
	struct svc_resume r = {
		.stream_id = c->resuming->stream,
		.bare_jid = bare,
		.mechanism = c->mechanism,
		.address = conn_peer_text(c->e.conn),
		.secure = stream_secure(c->e.stream),
		.h = c->resuming->h,
	};
	int err = -ERR_NOTFOUND;

	if (links_knows(c->e.env->links, &c->instance, domain_of(bare)))
		err = links_resume(c->e.env->links, &c->instance, &r, &c->end);
	free(bare);
	return err;
}

/* It is not, and this is why. */
static void not_resumed(struct c2s *c, int err)
{
	resuming_end(c);
	if (err == -ERR_NOTFOUND) {
		stream_sm_failed(c->e.stream, "item-not-found", NULL);
	} else {
		log_info("c2s", c->e.id, "resume-refused", "why=\"%s\"",
			 err == -ERR_LIMIT ? "the service's link is full" : "no link to the service");
		stream_close_with(c->e.stream, err == -ERR_LIMIT ? "resource-constraint" : "remote-connection-failed", "try again");
	}
	edge_kick(&c->e);
}

static void on_again(void *arg)
{
	struct c2s *c = c2s_of(arg);
	int err;

	if (stream_state(c->e.stream) != STREAM_WAIT_BIND) /* it is being closed */
		return;
	err = ask(c);
	if (err == -ERR_AGAIN && loop_now_ms(c->e.env->loop) < c->resuming->until_ms)
		loop_timer_set(&c->resuming->again, AGAIN_MS);
	else if (err != 0)
		not_resumed(c, err);
}

void c2s_op_sm_resume(void *arg, struct slice id, uint32_t h)
{
	struct c2s *c = c2s_of(arg);
	int err;

	c->resuming = NEW(struct c2s_resuming);
	c->resuming->h = h;
	loop_timer_init(c->e.env->loop, &c->resuming->again, on_again, c);
	err = id_read(id, &c->instance, &c->resuming->stream) ? ask(c) : -ERR_NOTFOUND;
	if (err != 0)
		not_resumed(c, err);
}

/* Not at once: the link is still among those that are up, or the process has ended and that is not known yet. */
void c2s_resume_lost(struct c2s *c)
{
	uint64_t now = loop_now_ms(c->e.env->loop);

	if (c->resuming->until_ms == 0)
		c->resuming->until_ms = now + PATIENCE_MS;
	if (now < c->resuming->until_ms)
		loop_timer_set(&c->resuming->again, AGAIN_MS);
	else
		not_resumed(c, -ERR_AGAIN);
}

void c2s_end_resumed(struct link_end *end, const char *full_jid)
{
	struct c2s *c = c2s_of_end(end);
	char id[ID_TEXT + 1];

	resuming_end(c);
	c->managed = c->asked = true;
	learn_bounds(c);
	id_write(c, id);
	log_info("c2s", c->e.id, "resumed", "jid=%s", log_escape(slice_str(full_jid)));
	stream_sm_resumed(c->e.stream, id, full_jid, svc_stream_h(end->stream));
	edge_kick(&c->e);
}

void c2s_resume_refused(struct c2s *c, const struct svc_refusal *r)
{
	uint32_t claimed = c->resuming->h;

	resuming_end(c);
	log_info("c2s", c->e.id, "resume-refused", "condition=%s", log_escape(slice_str(r->condition)));
	if (r->stream_error && r->counted)
		stream_sm_too_high(c->e.stream, claimed, r->sent);
	else if (r->stream_error || (r->type != NULL && strcmp(r->type, "wait") == 0))
		stream_close_with(c->e.stream, r->condition, r->text);
	else
		stream_sm_failed(c->e.stream, r->condition, r->counted ? &r->h : NULL);
	edge_kick(&c->e);
}

/* --- leaving ------------------------------------------------------------------- */

void c2s_leave(struct c2s *c, enum close_reason r)
{
	if (ends_may_come_back(r) && (c->resuming != NULL || c->managed)) {
		links_detach(&c->end);
	} else {
		/* what its client may resume elsewhere must be over when it hears so */
		c->end.gathers = !c->managed && c2s_is_crowded(c);
		links_release(&c->end, NULL, NULL);
	}
	resuming_end(c);
	links_touch(c->e.env->links);
}
