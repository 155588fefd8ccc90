#ifndef AMBROSIA_TESTS_SIM_CONTROL_H
#define AMBROSIA_TESTS_SIM_CONTROL_H

/* Between registries.c and directories.c: who hears whom, and what is true. */

#include "registry/table.h"
#include "svcproto/directory_feed.h"
#include "tests/sim/sim.h"

enum { REGISTRIES = 3, NEWS = 32 };

#define SERVICE_KEY "ssssssssssssssssssssssssssssssssssssssss"
extern const char keys_text[];

struct registry {
	struct registry_table *t; /* NULL: it is down */
	uint64_t life, started_ms;
};

/* A gateway's subscription. */
struct ear {
	bool apart;               /* the network is parted */
	bool synced, missed;      /* the directory has its snapshot; there was news that did not come */
	uint64_t life, started_ms, heard_ms; /* of the registry, then */
	struct entry news[NEWS];
	uint32_t head, tail;
};

/* What an instance knows of its announcement there. */
struct voice {
	bool apart;
	uint64_t life, version, renewed_ms; /* noted by the registry of that life */
	uint64_t withdrawn;                 /* likewise */
};

/* Of each instance's present life, in truth. */
struct truth {
	uint64_t version;
	bool registered, draining;
	uint32_t weight;
	bool expired;                 /* a registry went without it for a whole lease */
	uint64_t withdrawn;           /* the highest version that was withdrawn */
	uint64_t told[GATEWAYS];      /* the same, of which that gateway has heard */
};

extern struct registry registries[REGISTRIES];
extern struct ear ears[GATEWAYS][REGISTRIES];
extern struct voice voices[SERVICES][REGISTRIES];
extern struct truth truth[SERVICES];

/* The instance whose present life this is, or NULL: a life that is over, or nobody's. */
struct service *alive(const struct svc_id *id);
void directory_step(struct gateway *g);   /* hears what there is, and ends what is due */
void directories_clear(void);             /* nothing is kept on any disk */

#endif
