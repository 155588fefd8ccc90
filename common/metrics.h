#ifndef AMBROSIA_COMMON_METRICS_H
#define AMBROSIA_COMMON_METRICS_H

#include "common/buf.h"
#include "common/stat.h"

/* Writes Prometheus' text format 0.0.4. What does not fit into the buffer is left out, and `full` says so. */
struct metrics {
	struct buf *out;
	bool full;
};

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* HELP and TYPE; its samples follow at once. type: counter, gauge or histogram. */
void metrics_family(struct metrics *m, const char *name, const char *type, const char *help);
/* labels: `role="c2s"` and so on, or NULL; a label's value that is not ours goes through metrics_escape() first. */
void metrics_sample(struct metrics *m, const char *name, const char *labels, double value);
/* Family and sample of one counter. */
void metrics_counter(struct metrics *m, const char *name, enum stat_id id);
/* Family and samples of a histogram whose values count unit_per of the name's unit: 1000 for milliseconds in seconds. */
void metrics_histogram(struct metrics *m, const char *name, enum stat_id id, const uint64_t bounds[STAT_BOUNDS], double unit_per);
/* What every process tells of itself: memory, CPU time, descriptors, when it started. */
void metrics_process(struct metrics *m);
/* Backslash, quote and line feed escaped; cut where it does not fit. Returns out. */
const char *metrics_escape(const char *text, char *out, size_t size);

#endif
