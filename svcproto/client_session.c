/*
 * Streams that gateways open: client sessions and inbound server pairs. A ticket is the stream's serial number and the low bits of the
 * stanza's number, so that it can be looked up long after the stream has gone, and finds nothing then.
 */
#include "svcproto/client.h"

#include <stdlib.h>
#include <string.h>

#include "svcproto/otherhost.h"

#define TICKET_SEQ_BITS 20u /* more than can be unacknowledged on a stream */
#define TICKET_SEQ_MASK ((UINT64_C(1) << TICKET_SEQ_BITS) - 1)

/* ---- the table by serial ---- */

static bool grow(struct svcproto *sp)
{
	size_t cap = sp->cap_inbound == 0 ? 64 : sp->cap_inbound * 2;
	struct inbound **more, *in, *next;

	if (sp->nr_inbound < sp->cap_inbound)
		return true;
	more = calloc(cap, sizeof(*more));
	if (more == NULL)
		return false;
	for (size_t i = 0; i < sp->cap_inbound; i++) {
		for (in = sp->inbound[i]; in != NULL; in = next) {
			next = in->chain;
			in->chain = more[in->serial & (cap - 1)];
			more[in->serial & (cap - 1)] = in;
		}
	}
	free(sp->inbound);
	sp->inbound = more;
	sp->cap_inbound = cap;
	return true;
}

bool client_inbound_add(struct svcproto *sp, struct inbound *in)
{
	struct inbound **bucket;

	if (!grow(sp))
		return false;
	in->serial = ++sp->serials;
	bucket = &sp->inbound[in->serial & (sp->cap_inbound - 1)];
	in->chain = *bucket;
	*bucket = in;
	sp->nr_inbound++;
	return true;
}

static struct inbound *inbound_find(const struct svcproto *sp, uint64_t serial)
{
	struct inbound *in = sp->cap_inbound > 0 ? sp->inbound[serial & (sp->cap_inbound - 1)] : NULL;

	while (in != NULL && in->serial != serial)
		in = in->chain;
	return in;
}

void client_inbound_remove(struct svcproto *sp, struct inbound *in)
{
	struct inbound **p = &sp->inbound[in->serial & (sp->cap_inbound - 1)];

	while (*p != in)
		p = &(*p)->chain;
	*p = in->chain;
	sp->nr_inbound--;
}

static void session_free(struct svcproto_session *s)
{
	struct sent *st;

	while ((st = STAILQ_FIRST(&s->sent)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->sent, all);
		free(st);
	}
	client_late_end(s, false);
	free(s->jid);
	free(s);
}

static void server_in_free(struct server_in *in)
{
	free(in->remote);
	free(in->local);
	free(in);
}

static void inbound_free(struct svcproto *sp, struct inbound *in)
{
	if (in->kind == INBOUND_PEER)
		client_peer_free(sp, (struct peer_in *)in);
	else if (in->kind == INBOUND_SESSION)
		session_free((struct svcproto_session *)in);
	else
		server_in_free((struct server_in *)in);
}

void client_inbound_free(struct svcproto *sp)
{
	struct inbound *in;

	for (size_t i = 0; i < sp->cap_inbound; i++) {
		while ((in = sp->inbound[i]) != NULL) {
			sp->inbound[i] = in->chain;
			inbound_free(sp, in);
		}
	}
	free(sp->inbound);
	sp->inbound = NULL;
	sp->nr_inbound = sp->cap_inbound = 0;
}

/* ---- opening ---- */

static void refuse(struct svc_stream *s, const char *type, const char *condition)
{
	struct svc_refusal r = { .type = type, .condition = condition };

	(void)svc_stream_refuse(s, &r); /* fails only if the stream has gone */
}

