#ifndef GATEWAY_NET_LISTENER_H
#define GATEWAY_NET_LISTENER_H

/* Listening sockets: made once for each worker (SO_REUSEPORT), before privileges are dropped; accepting on the worker's loop with a budget
 * of accepts a turn. */

#include <sys/socket.h>

#include "common/loop.h"

struct handshakes;
struct listener;

/* Binds and listens (backlog 4096, TCP_NODELAY inherited, SO_REUSEPORT, dual-stack for "::"; "::" falls back to 0.0.0.0 when the system has
 * no IPv6). port 0 picks one; *port_out tells it. Returns the descriptor, or a negative errno. why gets a line that names the address. */
int listener_bind(const char *host, uint16_t port, uint16_t *port_out, char *why, size_t why_size);

/* 0 if nobody else listens there, else a negative errno and why: to be asked once before the first listener_bind of an address, because
 * SO_REUSEPORT lets two gateways of one user share a port without either knowing. Port 0 is always free. */
int listener_probe(const char *host, uint16_t port, char *why, size_t why_size);

/* Takes fd. accepted() takes the new descriptor (non-blocking, close-on-exec). Out of descriptors: backs off, warns once a second. */
struct listener *listener_new(struct loop *l, int fd, void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len),
			      void *arg);
/* Accepts no faster than this allows; who is not accepted waits in the kernel's queue. It must live as long. NULL: as fast as it can. */
void listener_pace(struct listener *ln, struct handshakes *h);
void listener_pause(struct listener *ln, bool paused);
void listener_free(struct listener *ln);                 /* closes fd */

#endif
