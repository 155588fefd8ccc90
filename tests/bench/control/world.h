#ifndef TESTS_BENCH_CONTROL_WORLD_H
#define TESTS_BENCH_CONTROL_WORLD_H

/* What all members of the load generator share: the registry they speak to, what they ought to see, and the probe that is under way. */

#include "svcproto/keys.h"
#include "tests/bench/control/checksum.h"

struct world {
	void *zmq;
	int epoll;
	char registry[320];              /* ENDPOINT=KEY */
	char router[256], pub[256], server_key[41];
	unsigned nr_services, nr_gateways, registrations, nr_whole;
	bool registered;                 /* services announce their domains */
	struct checksum expected;        /* of every member */
	uint32_t probe;                  /* under way, counted from 1; 0: none */
	uint64_t probe_at_us;
	uint64_t *seen_us;               /* how long each probe took to each gateway */
	size_t nr_seen, cap_seen;
	uint64_t gaps, snapshots, refused;
};

uint64_t world_now_us(void);          /* monotonic */
uint64_t world_now_ms(void);
/* A gateway sees the probe now. */
void world_saw_probe(struct world *w);
/* Member `index` is a service below nr_services, else a gateway. */
bool world_is_service(const struct world *w, unsigned index);
struct svc_id world_owner(unsigned index);
/* The domain, or the endpoint, of an entry of a member; its text lives until the next call. */
const char *world_name(const struct world *w, unsigned index, unsigned i);
/* The probe's domain, which lives until the next call. */
const char *world_probe_name(const struct world *w, unsigned index);

#endif
