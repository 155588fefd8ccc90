#ifndef REGISTRY_SOCKETS_H
#define REGISTRY_SOCKETS_H

/* The registry's two sockets under CURVE: ROUTER at one port, PUB at the next. The registry's thread's. */

#include "common/obj.h"
#include "svcproto/keys.h"

struct registry_sockets {
	void *context;         /* borrowed, of 0MQ; its ZAP thread runs */
	void *router, *pub;    /* owned; NULL: not open */
	void *monitor;         /* of the ROUTER: connections that end */
	char endpoint[256];    /* of the ROUTER, as bound: "tcp://127.0.0.1:5310" */
};

/* Binds at "tcp://HOST:PORT", port 0 or * picks two. 0, or -1 with a line in why; then nothing is open. */
MUST_CHECK int registry_sockets_open(struct registry_sockets *s, const char *want, const struct svc_key *k, char *why, size_t why_size);
/* Ends every connection and binds the same ports anew: who connects again meets ZAP. What was sent before still leaves. 0, or -1: the ports
 * are not to be had; nothing is open then, call it again. */
MUST_CHECK int registry_sockets_renew(struct registry_sockets *s, const struct svc_key *k);
/* The descriptor of a connection to the ROUTER that has ended; -1: none has. It may be another connection's by now. */
int registry_sockets_ended(struct registry_sockets *s);
void registry_sockets_close(struct registry_sockets *s, int linger_ms); /* a zeroed one is allowed */

#endif
