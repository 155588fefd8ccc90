#ifndef GATEWAY_NET_DNS_ANSWER_H
#define GATEWAY_NET_DNS_ANSWER_H

/* An answer as it came over the wire (RFC 1035 section 4): read, never believed. Pure. */

#include "common/obj.h"

enum { DNS_A = 1, DNS_SRV = 33, DNS_AAAA = 28, DNS_DNSKEY = 48, DNS_TLSA = 52, DNS_NAME_MAX = 256 };
enum { DNS_NOERROR = 0, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3 };

struct dns_srv {
	uint16_t priority, weight, port;
	uint16_t set;                     /* the caller's: which of several sets it came from */
	char host[DNS_NAME_MAX];          /* lower case, without the last dot; "" for the root, which means no service */
};

/* The header's response code; -1 when there is no header. */
int dns_answer_rcode(struct slice packet);
/* Calls fn for each record of the type (class IN) in the answer section; others, such as the CNAMEs that led there and RRSIGs, are passed
 * over. False when the packet is malformed: what came before that was told all the same. */
bool dns_answer_each(struct slice packet, unsigned type, void (*fn)(void *arg, struct slice packet, size_t at, size_t n), void *arg);
/* The record's data at `at`; false when it is malformed or names what cannot be a host. */
MUST_CHECK bool dns_answer_srv(struct slice packet, size_t at, size_t n, struct dns_srv *out);

#endif
