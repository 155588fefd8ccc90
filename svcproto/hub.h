#ifndef SVCPROTO_HUB_H
#define SVCPROTO_HUB_H

/*
 * Streams that outlive their link (PROTOCOL.md section 10). A hub holds the links of one gateway worker or one service instance; a stream
 * whose link breaks waits in it until the same two processes are linked again and go on where they were, or until its time is over. At the
 * service it also keeps the streams whose clients went, for them to be resumed over any link. Pure, as link.h; one thread.
 *
 * Without a hub, a link's streams end with its epoch.
 */

#include "svcproto/link.h"

struct svc_hub;

/* How long a stream waits for its link, in milliseconds. A gateway gives up before the service does, so that no two of them ever serve the
 * same client or pair of domains. */
#define SVC_WAIT_GATEWAY_MS 10000u        /* clients, peer streams; a client that can resume: no longer than 3/4 of that time */
#define SVC_WAIT_SERVICE_MS 15000u
#define SVC_WAIT_SERVER_GATEWAY_MS 5000u  /* server streams: T1 */
/* T2: above T1 by what a gateway without anything to send may learn of the loss later than the service (5 s), and then takes to close the
 * connection (4 s). */
#define SVC_WAIT_SERVER_SERVICE_MS 15000u

#define SVC_HELD_BYTES (UINT64_C(256) << 20)

struct svc_hub_limits {
	uint32_t resume_s_max;       /* service: the longest resumption time that is granted; 0: 600 */
	uint32_t detached_max;       /* service: streams without a client; 0: 100,000. Beyond it the oldest end. */
	uint64_t detached_bytes_max; /* service: what those have unacknowledged, in all; 0: 256 MiB */
	/* What all streams have sent and not got acknowledged, wherever they are; 0: SVC_HELD_BYTES. A stream stops at an eighth of what
	 * is left, so that a few that nobody serves leave room for many; the stanza that reaches the bound may go beyond it. */
	uint64_t held_bytes_max;
};

/* Events that belong to no link. All may be NULL but closed; full_jid is needed at a service. */
struct svc_hub_ops {
	/* The stream has no link now; what is sent queues. Service: the link broke, or the client's connection. Gateway: the link broke. */
	void (*detached)(void *arg, struct svc_stream *s);
	/* It goes on, at svc_stream_link(s). r: a client resumed it (service only); NULL: the link is back. */
	void (*attached)(void *arg, struct svc_stream *s, const struct svc_resume *r);
	/* As in svc_link_ops, for a stream without a link, or one that its link has not answered for in time. Comes within svc_hub_tick. */
	void (*closed)(void *arg, struct svc_stream *s, const char *condition, const char *text);
	/* svc_stream_can_send() was false, or a send refused, for want of room in the hub, and there may be some. What is sent within it is
	 * in time: others hear of the rest only. Comes within svc_hub_tick. */
	void (*writable)(void *arg, struct svc_stream *s);
	/* The full JID of a client's stream: who may resume it, and under what name. Borrowed until return. */
	const char *(*full_jid)(void *arg, const struct svc_stream *s);
};

/* limits may be NULL. NULL: no memory. */
struct svc_hub *svc_hub_new(enum svc_side side, const struct svc_hello *self, const struct svc_hub_limits *limits,
			    const struct svc_hub_ops *ops, void *arg);
void svc_hub_free(struct svc_hub *h); /* after its links; streams that wait go without events. NULL is allowed. */
/* A link of this hub. identity: what proves who is at the other end, as the key that ZAP authenticated, at most 63 characters: streams go
 * on only with the same identity, instance and incarnation. To be broken before svc_link_free, which would take its streams along. */
struct svc_link *svc_hub_link(struct svc_hub *h, const char *identity, const struct svc_link_ops *ops, void *arg);
/* Ends what waited long enough. Returns the next time to call, UINT64_MAX for none; whatever is called on a link or stream may make it
 * earlier. Not from a callback. */
