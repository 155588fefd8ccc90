/*
 * What keeps taking from waiting for sending. Errors that find no room on their session's stream wait here, bounded, and leave when its
 * client has acknowledged something; and where the service said so (ack_after_ms), what it has not acknowledged for a while counts as
 * handled. Without either, a client that writes much before it reads would wait for its own acknowledgements.
 */
#include "svcproto/client.h"

#include <stdlib.h>
#include <string.h>

#define SESSION_BYTES_MAX (1u << 20)

struct late_error {
	STAILQ_ENTRY(late_error) all;
	uint64_t cookie;
	size_t n;
	char xml[];
};

struct late_errors {
	STAILQ_HEAD(, late_error) queue;
	size_t bytes;
};

int client_late_add(struct svcproto_session *s, const char *xml, size_t n, uint64_t cookie)
{
	struct late_errors *l = s->late;
	struct late_error *e;

	if (s->in.stream == NULL)
		return SVCPROTO_E_CLOSED;
	if ((l != NULL ? l->bytes : 0) + n > SESSION_BYTES_MAX || s->sp->late_bytes + n > s->sp->pair_bytes_max)
		return SVCPROTO_E_FULL;
	if (l == NULL)
		l = calloc(1, sizeof(*l));
	if (l == NULL)
		return SVCPROTO_E_NOMEM;
	if (s->late == NULL)
		STAILQ_INIT(&l->queue);
	s->late = l;
	e = malloc(sizeof(*e) + n);
	if (e == NULL)
		return SVCPROTO_E_NOMEM;
	e->cookie = cookie;
	e->n = n;
	memcpy(e->xml, xml, n);
	STAILQ_INSERT_TAIL(&l->queue, e, all);
	l->bytes += n;
	s->sp->late_bytes += n;
	return 0;
}

static void take_first(struct svcproto_session *s)
{
	struct late_error *e = STAILQ_FIRST(&s->late->queue);

	STAILQ_REMOVE_HEAD(&s->late->queue, all);
	s->late->bytes -= e->n;
	s->sp->late_bytes -= e->n;
	free(e);
}

void client_late_send(struct svcproto_session *s)
{
	struct late_error *e;

	if (s->late == NULL)
		return;
	while ((e = STAILQ_FIRST(&s->late->queue)) != NULL) {
		if (client_session_send(s, e->xml, e->n, e->cookie) == SVCPROTO_E_FULL)
			return;
		take_first(s);
	}
	free(s->late);
	s->late = NULL;
}

void client_late_end(struct svcproto_session *s, bool tell)
{
	struct late_error *e;

	while (s->late != NULL && (e = STAILQ_FIRST(&s->late->queue)) != NULL) {
		if (tell)
			client_give_back(s->sp, e->cookie, "wait", "recipient-unavailable", e->xml, e->n);
		take_first(s);
	}
	free(s->late);
	s->late = NULL;
}

static void age(struct inbound *in)
{
	if (in->kind == INBOUND_PEER || in->stream == NULL)
		return;
	(void)svc_stream_ack_through(in->stream, in->aged_seq); /* E_CLOSED: nothing can be said any more */
	in->aged_seq = in->last_seq;
}

/* Looked at once in that time: what had come the time before is old enough by now. Errors are tried too, since where all streams together
 * hold too much, their own client has nothing to acknowledge that would make room. */
void client_waits_run(struct svcproto *sp)
{
	uint32_t every_ms = sp->ack_after_ms != 0 ? sp->ack_after_ms : 1000;

	if ((sp->ack_after_ms == 0 && sp->late_bytes == 0) || sp->now_ms < sp->aged_at_ms + every_ms)
		return;
	sp->aged_at_ms = sp->now_ms;
	for (size_t i = 0; i < sp->cap_inbound; i++) {
		for (struct inbound *in = sp->inbound[i]; in != NULL; in = in->chain) {
			if (sp->ack_after_ms != 0)
				age(in);
			if (in->kind == INBOUND_SESSION)
				client_late_send((struct svcproto_session *)in);
		}
	}
}
