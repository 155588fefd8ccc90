#include <stdlib.h>

#include "tests/bench/load/load.h"

/* The gateway of target 0 is killed from outside while this runs: its clients come to target 1 at once, each again after a second where it
 * fails. What others feel is for a process of its own to measure: this one notices thousands of deaths and connects thousands of times, and
 * would find its own pauses in what it measured meanwhile. */

#define RETRY_US 1000000

struct storm {
	uint64_t patience_s;
	unsigned back, resumed, by_ticket, failures;
	uint64_t killed_us, back_us;
	struct hist back_after, resumed_after, all_after;   /* the death: new sessions, resumed ones, both */
	uint64_t *retry_us;   /* of each client; 0: none */
};

static void gone(struct load *l, struct client *c, const char *why)
{
	struct storm *s = l->state;

	(void)why;
	if (s->killed_us == 0)
		s->killed_us = now_us();
	if (c->w == &l->targets[1]) {
		s->failures++;
		s->retry_us[c->index] = now_us() + RETRY_US;
	} else {
		s->retry_us[c->index] = now_us();
		c->w = &l->targets[1];
	}
}

static void online(struct load *l, struct client *c)
{
	struct storm *s = l->state;

	s->resumed += c->resumed;
	s->by_ticket += SSL_session_reused(c->ssl) == 1;
	hist_add(c->resumed ? &s->resumed_after : &s->back_after, c->online_us - s->killed_us);
	hist_add(&s->all_after, c->online_us - s->killed_us);
	if (++s->back == l->nr) {
		s->back_us = c->online_us;
		load_done(l);
	}
}

static void tick(struct load *l, uint64_t us)
{
	struct storm *s = l->state;
	for (unsigned i = 0; i < l->nr; i++) {
		if (s->retry_us[i] == 0 || s->retry_us[i] > us)
			continue;
		s->retry_us[i] = 0;
		client_connect(&l->clients[i], l->ports[1]);
	}
	if (s->killed_us && us - s->killed_us > s->patience_s * 1000000) {
		load_error(l, "not all came back in time");
		load_done(l);
	}
}

static void print(struct load *l, FILE *out)
{
	struct storm *s = l->state;

	fprintf(out, ",\"clients\":%u,\"back\":%u,\"by_ticket\":%u,\"failures\":%u,\"all_back_s\":%.3f,", l->nr, s->back,
		s->by_ticket, s->failures, s->back_us ? (double)(s->back_us - s->killed_us) / 1e6 : -1.0);
	hist_print(&s->back_after, "back_after", out);
	fputc(',', out);
	hist_print(&s->resumed_after, "resumed_after", out);
	fputc(',', out);
	hist_print(&s->all_after, "all_after", out);
	free(s->retry_us);
	free(s);
}

static bool start(struct load *l, char **words, int nr)
{
	struct storm *s = calloc(1, sizeof *s);

	if (s == NULL)
		abort();
	if (nr != 1 || !load_number(words[0], 1, 3600, &s->patience_s)) {
		free(s);
		return false;
	}
	l->state = s;
	s->retry_us = calloc(l->nr, sizeof *s->retry_us);
	if (s->retry_us == NULL)
		abort();
	return true;
}

const struct phase phase_storm = {
	.name = "storm", .usage = "PATIENCE_SECONDS", .start = start, .online = online, .gone = gone, .tick = tick, .print = print};