static void open_session(struct client_link *cl, struct svc_stream *stream, const struct svc_open *o)
{
	struct svcproto *sp = cl->sp;
	const char *at = strchr(o->bare_jid, '@');
	struct svcproto_open open = { .bare_jid = o->bare_jid, .resource = o->resource, .mechanism = o->mechanism, .address = o->address,
				      .secure = o->secure };
	struct svcproto_session *s;

	if (!client_has_domain(sp, at != NULL ? at + 1 : o->bare_jid, SVCPROTO_CLIENT)) {
		refuse(stream, "cancel", "service-unavailable");
		return;
	}
	s = calloc(1, sizeof(*s));
	if (s != NULL)
		s->jid = strdup(o->bare_jid);
	if (s == NULL || s->jid == NULL || !client_inbound_add(sp, &s->in)) {
		if (s != NULL)
			free(s->jid);
		free(s);
		refuse(stream, "wait", "resource-constraint");
		return;
	}
	s->in.kind = INBOUND_SESSION;
	s->in.stream = stream;
	s->sp = sp;
	STAILQ_INIT(&s->sent);
	svc_stream_set_data(stream, &s->in);
	if (sp->cb->session_open != NULL)
		sp->cb->session_open(sp->arg, s, &open);
	else
		(void)svcproto_refuse(s, "cancel", "service-unavailable", NULL);
}

static void open_server(struct client_link *cl, struct svc_stream *stream, const struct svc_open *o)
{
	struct svcproto *sp = cl->sp;
	struct server_in *in;

	if (!client_has_domain(sp, o->to_domain, SVCPROTO_SERVER)) {
		refuse(stream, "cancel", "service-unavailable");
		return;
	}
	in = calloc(1, sizeof(*in));
	if (in != NULL) {
		in->remote = strdup(o->from_domain);
		in->local = strdup(o->to_domain);
	}
	if (in == NULL || in->remote == NULL || in->local == NULL || svc_stream_accept(stream, NULL) != 0 ||
	    !client_inbound_add(sp, &in->in)) {
		if (in != NULL)
			server_in_free(in);
		if (svc_stream_refuse(stream, &(struct svc_refusal){ .type = "wait", .condition = "resource-constraint" }) != 0)
			(void)svc_stream_close(stream, "resource-constraint", NULL); /* it was accepted */
		return;
	}
	in->in.kind = INBOUND_SERVER;
	in->in.stream = stream;
	svc_stream_set_data(stream, &in->in);
}

void client_inbound_open(struct client_link *cl, struct svc_stream *s, const struct svc_open *o)
{
	svc_stream_set_data(s, NULL);
	if (o->kind == SVC_KIND_CLIENT && o->bare_jid != NULL)
		open_session(cl, s, o);
	else if (o->kind == SVC_KIND_SERVER_IN && o->from_domain != NULL && o->to_domain != NULL)
		open_server(cl, s, o);
	else if (o->kind == SVC_KIND_PEER)
		client_peer_open(cl, s, o);
	else
		refuse(s, "cancel", "feature-not-implemented");
}

/* ---- stanzas ---- */

uint64_t client_ticket(const struct inbound *in, uint32_t seq)
{
	return in->serial << TICKET_SEQ_BITS | (seq & TICKET_SEQ_MASK);
}

/* The gateway refused it: it keeps its place in the count, and we answer. */
static void answer_rejected(struct svcproto *sp, struct svcproto_session *s, uint32_t seq, const char *xml, size_t n)
{
	const char *type = NULL, *condition = NULL;
	char *answer;
	size_t answer_n;

	svc_stream_rejection(s->in.stream, &type, &condition);
	answer = client_error_stanza(xml, n, s->jid, type, condition, &answer_n);
	if (answer != NULL && svcproto_send(s, answer, answer_n, 0) != 0 && client_late_add(s, answer, answer_n, 0) != 0)
		client_log(sp, SVCPROTO_LOG_INFO, "no room to tell %s that a stanza was refused", s->jid);
	free(answer);
	(void)svc_stream_ack(s->in.stream, seq);
}

void client_inbound_stanza(struct svcproto *sp, struct svc_stream *stream, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct inbound *in = svc_stream_data(stream);
	struct svcproto_session *s = in != NULL && in->kind == INBOUND_SESSION ? (struct svcproto_session *)in : NULL;
	struct svcproto_stanza st = { .xml = xml, .length = n, .repeated = (flags & SVC_REPEATED) != 0 };

	if (in == NULL)
		return;
	if (in->kind == INBOUND_PEER) {
		client_peer_stanza(sp, (struct peer_in *)in, seq, xml, n);
		return;
	}
	in->last_seq = seq;
	if ((flags & SVC_REJECT) != 0) {
		if (s != NULL)
			answer_rejected(sp, s, seq, xml, n);
		else
			(void)svc_stream_ack(stream, seq);
		return;
	}
	st.ticket = client_ticket(in, seq);
	if (s == NULL) {
		st.remote_domain = ((struct server_in *)in)->remote;
		st.local_domain = ((struct server_in *)in)->local;
	}
	if (sp->cb->stanza != NULL)
		sp->cb->stanza(sp->arg, s, &st);
	else
		(void)svc_stream_ack(stream, seq);
}

