#ifndef SVCPROTO_ENGINE_H
#define SVCPROTO_ENGINE_H

/* Private to the engine: link.c (epochs, timers), input.c and receive.c (what arrives), flush.c (what leaves), stream.c (one stream's
 * life), send.c (what its owner does with it), hub.c (streams without a link), room.c (what all streams hold together), attach.c and
 * resume.c (how they come to a link), sm.c (stream management). */

#include <sys/queue.h>

#include "svcproto/chunk.h"
#include "svcproto/hub.h"
#include "svcproto/ids.h"
#include "svcproto/message.h"
#include "svcproto/mutate.h"
#include "svcproto/table.h"

#define LINK_JOIN_MIN (UINT64_C(32) << 20)     /* soft limit of what a link puts together, unless two stanzas need more */
#define LINK_CONTROL_MAX (UINT32_C(8) << 20)   /* unsent control frames: beyond it the peer does not read, and the link ends */
#define LINK_FLOOR_BYTES 4096u                 /* a sender waits for this much credit, or a quarter of the window */
#define LINK_TURN_BYTES 4096u                  /* of small stanzas that a stream may send before it is another's turn */
#define LINK_BULK_CHUNKS 2u                    /* large chunks in a batch: whoever comes next is not far behind them */
#define LINK_SPLIT_BYTES 2048u                 /* no smaller piece of a chunk at the end of a batch */
#define LINK_UNTIMED UINT64_MAX
#define LINK_ATTACH_MAX 4096u                  /* the body of REATTACH or ATTACHED */

enum link_state {
	LINK_IDLE,  /* gateway: waits for HELLO; service: not started */
	LINK_HELLO, /* service: HELLO is queued, sent, or due again at hello_at_ms */
	LINK_UP,
};

enum stream_state {
	STREAM_OPENING,   /* our OPEN waits for an answer */
	STREAM_OFFERED,   /* the peer's OPEN waits for ours */
	STREAM_ATTACHING, /* gateway: REATTACH or RESUME waits for an answer; service: a RESUME waits until all is handled */
	STREAM_WAITING,   /* without a link */
	STREAM_OPEN,
	STREAM_DRAINING,  /* closed by us, data before the CLOSE */
	STREAM_CLOSING,   /* our CLOSE waits for its answer */
	STREAM_DETACHING, /* gateway: our DETACH waits for its answer */
	STREAM_GONE,      /* freed when the outermost call returns */
};

enum stream_sm {
	SM_OFF,
	SM_ASKED,   /* gateway: ENABLE was sent, or is due when there is a link */
	SM_PENDING, /* gateway: granted, and stanzas before <enabled/> are still to come; service: likewise before <enable/> */
	SM_ON,
};

/* Where a stream is that has no link. */
enum stream_place { PLACE_LINK, PLACE_FRESH, PLACE_WAITING, PLACE_DETACHED };

TAILQ_HEAD(stream_list, svc_stream);

