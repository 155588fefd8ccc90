#ifndef SVCPROTO_LINK_H
#define SVCPROTO_LINK_H

/*
 * The pure engine of one link between a gateway worker and a service instance (PROTOCOL.md): batches, epochs, streams, chunks, credits,
 * acknowledgements, round robin. No sockets, no clock, no threads: bytes and times in, batches and events out. The same code runs at both
 * ends; `side` says which. Returns 0 or a negative SVCPROTO_E_*. Event callbacks may call any svc_stream_* function, and svc_link_flush
 * and svc_link_break, but not svc_link_input or svc_link_free.
 */

#include <ambrosia/svcproto.h>

struct svc_link;
struct svc_stream; /* owned by the link or its hub; valid until its closed() or refused() event has returned */

enum svc_side { SVC_GATEWAY, SVC_SERVICE };
enum svc_kind { SVC_KIND_CLIENT = 1, SVC_KIND_SERVER_IN = 2, SVC_KIND_SERVER_OUT = 3, SVC_KIND_PEER = 4 };

#define SVC_BATCH_MAX 65536u
#define SVC_MESSAGE_MAX (SVC_BATCH_MAX + 33u) /* for ZMQ_MAXMSGSIZE, which counts what CURVE adds; beyond it 0MQ hangs up for good */
#define SVC_CHUNK_MAX 16384u
/* For ZMQ_SNDHWM and ZMQ_RCVHWM. 0MQ wakes the other thread each time that half of it, rounded up, has been taken, whoever waits for room:
 * with two of each batch, with five of every third. Who does wait for room is told always: five batches are there then. */
#define SVC_QUEUED_BATCHES 5

/* What 0 in svc_hello stands for, and times in milliseconds (PROTOCOL.md section 7). */
#define SVC_STANZA_BYTES (16u << 20)
#define SVC_WINDOW_BYTES 32768u /* twice this of one large stanza may come between a small one's queueing and its arrival: promise 3 */
#define SVC_UNACKED_STANZAS 256u
#define SVC_UNACKED_BYTES (4u << 20)
#define SVC_STREAMS (1u << 20)
#define SVC_PING_MS 1000u       /* while anything is outstanding */
#define SVC_IDLE_PING_MS 5000u  /* otherwise */
#define SVC_SILENCE_MS 15000u   /* with three PINGs unanswered: the peer is gone */
#define SVC_ACK_WAIT_MS 2u      /* for company, before an ACK or CREDIT that nobody is held up by leaves alone */
#define SVC_GATHER_MS 10u       /* likewise for what svc_link_gather() is told of */
#define SVC_DRAIN_MS 5000u      /* what a closed stream may still send; then CLOSE goes and the rest stays unacknowledged */

/* ADMIN and ADMIN_REPLY: properties in one frame besides its own, and their lengths. */
#define SVC_ADMIN_PROPS_MAX 32u
#define SVC_ADMIN_NAME_MAX 31u
#define SVC_ADMIN_VALUE_MAX 3071u

/* closed()'s condition when the link went and not the stream. */
#define SVC_LINK_LOST "remote-connection-failed"

struct svc_id { uint8_t b[16]; };

/* What a side says of itself in HELLO (service) or WELCOME (gateway). A limit of 0 is the default; others are moved into the allowed range.
 */
struct svc_hello {
	struct svc_id instance;        /* random, for the life of the process */
	uint64_t incarnation;
	char name[64];                 /* of the program: for logs */
	uint32_t stanza_bytes_max;     /* largest stanza that this side takes */
	uint32_t stream_window_bytes; /* initial CREDIT of every stream towards this side; also the most it ever holds un-taken */
	uint32_t unacked_stanzas_max, unacked_bytes_max; /* this side sends no more than this unacknowledged on a stream */
	uint32_t streams_max;
};

/* Text fields of OPEN: NULL when absent. Borrowed until return. */
struct svc_open {
	enum svc_kind kind;
	struct svc_id stream_id;                 /* random, from the opener */
	const char *bare_jid, *resource, *mechanism, *address; /* CLIENT */
	bool secure;
	const char *from_domain, *to_domain;     /* SERVER_IN: remote, local; SERVER_OUT: local, remote; PEER: both the same */
	bool certificates_only;                  /* SERVER_OUT: no dialback, and no peer whose certificate does not prove it */
	struct svc_id origin;                    /* PEER, whose bare_jid is addressed: one row of stanzas over all its streams */
	uint32_t last_acked;                     /* PEER: acknowledged on earlier streams of this row */
};

