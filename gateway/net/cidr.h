#ifndef GATEWAY_NET_CIDR_H
#define GATEWAY_NET_CIDR_H

/* Ranges of network addresses, pure. An IPv4 address and its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2) are the same. */

#include <sys/socket.h>

#include "common/obj.h"

struct cidr {
	unsigned char address[16];  /* IPv4 as mapped */
	unsigned char bits;         /* 0 to 128: how many of them count */
};

/* "192.0.2.0/24", "2001:db8::/32", or one address. False: it is none, or has bits set beyond its length. */
MUST_CHECK bool cidr_parse(struct cidr *out, struct slice text);
/* False for what is no IP address. */
bool cidr_has(const struct cidr *c, const struct sockaddr *address);

#endif
