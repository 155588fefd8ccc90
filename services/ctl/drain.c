/* drain and undrain, and how far a drain has come. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "services/ctl/commands.h"

#define LATE_SECONDS 15 /* who does not answer its stream's end is cut by then */

static const struct column columns[] = {
	{"public-host", "HOST", COLUMN_TEXT},
	{"gateway", "GATEWAY", COLUMN_ID},
	{"worker", "WORKER", COLUMN_TEXT},
	{"state", "STATE", COLUMN_TEXT},
	{"clients", "CLIENTS", COLUMN_NUMBER},
	{"connections", "CONNECTIONS", COLUMN_NUMBER},
};

static uint64_t left(const struct ctl *c)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < c->ask.ends.nr; i++)
		sum += row_number(&c->ask.ends.v[i], "connections");
	return sum;
}

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* Asks once a second until nobody is left: a line whenever the number changed. The exit status. */
static int watch(struct ctl *c)
{
	time_t end = now() + (time_t)c->o.over + LATE_SECONDS;
	uint64_t before = UINT64_MAX, n;
	int status;

	for (;;) {
		status = ctl_ask(c, "status", NULL, 0);
		n = left(c);
		if (!c->o.json && n != before) {
			printf("%llu connections left\n", (unsigned long long)n);
			fflush(stdout);
		}
		before = n;
		if (status != 0 || n == 0 || now() >= end)
			break;
		sleep(1);
	}
	if (status == 0 && n > 0)
		fprintf(stderr, "%s: %llu connections stay; see `%s streams`\n", c->program->name, (unsigned long long)n, c->program->name);
	return status == 0 && n == 0 ? 0 : 1;
}

static void show(struct ctl *c)
{
	rows_sort(&c->ask.ends, "worker");
	rows_sort(&c->ask.ends, "public-host");
	ctl_show(c, &c->ask.ends, columns, ARRAY_LEN(columns));
}

int command_drain(struct ctl *c)
{
	char seconds[24];
	struct svcproto_property arg = {"seconds", seconds};
	int status;

	if (c->o.gateways.nr == 0)
		option_wrong(c->program, "drain which gateway? name its public host, its endpoint or its id");
	snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)c->o.over);
	status = ctl_ask(c, "drain", &arg, 1);
	if (status == 0 && !c->o.no_wait)
		status = watch(c);
	else if (ctl_ask(c, "status", NULL, 0) != 0)
		status = 1;
	show(c);
	return status;
}

int command_undrain(struct ctl *c)
{
	int status;

	if (c->o.gateways.nr == 0)
		option_wrong(c->program, "undrain which gateway? name its public host, its endpoint or its id");
	status = ctl_ask(c, "undrain", NULL, 0);
	if (ctl_ask(c, "status", NULL, 0) != 0)
		status = 1;
	show(c);
	return status;
}
