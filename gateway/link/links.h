#ifndef GATEWAY_LINK_LINKS_H
#define GATEWAY_LINK_LINKS_H

/*
 * A worker's side of svcproto: its ROUTER, one link for each service instance that dialled in, and the choice of an instance for a new
 * stream. Owned by the worker's thread.
 */

#include "common/loop.h"
#include "link/admin.h"
#include "link/locate.h"
#include "svcproto/announcer.h"
#include "svcproto/keys.h"
#include "svcproto/hub.h"

struct links;

/* What is at the gateway's end of a svcproto stream: embedded in a client session, a server pair or a relay. */
struct link_end {
	const struct link_end_ops *ops;  /* NULL: detached */
	struct svc_stream *stream;       /* NULL when there is none (any more) */
	uint64_t sample_at_ms_;          /* when the stanza whose acknowledgement is timed was sent; 0: none is */
	uint32_t sample_seq_;
	bool reopens;                    /* links_open: how the instance was registered */
	bool gathers;                    /* its OPEN and plain CLOSE may wait for others', SVC_GATHER_MS at most */
};

struct link_end_ops {
	void (*accepted)(struct link_end *e, const char *full_jid);
	void (*refused)(struct link_end *e, const struct svc_refusal *r);   /* e->stream is NULL already */
	void (*stanza)(struct link_end *e, uint32_t seq, unsigned flags, struct slice xml); /* SVC_REPEATED or 0 */
	void (*acked)(struct link_end *e, uint32_t seq);
	void (*writable)(struct link_end *e);
	void (*closed)(struct link_end *e, const char *condition, const char *text, bool link_lost); /* e->stream is NULL already */
	/* For a client's stream whose link did not come back, before closed(): s is that stream. True: the end goes on with another one, or
	 * has ended, and closed() does not follow. NULL: never goes on. */
	bool (*orphaned)(struct link_end *e, struct svc_stream *s);
	/* As svc_link_ops has them; for who uses svc_stream_enable and links_resume, else NULL. */
	void (*enabled)(struct link_end *e, uint32_t resume_s);
	void (*resumed)(struct link_end *e, const char *full_jid);
};

struct links_ops {
	/* A service asks for a stream outwards (SERVER_OUT, PEER; its key may have from_domain). Attach an end with links_attach and
	 * accept or refuse. */
	void (*open_out)(void *arg, struct svc_stream *s, const struct svc_open *o);
	void (*changed)(void *arg);    /* a link came up or went down */
	struct admin_ops admin;        /* what administrators ask */
};

struct links_options {
	struct loop *loop;
	void *zmq_context;             /* its ZAP thread runs already */
	const char *bind;              /* endpoint; port 0 picks */
	const struct svc_key *key;     /* the gateway's CURVE key */
	struct directory *directory;   /* borrowed */
	struct svc_hello hello;
	uint64_t held_bytes_max;       /* as svc_hub_limits has it */
};

struct links *links_new(const struct links_options *o, const struct links_ops *ops, void *arg, char *why, size_t why_size);
void links_free(struct links *ls);                 /* every stream is dropped without callbacks */
const char *links_endpoint(const struct links *ls); /* as bound */

/* Opens a stream at an instance that holds (domain, type), chosen by its policy (key: bare JID for hash). 0; -ERR_NOTFOUND: nobody has
 * registered it; -ERR_AGAIN: registered, but no link is up now; -ERR_LIMIT. */
MUST_CHECK int links_open(struct links *ls, const char *domain, unsigned type, const char *key, const struct svc_open *o,
			  struct link_end *e);
/* Was any of the domain registered with locate_open? */
bool links_locate_open(struct links *ls, const char *domain);
/* Was any of the domain registered with certificates_only? */
bool links_certificates_only(struct links *ls, const char *domain);
/* Asks an instance of the domain where this user is; only one that was registered with locate_open. False: there is none to ask. */
MUST_CHECK bool links_locate(struct links *ls, const char *domain, const char *bare_jid, struct locate_ask *a);
void links_locate_drop(struct links *ls, struct locate_ask *a);  /* no answer is wanted any more; also when none was asked for */
/* A client that resumes a stream of this instance: of the one that is registered for the domain of its JID, and as long as none is, of the
 * one that may be. 0: resumed() or refused() follows,
 * closed() if the link breaks meanwhile; -ERR_AGAIN: no link to it now; -ERR_LIMIT. Touch afterwards, as after svc_stream_*. */
MUST_CHECK int links_resume(struct links *ls, const struct svc_id *instance, const struct svc_resume *r, struct link_end *e);
/* Does any registry, or a link, know this instance as one that may have the domain's clients? If none does, its process has ended. True as
 * well as long as no registry was heard. */
void links_heard(struct links *ls);  /* a registry was */
bool links_knows(struct links *ls, const struct svc_id *instance, const char *domain);
/* Lets go of a stream that its client may resume (svc_stream_detach); closes one that it may not. No callback follows. */
void links_detach(struct link_end *e);
/* The process of this instance under this key is known dead: what waits for its link ends. */
void links_forget(struct links *ls, const char *key, const struct svc_id *instance);
/* As links_open, for a stream that instance `near` of the domain opened to the user `key`. -ERR_EXISTS: the policy picks itself. */
MUST_CHECK int links_open_peer(struct links *ls, const struct svc_stream *near, const char *domain, const char *key,
			       const struct svc_open *o, struct link_end *e);
void links_attach(struct svc_stream *s, struct link_end *e);
/* Lets go of the stream: closes it (condition NULL: plain) and forgets the end. No callback follows. */
void links_release(struct link_end *e, const char *condition, const char *text);
/* Sends a stanza that came in at the edge, as svc_stream_send() does; of those on their way one at a time is timed (STAT_ack_delay). */
MUST_CHECK int links_send(struct links *ls, struct link_end *e, struct slice xml);
/* Something was queued on a stream of this worker: flush at the turn's end. Called after every svc_stream_*. */
void links_touch(struct links *ls);
/* Flushes now, with what waits for company: for who ends, and will have no turn in which its time is over. NULL is allowed. */
void links_hurry(struct links *ls);
/* authorized_keys changed: links whose key lost its role are broken. */
void links_recheck(struct links *ls);
struct admin *links_admin(struct links *ls);
/* Links that are up, one by one: what `services` and `status` show. fn must not end links. */
struct links_info {
	const struct svc_hello *peer;
	const char *key;               /* Z85 */
	size_t nr_streams, queued_bytes;
};
void links_each(struct links *ls, void (*fn)(void *arg, const struct links_info *i), void *arg);
size_t links_nr_up(const struct links *ls);
/* "domain a.example": may anybody registered take it? Registered with this type, by a key that may. */
bool links_registered(struct links *ls, const char *domain, unsigned type);

#endif