struct svc_stream {
	struct svc_link *link;           /* NULL: WAITING, or gone from there */
	struct svc_hub *hub;             /* NULL: ends with its link */
	struct hub_peer *peer;           /* WAITING for it; NULL: for nobody in particular */
	const struct svc_hello *self;
	struct svc_stream *same_hash;    /* service: in hub->ids */
	void *data;
	TAILQ_ENTRY(svc_stream) all;     /* of its link, or where it waits; then the dead ones */
	TAILQ_ENTRY(svc_stream) ready;   /* has a chunk and the credit for it */
	TAILQ_ENTRY(svc_stream) control; /* CREDIT or ACK to send: in the link's control, or in its lazy ones */
	TAILQ_ENTRY(svc_stream) in_aside;
	TAILQ_ENTRY(svc_stream) in_hungry; /* waits for room in the hub */
	struct stream_list *aside;       /* credit withheld because the link puts too much together (starved), or a deadline (draining,
					  * attaching) */
	uint32_t handle;
	uint8_t state, kind;
	uint8_t sm;
	bool ours : 1;        /* we opened it */
	bool our_handle : 1;  /* we sent OPEN, REATTACH or RESUME on this link */
	bool told : 1;        /* closed() has been given */
	bool paused : 1;
	bool was_open : 1;    /* ACCEPT was sent or has come */
	bool was_full : 1;    /* a send was refused: writable() is owed */
	bool in_ready : 1, in_control : 1, in_lazy : 1; /* in_lazy: which list it is that in_control tells of */
	bool hungry : 1, in_empty : 1; /* likewise */
	bool nameless : 1;    /* only holds a handle until its CLOSE is answered: not in hub->ids */
	bool ack_due : 1, credit_due : 1, attach_due : 1;
	bool close_wanted : 1;  /* by the owner, while that could not be said */
	bool detach_wanted : 1; /* likewise; and there is no owner any more */
	bool resumed : 1;       /* ATTACHING: by RESUME */
	bool resume_due : 1;    /* service: the ATTACHED that is due answers a RESUME */
	bool counted : 1;       /* gateway: what is acknowledged has come to out_base; numbers alone don't tell after 2^31 stanzas */
	unsigned place : 2;     /* enum stream_place */
	uint16_t in_hurry;      /* the ACKs of so many stanzas after in_said do not wait: the last of them is large, or awaited */
	uint32_t stanza_bytes_max; /* that the peer takes: of the last link */
	uint32_t accepted_bytes_max; /* likewise on this stream, by its ACCEPT; 0: no less */
	uint32_t generation;
	uint32_t out_base, in_base; /* the last stanza before stream management, each way */
	uint32_t in_said;           /* in.row, as far as the peer was told on this link */
	uint32_t resume_s;          /* granted; SM_ASKED: wanted */
	uint64_t until_ms;          /* aside: CLOSE, or no more waiting; WAITING: what happens then is hub.c's, and goes on for attaching */
	uint64_t expires_ms;        /* service: for a client that may resume */
	struct svc_id id;
	struct window_out out;
	struct window_in in;
	struct chunk_join join;
	char *condition, *text; /* of our CLOSE, or NULL */
};

/* The other end of a link in one life, as long as a link or a stream needs it. */
struct hub_peer {
	TAILQ_ENTRY(hub_peer) all;
	struct svc_id instance;
	uint64_t incarnation;
	char identity[64];
	struct svc_link *link;              /* the one that is up, or NULL */
	struct stream_list fresh, waiting;  /* fresh: whose owner does not know yet */
	uint32_t nr;                        /* in both */
	unsigned refs;                      /* links that remember it */
};

struct svc_hub {
	enum svc_side side;
	const struct svc_hub_ops *ops;
	void *arg;
	struct svc_hello self;
	struct svc_hub_limits limits;
	uint64_t now_ms, scan_at_ms;
	struct ids ids;                     /* service: every stream */
	TAILQ_HEAD(, hub_peer) peers;
	struct stream_list detached, dead;  /* detached: their clients may resume, oldest first */
	uint32_t nr_detached;
	uint64_t detached_bytes;
	uint64_t held_bytes;                /* unacknowledged, of all streams */
	struct stream_list hungry, empty;   /* wait for room, in the order of their asking; empty: have nothing outstanding */
	bool fed;                           /* some of the hungry heard of room in the last turn: there may be more of them */
};

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
	struct svc_hub *hub;           /* NULL: streams end with the epoch */
	struct hub_peer *hub_peer;     /* of this epoch or the last one, or NULL */
	char identity[64];             /* of whoever is at the other end */
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

	uint32_t held;         /* service: REATTACHes that are still to come in this epoch */
	struct table table;
	struct stream_list all, ready, control, starved, draining, dead;
	struct stream_list attaching; /* gateway: those that REATTACH has asked for, while their time runs */
	struct stream_list lazy; /* whose CREDIT or ACK waits for company */
	uint64_t lazy_at_ms;     /* they wait no longer; LINK_UNTIMED: the first came since anybody had the time */
	uint32_t nr_ours, nr_theirs, next_handle;
	struct outbox outbox;
	bool gathers;            /* what is queued now may wait for company */
	bool gathered;           /* and so may all that is in the outbox */
	uint64_t gathered_at_ms; /* as lazy_at_ms */
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

