#ifndef GATEWAY_LINK_LINKS_SOCKET_H
#define GATEWAY_LINK_LINKS_SOCKET_H

/* The ROUTER that services dial. Private to gateway/link. */

#include "svcproto/keys.h"

/* Not bound yet; the context's ZAP thread runs already. NULL with zmq_errno(). */
void *links_socket_new(void *zmq_context, const struct svc_key *key);
/* The pair that tells of connections that end. To be had before the socket is bound, and closed before it. NULL with zmq_errno(). */
void *links_socket_watch(void *zmq_context, void *zsock);
/* Binds with small TCP segments, which connections inherit and their other ends are told. 0, or -1 with zmq_errno(). */
int links_socket_bind(void *zsock, void *monitor, const char *endpoint);

#endif
