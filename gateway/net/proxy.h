#ifndef GATEWAY_NET_PROXY_H
#define GATEWAY_NET_PROXY_H

/*
 * The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): a load balancer tells in front of the stream whose connection it
 * passes on. Believed from listed addresses only, and needed there: a connection from one of them that begins otherwise is closed.
 */

#include "common/loop.h"
#include "net/cidr.h"

/* Longer headers (version 2 with much in its TLVs) are refused. */
#define PROXY_HEADER_MAX 2048

struct proxy_header {
	bool local; /* the balancer speaks for itself (its health check), or does not know: the socket's address counts */
	struct sockaddr_storage peer;  /* unless local */
	socklen_t peer_n;
};

/* Pure. The header's length when it is there whole; 0: more is needed; -ERR_SYNTAX: no header. */
MUST_CHECK int proxy_parse(struct slice in, struct proxy_header *out);

/* Stands between a listener and who accepts. */
struct proxy_door;

/* from is borrowed and must outlive the door. accepted() is called at once for who is not listed, else with the address that the header
 * told; it takes the descriptor, from which exactly the header was read. */
struct proxy_door *proxy_door_new(struct loop *l, const struct cidr *from, size_t nr_from,
				  void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len), void *arg);
/* Looking for headers is a newcomer's work. h may be NULL. */
struct handshakes;
void proxy_door_pace(struct proxy_door *d, struct handshakes *h);
/* For listener_new: arg is the door. */
void proxy_door_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t len);
/* Closes those whose header is not there yet. NULL is allowed; not inside accepted(). */
void proxy_door_free(struct proxy_door *d);

#endif
