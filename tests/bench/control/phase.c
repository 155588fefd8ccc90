/*
 * A phase is over when every member sees what all ought to see. Whole directories are looked at last and seldom, since that walks all their
 * entries.
 */
#include "tests/bench/control/phase.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 200u
#define PROBES_MAX 1000u

static bool is_right(const struct control *c, const struct member *m)
{
	return m->synced && m->epoch != c->old_epoch && checksum_equal(&m->view, &c->w.expected);
}

static unsigned nr_right(const struct control *c)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < c->nr; i++)
		nr += c->wholes[i] == NULL && is_right(c, &c->members[i]);
	return nr;
}

static bool checksums_agree(const struct control *c)
{
	for (unsigned i = 0; i < c->nr; i++)
		if (c->wholes[i] == NULL && !is_right(c, &c->members[i]))
			return false;
	return true;
}

static bool wholes_agree(struct control *c, uint64_t now_ms)
{
	if (now_ms < c->looked_ms + LOOK_MS)
		return false;
	c->looked_ms = now_ms;
	for (unsigned i = 0; i < c->nr; i++) {
		struct checksum sum;

		if (c->wholes[i] == NULL)
			continue;
		sum = whole_checksum(c->wholes[i]);
		if (whole_heard_at(c->wholes[i]) < c->started_ms || !checksum_equal(&sum, &c->w.expected))
			return false;
	}
	return true;
}

