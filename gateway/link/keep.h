#ifndef GATEWAY_LINK_KEEP_H
#define GATEWAY_LINK_KEEP_H

/* The streams of a worker that wait for their service's link. Private to gateway/link. */

#include "svcproto/hub.h"

/* Its events go to the link_end that is each stream's data. Aborts without memory. */
struct svc_hub *keep_new(const struct svc_hello *self, uint64_t held_bytes_max);

#endif
