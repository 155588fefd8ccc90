#include <pthread.h>

#include "check.h"
#include "common/stat.h"

static void test_names(void)
{
	CHECK_STR(stat_help(STAT_stanzas_in), "stanzas taken from clients and servers");
	CHECK(stat_help(STAT_streams) != NULL && stat_help(STAT_ack_delay) != NULL);
}

/* Sets and histograms take rows of their own: none overlaps the next name. */
static void test_sets_do_not_overlap(void)
{
	CHECK(STAT_streams_last_ > STAT_streams && STAT_logins > STAT_streams_last_);
	CHECK_EQ(STAT_ack_delay_last_ - STAT_ack_delay + 1, STAT_BOUNDS + 2);
	CHECK(STAT_link_queue > STAT_ack_delay_last_ && STAT_MAX_ > STAT_link_queue_last_);
}

static uint64_t bucket(enum stat_id id, unsigned i)
{
	return stat_sum((enum stat_id)(id + i));
}

static void test_histogram(void)
{
	static const uint64_t values[] = {0, 1, 2, 3, 10000, 10001, 1000000};
	uint64_t all = 0;

	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
		stat_observe(STAT_ack_delay, stat_times_ms, values[i]);
	CHECK_EQ(bucket(STAT_ack_delay, 0), 2);           /* up to and including 1 ms */
	CHECK_EQ(bucket(STAT_ack_delay, 1), 1);           /* 2 */
	CHECK_EQ(bucket(STAT_ack_delay, 2), 1);           /* 3 */
	CHECK_EQ(bucket(STAT_ack_delay, STAT_BOUNDS - 1), 1);
	CHECK_EQ(bucket(STAT_ack_delay, STAT_BOUNDS), 2); /* beyond */
	for (unsigned i = 0; i <= STAT_BOUNDS; i++)
		all += bucket(STAT_ack_delay, i);
	CHECK_EQ(all, 7);
	CHECK_EQ(bucket(STAT_ack_delay, STAT_BOUNDS + 1), 1020007);
	for (unsigned i = 1; i < STAT_BOUNDS; i++)
		CHECK(stat_times_ms[i] > stat_times_ms[i - 1] && stat_sizes_bytes[i] > stat_sizes_bytes[i - 1]);
}

static void *leave(void *arg)
{
	(void)arg;
	stat_add(STAT_links, (uint64_t)-1);
	return NULL;
}

/* What one thread added another may take away. */
static void test_gauge(void)
{
	pthread_t t;

	stat_add(STAT_links, 2);
	CHECK_EQ(pthread_create(&t, NULL, leave, NULL), 0);
	pthread_join(t, NULL);
	CHECK_EQ(stat_sum(STAT_links), 1);
}

static void *count(void *arg)
{
	for (int i = 0; i < 1000; i++)
		stat_add(STAT_stanzas_in, *(uint64_t *)arg);
	return NULL;
}

static void test_threads_that_ended_count(void)
{
	pthread_t t[8];
	uint64_t by[8];

	stat_add(STAT_stanzas_in, 5);
	stat_add(STAT_stanzas_out, 1);
	for (int round = 0; round < 2; round++) { /* the second round's threads go on with the first one's rows */
		for (int i = 0; i < 8; i++) {
			by[i] = (uint64_t)i;
			CHECK_EQ(pthread_create(&t[i], NULL, count, &by[i]), 0);
		}
		for (int i = 0; i < 8; i++)
			pthread_join(t[i], NULL);
	}
	CHECK_EQ(stat_sum(STAT_stanzas_in), 5 + 2 * 28 * 1000);
	CHECK_EQ(stat_sum(STAT_stanzas_out), 1);
	CHECK_EQ(stat_sum(STAT_stanzas_refused), 0);
}

int main(void)
{
	RUN(test_names);
	RUN(test_sets_do_not_overlap);
	RUN(test_histogram);
	RUN(test_gauge);
	RUN(test_threads_that_ended_count);
	return check_done("unit.common.stat");
}
