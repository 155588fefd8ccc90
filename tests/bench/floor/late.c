/*
 * How late this machine wakes up who sleeps: no latency of anybody's can be better than that by its own doing.
 *
 *     bench_late SLEEPS
 *
 * Prints a line of JSON: by how many microseconds sleeps of 1 ms were too long, half of them and 99 in 100.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	const struct timespec each = {.tv_nsec = 1000000};
	long times = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
	double *late = times > 0 && times <= 1000000 ? calloc((size_t)times, sizeof *late) : NULL;

	if (late == NULL) {
		fprintf(stderr, "usage: bench_late SLEEPS\n");
		return 2;
	}
	for (long i = 0; i < times; i++) {
		double began = now_us();

		if (clock_nanosleep(CLOCK_MONOTONIC, 0, &each, NULL) != 0)
			return 1;
		late[i] = now_us() - began - 1000;
	}
	qsort(late, (size_t)times, sizeof *late, by_size);
	printf("{\"p50\":%.1f,\"p99\":%.1f}\n", late[times / 2], late[times - 1 - times / 100]);
	free(late);
	return 0;
}
