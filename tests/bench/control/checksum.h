#ifndef TESTS_BENCH_CONTROL_CHECKSUM_H
#define TESTS_BENCH_CONTROL_CHECKSUM_H

/*
 * What a member has seen, in 16 bytes instead of a directory: how many entries live, and the XOR of their hashes. Two thousand members are
 * told the same, so what a message does to a checksum is worked out once, and looked up by a hash of its bytes after that.
 */

#include "svcproto/regmsg.h"

#define PROBE_PREFIX "probe-" /* a domain that begins so is timed: a number follows */

struct checksum {
	uint64_t sum;
	int64_t count;
};

struct delta {
	struct checksum change;
	uint64_t end_number;    /* of the SNAPSHOT-END */
	uint64_t up_ms;         /* of a BEAT */
	bool end, beat;
	uint32_t probe;         /* the probe that appears, counted from 1; 0: none */
};

uint64_t checksum_hash(const struct entry *e);
void checksum_add(struct checksum *c, const struct entry *e);
void checksum_apply(struct checksum *c, const struct checksum *change);
bool checksum_equal(const struct checksum *a, const struct checksum *b);
/* The number behind PROBE_PREFIX, plus 1; 0: no probe. */
uint32_t checksum_probe(const char *domain);
/* Everything that these frames (a message without its header) say of entries. Borrowed until the next call; NULL: they are broken. */
const struct delta *checksum_read(const uint8_t *p, size_t n);

#endif
