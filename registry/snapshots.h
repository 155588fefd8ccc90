#ifndef REGISTRY_SNAPSHOTS_H
#define REGISTRY_SNAPSHOTS_H

/*
 * Snapshots, paced: after a registry's start every member wants one, and all at once would fill the memory with as many tables. A few are
 * sent at a time, as fast as each member reads; the others wait in the order in which they asked. Pure: no socket, no clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "svcproto/regmsg.h"

#define SNAPSHOTS_ACTIVE 16u       /* members that are sent to at a time */
#define SNAPSHOTS_WAITING 16384u   /* members that wait; who comes then is passed over, and asks again */
#define SNAPSHOTS_STALL_MS 5000u   /* a member that takes nothing for so long is let go, and asks again */
#define SNAPSHOTS_RETRY_MS 10u
#define SNAPSHOTS_ROUTE_MAX 255u   /* bytes of a routing id */

enum snapshots_sent { SNAPSHOTS_SENT, SNAPSHOTS_FULL, SNAPSHOTS_GONE };

struct snapshots_ops {
	/* The table as it is now: add() for each message; true when all were taken. The numbers in their headers don't matter. */
	bool (*build)(void *arg, bool (*add)(void *to, const struct reg_message *m), void *to);
	uint64_t (*number)(void *arg);   /* changes whenever the table does */
	enum snapshots_sent (*send)(void *arg, const void *route, size_t route_n, const struct reg_message *m);
};

struct snapshots;

struct snapshots *snapshots_new(const struct snapshots_ops *ops, void *arg);   /* NULL: no memory */
void snapshots_free(struct snapshots *s);
/* The member behind this route wants one, whose messages have this number. Asking again keeps its place. */
void snapshots_ask(struct snapshots *s, const void *route, size_t route_n, uint64_t number, uint64_t now_ms);
/* Sends a bounded piece of what is wanted. When to call again: now_ms for at once, UINT64_MAX for nothing to do. */
uint64_t snapshots_advance(struct snapshots *s, uint64_t now_ms);
/* All routes have ended. */
void snapshots_clear(struct snapshots *s);

#endif
