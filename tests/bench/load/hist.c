#include "tests/bench/load/hist.h"

#include <string.h>

#include "common/obj.h"

/* Below 64 each microsecond is a class; above, each power of two has 64. */
static unsigned class_of(uint64_t us)
{
	unsigned power;

	if (us < 64)
		return (unsigned)us;
	power = 63 - (unsigned)__builtin_clzll(us);
	return (power - 5) * 64 + (unsigned)(us >> (power - 6)) - 64;
}

static uint64_t upper(unsigned class)
{
	if (class < 64)
		return class;
	return ((uint64_t)(class % 64 + 65) << (class / 64 - 1)) - 1;
}

void hist_clear(struct hist *h)
{
	memset(h, 0, sizeof *h);
}

void hist_add(struct hist *h, uint64_t us)
{
	unsigned class = class_of(us);

	h->nr++;
	h->sum += us;
	if (us > h->max)
		h->max = us;
	h->class[class < ARRAY_LEN(h->class) ? class : ARRAY_LEN(h->class) - 1]++;
}

uint64_t hist_at(const struct hist *h, double share)
{
	uint64_t want = (uint64_t)((double)h->nr * share + 0.999999), seen = 0;

	for (unsigned i = 0; i < ARRAY_LEN(h->class); i++) {
		seen += h->class[i];
		if (seen >= want && seen > 0)
			return upper(i) < h->max ? upper(i) : h->max;
	}
	return h->max;
}

void hist_print(const struct hist *h, const char *name, FILE *out)
{
	fprintf(out, "\"%s\":{\"nr\":%llu,\"mean_ms\":%.3f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}", name,
		(unsigned long long)h->nr, h->nr ? (double)h->sum / (double)h->nr / 1e3 : 0.0, (double)hist_at(h, 0.5) / 1e3,
		(double)hist_at(h, 0.9) / 1e3, (double)hist_at(h, 0.99) / 1e3, (double)h->max / 1e3);
}