struct svc_refusal {
	const char *type;        /* stanza error type, or NULL */
	const char *condition;   /* stanza error condition, or stream error when stream_error */
	const char *text;        /* or NULL */
	const char *see_other_host; /* or NULL */
	bool stream_error;
	bool counted;            /* of a resumption: the stream is or was there, and these are known */
	uint32_t h;              /* how many stanzas of the client are handled (XEP-0198) */
	uint32_t sent;           /* how many were sent to it */
};

/* A client that resumes (XEP-0198 section 5). Texts: NULL when absent. */
struct svc_resume {
	struct svc_id stream_id;
	const char *bare_jid;    /* authenticated; must be the stream's */
	const char *mechanism, *address;
	bool secure;
	uint32_t h;              /* what the client has handled */
};

/* A service's answer to LOCATE. */
struct svc_located {
	uint32_t request;
	const char *see_other_host; /* or NULL: nowhere else that it knows of */
	bool here;                  /* the user is one of this domain's */
};

struct svc_link_ops {
	/* Takes a whole batch (<= SVC_BATCH_MAX). 0 when taken; SVCPROTO_E_FULL: not now, the engine keeps it and tries again at the next
	 * flush; anything else: the transport is broken and the epoch ends. May call svc_link_break, no other function of the engine. */
	int (*send)(void *arg, const void *batch, size_t n);
	/* HELLO/WELCOME done: streams may be opened. Again after every new epoch. */
	void (*up)(void *arg, const struct svc_hello *peer);
	/* The epoch ended (gap, RESET, peer restarted, protocol error: `why` is one line). All streams have got closed() or wait in the hub
	 * (hub.h). Service only: also when WELCOME refused us, without up() before; the engine tries again by itself. */
	void (*down)(void *arg, const char *why);
	/* The peer opened a stream: answer with svc_stream_accept or svc_stream_refuse, now or later. */
	void (*open)(void *arg, struct svc_stream *s, const struct svc_open *o);
	void (*accepted)(void *arg, struct svc_stream *s, const char *full_jid); /* full_jid NULL for server streams */
	void (*refused)(void *arg, struct svc_stream *s, const struct svc_refusal *r); /* s is freed on return */
	/* A whole stanza, borrowed. seq counts from 1. Acknowledge with svc_stream_ack. */
	void (*stanza)(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n);
	/* Our stanzas up to and including seq are handled by the peer (unbroken row). */
	void (*acked)(void *arg, struct svc_stream *s, uint32_t seq);
	/* After a send was refused with SVCPROTO_E_FULL: there is room again (below half of the bound). */
	void (*writable)(void *arg, struct svc_stream *s);
	/* The end of a stream, by either side or with the link; our unacknowledged stanzas can be read with svc_stream_unacked(). s is
	 * freed on return. */
	void (*closed)(void *arg, struct svc_stream *s, const char *condition, const char *text);
	/* Gateway: <enabled/> is due now, before the next stanza (svc_stream_enable). resume_s: the time granted, 0: no resumption. NULL:
	 * it is never asked for. */
	void (*enabled)(void *arg, struct svc_stream *s, uint32_t resume_s);
	/* Gateway: the client has its stream again (svc_stream_resume): svc_stream_h() is due in <resumed/>; what it has not handled
	 * follows. NULL: it is never asked for. */
	void (*resumed)(void *arg, struct svc_stream *s, const char *full_jid);
	/* Gateway: a request for administration. Whether the peer's key may is the owner's to judge. Answered by svc_link_admin_reply, now
	 * or later. NULL: every request is refused. */
	void (*admin)(void *arg, uint32_t request, const char *command, const struct svcproto_property *v, size_t nr);
	/* Service: a part of an answer; the last one has more false, and perhaps an error. */
	void (*admin_reply)(void *arg, uint32_t request, bool more, const char *error, const struct svcproto_property *v, size_t nr);
	/* Service: where is this user? Answer with svc_link_located, now or later. NULL: unknown to all questions. */
	void (*locate)(void *arg, uint32_t request, const char *bare_jid);
	/* Gateway: the answer; also one that nobody asked for, or that comes long after. NULL: never asks. */
	void (*located)(void *arg, const struct svc_located *m);
	/* The time now, asked for when an epoch ends: from there on the streams that can wait do (hub.h), and callbacks may have held up
	 * whoever called us with a time. NULL: the time of the call, since no callback takes long. */
	uint64_t (*clock)(void *arg);
};

