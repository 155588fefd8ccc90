#ifndef SVCPROTO_ZMON_H
#define SVCPROTO_ZMON_H

/*
 * A client socket of 0MQ with CURVE, and what its monitor tells: 0MQ itself is silent about a key that is refused, and then gives up for
 * good. All options that our client sockets share are set here.
 */

#include <stddef.h>
#include <stdint.h>

enum zmon_event {
	ZMON_NONE,      /* nothing more for now */
	ZMON_UP,        /* handshake done */
	ZMON_DOWN,      /* the connection ended; 0MQ tries again by itself */
	ZMON_REFUSED,   /* our key is not admitted; 0MQ has given up, zmon_reconnect() tries again */
	ZMON_BROKEN,    /* no CURVE handshake with the key that we expect there; 0MQ tries again or gave up */
};

struct zmon_options {
	void *zmq_context;
	int type;                     /* ZMQ_DEALER, ZMQ_SUB */
	const char *endpoint;
	const char *server_key;       /* Z85 */
	const char *public_key, *secret_key;
	int high_water;               /* messages, each way */
	int kernel_bytes;             /* SO_SNDBUF and SO_RCVBUF; 0: the system's */
	int message_max;
};

struct zmon {
	void *socket;   /* owned */
	void *monitor;  /* PAIR, owned */
	char endpoint[256];
};

/* Makes and connects; 0 or SVCPROTO_E_CONNECT, then everything is closed. */
int zmon_open(struct zmon *z, const struct zmon_options *o);
void zmon_close(struct zmon *z, int linger_ms);   /* a zeroed one is allowed */
enum zmon_event zmon_next(struct zmon *z);
int zmon_reconnect(struct zmon *z);

/* May more be received, or sent? (ZMQ_EVENTS: reading it also re-arms the descriptor.) */
int zmon_events(void *socket);

#endif
