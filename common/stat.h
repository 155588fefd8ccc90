#ifndef AMBROSIA_COMMON_STAT_H
#define AMBROSIA_COMMON_STAT_H

#include <stdatomic.h>
#include <stdint.h>

/* Upper bounds of a histogram's buckets, the same for all of a kind; one more bucket takes what is beyond. */
#define STAT_BOUNDS 13
extern const uint64_t stat_times_ms[STAT_BOUNDS];     /* 1 ms to 10 s */
extern const uint64_t stat_sizes_bytes[STAT_BOUNDS];  /* 256 bytes to 4 GiB */

enum stat_id {
#define STAT(name, help) STAT_##name,
#define STAT_SET(name, n, help) STAT_##name, STAT_##name##_last_ = STAT_##name + (n) - 1,
#define STAT_HISTOGRAM(name, help) STAT_SET(name, STAT_BOUNDS + 2, help)
#include "common/stat.def"
#undef STAT
#undef STAT_SET
#undef STAT_HISTOGRAM
	STAT_MAX_
};

/* Each thread counts in a row of its own; stat_sum adds the rows, those of threads that ended too. */
/* A gauge is a counter that some thread also takes from: (uint64_t)-1 adds up. */
void stat_add(enum stat_id id, uint64_t n);
/* One more value of a histogram. */
void stat_observe(enum stat_id id, const uint64_t bounds[STAT_BOUNDS], uint64_t value);
uint64_t stat_sum(enum stat_id id);
const char *stat_help(enum stat_id id);

#endif
