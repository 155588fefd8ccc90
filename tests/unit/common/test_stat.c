#include <pthread.h>

#include "check.h"
#include "common/stat.h"

static void test_names(void)
{
	CHECK_STR(stat_name(STAT_logins_ok), "logins_ok");
	CHECK_STR(stat_help(STAT_logins_ok), "logins that succeeded");
	for (int i = 0; i < STAT_MAX_; i++)
		CHECK(stat_name((enum stat_id)i) != NULL && stat_help((enum stat_id)i) != NULL);
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
	CHECK_EQ(stat_sum(STAT_logins_failed), 0);
}

int main(void)
{
	RUN(test_names);
	RUN(test_threads_that_ended_count);
	return check_done("unit.common.stat");
}
