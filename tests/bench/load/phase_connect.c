#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/load.h"

/* login: clients come and go; connect: they come and stay; close: they go. */

struct coming {
	uint64_t total, started, finished, concurrency;
	unsigned at_once, first;
	bool stay;
	struct client *pool;      /* login: as many as may be at a time */
};

static void begin(struct load *l)
{
	struct coming *s = l->state;

	while (s->started < s->total && s->at_once < s->concurrency) {
		struct client *c = NULL;

		if (s->stay) {
			c = &l->clients[s->first + s->started];
		} else {
			for (unsigned i = 0; c == NULL && i < s->concurrency; i++)
				if (s->pool[i].state == CLIENT_GONE)
					c = &s->pool[i];
		}
		if (c == NULL)
			return;
		if (!s->stay)
			*c = (struct client){.w = &l->targets[0], .index = (unsigned)s->started};
		s->started++;
		s->at_once++;
		client_connect(c, l->ports[load_target(l, c)]);
	}
}

static void over(struct load *l)
{
	struct coming *s = l->state;

	s->at_once--;
	s->finished++;
	l->progress_us = now_us();
	if (s->finished < s->total) {
		begin(l);
		return;
	}
	load_done(l);
}

static void online(struct load *l, struct client *c)
{
	struct coming *s = l->state;

	hist_add(&l->latency, c->online_us - c->began_us);
	if (s->stay)
		over(l);
	else
		client_close(c);
}

static void gone(struct load *l, struct client *c, const char *why)
{
	struct coming *s = l->state;

	if (why != NULL)
		load_error(l, why);
	if (!s->stay || (why != NULL && c->index >= s->first && c->online_us == 0)) /* who came online has been counted */
		over(l);
}

static void print(struct load *l, FILE *out)
{
	struct coming *s = l->state;

	fprintf(out, ",\"suite\":\"%s\",", l->suite);
	hist_print(&l->latency, "login", out);
	if (!s->stay)
		free(s->pool);
	free(s);
}

static struct coming *coming(struct load *l, uint64_t total, uint64_t concurrency)
{
	struct coming *s = calloc(1, sizeof *s);

	if (s == NULL)
		abort();
	s->total = total;
	s->concurrency = concurrency < total ? concurrency : total;
	l->state = s;
	return s;
}

bool load_mechanism(struct load *l, const char *name)
{
	static const char *const names[] = {"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"};
	const char *found = NULL;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0)
			found = names[i];
	for (unsigned i = 0; found && i < l->nr_targets; i++) {
		struct client_world *w = &l->targets[i];

		if (strcmp(w->mechanism, found) != 0)
			memset(w->keys, 0, w->nr_users * sizeof *w->keys);
		w->mechanism = found;
	}
	return found != NULL;
}

static bool start_login(struct load *l, char **words, int nr)
{
	uint64_t total, concurrency;
	struct coming *s;

	if (nr != 3 || !load_number(words[0], 1, 10000000, &total) || !load_number(words[1], 1, 10000, &concurrency) ||
	    !load_mechanism(l, words[2]))
		return false;
	s = coming(l, total, concurrency);
	s->pool = calloc(s->concurrency, sizeof *s->pool);
	if (s->pool == NULL)
		abort();
	begin(l);
	return true;
}

/* connect COUNT CONCURRENCY TARGET: TARGET is 0, 1, or `cross` for one after the other. */
static bool start_connect(struct load *l, char **words, int nr)
{
	uint64_t total, concurrency, target = 0;
	bool cross = nr == 3 && strcmp(words[2], "cross") == 0;
	struct coming *s;

	if (nr != 3 || !load_number(words[0], 1, l->max - l->nr, &total) || !load_number(words[1], 1, 10000, &concurrency) ||
		(!cross && !load_number(words[2], 0, l->nr_targets - 1, &target)) || (cross && l->nr_targets < 2))
		return false;
	s = coming(l, total, concurrency);
	s->stay = true;
	s->first = l->nr;
	for (unsigned i = l->nr; i < l->nr + total; i++)
		l->clients[i] = (struct client){.w = &l->targets[cross ? i % 2 : target], .index = i, .sm = l->sm};
	l->nr += (unsigned)total;
	begin(l);
	return true;
}

static bool start_close(struct load *l, char **words, int nr)
{
	(void)words;
	if (nr != 0)
		return false;
	l->state = coming(l, 0, 0);
	for (unsigned i = 0; i < l->nr; i++) {
		if (l->clients[i].state != CLIENT_GONE)
			((struct coming *)l->state)->at_once++;
		client_close(&l->clients[i]);
	}
	if (((struct coming *)l->state)->at_once == 0)
		load_done(l);
	return true;
}

static void closed(struct load *l, struct client *c, const char *why)
{
	struct coming *s = l->state;

	(void)c;
	(void)why;
	l->progress_us = now_us();
	if (--s->at_once == 0) {
		l->nr = 0;
		load_done(l);
	}
}

static void print_close(struct load *l, FILE *out)
{
	(void)out;
	free(l->state);
}

const struct phase phase_login = {
	.name = "login", .usage = "COUNT CONCURRENCY MECHANISM", .start = start_login, .online = online, .gone = gone, .print = print};
const struct phase phase_connect = {
	.name = "connect", .usage = "COUNT CONCURRENCY 0|1|cross", .start = start_connect, .online = online, .gone = gone, .print = print};
const struct phase phase_close = {.name = "close", .usage = "", .start = start_close, .gone = closed, .print = print_close};
