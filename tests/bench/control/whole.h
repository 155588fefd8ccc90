#ifndef TESTS_BENCH_CONTROL_WHOLE_H
#define TESTS_BENCH_CONTROL_WHOLE_H

/* One member that keeps a whole directory: svcproto/announcer.h and svcproto/directory.h as gateways and services use them. */

#include "tests/bench/control/world.h"

struct whole;

/* NULL: it does not start. Its sockets are in the world's epoll set with `tag`. */
struct whole *whole_new(struct world *w, unsigned index, const struct svc_key *key, uint64_t tag);
void whole_free(struct whole *h);
/* Announces its domains, once the world's services do. 0, or an error. */
int whole_register(struct whole *h);
/* Reads, and sends what is due. */
void whole_advance(struct whole *h, uint64_t now_ms);
/* When a registry that it is in step with was last heard, in ms of world_now_ms(). */
uint64_t whole_heard_at(const struct whole *h);
/* Of what its directory shows. */
struct checksum whole_checksum(const struct whole *h);

#endif
