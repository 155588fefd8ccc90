#ifndef REGISTRY_OBSERVE_H
#define REGISTRY_OBSERVE_H

/* /healthz and /metrics of ambrosia-registry (--http). Main thread. */

#include "common/loop.h"
#include "registry/server.h"

struct observe;

/* Takes fd, of http_listen(); the server is borrowed. */
struct observe *observe_new(struct loop *l, int fd, const struct registry_server *s);
void observe_free(struct observe *o);      /* NULL is allowed */

#endif
