/* Names and ids by number, and the clock. */
#include "tests/bench/control/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t world_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t world_now_ms(void)
{
	return world_now_us() / 1000;
}

void world_saw_probe(struct world *w)
{
	if (w->nr_seen < w->cap_seen)
		w->seen_us[w->nr_seen++] = world_now_us() - w->probe_at_us;
}

bool world_is_service(const struct world *w, unsigned index)
{
	return index < w->nr_services;
}

struct svc_id world_owner(unsigned index)
{
	struct svc_id id = { .b = { 1 } };

	memcpy(id.b + 4, &index, sizeof(index));
	return id;
}

const char *world_name(const struct world *w, unsigned index, unsigned i)
{
	static char name[64];

	if (world_is_service(w, index))
		snprintf(name, sizeof(name), "d%u.s%u.example", i, index);
	else
		snprintf(name, sizeof(name), "tcp://gateway%u.example:5320", index);
	return name;
}

const char *world_probe_name(const struct world *w, unsigned index)
{
	static char name[64];

	snprintf(name, sizeof(name), PROBE_PREFIX "%u.s%u.example", w->probe - 1, index);
	return name;
}
