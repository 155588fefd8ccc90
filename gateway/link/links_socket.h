#ifndef GATEWAY_LINK_LINKS_SOCKET_H
#define GATEWAY_LINK_LINKS_SOCKET_H

/* The ROUTER that services dial. Private to gateway/link. */

#include "svcproto/keys.h"

/* Not bound yet; the context's ZAP thread runs already. NULL with zmq_errno(). */
void *links_socket_new(void *zmq_context, const struct svc_key *key);

#endif
