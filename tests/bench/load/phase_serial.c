#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/load.h"

/* One exchange after the other on one connection, each begun when the one before is over, so that a server does the same work every time:
 * for counting instructions. iq: one to the domain and its answer. presence: so many to somebody in the domain who is not there, which
 * nobody answers, and the same iq behind them. echo: so many messages to the domain, which sends each back. */

struct serial {
	uint64_t left, answers, awaited;   /* exchanges; answers of one, and those of this one that are still to come */
	char *text;
	size_t n;
};

static void next(struct load *l)
{
	struct serial *s = l->state;

	s->awaited = s->answers;
	client_queue(&l->clients[0], s->text, s->n);
	client_flush(&l->clients[0]);
}

static void stanza(struct load *l, struct client *c, struct slice e)
{
	struct serial *s = l->state;

	if (c != &l->clients[0])
		return;
	l->progress_us = now_us();
	if (!scan_begins(e, "<iq") && !scan_begins(e, "<message"))
		load_error(l, "another answer");
	if (--s->awaited > 0)
		return;
	if (--s->left > 0)
		next(l);
	else
		load_done(l);
}

static void gone(struct load *l, struct client *c, const char *why)
{
	(void)c;
	load_error(l, why ? why : "closed");
	load_done(l);
}

static void print(struct load *l, FILE *out)
{
	struct serial *s = l->state;

	(void)out;
	free(s->text);
	free(s);
}

static void add(struct serial *s, const char *text)
{
	memcpy(s->text + s->n, text, strlen(text));
	s->n += strlen(text);
}

/* A stanza with so many bytes of text. */
static void add_filled(struct serial *s, const char *begin, uint64_t body, const char *end)
{
	add(s, begin);
	memset(s->text + s->n, 'b', body);
	s->n += body;
	add(s, end);
}

/* serial iq|presence|echo COUNT BODY COPIES: presences and messages COPIES of them at a time */
static bool start(struct load *l, char **words, int nr)
{
	struct serial *s;
	uint64_t count, body, copies;
	bool echo, presence;
	char begin[400];

	if (nr != 4 || l->nr < 1 || !load_number(words[1], 1, 1000000, &count) || !load_number(words[2], 1, 256 << 10, &body) ||
	    !load_number(words[3], 1, 100, &copies))
		return false;
	s = calloc(1, sizeof *s);
	if (s == NULL || (s->text = malloc((copies + 1) * (body + 500))) == NULL)
		abort();
	echo = strcmp(words[0], "echo") == 0;
	presence = strcmp(words[0], "presence") == 0;
	snprintf(begin, sizeof begin,
		 echo ? "<message to='someone@%s' type='chat' id='1'><body>" : "<presence to='someone@%s'><show>away</show><status>",
		 l->targets[0].domain);
	for (uint64_t i = 0; (echo || presence) && i < copies; i++)
		add_filled(s, begin, body, echo ? "</body></message>" : "</status></presence>");
	if (!echo) {
		snprintf(begin, sizeof begin, "<iq to='%s' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>", l->targets[0].domain);
		add(s, begin);
	}
	s->left = count;
	s->answers = echo ? copies : 1;
	l->state = s;
	next(l);
	return true;
}

const struct phase phase_serial = {
	.name = "serial", .usage = "iq|presence|echo COUNT BODY COPIES", .start = start, .stanza = stanza, .gone = gone, .print = print};
