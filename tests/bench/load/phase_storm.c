#include <stdlib.h>

#include "tests/bench/load/load.h"

/* The gateway of target 0 is killed from outside while this runs: its clients come to target 1 at once, each again after a second where it
 * fails, while the pairs at target 1 go on at their rate. quiet SECONDS of that rate come first, so that both can be told apart. */

#define RETRY_US 1000000

struct storm {
	uint64_t rate, scheduled, patience_s;
	unsigned nr_storm, back, next, resumed, by_ticket, failures;
	uint64_t killed_us, back_us;
	struct hist back_after, resumed_after;   /* the death: new sessions, resumed ones */
	uint64_t *retry_us;   /* of each client; 0: none */
};

static void stanza(struct load *l, struct client *c, struct slice s)
{
	if (c->play != NULL)
		(void)flow_receive(l, c, s);
}

static void gone(struct load *l, struct client *c, const char *why)
{
	struct storm *s = l->state;

	if (c->index >= s->nr_storm) {
		load_error(l, why ? why : "closed");
		return;
	}
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

	if (c->index >= s->nr_storm)
		return;
	s->resumed += c->resumed;
	s->by_ticket += SSL_session_reused(c->ssl) == 1;
	hist_add(c->resumed ? &s->resumed_after : &s->back_after, c->online_us - s->killed_us);
	if (++s->back == s->nr_storm) {
		s->back_us = c->online_us;
		load_done(l);
	}
}

static void tick(struct load *l, uint64_t us)
{
	struct storm *s = l->state;
	uint64_t due = (us - l->began_us) * s->rate / 1000000 + 1;

	while (s->scheduled < due) {
		struct flow *f = &l->flows[s->next];

		s->next = (s->next + 1) % l->nr_flows;
		if (f->sent - f->received < f->ring)
			flow_send(l, f, l->began_us + s->scheduled * 1000000 / s->rate);
		else
			load_error(l, "more is on the way than the load can remember");
		s->scheduled++;
	}
	for (unsigned i = 0; i < l->nr_flows; i++)
		client_flush(l->flows[i].from);
	for (unsigned i = 0; i < s->nr_storm; i++) {
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

	fprintf(out, ",\"clients\":%u,\"back\":%u,\"by_ticket\":%u,\"failures\":%u,\"all_back_s\":%.3f,", s->nr_storm, s->back,
		s->by_ticket, s->failures, s->back_us ? (double)(s->back_us - s->killed_us) / 1e6 : -1.0);
	hist_print(&s->back_after, "back_after", out);
	fputc(',', out);
	hist_print(&s->resumed_after, "resumed_after", out);
	fputc(',', out);
	fprintf(out, "\"delayed\":%llu,", (unsigned long long)l->nr_delayed);
	hist_print(&l->latency, "others", out);
	flows_free(l);
	free(s->retry_us);
	free(s);
}

/* storm CLIENTS PAIRS BODY RATE PATIENCE_SECONDS: clients [0, CLIENTS) are at target 0, the pairs behind them at target 1. */
static bool start(struct load *l, char **words, int nr)
{
	uint64_t clients, pairs, body;
	struct storm *s = calloc(1, sizeof *s);

	if (s == NULL)
		abort();
	if (nr != 5 || !load_number(words[0], 1, l->nr, &clients) || !load_number(words[1], 1, (l->nr - clients) / 2, &pairs) ||
	    !load_number(words[2], 12, 65536, &body) || !load_number(words[3], 1, 100000, &s->rate) ||
	    !load_number(words[4], 1, 3600, &s->patience_s)) {
		free(s);
		return false;
	}
	l->state = s;
	s->nr_storm = (unsigned)clients;
	s->retry_us = calloc(clients, sizeof *s->retry_us);
	if (s->retry_us == NULL)
		abort();
	flows_make(l, (unsigned)clients, (unsigned)pairs, body, false, 65536);
	return true;
}

const struct phase phase_storm = {.name = "storm",
	.usage = "CLIENTS PAIRS BODY RATE PATIENCE_SECONDS",
	.start = start,
	.online = online,
	.stanza = stanza,
	.gone = gone,
	.tick = tick,
	.print = print};
