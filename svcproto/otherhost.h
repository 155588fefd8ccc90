#ifndef SVCPROTO_OTHERHOST_H
#define SVCPROTO_OTHERHOST_H

/* The value of see-other-host (RFC 6120 section 4.9.3.19): a domain name, an IPv4 address or an IPv6 address in brackets, and a port
 * where it is not the client's default. Pure. */

#include <stdbool.h>
#include <stddef.h>

#define OTHER_HOST_MAX 1100u
#define OTHER_HOST_PORT 5222u /* what is meant when none is written */

bool other_host_ok(const char *text);
/* Do both name the same? The default port may be written or not; letters of ASCII count without case. */
bool other_host_same(const char *a, const char *b);
/* host: any of the three, an IPv6 address with or without brackets. port: 0 for none. False: not a host, or no room in out. */
bool other_host_make(char *out, size_t size, const char *host, unsigned port);

#endif
