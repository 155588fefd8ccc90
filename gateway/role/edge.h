#ifndef GATEWAY_ROLE_EDGE_H
#define GATEWAY_ROLE_EDGE_H

/*
 * A connection and its stream, glued: what the three roles share. A role embeds a struct edge as its first member, so that the stream
 * machine's `arg` is both. Lifetime: edge_gone() is called once, when the connection has ended and the stream with it; the role frees
 * itself there by edge_free_later().
 */

#include "role/admit.h"
#include "role/env.h"
#include "role/kept.h"

#define EDGE_MAGIC 0x45444745u

struct edge_ops {
	void (*connected)(struct edge *e);                /* edge_connect only: TCP stands */
	void (*drained)(struct edge *e);                  /* output is low again */
	void (*acked)(struct edge *e, uint64_t pos);      /* the peer's TCP has everything up to pos */
	/* The stream ended, the connection is being closed. Let go of links and questions here. */
	void (*ended)(struct edge *e, enum close_reason r, const char *detail);
	/* The connection is gone as well. */
	void (*gone)(struct edge *e);
	/* Sends the client to another host; only when TLS is in place and the stream not closing. NULL: nobody to send. */
	void (*move)(struct edge *e, const char *host);
	/* No lane is left on it (role/s2s_lane.h). NULL: nothing to do. */
	void (*unused)(struct edge *e);
	/* A TLS object for this side, or NULL. */
	SSL *(*make_ssl)(struct edge *e);
};

struct edge {
	uint32_t magic;
	uint32_t waits_since_ms;          /* for its TLS handshake's turn: the clock's lower half */
	bool ended : 1, paused : 1, tls_running : 1, negotiating : 1, held : 1;
	bool yielded : 1;                 /* resume is queued for the next turn */
	bool waits : 1;                   /* for its TLS handshake's turn */
	bool tls_first : 1;               /* edge_connect: direct TLS; the stream starts behind it */
	bool managed : 1;                 /* in STAT_managed */
	bool cut : 1;                     /* servers: what is queued when the stream ends is dropped */
	unsigned char kind;               /* of the stream: enum stream_role */
	unsigned char state_seen;         /* enum stream_state; and what is in env->counts: */
	unsigned char counted;
	unsigned nr_senders;              /* servers: pairs of ours that send over it, lanes or not */
	struct role_env *env;
	struct conn *conn;
	struct stream *stream;
	struct half half;                 /* of env->halves; ended: empty */
	struct kept *kept;                /* the role's stanza that found no room: held as long as there is one; ended: none */
	const struct edge_ops *ops;
	const char *role;                 /* for logs */
	const char *proof;                /* servers: by what the other one is known, "dane", "pkix" or "dialback"; static, or NULL */
	struct address_count *address;
	struct buf rest;                  /* received, not consumed yet */
	struct loop_task resume;
	struct loop_timer timer;
	uint64_t timer_at_ms, slowed_until_ms;
	uint64_t id;
	uint64_t since_ms;
	struct s2s_lane *lanes;           /* servers: pairs that send over it besides the one that it was made for */
	struct s2s_way *ways;             /* what env->ways says of it */
	struct edge *next, **prev;        /* env->edges */
};

/* Embeds: after this the edge is in env->edges. The connection and the stream are given by edge_accept or edge_connect. */
void edge_init(struct edge *e, struct role_env *env, const char *role, const struct edge_ops *ops);
/* An accepted descriptor; false when the address has too many (fd is closed, e was not used: free it). Direct TLS starts at once. */
MUST_CHECK bool edge_accept(struct edge *e, int fd, const struct sockaddr *peer, socklen_t len, const struct stream_params *p,
			    const struct stream_ops *ops);
MUST_CHECK bool edge_connect(struct edge *e, const struct sockaddr *to, socklen_t len);
/* The stream of an edge that connects; it starts by itself, with direct TLS behind that. */
void edge_start(struct edge *e, const struct stream_params *p, const struct stream_ops *ops);
/* Back-pressure (stream_hold): full, nothing is read on; each call gives it its time anew. Also after e->kept has changed. */
void edge_hold(struct edge *e, bool full);
/* After anything that may have answered a question of the stream or changed its state. */
void edge_kick(struct edge *e);
void edge_authenticated(struct edge *e);          /* counts as negotiating no longer */
/* Who the peer is where strangers have shares (net/shares.h): its address. Borrowed; the connection is there. */
struct slice edge_who(const struct edge *e);
/* Ends the stream for a reason of ours. */
void edge_close(struct edge *e, enum close_reason r);
/* Last act of gone(): frees the role object (of which e is the first member) at the turn's end. */
void edge_free_later(struct edge *e);

/* A walk over a worker's connections that may rest between turns: it meets each that was there when it began and still is, newest first. */
struct edge_walk {
	struct role_env *env;
	struct edge *at;
	struct edge_walk *next, **prev;   /* env->walks */
};
void edge_walk_begin(struct role_env *env, struct edge_walk *w);
struct edge *edge_walk_next(struct edge_walk *w);   /* NULL: the end */
void edge_walk_end(struct edge_walk *w);            /* idempotent */

/* Ready-made entries for a role's struct stream_ops. */
void edge_op_send(void *arg, struct slice bytes);
void edge_op_start_tls(void *arg);
void edge_op_closed(void *arg, enum close_reason r, const char *detail);

#endif
