#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/load.h"

/* Numbered messages between two clients. The body is the number and a pattern that depends on it, so that order and content are checked. */

static void add(struct load *l, struct client *from, struct client *to, size_t body, uint32_t ring)
{
	struct flow *f = &l->flows[l->nr_flows++];

	*f = (struct flow){.from = from, .to = to, .body = body, .ring = ring};
	f->sent_us = calloc(ring, sizeof *f->sent_us);
	if (f->sent_us == NULL)
		abort();
}

void flows_make(struct load *l, unsigned first, unsigned pairs, size_t body, uint32_t ring)
{
	unsigned had = l->nr_flows;

	l->flows = realloc(l->flows, (had + 2 * pairs) * sizeof *l->flows);
	if (l->flows == NULL)
		abort();
	for (unsigned i = 0; i < pairs; i++) {
		struct client *a = &l->clients[first + 2 * i], *b = a + 1;

		add(l, a, b, body, ring);
		add(l, b, a, body, ring);
	}
	for (unsigned i = 0; i < l->nr_flows; i++)   /* what moved is found again */
		l->flows[i].to->play = &l->flows[i];
	if (l->pattern_n < body + 26) {
		l->pattern_n = body + 26;
		l->pattern = realloc(l->pattern, l->pattern_n);
		if (l->pattern == NULL)
			abort();
		for (size_t i = 0; i < l->pattern_n; i++)
			l->pattern[i] = (char)('a' + i % 26);
	}
}

void flows_free(struct load *l)
{
	for (unsigned i = 0; i < l->nr_flows; i++) {
		l->flows[i].to->play = NULL;
		free(l->flows[i].sent_us);
	}
	free(l->flows);
	l->flows = NULL;
	l->nr_flows = 0;
}

void flow_send(struct load *l, struct flow *f, uint64_t when_us)
{
	char head[300];
	int n;
	uint64_t number = f->sent++;

	f->sent_us[number % f->ring] = when_us;
	n = snprintf(head, sizeof head, "<message to='%s' type='chat' id='%llu'><body>%012llu", f->to->jid, (unsigned long long)number,
		(unsigned long long)number);
	client_queue(f->from, head, (size_t)n);
	client_queue(f->from, l->pattern + number % 26, f->body - 12);
	client_queue(f->from, "</body></message>", 17);
}

/* In the start tag, where a server writes it before whatever else has a sender. */
static bool is_from(struct slice before, const char *jid)
{
	const char *at = memmem(before.p, before.n, " from=", 6);
	size_t n = strlen(jid);

	return at != NULL && before.n - (size_t)(at - before.p) > n + 8 && (at[6] == '\'' || at[6] == '"') && memcmp(at + 7, jid, n) == 0 &&
	       at[7 + n] == at[6];
}

/* Beside the body, which may be long, stands what a server adds. */
static bool is_delayed(struct slice stanza, struct slice body)
{
	struct slice before = {stanza.p, (size_t)(body.p - stanza.p)};
	struct slice behind = {body.p + body.n, stanza.n - before.n - body.n};

	return scan_has(before, "urn:xmpp:delay") || scan_has(behind, "urn:xmpp:delay");
}

struct flow *flow_receive(struct load *l, struct client *to, struct slice stanza)
{
	struct flow *f = to->play;
	struct slice body;
	char number[13] = "";
	uint64_t now = now_us();

	if (!scan_begins(stanza, "<message"))
		return NULL;
	if (f == NULL) {
		load_error(l, "a message that nobody awaits");
		return NULL;
	}
	body = scan_between(stanza, "<body>", "</body>");
	if (body.p == NULL || body.n != f->body) {
		load_error(l, scan_has(stanza, "type='error'") || scan_has(stanza, "type=\"error\"") ? "a message came back as an error"
												     : "a body of another length");
		return NULL;
	}
	memcpy(number, body.p, 12);
	if (strtoull(number, NULL, 10) != f->received) {
		load_error(l, "a message out of order");
		return NULL;
	}
	if (memcmp(body.p + 12, l->pattern + f->received % 26, f->body - 12) != 0)
		load_error(l, "a body that was changed");
	if (!is_from((struct slice){stanza.p, (size_t)(body.p - stanza.p)}, f->from->jid))
		load_error(l, "a message from somebody else");
	l->nr_delayed += is_delayed(stanza, body);
	hist_add(&l->latency, now - f->sent_us[f->received % f->ring]);
	f->received++;
	l->progress_us = now;
	return f;
}