static inline enum svc_side stream_side(const struct svc_stream *s)
{
	return s->hub != NULL ? s->hub->side : s->link->side;
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
void link_came_up(struct svc_link *l);
void link_set_limits(struct svc_hello *h); /* 0 is the default; into their ranges */
void link_set_now(struct svc_link *l, uint64_t now_ms);
void link_queue_reset(struct svc_link *l, uint32_t epoch, const char *why);

/* flush.c */
/* Queues a whole frame; SVCPROTO_E_NOMEM or SVCPROTO_E_FULL otherwise. */
int link_put(struct svc_link *l, uint8_t type, uint32_t stream, const void *body, uint32_t n);
/* The same with flags and sequence. */
int link_put_frame(struct svc_link *l, const struct wire_frame *f);
int link_put_ack(struct svc_link *l, uint32_t stream, uint32_t seq);
void link_drop_output(struct svc_link *l);
bool link_flush_due(const struct svc_link *l);
bool link_lazy_due(const struct svc_link *l);
void link_time_lazy(struct svc_link *l); /* whatever waits for company has a time by now */
bool link_is_gathering(const struct svc_link *l); /* all in the outbox waits for company, and there is something */

/* admin.c: ADMIN or ADMIN_REPLY; a text is a link-wide protocol error, NULL is none. */
const char *admin_input(struct svc_link *l, const struct wire_frame *f);
/* locate.c: a text is a link-wide protocol error, NULL is none. */
const char *link_locate_input(struct svc_link *l, const struct wire_frame *f);

/* receive.c: one frame for a stream; a text is a link-wide protocol error, NULL is none. */
const char *stream_input(struct svc_link *l, const struct wire_frame *f);

/* stream.c */
struct svc_stream *svc_stream_make(struct svc_link *l, uint32_t handle, const struct svc_id *id, enum svc_kind kind, bool ours);
uint32_t stream_new_handle(struct svc_link *l);
int stream_join_link(struct svc_stream *s, struct svc_link *l, uint32_t handle, bool ours); /* SVCPROTO_E_NOMEM: nothing happened */
void stream_leave_link(struct svc_stream *s); /* out of all its lists; the state is the caller's */
void svc_stream_finish(struct svc_stream *s, const char *condition, const char *text);
void stream_remove(struct svc_stream *s); /* off its link or out of its hub, onto the dead list; no event */
void svc_stream_dispose(struct svc_stream *s);
void stream_violation(struct svc_stream *s, const char *condition, const char *text);
void stream_narrow(struct svc_stream *s);             /* by what its ACCEPT said, too */
void stream_wake(struct svc_stream *s);
void stream_sleep(struct svc_stream *s);
void stream_give_credit(struct svc_stream *s);
void stream_want_control(struct svc_stream *s);  /* CREDIT, ACK, ATTACHED: now */
void stream_want_company(struct svc_stream *s);  /* CREDIT or ACK: with whatever leaves */
void stream_want_ack(struct svc_stream *s);      /* the one or the other */
bool stream_ack_hurries(const struct svc_stream *s);
void stream_hurry_next(struct svc_stream *s);    /* the ACK of the stanza that is being received, and of those before it */
void stream_said(struct svc_stream *s);          /* a frame with in.row leaves */
void stream_leave_control(struct svc_stream *s);
void stream_go_aside(struct svc_stream *s, struct stream_list *list);
void stream_leave_aside(struct svc_stream *s);
void stream_feed_starved(struct svc_link *l);
void stream_queue_close(struct svc_stream *s);
void stream_set_reason(struct svc_stream *s, const char *condition, const char *text); /* of the CLOSE */
void stream_start_close(struct svc_stream *s); /* open, its reason is set: CLOSE, after what is unsent */
void stream_join_end(struct svc_stream *s);
void stream_drop_payload(struct svc_stream *s); /* the memory that it needs only while it lives */
uint32_t stream_floor(const struct svc_stream *s);
bool stream_is_over(const struct svc_stream *s); /* closed by somebody, or its epoch is just ending */

/* receive.c */
void stream_refuse_handle(struct svc_link *l, uint32_t handle, const struct svc_refusal *r); /* what was offered with that handle */
void stream_tell_acked(struct svc_stream *s); /* acked(), and writable() if that is owed */

/* hub.c */
int hub_link_up(struct svc_link *l);          /* knows l->peer from here; SVCPROTO_E_NOMEM */
uint32_t hub_nr_waiting_for(const struct svc_link *l);
bool hub_keeps(const struct svc_stream *s);   /* may this one outlive its epoch? */
void hub_wait(struct svc_stream *s);          /* off its link, without an event yet */
void hub_tell_fresh(struct hub_peer *p);
void hub_unwait(struct svc_stream *s);        /* its place is PLACE_LINK from here */
void hub_detach(struct svc_stream *s);        /* has neither link nor place: its client may resume it */
void hub_unclaimed(struct svc_link *l);       /* service: the gateway has said which streams it holds */
void hub_peer_drop(struct svc_hub *h, struct hub_peer *p); /* a link lets go of it; NULL is allowed */
void hub_soon(struct svc_hub *h);             /* something is due at once */

/* room.c */
bool hub_has_share(const struct svc_stream *s); /* for one more stanza */
bool hub_has_room(struct svc_stream *s);      /* the same; if not, it hears of room */
void hub_leave_hungry(struct svc_stream *s);
void hub_acked(struct svc_stream *s);         /* it may have nothing outstanding any more */
void hub_feed_hungry(struct svc_hub *h);      /* some of those who wait hear of it, if there is room */
bool hub_feeds_on(const struct svc_hub *h);   /* more of them can, at once */

/* attach.c */
void attach_all(struct svc_link *l);                 /* gateway, link just up: every stream that waits for it */
const char *attach_attached(struct svc_stream *s, const struct wire_frame *f);
/* Gateway, within svc_hub_tick: gives up those whose time is over. Returns when the next one's is, or `next` if that is earlier. */
uint64_t attach_expire(struct svc_link *l, uint64_t next);
uint8_t attach_body(struct svc_stream *s, struct props_writer *w); /* of the frame that is due; its type */
/* RESET, or a WELCOME that refuses: a batch outside any epoch of ours, of at most SVC_ANSWER_MAX bytes; returns how many. */
size_t link_put_answer(uint8_t *p, uint32_t epoch, bool refuse, const char *text);
void attach_refused(struct svc_stream *s, const struct svc_refusal *r); /* gateway, ATTACHING */
/* Both sides, for a stream that has just joined a link. */
void attach_start_credit(struct svc_stream *s);
/* NULL, or what is wrong with it. *news: something is acknowledged by it. */
const char *attach_take_position(struct svc_stream *s, const struct message_position *p, bool *news);
void attach_queue(struct svc_stream *s);             /* REATTACH or ATTACHED, with the position as it is when it leaves */
void attach_go_on(struct svc_stream *s);             /* open again */
void attach_close_if_wanted(struct svc_stream *s);

/* resume.c, service */
const char *resume_input(struct svc_link *l, const struct wire_frame *f); /* REATTACH, RESUME */
void resume_handled(struct svc_stream *s);           /* ATTACHING: has everything been handled? */
void resume_expired(struct svc_stream *s);           /* ATTACHING: it takes too long */

/* sm.c */
const char *sm_input(struct svc_stream *s, const struct wire_frame *f);       /* ENABLE, ENABLED, DETACH */
void sm_received(struct svc_stream *s);       /* after a stanza was delivered, and after ENABLE or ENABLED */
void sm_acked(struct svc_stream *s);          /* after more is acknowledged, and after it was asked to enable */
void sm_ask_again(struct svc_stream *s);      /* gateway, just attached */
void sm_start_detach(struct svc_stream *s);   /* gateway, open */

#endif
