#ifndef GATEWAY_NET_CONN_H
#define GATEWAY_NET_CONN_H

/*
 * One TCP connection, plain or TLS: buffered output with marks, one read and one flush for each wake-up, deferred destruction. Knows
 * nothing of XMPP. An idle connection holds no buffers. All on the loop's thread, but for what is inside OpenSSL: a step of a newcomer's
 * handshake may run on another one (conn_step.c), and what OpenSSL asks for in it, such as keys of tickets, is asked for there.
 */

#include <openssl/ssl.h>
#include <sys/socket.h>

#include "common/buf.h"
#include "common/loop.h"

struct conn;
struct handshakes;

enum conn_end {
	CONN_END_CLOSED_BY_US,
	CONN_END_EOF,             /* the peer closed in order (FIN, and close_notify on TLS) */
	CONN_END_RESET,           /* the connection broke */
	CONN_END_TLS_FAILED,
	CONN_END_CONNECT_FAILED,
	CONN_END_OVERFLOW,        /* output passed its maximum, or that of all */
	CONN_END_CROWDED,         /* too many came at the same time to be let in */
};

struct conn_ops {
	void (*connected)(void *arg);                     /* conn_connect only */
	void (*data)(void *arg, struct slice bytes);      /* plaintext; at most 16 KiB a turn. Not called while paused */
	void (*tls_done)(void *arg);                      /* the handshake succeeded */
	/* The handshake waits for its turn (limits.handshakes), then not any more: tls_done() or closed() is to follow. May be NULL. */
	void (*waits)(void *arg, bool waits);
	/* Output waits and the peer has taken nothing for limits.stall_ms, or its TCP has acknowledged nothing of what is watched.
	 * Once: close it. NULL: never asked for. */
	void (*stalled)(void *arg);
	void (*drained)(void *arg);                       /* output fell below the low mark after having been above the high mark */
	void (*acked)(void *arg, uint64_t pos); /* the peer's TCP has acknowledged all plaintext up to pos (conn_position units); only after
						   conn_watch_acks */
	void (*closed)(void *arg, enum conn_end why,
		       const char *text); /* once; the conn is freed at the turn's end; arg may be freed by the callee */
};

struct conn_limits {
	size_t out_high, out_low;   /* bytes; above high conn_full() is true */
	size_t out_max;             /* hard: CONN_END_OVERFLOW */
	unsigned stall_ms;          /* 0: no limit */
	uint64_t all_max;           /* of all on this loop: beyond it, who is to hold more and takes nothing ends likewise; 0: no limit */
	struct handshakes *handshakes; /* at whose pace others' TLS handshakes with us begin, and where they run; NULL: at once, here */
};

/* Takes fd (non-blocking, accepted). limits: borrowed for the connection's life. */
struct conn *conn_accept(struct loop *l, int fd, const struct sockaddr *peer, socklen_t peer_len, const struct conn_limits *limits,
			 const struct conn_ops *ops, void *arg);
/* Begins to connect; connected() or closed() follows. NULL if the system refuses at once. */
struct conn *conn_connect(struct loop *l, const struct sockaddr *to, socklen_t to_len, const struct conn_limits *limits,
			  const struct conn_ops *ops, void *arg);
/* TLS from here on. Takes ssl (it gets the descriptor here; accepting or connecting by its state set with
 * SSL_set_accept_state/SSL_set_connect_state). Input that arrived before and was not taken is dropped (RFC 6120 5.4.3.3); output queued
 * before goes out in plain first. tls_done() or closed(). May be called in data(). */
void conn_start_tls(struct conn *c, SSL *ssl);
/* An accepted connection is a newcomer's until then, and what it costs is charged to newcomers. Nobody asks for our own certificate, or
 * what is bound to it, any more. */
void conn_settled(struct conn *c);
/* A newcomer where newcomers are paced: its work stands behind everybody else's (loop_task_queue_behind). */
bool conn_stands_behind(const struct conn *c);
SSL *conn_ssl(const struct conn *c);                      /* NULL before TLS; not to be used before tls_done() */

/* Queues bytes; they leave in one flush at the turn's end. After closing: ignored. */
void conn_send(struct conn *c, struct slice bytes);
bool conn_full(const struct conn *c);                     /* above the high mark */
size_t conn_queued(const struct conn *c);
uint64_t conn_position(const struct conn *c);             /* plaintext bytes ever given to conn_send */
void conn_look_acks(struct conn *c);   /* at once, for what is watched: acked() may come from inside */
void conn_watch_acks(struct conn *c); /* acked() will come for the present position (polled by SIOCOUTQ while outstanding) */
void conn_pause(struct conn *c, bool paused);             /* stop reading; nests not: a plain switch. The peer's reset is still noticed */
/* Flushes what is queued (a few seconds at most), sends close_notify and FIN, then closed(CLOSED_BY_US). linger_ms: how long to wait for
 * the peer's own close, reading and dropping, a few MiB at most (0: not at all). Idempotent. */
void conn_close(struct conn *c, unsigned linger_ms);
void conn_abort(struct conn *c);                          /* at once; closed() comes at the turn's end */
const char *conn_peer_text(const struct conn *c);         /* "192.0.2.1" or "2001:db8::1"; port: conn_peer_port */
uint16_t conn_peer_port(const struct conn *c);
uint64_t conn_bytes_in(const struct conn *c);
uint64_t conn_bytes_out(const struct conn *c);

#endif
