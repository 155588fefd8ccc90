#ifndef GATEWAY_NET_SRV_H
#define GATEWAY_NET_SRV_H

/* SRV records in the order to try them (RFC 2782). Pure. */

#include "net/dns_answer.h"

/* Priorities ascending; within one, drawn by weight. random(arg, below) gives 0 to below - 1. */
void srv_order(struct dns_srv *v, size_t nr, uint32_t (*random)(void *arg, uint32_t below), void *arg);

#endif
