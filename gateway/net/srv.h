#ifndef GATEWAY_NET_SRV_H
#define GATEWAY_NET_SRV_H

/* SRV records put in the order to try (RFC 2782). Pure. */

#include "net/resolve.h"

/* Priorities ascending; within one, by weight: random(below) draws from 0 to below - 1. */
void srv_order(struct resolve_target *v, size_t nr, uint32_t (*random)(void *arg, uint32_t below), void *arg);
/* One record's data (priority, weight, port, uncompressed name) into t; false when it is malformed. "." gives an empty host. */
bool srv_parse(struct slice rdata, struct resolve_target *t);

#endif
