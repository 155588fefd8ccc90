#include <stdlib.h>

#include "tests/bench/load/load.h"

/* Messages between the pairs of connected clients: chat (each answered by the next, a window of them on the way), one (a window of one, one
 * pair), open (at a given rate, whatever comes back; for a given time, or until "enough"). What large stanzas do to small ones is for two
 * processes to measure: encrypting and comparing 1 MiB here would delay the small ones that are timed. */

#define RING_OPEN 65536u

struct chat {
	uint64_t each, window, total, received;
	uint64_t rate, seconds, scheduled;   /* open */
	unsigned next;                       /* flow */
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
	flows_make(l, 0, (unsigned)pairs, body, (uint32_t)s->window);
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
	flows_make(l, 0, 1, body, 1);
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

/* What should have left by now does, on each flow in turn. */
static void open_tick(struct load *l, uint64_t us)
{
	struct chat *s = l->state;
	uint64_t due = (us - l->began_us) * s->rate / 1000000 + 1;   /* the first one at once */

	if (s->over)
		return;
	if (due > s->rate * s->seconds)
		due = s->rate * s->seconds;
	while (s->scheduled < due) {
		struct flow *f = &l->flows[s->next];
		uint64_t when_us = l->began_us + s->scheduled * 1000000 / s->rate;

		s->next = (s->next + 1) % l->nr_flows;
		hist_add(&l->late, us > when_us ? us - when_us : 0);
		if (f->sent - f->received < f->ring)
			flow_send(l, f, when_us);
		else
			load_error(l, "more is on the way than the load can remember");
		s->scheduled++;
	}
	flush_all(l);
	if (s->scheduled < s->rate * s->seconds)
		load_tick_at(l, l->began_us + s->scheduled * 1000000 / s->rate + 1);
}

/* open PAIRS BODY RATE SECONDS */
static bool start_open(struct load *l, char **words, int nr)
{
	uint64_t pairs, body;
	struct chat *s = chat_new(l);

	if (nr != 4 || !load_number(words[0], 1, l->nr / 2, &pairs) || !body_of(words[1], &body) ||
	    !load_number(words[2], 1, 1000000, &s->rate) || !load_number(words[3], 1, 3600, &s->seconds)) {
		free(s);
		return false;
	}
	s->total = s->rate * s->seconds;
	flows_make(l, 0, (unsigned)pairs, body, RING_OPEN / (2 * (uint32_t)pairs) + 1);
	return true;
}

/* What is on its way is waited for. */
static void open_enough(struct load *l)
{
	struct chat *s = l->state;

	s->total = s->scheduled;
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
	.usage = "PAIRS BODY RATE SECONDS",
	.start = start_open,
	.stanza = open_stanza,
	.gone = chat_gone,
	.tick = open_tick,
	.enough = open_enough,
	.print = chat_print};
