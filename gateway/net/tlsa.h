#ifndef GATEWAY_NET_TLSA_H
#define GATEWAY_NET_TLSA_H

/* TLSA records of one target (RFC 6698), bounded. Pure. */

#include "common/obj.h"

enum { TLSA_RECORDS_MAX = 16, TLSA_BYTES_MAX = 8192 };

/* The fields' numbers as in the DNS; data: bytes[at] to bytes[at + n - 1]. */
struct tlsa_set {
	unsigned nr;
	struct {
		uint8_t usage, selector, type;
		uint16_t at, n;
	} v[TLSA_RECORDS_MAX];
	size_t nr_bytes;
	unsigned char bytes[TLSA_BYTES_MAX];
};

/* A record's data. Those that are malformed, of unknown usage, selector or type (RFC 7671 section 4: as if they were not there), or too
 * many are passed over. */
void tlsa_add(struct tlsa_set *t, struct slice rdata);

#endif