/* stanza() flags */
#define SVC_REPEATED 1u  /* possibly delivered before */
/* Refused at the edge: the service's library answers it with an error; xml holds the stanza, see svc_stream_send_reject. */
#define SVC_REJECT 2u

struct svc_link *svc_link_new(enum svc_side side, const struct svc_hello *self, const struct svc_link_ops *ops,
			      void *arg); /* NULL: no memory */
void svc_link_free(struct svc_link *l);    /* no events; NULL is allowed; not from a callback */
/* A service begins: HELLO in a new epoch. Called once when the DEALER is there, and by the engine itself after RESET. Calling it on a link
 * that is up ends that epoch first. The HELLO leaves with the next flush. */
int svc_link_start(struct svc_link *l, uint64_t now_ms);
/* One received message. Never fails visibly: a broken one ends the epoch (RESET) with down(). */
void svc_link_input(struct svc_link *l, const void *batch, size_t n, uint64_t now_ms);
/* Timers: PING, lost tail, HELLO again, the end of waiting for company. Returns the next time to call, UINT64_MAX for none; input, flush,
 * start and break may make it earlier, so ask again after them. Call svc_link_flush afterwards. */
uint64_t svc_link_tick(struct svc_link *l, uint64_t now_ms);
/* Sends what is queued, round robin by chunk, as batches: once at the end of a loop turn, and again when the transport takes more. An ACK
 * or CREDIT that can wait goes along with whatever leaves, and is no reason to send before its time is over (svc_link_tick says when). */
void svc_link_flush(struct svc_link *l, uint64_t now_ms);
/* Also when something has begun to wait for company: svc_link_flush and svc_link_tick, which have the time, say until when. */
bool svc_link_wants_flush(const struct svc_link *l);
/* Control frames that are queued until it is said otherwise (OPEN, CLOSE) need not leave alone: they wait up to SVC_GATHER_MS for each
 * other or for whatever else leaves, in their order. For what nobody waits for, or where many come and a batch for each is dear. */
void svc_link_gather(struct svc_link *l, bool gathers);
/* What waits for company waits no longer: for who will not come back to this link. */
void svc_link_hurry(struct svc_link *l);
/* Queues a PING although nothing is outstanding: the transport tells, when it is flushed, whether the peer is still there. */
void svc_link_ping(struct svc_link *l);
/* Ends the epoch from outside (authorisation withdrawn, peer known dead): closed() for all, down(). A gateway says RESET with the next
 * flush; a service stays silent until svc_link_start. now_ms: from here on the streams that can wait do (hub.h), so a time that the caller
 * looked up before it was held up cuts theirs short, unless there is a clock(). */
void svc_link_break(struct svc_link *l, const char *why, uint64_t now_ms);
/* Gateway: the answer to the HELLO of a peer that gets no link, a WELCOME that refuses it (why: a text of at most 255 bytes). Returns its
 * length, at most SVC_ANSWER_MAX; 0 when the batch is no HELLO and has no answer. */
#define SVC_ANSWER_MAX 600u
size_t svc_link_turn_away(const void *batch, size_t n, const char *why, uint8_t *answer);
bool svc_link_is_up(const struct svc_link *l);
/* Gateway: asks where a user is; `request` comes back in located(), unless the epoch ends before. SVCPROTO_E_CLOSED, E_INVALID, E_FULL. */
int svc_link_locate(struct svc_link *l, uint32_t request, const char *bare_jid);
int svc_link_located(struct svc_link *l, const struct svc_located *m); /* service: likewise */
size_t svc_link_nr_streams(const struct svc_link *l);
size_t svc_link_queued_bytes(const struct svc_link *l);

