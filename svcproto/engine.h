#ifndef SVCPROTO_ENGINE_H
#define SVCPROTO_ENGINE_H

/* Private to the engine: link.c (epochs, timers), input.c and receive.c (what arrives), flush.c (what leaves), stream.c (one stream's
 * life). */

#include <sys/queue.h>

#include "svcproto/chunk.h"
#include "svcproto/message.h"
#include "svcproto/table.h"

#define LINK_JOIN_MIN (UINT64_C(32) << 20)     /* soft limit of what a link puts together, unless two stanzas need more */
#define LINK_CONTROL_MAX (UINT32_C(8) << 20)   /* unsent control frames: beyond it the peer does not read, and the link ends */
#define LINK_FLOOR_BYTES 4096u                 /* a sender waits for this much credit, or a quarter of the window */
#define LINK_TURN_BYTES 4096u                  /* of small stanzas that a stream may send before it is another's turn */
#define LINK_BULK_CHUNKS 2u                    /* large chunks in a batch: whoever comes next is not far behind them */
#define LINK_SPLIT_BYTES 2048u                 /* no smaller piece of a chunk at the end of a batch */

enum link_state {
	LINK_IDLE,  /* gateway: waits for HELLO; service: not started */
	LINK_HELLO, /* service: HELLO is queued, sent, or due again at hello_at_ms */
	LINK_UP,
};

enum stream_state {
	STREAM_OPENING,  /* our OPEN waits for an answer */
	STREAM_OFFERED,  /* the peer's OPEN waits for ours */
	STREAM_OPEN,
	STREAM_DRAINING, /* closed by us, data before the CLOSE */
	STREAM_CLOSING,  /* our CLOSE waits for its answer */
	STREAM_GONE,     /* freed when the outermost call returns */
};

struct svc_stream {
	struct svc_link *link;
	void *data;
	TAILQ_ENTRY(svc_stream) all;     /* every stream, then the dead ones */
	TAILQ_ENTRY(svc_stream) ready;   /* has a chunk and the credit for it */
	TAILQ_ENTRY(svc_stream) control; /* CREDIT or ACK to send */
	TAILQ_ENTRY(svc_stream) aside;   /* credit withheld because the link puts too much together; or draining, until its deadline */
	uint32_t handle;
	uint8_t state, kind;
	bool ours;        /* we sent OPEN */
	bool told;        /* closed() has been given */
	bool paused;
	bool was_open;    /* ACCEPT was sent or has come */
	bool was_full;    /* a send was refused: writable() is owed */
	bool in_ready, in_control, in_aside;
	bool ack_due, credit_due;
	struct svc_id id;
	struct window_out out;
	struct window_in in;
	struct chunk_join join;
	char *condition, *text; /* of our CLOSE, or NULL */
	uint64_t drain_until_ms;
};

TAILQ_HEAD(stream_list, svc_stream);

/* Encoded control frames, whole, in order. */
struct outbox {
	uint8_t *p;
	uint32_t head, n, cap;
};

struct svc_link {
	enum svc_side side;
	enum link_state state;
	const struct svc_link_ops *ops;
	void *arg;
	struct svc_hello self, peer;
	uint64_t now_ms;
	unsigned depth;        /* public calls on the stack: streams are freed at 0 */
	bool flushing;
	const char *doomed;    /* our shortage: the epoch ends when no callback is on the stack */
	uint64_t era;          /* how many epochs have ended: tells a loop that its epoch is over */

	uint32_t version, epoch;
	uint64_t out_number, in_number; /* last batch sent and received */
	uint64_t out_matter;            /* last batch sent with more than PINGs */
	uint64_t peer_received;         /* of ours, by its PING */
	char why[256];                  /* the epoch before ended so */

	uint64_t hello_at_ms, hello_delay_ms, up_at_ms;     /* service */
	bool hello_sent;
	bool reset_due, refuse_due;     /* gateway: one frame outside any epoch */
	uint32_t reset_epoch;
	uint64_t reset_at_ms;           /* of the last one sent */
	char answer[256];               /* its reason */
	uint64_t heard_at_ms, ping_at_ms, matter_at_ms, active_at_ms;
	unsigned unheard_pings;
	bool ping_due, pong_due;

	struct table table;
	struct stream_list all, ready, control, starved, draining, dead;
	uint32_t nr_ours, nr_theirs, next_handle;
	struct outbox outbox;
	uint8_t *batch;        /* SVC_BATCH_MAX, only while the link is in use */
	uint32_t batch_n;      /* a finished batch that the transport did not take yet, else 0 */
	uint64_t unsent;       /* bytes of stanzas */
	uint64_t join_bytes, join_soft;
	struct svc_stream *favoured; /* the one that may go on beyond join_soft */
	const char *reject_type, *reject_condition; /* during stanza() */
};

static inline enum svc_side link_peer_side(const struct svc_link *l)
{
	return l->side == SVC_GATEWAY ? SVC_SERVICE : SVC_GATEWAY;
}

/* link.c */
void link_enter(struct svc_link *l);
void link_leave(struct svc_link *l);
void link_doom(struct svc_link *l, const char *why);
/* The epoch ends by the peer's fault or ours: all streams closed(), down(), and the other side hears of it. */
void link_fail(struct svc_link *l, const char *why);
void link_end_epoch(struct svc_link *l, const char *why);
void link_begin_epoch(struct svc_link *l);
void link_hello_later(struct svc_link *l, uint64_t delay_ms);
void link_came_up(struct svc_link *l, const struct svc_hello *peer);
void link_queue_reset(struct svc_link *l, uint32_t epoch, const char *why);

/* flush.c */
/* Queues a whole frame; SVCPROTO_E_NOMEM or SVCPROTO_E_FULL otherwise. */
int link_put(struct svc_link *l, uint8_t type, uint32_t stream, const void *body, uint32_t n);
/* The same with flags and sequence. */
int link_put_frame(struct svc_link *l, const struct wire_frame *f);
int link_put_ack(struct svc_link *l, uint32_t stream, uint32_t seq);
void link_drop_output(struct svc_link *l);
bool link_flush_due(const struct svc_link *l);

/* admin.c: ADMIN or ADMIN_REPLY; a text is a link-wide protocol error, NULL is none. */
const char *admin_input(struct svc_link *l, const struct wire_frame *f);

/* receive.c: one frame for a stream; a text is a link-wide protocol error, NULL is none. */
const char *stream_input(struct svc_link *l, const struct wire_frame *f);

/* stream.c */
struct svc_stream *svc_stream_make(struct svc_link *l, uint32_t handle, const struct svc_id *id, enum svc_kind kind, bool ours);
void svc_stream_finish(struct svc_stream *s, const char *condition, const char *text);
void stream_detach(struct svc_stream *s);  /* out of all lists, onto the dead one; no event */
void svc_stream_dispose(struct svc_stream *s);
void stream_violation(struct svc_stream *s, const char *condition, const char *text);
void stream_wake(struct svc_stream *s);
void stream_sleep(struct svc_stream *s);
void stream_give_credit(struct svc_stream *s);
void stream_want_control(struct svc_stream *s);
void stream_queue_close(struct svc_stream *s);
void stream_join_end(struct svc_stream *s);
uint32_t stream_floor(const struct svc_stream *s);

#endif
