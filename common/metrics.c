/* The text format, and the process's own figures from /proc. Nothing here knows what is counted. */
#include "common/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void metrics_family(struct metrics *m, const char *name, const char *type, const char *help)
{
	if (buf_printf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type) != 0)
		m->full = true;
}

/* Whole numbers as such: scripts and people compare them. */
void metrics_sample(struct metrics *m, const char *name, const char *labels, double value)
{
	const char *open = labels ? "{" : "", *close = labels ? "}" : "", *inside = labels ? labels : "";
	int err;

	if (value >= 0 && value < 9007199254740992.0 && value == (double)(uint64_t)value)
		err = buf_printf(m->out, "%s%s%s%s %" PRIu64 "\n", name, open, inside, close, (uint64_t)value);
	else
		err = buf_printf(m->out, "%s%s%s%s %.9g\n", name, open, inside, close, value);
	m->full = m->full || err != 0;
}

void metrics_counter(struct metrics *m, const char *name, enum stat_id id)
{
	metrics_family(m, name, "counter", stat_help(id));
	metrics_sample(m, name, NULL, (double)stat_sum(id));
}

static uint64_t bucket(enum stat_id id, unsigned i)
{
	return stat_sum((enum stat_id)(id + i));
}

void metrics_histogram(struct metrics *m, const char *name, enum stat_id id, const uint64_t bounds[STAT_BOUNDS], double unit_per)
{
	char part[128], label[64];
	uint64_t sum = 0;

	metrics_family(m, name, "histogram", stat_help(id));
	snprintf(part, sizeof part, "%s_bucket", name);
	for (unsigned i = 0; i < STAT_BOUNDS; i++) {
		sum += bucket(id, i);
		snprintf(label, sizeof label, "le=\"%.15g\"", (double)bounds[i] / unit_per);
		metrics_sample(m, part, label, (double)sum);
	}
	sum += bucket(id, STAT_BOUNDS);
	metrics_sample(m, part, "le=\"+Inf\"", (double)sum);
	snprintf(part, sizeof part, "%s_sum", name);
	metrics_sample(m, part, NULL, (double)bucket(id, STAT_BOUNDS + 1) / unit_per);
	snprintf(part, sizeof part, "%s_count", name);
	metrics_sample(m, part, NULL, (double)sum);
}

const char *metrics_escape(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 2 < size; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			out[n++] = '\\';
		out[n++] = *text == '\n' ? 'n' : *text;
	}
	out[n] = '\0';
	return out;
}

/* --- the process ---------------------------------------------------------- */

static double resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f != NULL && fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	if (f != NULL)
		fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* A process with very many descriptors is not asked to list them all for every scrape. */
static double open_descriptors(void)
{
	enum { LISTED_MAX = 100000 };
	DIR *d = opendir("/proc/self/fd");
	double n = 0;

	while (d != NULL && n < LISTED_MAX && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n > 3 ? n - 3 : 0; /* ".", "..", and this one */
}

static double start_time;

__attribute__((constructor)) static void note_start(void)
{
	start_time = (double)time(NULL);
}

void metrics_process(struct metrics *m)
{
	struct rusage used = {.ru_maxrss = 0};
	struct rlimit files = {.rlim_cur = 0};

	(void)getrusage(RUSAGE_SELF, &used);
	(void)getrlimit(RLIMIT_NOFILE, &files);
	metrics_family(m, "process_cpu_seconds_total", "counter", "user and system CPU time");
	metrics_sample(m, "process_cpu_seconds_total", NULL,
		       (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec +
			       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	metrics_family(m, "process_resident_memory_bytes", "gauge", "resident memory");
	metrics_sample(m, "process_resident_memory_bytes", NULL, resident_bytes());
	metrics_family(m, "process_open_fds", "gauge", "open file descriptors");
	metrics_sample(m, "process_open_fds", NULL, open_descriptors());
	metrics_family(m, "process_max_fds", "gauge", "limit of open file descriptors");
	metrics_sample(m, "process_max_fds", NULL, (double)files.rlim_cur);
	metrics_family(m, "process_start_time_seconds", "gauge", "when the process started, since the epoch");
	metrics_sample(m, "process_start_time_seconds", NULL, start_time);
}
