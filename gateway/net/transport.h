#ifndef GATEWAY_NET_TRANSPORT_H
#define GATEWAY_NET_TRANSPORT_H

/* What carries a connection's bytes: TCP itself, or TLS over it. Private to gateway/net. Nothing here waits, owns the descriptor, or knows
 * of events. */

#include <openssl/ssl.h>
#include <sys/types.h>

#include "common/obj.h"

#define TRANSPORT_UNSENT_MAX 131072   /* bytes in the kernel's queue beyond what is on its way */

/* Besides counts above 0. */
enum transport_result {
	TRANSPORT_DONE = 0,
	TRANSPORT_WANT_READ = -1,     /* again once the descriptor is readable */
	TRANSPORT_WANT_WRITE = -2,    /* again once it is writable */
	TRANSPORT_EOF = -3,           /* closed in order */
	TRANSPORT_RESET = -4,         /* the connection broke; transport_why() */
	TRANSPORT_TLS_FAILED = -5,    /* TLS refuses to go on; transport_why() */
};

struct transport;

struct channel {
	const struct transport *ops;
	SSL *ssl;                     /* borrowed */
	uint64_t plain_out;           /* bytes given to the kernel beside TLS */
	int fd;
	bool more : 1;                /* input is waiting inside, where epoll can't see it: read again */
	bool open : 1;                /* tls.c: the handshake is over */
	bool corked : 1;              /* what is written goes out with what follows: more of it, or the end */
	bool emptied : 1;             /* tls_bio.c: this call has read all that has come */
	bool refused : 1;             /* tls.c: the peer does what may not be done with an open one */
	bool answered : 1;            /* tls.c: a server has said all that it says to a ClientHello */
	bool patient : 1;             /* on a job thread: who computes pauses in between */
	signed char held;             /* a result that came right behind bytes: the next read's */
	unsigned char nr_idle;        /* tls.c: handshake messages, less the records of data between them */
};

struct transport {
	int (*handshake)(struct channel *ch);                          /* TRANSPORT_DONE, or a result */
	ssize_t (*read)(struct channel *ch, void *to, size_t n);
	ssize_t (*write)(struct channel *ch, const void *from, size_t n);
	int (*shutdown)(struct channel *ch);                           /* says the last word of this layer; TRANSPORT_WANT_WRITE: again */
	bool (*more)(const struct channel *ch);
	uint64_t (*wire_out)(const struct channel *ch);                /* bytes that the kernel ever took */
};

extern const struct transport transport_tcp;   /* its handshake is connect()'s end */
extern const struct transport transport_tls;
/* Puts ssl on the descriptor. The channel stays where it is for as long as ssl lives, or moves. */
void transport_tls_begin(struct channel *ch);
/* The channel is *to from now on, and *from is not to be used. Neither thread may be inside ssl. */
void transport_tls_move(const struct channel *from, struct channel *to);
/* After the handshake: nobody will ask what it was made of, such as for a channel binding. */
void transport_tls_settled(struct channel *ch);

/* Private to tls.c: makes OpenSSL read and write the channel's descriptor. */
void tls_bio_set(struct channel *ch);
void tls_bio_moved(struct channel *ch);
/* What each TCP connection of ours wants; what is accepted inherits it from its listener. */
bool transport_tune(int fd);

/* Why the last call of this thread failed. Static; until the next call. */
const char *transport_why(void);
void transport_set_why(const char *text);

#endif
