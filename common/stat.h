#ifndef AMBROSIA_COMMON_STAT_H
#define AMBROSIA_COMMON_STAT_H

#include <stdatomic.h>
#include <stdint.h>

enum stat_id {
#define STAT(name, help) STAT_##name,
#include "common/stat.def"
#undef STAT
	STAT_MAX_
};

/* Each thread counts in a row of its own; stat_sum adds the rows, those of threads that ended too. */
void stat_add(enum stat_id id, uint64_t n);
uint64_t stat_sum(enum stat_id id);
const char *stat_name(enum stat_id id);
const char *stat_help(enum stat_id id);

#endif
