#ifndef GATEWAY_NET_CONN_INT_H
#define GATEWAY_NET_CONN_INT_H

/*
 * A connection's inside, shared by conn.c (life and bytes), conn_close.c (endings), conn_door.c and conn_step.c (newcomers), and acks.c.
 * What only some connections need for some time (timers, marks) is allocated when it is needed, so that ten thousand idle ones stay small.
 */

#include "net/conn.h"
#include "net/transport.h"

#define CONN_MAGIC 0x434f4e4eu
#define CONN_READ_MAX 16384      /* bytes read a turn */
#define CONN_WRITE_MAX 65536     /* bytes written a turn */

enum conn_state {
	CONN_CONNECTING,
	CONN_LAST_PLAIN,    /* what was queued before conn_start_tls() goes out */
	CONN_AT_THE_DOOR,   /* the peer is to begin the handshake, or has, and it has not been admitted */
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_FLUSHING,      /* conn_close(): the rest of the output */
	CONN_FINISHING,     /* close_notify did not fit into the socket's buffer yet */
	CONN_LINGERING,     /* both last words are said; the peer's FIN is awaited */
	CONN_ENDED,         /* closed() comes at the turn's end */
};

struct ack_watch;
struct conn_step;
struct conn_wait;
struct net_shared;

struct conn {
	unsigned magic;
	unsigned char state;            /* enum conn_state */
	unsigned char end;              /* enum conn_end */
	bool paused : 1;
	bool parked : 1;                /* paused, and data has come: reading is out of the event's mask */
	bool was_full : 1;
	bool write_blocked : 1;         /* the socket takes no more: its event will tell */
	bool read_blocked : 1;          /* TLS must write before it reads on */
	bool handshake_writes : 1;
	bool newcomer : 1;              /* accepted, and not settled yet */
	bool peer_done : 1;             /* its FIN came while we were closing */
	bool admitted : 1;              /* a newcomer past the door (net/handshakes.h) */
	bool looked_through : 1;        /* at the door: what it said first has told all that it can */
	/* a newcomer's events, which stand behind everybody else's: those that have come and wait in `again`, */
	bool late_read : 1, late_write : 1, late_closed : 1;
	bool unwatched : 1;             /* and no more are asked for until then */
	bool away : 1;                  /* conn_step.c: what ch holds of TLS is another thread's */
	short interest;                 /* libevent's mask in force */
	uint16_t peer_port;
	uint16_t charged_us;            /* while it is a newcomer: since it was admitted, or so far */
	union {
		uint16_t linger_ms;     /* while closing */
		uint16_t nr_away;       /* before: so often it has been */
	};
	struct loop *loop;
	const struct conn_ops *ops;
	void *arg;
	struct net_shared *shared;
	struct channel ch;
	struct buf out;
	const struct conn_limits *limits;
	uint32_t counted;               /* of out, in the sum of all */
	union {
		uint32_t plain_left;    /* bytes of out that belong before the handshake */
		uint32_t keys_us;       /* while it is admitted: what other threads did for it, beside charged_us */
		uint32_t dropped;       /* while closing: bytes of input */
	};
	uint32_t looked_at_ms;          /* acks.c, the clock's lower half */
	uint32_t moved_at_ms;           /* likewise: when output moved last, since the timer runs */
	uint64_t sent, bytes_in;        /* plaintext */
	struct loop_task turn;          /* this turn's end: flush, or report the end */
	/* the next turn's end: input that is inside TLS; behind all else: a newcomer's events, and that a step of its is back */
	struct loop_task again;
	struct ack_watch *watch;
	struct conn_wait *wait;         /* while the handshake waits for its turn */
	struct loop_timer *timer;       /* while closing, and since output was blocked */
	union {
		char *end_text;
		struct conn_step *step; /* while it is away */
	};
	struct event ev;
	char peer_text[];
};

/* What the connections of one loop share: the read buffer and the poll of acknowledgements. Counted by connections. */
struct net_shared *net_shared_get(struct loop *l);
void net_shared_put(struct net_shared *s);
uint64_t *net_shared_queued(struct net_shared *s); /* bytes of output of all connections */
char *net_shared_scratch(struct net_shared *s);   /* CONN_READ_MAX bytes; valid until the next read on this loop */

/* The event's mask follows from the state: call after any change of it. */
void conn_update_interest(struct conn *c);
void conn_flush(struct conn *c);
void conn_count_out(struct conn *c);              /* out has become longer or shorter */
void conn_to_handshake(struct conn *c);

void conn_handshake_did(struct conn *c, int transport_result);
/* conn_step.c: a step of the handshake, here or on another thread, */
void conn_handshake_step(struct conn *c);
void conn_step_is_back(struct conn *c);           /* in `again`, while it is away; */
void conn_leave_step(struct conn *c);             /* and the end while it is there; the descriptor is closed with it */
/* conn_door.c: a newcomer's events stand behind everybody else's: `again` takes them; */
void conn_put_off(struct conn *c, short what);
short conn_take_late(struct conn *c);             /* 0: none */
/* its first words have come, or more of them while it waits; */
void conn_knock(struct conn *c, short what);
void conn_admitted(struct conn *c);               /* and what net/handshakes.h decided */
void conn_turned_away(struct conn *c);

/* The first end counts; while we are closing every end is CLOSED_BY_US. */
void conn_end_now(struct conn *c, enum conn_end why, const char *text);
void conn_end_by(struct conn *c, int transport_result);
void conn_at_eof(struct conn *c);
void conn_closing_flushed(struct conn *c);        /* in FLUSHING or FINISHING, with nothing queued */
void conn_drop_input(struct conn *c);
void conn_report_end(struct conn *c);
void conn_watch_stall(struct conn *c);            /* output is blocked */

/* acks.c: what the peer's TCP has. */
void acks_flushed(struct conn *c);                /* bytes went to the kernel */
void acks_came(struct conn *c);                   /* bytes of the peer's, which carry acknowledgements. Both may call acked() */
void acks_drop(struct conn *c);

static inline bool conn_is_closing(const struct conn *c)
{
	return c->state >= CONN_FLUSHING && c->state <= CONN_LINGERING;
}

#endif