int svcproto_ack(struct svcproto *sp, uint64_t ticket)
{
	struct inbound *in = inbound_find(sp, ticket >> TICKET_SEQ_BITS);
	uint32_t back;

	if (in == NULL || (in->stream == NULL && in->kind != INBOUND_PEER))
		return 0; /* the stream has ended: nothing can be acknowledged on it any more */
	back = (in->last_seq - (uint32_t)ticket) & (uint32_t)TICKET_SEQ_MASK;
	client_kick(sp);
	if (in->kind == INBOUND_PEER) {
		client_peer_ack((struct peer_in *)in, in->last_seq - back);
		return 0;
	}
	(void)svc_stream_ack(in->stream, in->last_seq - back); /* E_CLOSED: as above */
	return 0;
}

int svcproto_ack_all(struct svcproto_session *s)
{
	if (s->in.stream == NULL)
		return SVCPROTO_E_CLOSED;
	client_kick(s->sp);
	return svc_stream_ack_through(s->in.stream, s->in.last_seq);
}

void client_inbound_acked(struct svcproto *sp, struct svc_stream *stream, uint32_t seq)
{
	struct inbound *in = svc_stream_data(stream);
	struct svcproto_session *s = in != NULL && in->kind == INBOUND_SESSION ? (struct svcproto_session *)in : NULL;
	struct sent *st;

	while (s != NULL && (st = STAILQ_FIRST(&s->sent)) != NULL && (int32_t)(st->seq - seq) <= 0) {
		uint64_t cookie = st->cookie;

		STAILQ_REMOVE_HEAD(&s->sent, all);
		free(st);
		if (sp->cb->delivered != NULL)
			sp->cb->delivered(sp->arg, cookie);
	}
	if (s != NULL)
		client_late_send(s);
}

struct giving_back {
	struct svcproto *sp;
	struct svcproto_session *s;
};

static void give_back(void *arg, uint32_t seq, const char *xml, size_t n)
{
	struct giving_back *g = arg;
	struct sent *st = STAILQ_FIRST(&g->s->sent);

	if (st == NULL || st->seq != seq)
		return; /* without a cookie */
	STAILQ_REMOVE_HEAD(&g->s->sent, all);
	client_give_back(g->sp, st->cookie, "wait", "recipient-unavailable", xml, n);
	free(st);
}

/* First what never arrived comes back, then the session ends. */
void client_inbound_closed(struct svcproto *sp, struct svc_stream *stream, const char *condition, const char *text)
{
	struct inbound *in = svc_stream_data(stream);
	struct svcproto_session *s;

	if (in == NULL)
		return;
	svc_stream_set_data(stream, NULL);
	if (in->kind == INBOUND_PEER) {
		client_peer_closed(sp, (struct peer_in *)in);
		return;
	}
	client_inbound_remove(sp, in);
	in->stream = NULL;
	if (in->kind == INBOUND_SESSION) {
		s = (struct svcproto_session *)in;
		svc_stream_unacked(stream, give_back, &(struct giving_back){ sp, s });
		client_late_end(s, true);
		if (sp->cb->session_closed != NULL)
			sp->cb->session_closed(sp->arg, s, condition, text);
	}
	inbound_free(sp, in);
}

/* ---- without a client ---- */

static struct svcproto_session *session_of(const struct svc_stream *stream)
{
	struct inbound *in = svc_stream_data(stream);

	return in != NULL && in->kind == INBOUND_SESSION ? (struct svcproto_session *)in : NULL;
}

void client_inbound_detached(struct svcproto *sp, struct svc_stream *stream)
{
	struct svcproto_session *s = session_of(stream);

	if (s != NULL && sp->cb->session_detached != NULL)
		sp->cb->session_detached(sp->arg, s);
}

