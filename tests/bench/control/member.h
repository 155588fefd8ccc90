#ifndef TESTS_BENCH_CONTROL_MEMBER_H
#define TESTS_BENCH_CONTROL_MEMBER_H

/*
 * One member that keeps a checksum: a DEALER and a SUB under CURVE of its own, which announces, renews, subscribes and takes snapshots as
 * svcproto/announcer.h does, on the same messages and times. Without monitors, so that two thousand fit under one limit of descriptors.
 */

#include "tests/bench/control/world.h"

enum member_socket { MEMBER_DEALER, MEMBER_SUB };

struct member {
	struct world *w;
	unsigned index;
	struct svc_key key;
	void *sockets[2];             /* owned */
	uint64_t version;             /* of the last entry announced */
	bool announce_due;
	bool synced, coming;          /* a snapshot is in force; one has been asked for, and its parts are put into `next` */
	uint64_t request, number;
	uint32_t epoch;
	uint64_t snapshot_due_ms, renew_at_ms, heard_at_ms;
	struct checksum view, next;
};

/* Connects; its sockets are in the world's epoll set as 2 * index + which. 0, or -1 with errno. */
int member_open(struct member *m, struct world *w, unsigned index);
void member_close(struct member *m);
/* Reads everything that one socket holds. */
void member_read(struct member *m, enum member_socket which);
/* Sends what is due. */
void member_tick(struct member *m, uint64_t now_ms);
/* One registration, timed by the world's probe: announced, or withdrawn. False: the socket does not take it now. */
bool member_probe(struct member *m, bool gone);
/* Its entry i as it announces it. */
struct entry member_entry(const struct member *m, unsigned i, const char *name);
unsigned member_nr_entries(const struct member *m);
void member_want_snapshot(struct member *m, uint64_t now_ms);

#endif
