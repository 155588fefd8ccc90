#ifndef GATEWAY_ROLE_C2S_INT_H
#define GATEWAY_ROLE_C2S_INT_H

/* Private to the client's role: c2s.c (session, stanzas, life), c2s_auth.c (who it is, and where it may be sent before and after), c2s_sm.c
 * (stream management), c2s_reopen.c (another instance takes the session). */

#include "role/acks.h"
#include "role/edge.h"

struct c2s {
	struct edge e;              /* first: it is the stream machine's arg too */
	struct auth *auth;
	const char *mechanism;      /* in use, then the one that succeeded; static, or NULL */
	struct link_end end;
	struct acks acks;           /* of stanzas for which TCP's acknowledgement is all that we get */
	bool counted;               /* among env->nr_sessions */
	bool managed;               /* the client says what it has (XEP-0198) */
	bool asked;                 /* it has turned stream management on, or wants to */
	struct c2s_resuming *resuming; /* end.stream is one that the client asked to resume, or is to be again; else NULL */
	struct svc_rest *rest;      /* its service has died: what another instance is to be sent once it has accepted; else NULL */
	struct svc_id instance;     /* of the service that has the stream */
	uint32_t stanzas_max, bytes_max; /* that the service leaves unacknowledged */
	struct locate_ask ask;      /* where the user is whom SASL does not know */
	char *elsewhere;            /* the answer: a host, or NULL */
};

static inline struct c2s *c2s_of(void *arg)
{
	OBJ_CHECK((struct edge *)arg, EDGE_MAGIC);
	return arg;
}

static inline struct c2s *c2s_of_end(struct link_end *end)
{
	return c2s_of(container_of(end, struct c2s, end));
}

/* c2s_auth.c: entries of struct stream_ops. */
void c2s_op_mechanisms(void *arg, struct stream *s);
void c2s_op_auth_start(void *arg, struct slice mech, struct slice initial);
void c2s_op_auth_step(void *arg, struct slice response);
void c2s_op_auth_abort(void *arg);
void c2s_auth_end(struct c2s *c, enum close_reason r); /* whatever goes on is forgotten; idempotent */
/* A redirect that every gateway knows, but not one to this gateway itself; NULL: none. Borrowed until the directory is fed. */
bool c2s_is_crowded(const struct c2s *c);          /* clients wait for their handshake */
const char *c2s_known_redirect(struct c2s *c, const char *bare_jid);
/* Ends the stream with see-other-host. The caller kicks the edge. */
void c2s_redirect(struct c2s *c, const char *host);

/* c2s.c */
void c2s_fill_open(struct c2s *c, struct svc_open *o, const char *resource); /* o->bare_jid is the caller's to free */
void c2s_hold_if_full(struct c2s *c);        /* what waits goes; while there is no room behind it, no stanza is read */

/* c2s_reopen.c: the entry of struct link_end_ops; */
bool c2s_end_orphaned(struct link_end *end, struct svc_stream *s);
/* and the other instance has given this session. False: that is not the client's, or what was left cannot go there. */
MUST_CHECK bool c2s_reopened(struct c2s *c, const char *full_jid);

/* c2s_sm.c: entries of struct stream_ops, */
void c2s_op_sm_enable(void *arg, uint32_t resume_s);
void c2s_op_sm_resume(void *arg, struct slice id, uint32_t h);
bool c2s_op_sm_handled(void *arg, uint32_t h);
void c2s_op_sm_counts(void *arg, struct stream_counts *out);
/* and of struct link_end_ops. */
void c2s_end_enabled(struct link_end *end, uint32_t resume_s);
void c2s_end_resumed(struct link_end *end, const char *full_jid);
void c2s_resume_refused(struct c2s *c, const struct svc_refusal *r);
void c2s_resume_lost(struct c2s *c);         /* resuming: the link broke before the service answered */
/* The client's stream has ended for this reason: the service's is left for it to come back to, or ends too. */
void c2s_leave(struct c2s *c, enum close_reason r);

#endif