void client_inbound_attached(struct svcproto *sp, struct svc_stream *stream, const struct svc_resume *r)
{
	struct svcproto_session *s = session_of(stream);
	struct svcproto_open open;

	if (s == NULL || sp->cb->session_resumed == NULL)
		return;
	if (r != NULL)
		open = (struct svcproto_open){ .bare_jid = r->bare_jid, .mechanism = r->mechanism, .address = r->address,
					       .secure = r->secure };
	sp->cb->session_resumed(sp->arg, s, r != NULL ? &open : NULL);
}

const char *client_inbound_jid(const struct svc_stream *stream)
{
	struct svcproto_session *s = session_of(stream);

	return s != NULL && s->accepted ? s->jid : NULL;
}

/* ---- the public face ---- */

int svcproto_accept(struct svcproto_session *s, const char *full_jid)
{
	char *jid;
	int rc;

	if (s->in.stream == NULL)
		return SVCPROTO_E_CLOSED;
	if (full_jid == NULL)
		return SVCPROTO_E_INVALID;
	jid = strdup(full_jid);
	if (jid == NULL)
		return SVCPROTO_E_NOMEM;
	rc = svc_stream_accept(s->in.stream, full_jid);
	if (rc != 0) {
		free(jid);
		return rc;
	}
	free(s->jid);
	s->jid = jid;
	s->accepted = true;
	client_kick(s->sp);
	return 0;
}

static int refuse_session(struct svcproto_session *s, const struct svc_refusal *r)
{
	struct svcproto *sp = s->sp;
	int rc;

	if (s->in.stream == NULL)
		return SVCPROTO_E_CLOSED;
	rc = svc_stream_refuse(s->in.stream, r);
	if (rc != 0)
		return rc;
	client_inbound_remove(sp, &s->in);
	session_free(s);
	client_kick(sp);
	return 0;
}

int svcproto_refuse(struct svcproto_session *s, const char *type, const char *condition, const char *text)
{
	return refuse_session(s, &(struct svc_refusal){ .type = type, .condition = condition, .text = text });
}

int svcproto_redirect(struct svcproto_session *s, const char *host)
{
	struct svc_refusal r = { .condition = "see-other-host", .see_other_host = host, .stream_error = true };

	if (!other_host_ok(host))
		return SVCPROTO_E_INVALID;
	if (s->in.stream == NULL || s->accepted)
		return SVCPROTO_E_CLOSED;
	client_publish_host(s->sp, s->jid, host, 0); /* not accepted: still its bare JID */
	return refuse_session(s, &r);
}

int svcproto_close(struct svcproto_session *s, const char *condition, const char *text)
{
	int rc = s->in.stream != NULL ? svc_stream_close(s->in.stream, condition, text) : SVCPROTO_E_CLOSED;

	if (rc == 0)
		client_kick(s->sp);
	return rc;
}

void svcproto_set_data(struct svcproto_session *s, void *data)
{
	s->data = data;
}

void *svcproto_data(const struct svcproto_session *s)
{
	return s->data;
}

const char *svcproto_jid(const struct svcproto_session *s)
{
	return s->jid;
}

int svcproto_send(struct svcproto_session *s, const char *xml, size_t length, uint64_t cookie)
{
	return s->late != NULL ? SVCPROTO_E_FULL : client_session_send(s, xml, length, cookie);
}

int client_session_send(struct svcproto_session *s, const char *xml, size_t length, uint64_t cookie)
{
	struct sent *st;
	uint32_t seq;
	int rc;

	if (s->in.stream == NULL)
		return SVCPROTO_E_CLOSED;
	st = cookie != 0 ? malloc(sizeof(*st)) : NULL;
	if (cookie != 0 && st == NULL)
		return SVCPROTO_E_NOMEM;
	rc = svc_stream_send(s->in.stream, xml, length, 0, &seq);
	if (rc != 0) {
		free(st);
		return rc;
	}
	if (st != NULL) {
		st->seq = seq;
		st->cookie = cookie;
		STAILQ_INSERT_TAIL(&s->sent, st, all);
	}
	client_kick(s->sp);
	return 0;
}
