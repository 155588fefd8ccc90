#ifndef AMBROSIA_BENCH_HIST_H
#define AMBROSIA_BENCH_HIST_H

#include <stdint.h>
#include <stdio.h>

/* Times in microseconds, in classes of at most 1.6 % width. */
struct hist {
	uint64_t nr, sum, max;
	uint32_t class[64 * 40];
};

void hist_clear(struct hist *h);
void hist_add(struct hist *h, uint64_t us);
/* The time that this share (0..1) of them did not pass; 0 when there are none. */
uint64_t hist_at(const struct hist *h, double share);
/* `"NAME":{"nr":…,"p50_ms":…}`, without a comma. */
void hist_print(const struct hist *h, const char *name, FILE *out);

#endif