static bool all_agree(struct control *c, uint64_t now_ms)
{
	return checksums_agree(c) && wholes_agree(c, now_ms);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorts; the value below which so many percent are, in ms. */
static double percentile(uint64_t *v, size_t nr, unsigned percent)
{
	if (nr == 0)
		return 0;
	qsort(v, nr, sizeof(*v), by_value);
	return (double)v[(nr * percent + 99) / 100 - 1] / 1000;
}

static void say_end(struct control *c, uint64_t now_ms)
{
	printf("{\"phase\": \"%s\", \"seconds\": %.2f, \"entries\": %" PRId64 ", \"gaps\": %" PRIu64 ", \"snapshots\": %" PRIu64
	       ", \"refused\": %" PRIu64, c->name, (double)(now_ms - c->started_ms) / 1000, c->w.expected.count, c->w.gaps, c->w.snapshots,
	       c->w.refused);
	if (c->w.nr_seen > 0)
		printf(", \"seen\": %zu, \"gateway_p50_ms\": %.2f, \"gateway_p99_ms\": %.2f", c->w.nr_seen,
		       percentile(c->w.seen_us, c->w.nr_seen, 50), percentile(c->w.seen_us, c->w.nr_seen, 99));
	if (c->done > 0)
		printf(", \"times\": %u, \"p50_ms\": %.2f, \"p99_ms\": %.2f", c->done, percentile(c->last_us, c->done, 50),
		       percentile(c->last_us, c->done, 99));
	puts("}");
	fflush(stdout);
}

/* ---- connect, register, restart ---- */

static bool open_member(struct control *c, unsigned i)
{
	bool whole = (i < c->w.nr_services && i < c->w.nr_whole / 2) ||
		     (i >= c->w.nr_services && i - c->w.nr_services < c->w.nr_whole - c->w.nr_whole / 2);

	if (!whole)
		return member_open(&c->members[i], &c->w, i) == 0;
	c->wholes[i] = whole_new(&c->w, i, &c->members[i].key, 2ull * c->nr + i);
	return c->wholes[i] != NULL;
}

/* The entries of member i are to be seen by all. */
static void expect(struct control *c, unsigned i)
{
	struct member like = { .w = &c->w, .index = i };

	for (unsigned k = 0; k < member_nr_entries(&like); k++) {
		struct entry e = member_entry(&like, k, world_name(&c->w, i, k));

		checksum_add(&c->w.expected, &e);
	}
}

static bool begin_connect(struct control *c, const char *registry)
{
	size_t n = strlen(registry);
	const char *colon = n > 41 ? memrchr(registry, ':', n - 41) : NULL; /* a key may hold one */

	if (colon == NULL || registry[n - 41] != '=' || n >= sizeof(c->w.registry) || n - 41 >= sizeof(c->w.router) - 6)
		return false;
	memcpy(c->w.registry, registry, n + 1);
	memcpy(c->w.router, registry, n - 41);
	memcpy(c->w.server_key, registry + n - 40, 41);
	snprintf(c->w.pub, sizeof(c->w.pub), "%.*s:%lu", (int)(colon - registry), registry, strtoul(colon + 1, NULL, 10) + 1);
	for (unsigned i = 0; i < c->nr; i++) {
		if (!open_member(c, i)) {
			perror("control: a member does not open");
			return false;
		}
		expect(c, i);
	}
	return true;
}

static bool begin_register(struct control *c)
{
	c->w.registered = true;
	for (unsigned i = 0; i < c->w.nr_services; i++) {
		c->members[i].announce_due = true;
		if (c->wholes[i] != NULL && whole_register(c->wholes[i]) != 0)
			return false;
		expect(c, i);
	}
	return true;
}

/* The registry is away now: whoever knows its epoch knows the old one. */
static void begin_restart(struct control *c)
{
	for (unsigned i = 0; i < c->nr; i++)
		c->old_epoch = c->wholes[i] == NULL ? c->members[i].epoch : c->old_epoch;
}

/* ---- probes: one registration after the other ---- */

static struct member *checksum_service(struct control *c, unsigned nth)
{
	unsigned first = c->w.nr_whole / 2;

	return &c->members[first + nth % (c->w.nr_services - first)];
}

static void send_probe(struct control *c)
{
	struct member *m = checksum_service(c, c->done * 7);
	struct entry e = member_entry(m, 0, world_probe_name(&c->w, m->index));

	e.gone = c->gone;
	c->w.probe_at_us = world_now_us();
	if (member_probe(m, c->gone))
		checksum_add(&c->w.expected, &e);
	else
		c->gone = !c->gone; /* tried again with the next turn, as if the one before had just ended */
}

static bool step_probe(struct control *c, uint64_t now_ms)
{
	(void)now_ms;
	if (c->w.probe != 0 && !checksums_agree(c))
		return false;
	if (c->w.probe != 0 && !c->gone && c->w.nr_seen < (size_t)(c->done + 1) * c->w.nr_gateways)
		return false; /* whole directories see it too */
	if (c->w.probe == 0) {
		c->w.probe = 1;
	} else if (!c->gone) {
		c->last_us[c->done] = 0;
		for (size_t i = (size_t)c->done * c->w.nr_gateways; i < c->w.nr_seen; i++)
			c->last_us[c->done] = c->w.seen_us[i] > c->last_us[c->done] ? c->w.seen_us[i] : c->last_us[c->done];
		c->gone = true;
	} else {
		c->gone = false;
		c->w.probe++;
		if (++c->done == c->todo)
			return true;
	}
	send_probe(c);
	return false;
}

static bool begin_probe(struct control *c, const char *times)
{
	c->todo = (unsigned)strtoul(times, NULL, 10);
	if (c->todo == 0 || c->todo > PROBES_MAX || c->w.nr_services <= c->w.nr_whole / 2)
		return false;
	free(c->w.seen_us);
	c->w.cap_seen = (size_t)c->todo * c->w.nr_gateways;
	c->w.seen_us = calloc(c->w.cap_seen, sizeof(*c->w.seen_us));
	return c->w.seen_us != NULL;
}

/* ---- snapshots: of one member after the other ---- */

static bool step_snapshot(struct control *c, uint64_t now_ms)
{
	struct member *m = checksum_service(c, c->done * 7);

	if (c->w.probe_at_us == 0) {
		c->w.probe_at_us = world_now_us();
		member_want_snapshot(m, now_ms);
		member_tick(m, now_ms);
		return false;
	}
	if (!is_right(c, m))
		return false;
	c->last_us[c->done++] = world_now_us() - c->w.probe_at_us;
	c->w.probe_at_us = 0;
	return c->done == c->todo;
}

/* ---- all of them ---- */

static const char *argument(const char *line, const char *command)
{
	size_t n = strlen(command);

	return strncmp(line, command, n) == 0 && (line[n] == '\0' || line[n] == ' ') ? line + n + (line[n] == ' ') : NULL;
}

bool phase_begin(struct control *c, char *line)
{
	const char *arg;
	bool ok = true;

	c->step = all_agree;
	c->done = c->todo = 0;
	c->gone = false;
	c->w.nr_seen = 0;
	c->w.probe = 0;
	c->w.probe_at_us = 0;
	c->started_ms = world_now_ms();
	if ((arg = argument(line, c->name = "connect")) != NULL) {
		ok = begin_connect(c, arg);
	} else if (argument(line, c->name = "register") != NULL) {
		ok = begin_register(c);
	} else if (argument(line, c->name = "restart") != NULL) {
		begin_restart(c);
	} else if ((arg = argument(line, c->name = "probe")) != NULL) {
		c->step = step_probe;
		ok = begin_probe(c, arg);
	} else if ((arg = argument(line, c->name = "snapshot")) != NULL) {
		c->step = step_snapshot;
		c->todo = (unsigned)strtoul(arg, NULL, 10);
		ok = c->todo > 0 && c->todo <= PROBES_MAX;
	} else {
		ok = false;
	}
	free(c->last_us);
	c->last_us = calloc(c->todo + 1, sizeof(*c->last_us));
	return ok && c->last_us != NULL;
}

bool phase_advance(struct control *c, uint64_t now_ms)
{
	if (c->step == NULL)
		return true;
	if (c->step(c, now_ms)) {
		c->step = NULL;
		say_end(c, now_ms);
		return true;
	}
	if (now_ms < c->started_ms + c->patience_ms)
		return true;
	printf("{\"phase\": \"%s\", \"failed\": true, \"right\": %u, \"members\": %u, \"gaps\": %" PRIu64 ", \"snapshots\": %" PRIu64
	       ", \"refused\": %" PRIu64 "}\n", c->name, nr_right(c), c->nr - c->w.nr_whole, c->w.gaps, c->w.snapshots, c->w.refused);
	return false;
}
