/* The text format: what a line looks like, whole and broken numbers, escaping, and a buffer that is full. */
#include <stdlib.h>

#include "check.h"
#include "common/metrics.h"

static struct buf b;
static struct metrics m = {.out = &b};

static void begin(void)
{
	buf_clear(&b);
	buf_init(&b, 1 << 16);
	m.full = false;
}

static void written(const char *want)
{
	struct slice s = buf_slice(&b);

	CHECK(slice_is(s, want));
	if (!slice_is(s, want))
		fprintf(stderr, SLICE_FMT "\n", SLICE_ARG(s));
}

static void test_lines(void)
{
	begin();
	metrics_family(&m, "a_total", "counter", "what it is");
	metrics_sample(&m, "a_total", NULL, 3);
	metrics_sample(&m, "a_total", "x=\"1\"", 0);
	metrics_sample(&m, "a_total", NULL, -1.5);
	metrics_sample(&m, "a_total", NULL, 1e15);
	written("# HELP a_total what it is\n# TYPE a_total counter\n"
		"a_total 3\na_total{x=\"1\"} 0\na_total -1.5\na_total 1000000000000000\n");
	CHECK(!m.full);
}

static void test_counter(void)
{
	begin();
	stat_add(STAT_redirects, 4);
	metrics_counter(&m, "r_total", STAT_redirects);
	written("# HELP r_total clients sent to another host\n# TYPE r_total counter\nr_total 4\n");
}

/* Buckets add up, in seconds, and end with all of them. */
static void test_histogram(void)
{
	begin();
	stat_observe(STAT_ack_delay, stat_times_ms, 1);
	stat_observe(STAT_ack_delay, stat_times_ms, 7);
	stat_observe(STAT_ack_delay, stat_times_ms, 60000);
	metrics_histogram(&m, "d_seconds", STAT_ack_delay, stat_times_ms, 1000);
	CHECK(buf_add(&b, "", 1) == 0);
	const char *text = buf_slice(&b).p;
	CHECK(strstr(text, "# TYPE d_seconds histogram\nd_seconds_bucket{le=\"0.001\"} 1\nd_seconds_bucket{le=\"0.002\"} 1\n") != NULL);
	CHECK(strstr(text, "{le=\"0.005\"} 1\nd_seconds_bucket{le=\"0.01\"} 2\n") != NULL);
	CHECK(strstr(text, "{le=\"10\"} 2\nd_seconds_bucket{le=\"+Inf\"} 3\nd_seconds_sum 60.008\nd_seconds_count 3\n") != NULL);
	begin();
	metrics_histogram(&m, "s_bytes", STAT_link_queue, stat_sizes_bytes, 1);
	CHECK(buf_add(&b, "", 1) == 0);
	CHECK(strstr(buf_slice(&b).p, "le=\"4294967296\"") != NULL);
}

static void test_escape(void)
{
	char out[32];

	CHECK_STR(metrics_escape("a\"b\\c\nd", out, sizeof out), "a\\\"b\\\\c\\nd");
	CHECK_STR(metrics_escape("0123456789", out, 6), "0123");
	CHECK_STR(metrics_escape("\"\"\"\"", out, 6), "\\\"\\\"");
}

static void test_full(void)
{
	begin();
	buf_clear(&b);
	buf_init(&b, 20);
	metrics_family(&m, "a_total", "counter", "what it is");
	CHECK(m.full);
}

static void test_process(void)
{
	begin();
	metrics_process(&m);
	CHECK(buf_add(&b, "", 1) == 0);
	const char *at = strstr(buf_slice(&b).p, "\nprocess_resident_memory_bytes ");
	CHECK(at != NULL && strtod(at + strlen("\nprocess_resident_memory_bytes "), NULL) > 100000);
	at = strstr(buf_slice(&b).p, "\nprocess_open_fds ");
	CHECK(at != NULL && strtod(at + strlen("\nprocess_open_fds "), NULL) >= 3);
}

int main(void)
{
	RUN(test_lines);
	RUN(test_counter);
	RUN(test_histogram);
	RUN(test_escape);
	RUN(test_full);
	RUN(test_process);
	buf_clear(&b);
	return check_done("unit.common.metrics");
}
