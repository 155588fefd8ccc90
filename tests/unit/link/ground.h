#ifndef TESTS_UNIT_LINK_GROUND_H
#define TESTS_UNIT_LINK_GROUND_H

/* What the links of a gateway stand on, for tests with real sockets: 0MQ with ZAP, a loop, a directory, a ROUTER on loopback. */

#include "link/links.h"
#include "svcproto/zap.h"

struct ground {
	void *zmq;
	struct zap *zap;
	struct svc_key key;    /* the gateway's */
	struct loop *loop;
	struct directory *directory;
	struct links *links;
};

/* `o` lacks what the ground has, `services` are the lines of authorized_keys that are not the gateway's own. */
void ground_start(struct ground *g, struct links_options *o, const struct links_ops *ops, const char *services);
void ground_stop(struct ground *g); /* after whatever else has sockets or events of it */

#endif
