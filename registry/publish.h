#ifndef REGISTRY_PUBLISH_H
#define REGISTRY_PUBLISH_H

/* The publishing side: numbered updates and beats on the PUB socket, and the parts of a snapshot. */

#include "registry/table.h"
#include "svcproto/regmsg.h"

struct publisher {
	void *pub;               /* borrowed */
	uint32_t epoch;
	uint64_t number;         /* of the last update */
	uint64_t started_ms;
	struct reg_message updates;  /* one update that is being filled; n is 0: none */
	struct reg_message message;
	struct reg_frame frame;
};

/* Leaves with publish_flush, together with others, or with what follows. */
void publish_entry(struct publisher *p, const struct entry *e);
void publish_flush(struct publisher *p);
/* All parts of authorized_keys, each an update. */
void publish_keys(struct publisher *p, const char *text, size_t n, uint64_t serial);
void publish_beat(struct publisher *p, uint64_t now_ms);
/* The whole table: send() for each message, true when it took all. */
bool publish_snapshot(struct publisher *p, const struct registry_table *t, const char *keys, size_t keys_n, uint64_t now_ms,
		      bool (*send)(void *arg, const struct reg_message *m), void *arg);

#endif