uint64_t svc_hub_tick(struct svc_hub *h, uint64_t now_ms);
/* The process of this instance, with this identity, is known dead: streams that wait for it end with the next tick, but for those that a
 * client may resume. */
void svc_hub_forget(struct svc_hub *h, const char *identity, const struct svc_id *instance);
/* Streams wait for the process that this link led to last. */
bool svc_link_is_awaited(const struct svc_link *l);
size_t svc_hub_nr_waiting(const struct svc_hub *h); /* without a link */
uint64_t svc_hub_held_bytes(const struct svc_hub *h); /* unacknowledged, of all streams */

/* ---- gateway: a client with stream management (XEP-0198) ---- */

/* The client said <enable/>: asks the service to keep the stream. resume_s: for how long the client wants to be able to resume, 0 for not
 * at all. The enabled() event follows, exactly when <enabled/> is due among the stanzas to the client. SVCPROTO_E_INVALID: twice, or no
 * client's stream. */
int svc_stream_enable(struct svc_stream *s, uint32_t resume_s);
/* h for <a/> and <failed/>: how many stanzas of the client the service has handled, since <enable/>. */
uint32_t svc_stream_h(const struct svc_stream *s);
/* How many went to the client since <enabled/>. */
uint32_t svc_stream_sent_h(const struct svc_stream *s);
/* The client said <a h=…/>. 0; SVCPROTO_E_INVALID: more than went to it (handled-count-too-high). */
int svc_stream_client_h(struct svc_stream *s, uint32_t h);
/* How many stanzas to the client are not acknowledged by it: when to ask with <r/>. */
uint32_t svc_stream_nr_unhandled(const struct svc_stream *s);
/* The client's connection is gone, and it may resume: the stream stays with the service. s is gone for the caller, no event follows.
 * SVCPROTO_E_INVALID: not resumable (close it instead); E_CLOSED. */
int svc_stream_detach(struct svc_stream *s);
/* Seconds for which the client can resume, as granted; 0: not. */
uint32_t svc_stream_resume_s(const struct svc_stream *s);
/* A client wants to resume at this link. resumed() or refused() follows, or closed() if the link breaks meanwhile; in between only
 * svc_stream_close and svc_stream_detach are allowed. NULL: as svc_stream_open. */
struct svc_stream *svc_stream_resume(struct svc_link *l, const struct svc_resume *r, void *data);

/* ---- gateway: a stream that goes on at another instance (PROTOCOL.md section 10) ---- */

/* What the gateway knows of a stream whose link did not come back. */
struct svc_reopen {
	bool allowed;   /* the instance was registered so (failover "reopen") */
	bool bound;     /* the client has its session, and has not asked for stream management: it cannot resume, and counts nothing */
	bool known;     /* a registry, or a link, still knows the instance: it may live, only out of reach */
};
bool svc_reopen_may(const struct svc_reopen *r);
/* The session that the other instance gives is the client's own: it has been told once what its full JID is. */
bool svc_reopen_fits(const char *full_jid, const char *given);

/* What a stream leaves behind: stanzas in order, moved, not copied. */
struct svc_rest;
/* Within closed() of s: what we sent, or would have, and the peer did not acknowledge. What it may have received is marked as a possible
 * repetition from here on. NULL: no memory, nothing happened. */
struct svc_rest *svc_stream_take_rest(struct svc_stream *s);
/* To be sent on a stream of ours on which nothing was sent yet. Frees the rest, whatever it returns; SVCPROTO_E_INVALID: no such stream, or
 * one whose peer takes no stanza of that size; E_CLOSED. */
int svc_stream_put_rest(struct svc_stream *s, struct svc_rest *r);
void svc_rest_free(struct svc_rest *r); /* NULL is allowed */

/* The process at the other end: WELCOME or HELLO. NULL while the link is down. */
const struct svc_hello *svc_link_peer(const struct svc_link *l);

#endif