/* Service: asks for `command`; `request` (not 0) comes back with each part of the answer, and must not be in use on this link. No answer
 * comes when the epoch ends. SVCPROTO_E_CLOSED: not up; E_INVALID: what the peer would not take. */
int svc_link_admin(struct svc_link *l, uint32_t request, const char *command, const struct svcproto_property *v, size_t nr);
/* Gateway: a part of the answer to a request of this epoch. error, or NULL, in the last part only. What is queued leaves before stanzas do:
 * a long answer must be sent piece by piece, as svc_link_queued_bytes() falls. */
int svc_link_admin_reply(struct svc_link *l, uint32_t request, bool more, const char *error, const struct svcproto_property *v, size_t nr);

/* NULL: link not up, limit reached, no memory, or an `o` that the peer would not take. `data` is the stream's user pointer. */
struct svc_stream *svc_stream_open(struct svc_link *l, const struct svc_open *o, void *data);
int svc_stream_accept(struct svc_stream *s, const char *full_jid);
/* The same, where no stanza above so many bytes may be sent to us on this stream (0: as many as ever): svc_stream_send refuses it at the
 * peer from there on. What the peer sent before, it does not know this of: it should wait for accepted(). */
int svc_stream_accept_narrow(struct svc_stream *s, const char *full_jid, uint32_t stanza_bytes_max);
int svc_stream_refuse(struct svc_stream *s, const struct svc_refusal *r);  /* frees s, unless it fails */
/* Queues a stanza (copied). seq_out (may be NULL) gets its number. SVCPROTO_E_FULL: a bound of unacknowledged stanzas or bytes is reached,
 * the stream's or the hub's (hub.h); E_CLOSED;
 * E_INVALID: larger than the peer takes, or empty. flags: SVC_REPEATED or 0. Allowed before ACCEPT arrived on a stream that we opened: kept
 * until then. */
int svc_stream_send(struct svc_stream *s, const char *xml, size_t n, unsigned flags, uint32_t *seq_out);
/* The gateway refuses a client's stanza that keeps its place in the count: the service's library answers it. */
int svc_stream_send_reject(struct svc_stream *s, const char *xml, size_t n, const char *type, const char *condition, uint32_t *seq_out);
/* Within stanza() with SVC_REJECT: the error that the stanza is to be answered with. Borrowed until that callback returns. */
void svc_stream_rejection(const struct svc_stream *s, const char **type, const char **condition);
/* Received stanza seq is handled: any order; the unbroken row goes out with what is sent next, after SVC_ACK_WAIT_MS at the latest. */
int svc_stream_ack(struct svc_stream *s, uint32_t seq);
/* Received stanzas up to and including seq are handled. */
int svc_stream_ack_through(struct svc_stream *s, uint32_t seq);
/* Pauses giving CREDIT (the consumer of stanza() is full); resuming gives what is due. */
void svc_stream_pause(struct svc_stream *s, bool paused);
/* Begins the close; closed() follows when the peer answered (or the epoch ends). What was sent before goes first, for SVC_DRAIN_MS at most;
 * what the peer sends meanwhile is dropped unacknowledged. Nothing may be sent afterwards. */
int svc_stream_close(struct svc_stream *s, const char *condition, const char *text);
/* In order, what we sent and the peer did not acknowledge: fn(arg, seq, xml, n). For closed(). */
void svc_stream_unacked(struct svc_stream *s, void (*fn)(void *arg, uint32_t seq, const char *xml, size_t n), void *arg);
/* If so, then a stanza of any size, now: the streams of a hub take the room from each other. Otherwise, and after SVCPROTO_E_FULL, acked()
 * or writable() tells when to ask again. */
bool svc_stream_can_send(struct svc_stream *s);
/* Has it anything that the peer has not acknowledged, sent or not? */
bool svc_stream_has_unacked(const struct svc_stream *s);
void svc_stream_set_data(struct svc_stream *s, void *data);
void *svc_stream_data(const struct svc_stream *s);
enum svc_kind svc_stream_kind(const struct svc_stream *s);
bool svc_stream_is_ours(const struct svc_stream *s); /* this side opened it */
struct svc_link *svc_stream_link(const struct svc_stream *s); /* NULL: it waits for one (hub.h) */
const struct svc_id *svc_stream_id(const struct svc_stream *s);

#endif
