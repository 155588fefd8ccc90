#include <stdlib.h>

#include "tests/bench/load/load.h"

/* Messages between the pairs of connected clients: chat (each answered by the next, a window of them on the way), one (a window of one, one
 * pair), open (at a given rate, whatever comes back; large stanzas beside them at a rate of their own; for a given time, or until
 * "enough"). */

#define RING_OPEN 65536u

struct chat {
	uint64_t each, window, total, received;
	uint64_t rate, large_rate, seconds, scheduled, large_scheduled;   /* open */
	unsigned nr_small, nr_large;                                      /* flows */
	unsigned next, large_next;
	bool over;
};

static struct chat *chat_new(struct load *l)
{
	struct chat *s = calloc(1, sizeof *s);

	if (s == NULL)
		abort();
	l->state = s;
	return s;
}

static void flush_all(struct load *l)
{
	for (unsigned i = 0; i < l->nr_flows; i++)
		client_flush(l->flows[i].from);
}

static void chat_stanza(struct load *l, struct client *c, struct slice stanza)
{
	struct chat *s = l->state;
	struct flow *f = flow_receive(l, c, stanza);

	if (f == NULL)
		return;
	s->received++;
	if (f->sent < s->each) {
		flow_send(l, f, now_us());
		client_flush(f->from);
	}
	if (s->received == s->total)
		load_done(l);
}

static void chat_gone(struct load *l, struct client *c, const char *why)
{
	(void)c;
	load_error(l, why ? why : "closed");
	load_done(l);
}

static void chat_print(struct load *l, FILE *out)
{
	struct chat *s = l->state;

	fprintf(out, ",\"messages\":%llu,\"delayed\":%llu,", (unsigned long long)s->received, (unsigned long long)l->nr_delayed);
	hist_print(&l->latency, "delivery", out);
	if (l->large_latency.nr) {
		fputc(',', out);
		hist_print(&l->large_latency, "large", out);
	}
	if (l->late.nr) {
		fputc(',', out);
		hist_print(&l->late, "late", out);
	}
	flows_free(l);
	free(s);
}

/* Bodies below the number's width make no sense, above 10 MiB nobody takes them. */
static bool body_of(const char *word, uint64_t *out)
{
	return load_number(word, 12, 10u << 20, out);
}

static bool start_chat(struct load *l, char **words, int nr)
{
	uint64_t pairs, body;
	struct chat *s = chat_new(l);

	if (nr != 4 || !load_number(words[0], 1, l->nr / 2, &pairs) || !body_of(words[1], &body) ||
	    !load_number(words[2], 1, 10000, &s->window) || !load_number(words[3], 1, 1000000000, &s->each)) {
		free(s);
		return false;
	}
	s->total = s->each * 2 * pairs;
	flows_make(l, 0, (unsigned)pairs, body, false, (uint32_t)s->window);
	for (unsigned i = 0; i < l->nr_flows; i++)
		for (uint64_t k = 0; k < s->window && k < s->each; k++)
			flow_send(l, &l->flows[i], now_us());
	flush_all(l);
	return true;
}

/* One way, one at a time. */
static bool start_one(struct load *l, char **words, int nr)
{
	uint64_t body;
	struct chat *s = chat_new(l);

	if (nr != 2 || l->nr < 2 || !load_number(words[0], 1, 1000000000, &s->each) || !body_of(words[1], &body)) {
		free(s);
		return false;
	}
	s->window = 1;
	s->total = s->each;
	flows_make(l, 0, 1, body, false, 1);
	flow_send(l, &l->flows[0], now_us());
	client_flush(l->flows[0].from);
	return true;
}

static void open_stanza(struct load *l, struct client *c, struct slice stanza)
{
	struct chat *s = l->state;

	if (flow_receive(l, c, stanza) != NULL && ++s->received == s->total)
		load_done(l);
}

/* Those that were due by now, from one flow after the other. */
static void send_due(struct load *l, uint64_t us, uint64_t rate, uint64_t seconds, uint64_t *scheduled, unsigned first, unsigned nr,
		     unsigned *next)
{
	uint64_t due = (us - l->began_us) * rate / 1000000 + 1;   /* the first one at once */

	if (due > rate * seconds)
		due = rate * seconds;
	while (*scheduled < due) {
		struct flow *f = &l->flows[first + *next];

		*next = (*next + 1) % nr;
		uint64_t when_us = l->began_us + *scheduled * 1000000 / rate;

		hist_add(&l->late, us > when_us ? us - when_us : 0);
		if (f->sent - f->received < f->ring)
			flow_send(l, f, when_us);
		else
			load_error(l, "more is on the way than the load can remember");
		++*scheduled;
	}
}

static void open_tick(struct load *l, uint64_t us)
{
	struct chat *s = l->state;

	if (s->over)
		return;
	send_due(l, us, s->rate, s->seconds, &s->scheduled, 0, s->nr_small, &s->next);
	if (s->nr_large)
		send_due(l, us, s->large_rate, s->seconds, &s->large_scheduled, s->nr_small, s->nr_large, &s->large_next);
	flush_all(l);
}

/* open PAIRS BODY RATE SECONDS [LARGE_PAIRS LARGE_BODY LARGE_RATE] */
static bool start_open(struct load *l, char **words, int nr)
{
	uint64_t pairs, body, large_pairs = 0, large_body = 0;
	struct chat *s = chat_new(l);

	if ((nr != 4 && nr != 7) || !load_number(words[0], 1, l->nr / 2, &pairs) || !body_of(words[1], &body) ||
		!load_number(words[2], 1, 1000000, &s->rate) || !load_number(words[3], 1, 3600, &s->seconds) ||
		(nr == 7 && (!load_number(words[4], 1, l->nr / 2 - pairs, &large_pairs) || !body_of(words[5], &large_body) ||
						!load_number(words[6], 1, 1000, &s->large_rate)))) {
		free(s);
		return false;
	}
	s->total = (s->rate + s->large_rate) * s->seconds;
	s->nr_small = 2 * (unsigned)pairs;
	s->nr_large = 2 * (unsigned)large_pairs;
	flows_make(l, 0, (unsigned)pairs, body, false, RING_OPEN / s->nr_small + 1);
	if (large_pairs)
		flows_make(l, 2 * (unsigned)pairs, (unsigned)large_pairs, large_body, true, 4096);
	return true;
}

/* What is on its way is waited for. */
static void open_enough(struct load *l)
{
	struct chat *s = l->state;

	s->total = s->scheduled + s->large_scheduled;
	s->over = true;
	if (s->received == s->total)
		load_done(l);
}

const struct phase phase_chat = {.name = "chat",
				 .usage = "PAIRS BODY WINDOW MESSAGES_EACH",
				 .start = start_chat,
				 .stanza = chat_stanza,
				 .gone = chat_gone,
				 .print = chat_print};
const struct phase phase_one = {
	.name = "one", .usage = "MESSAGES BODY", .start = start_one, .stanza = chat_stanza, .gone = chat_gone, .print = chat_print};
const struct phase phase_open = {.name = "open",
	.usage = "PAIRS BODY RATE SECONDS [LARGE_PAIRS LARGE_BODY LARGE_RATE]",
	.start = start_open,
	.stanza = open_stanza,
	.gone = chat_gone,
	.tick = open_tick,
	.enough = open_enough,
	.print = chat_print};
