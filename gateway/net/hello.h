#ifndef GATEWAY_NET_HELLO_H
#define GATEWAY_NET_HELLO_H

#include "common/slice.h"

/* What the first bytes of a TLS client tell before anything is spent on it, pure. */
enum hello {
	HELLO_PARTIAL,     /* more must come before it can be told */
	HELLO_NEW,         /* no ticket, or no ClientHello at all */
	HELLO_RETURNING,   /* a ClientHello with a session ticket (RFC 8446 section 4.2.11, RFC 5077): it says that it was here before */
};

/* bytes: what has come so far, from the first on. Looks into the first record only, where clients put it whole. */
enum hello hello_look(struct slice bytes);

#endif
