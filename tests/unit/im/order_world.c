/* What is around the cores: who is where in whose view, what a core is given and gives, and the notes of what happened. */
#include "tests/unit/im/order.h"

#include <stdarg.h>
#include <stdio.h>

struct node nodes[NODES];
struct user users[USERS];
static struct ticket tickets[TICKETS];
struct session *sessions;
struct row *rows;
unsigned nr_nodes, nr_tickets, nr_origins;
uint64_t now, broken[GATEWAYS][NODES], gateway_up_at[GATEWAYS];
static uint64_t state;
static char **lines;
static size_t nr_lines;
static bool failed;

void order_seed(uint64_t seed)
{
	state = order_mix(seed + 1);
}

unsigned order_rnd(unsigned n)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(state >> 33) % n;
}

uint64_t order_mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 29) * UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

/* Of the pair that `user` is in: kept until the seed is through. */
void order_note(unsigned user, const char *format, ...)
{
	char text[200], *line = mem_alloc(240);
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	snprintf(line, 240, "%c%" PRIu64 ".%03u %s", (char)('0' + user / 2), (uint64_t)(now / 1000), (unsigned)(now % 1000), text);
	if (nr_lines % 1024 == 0)
		lines = mem_resize(lines, (nr_lines + 1024) * sizeof *lines);
	lines[nr_lines++] = line;
}

void order_fail(unsigned user, unsigned number, const char *what)
{
	if (failed)
		return;
	failed = true;
	for (size_t i = nr_lines > 4000 ? nr_lines - 4000 : 0; i < nr_lines; i++) {
		if (lines[i][0] == (char)('0' + user / 2) || lines[i][0] == '0' + USERS)
			fprintf(stderr, "   %s\n", lines[i] + 1);
	}
	fprintf(stderr, "   %u of %s %s\n", number, users[user].bare, what);
}

void items_put(struct items *q, const char *xml, size_t n, uint64_t cookie)
{
	char *text = mem_slicedup((struct slice){xml, n}), *body = strstr(text, "<body>");
	if (q->nr == q->cap) {
		q->cap = q->cap ? 2 * q->cap : 64;
		q->v = mem_resize(q->v, q->cap * sizeof *q->v);
	}
	q->v[q->nr++] = (struct item){text, cookie, body ? (unsigned)strtoul(body + 6, NULL, 10) : 0, false};
}

void items_clear(struct items *q)
{
	for (size_t i = 0; i < q->nr; i++)
		free(q->v[i].xml);
	free(q->v);
	*q = (struct items){0};
}

bool order_failed(void)
{
	return failed;
}

void order_forget(void)
{
	while (nr_lines)
		free(lines[--nr_lines]);
	free(lines);
	lines = NULL;
	failed = false;
}

/* --- who is where --- */

/* As one observer has it: a node, or NODES + gateway. */
static bool known(unsigned observer, const struct node *n)
{
	unsigned delay = (unsigned)(order_mix(observer * NODES + n->index) % 300);
	return now >= n->registered_at + delay && now < n->gone_at + delay;
}

bool node_is_linked(unsigned gateway, const struct node *n)
{
	return !n->dead && now >= gateway_up_at[gateway] && now >= broken[gateway][n->index];
}

struct node *node_pick(unsigned observer, unsigned user, bool linked)
{
	struct node *best = NULL;
	for (unsigned i = 0; i < nr_nodes; i++) {
		struct node *n = &nodes[i];
		if (known(observer, n) && (!linked || node_is_linked(observer - NODES, n)) &&
		    (!best || order_mix(n->index * 1000 + user + 7) > order_mix(best->index * 1000 + user + 7)))
			best = n;
	}
	return best;
}

static unsigned user_of(const char *jid)
{
	return (unsigned)strtoul(jid + 1, NULL, 10);
}

bool node_is_here(void *arg, const char *bare_jid, unsigned char instance[16])
{
	struct node *n = arg, *best = node_pick(n->index, user_of(bare_jid), false);
	memset(instance, 0, 16);
	if (!known(n->index, n))
		return true;
	instance[0] = (unsigned char)(best->index + 1);
	return best == n;
}

/* --- what a core does --- */

static int op_accept(void *arg, void *link, const char *full_jid)
{
	(void)arg, (void)link, (void)full_jid;
	return 0;
}

static int op_refuse(void *arg, void *link, const char *type, const char *condition, const char *text)
{
	(void)arg, (void)link, (void)type, (void)condition, (void)text;
	ASSERT(false);
	return 0;
}

static int op_close(void *arg, void *link, const char *condition, const char *text)
{
	struct session *s = link;
	(void)arg, (void)text;
	order_note(s->user, "%s is closed by i%u: %s", users[s->user].bare, s->node->index, condition);
	s->closing = true;
	return 0;
}

static int op_send(void *arg, void *link, const char *xml, size_t n, uint64_t cookie)
{
	struct session *s = link;
	(void)arg;
	if (s->over)
		return SVCPROTO_E_CLOSED;
	if (s->down.nr - s->acked > ROOM)
		return SVCPROTO_E_FULL;
	items_put(&s->down, xml, n, cookie);
	if (s->down.v[s->down.nr - 1].number)
		order_note(s->user, "%u of %s goes to the client from i%u", s->down.v[s->down.nr - 1].number, users[s->user ^ 1].bare,
		     s->node->index);
	return 0;
}

static int op_send_server(void *arg, const char *from, const char *to, const char *xml, size_t n, uint64_t cookie)
{
	(void)arg, (void)from, (void)to, (void)xml, (void)n, (void)cookie;
	return SVCPROTO_E_INVALID;
}

static int op_send_peer(void *arg, const char *bare_jid, const char *xml, size_t n, uint64_t cookie)
{
	struct node *node = arg;
	struct items *q = &node->to[user_of(bare_jid)].queue;
	items_put(q, xml, n, cookie);
	order_note(user_of(bare_jid), "%u to %s waits for a stream from i%u", q->v[q->nr - 1].number, bare_jid, node->index);
	return 0;
}

static void op_ack(void *arg, uint64_t number)
{
	struct ticket *t = &tickets[number];
	(void)arg;
	if (t->session) {
		struct session *s = t->session;
		s->up.v[t->at].handled = true;
		while (s->row < s->handed && s->up.v[s->row].handled)
			s->row++;
	} else {
		t->row->handled[t->at] = true;
		while (t->row->row < t->row->received && t->row->handled[t->row->row + 1])
			t->row->row++;
	}
}

const struct im_ops order_ops = {op_accept, op_refuse, op_close, op_send, op_send_server, op_ack, node_is_here, op_send_peer};

void node_hand_over(struct node *n, struct ticket t, const struct item *i)
{
	struct svcproto_stanza st = {.xml = i->xml, .length = strlen(i->xml), .peer = t.row != NULL, .ticket = nr_tickets};
	st.remote_domain = t.row ? "a.example" : NULL;
	ASSERT(nr_tickets < TICKETS);
	tickets[nr_tickets++] = t;
	im_stanza(n->im, t.session ? t.session->im : NULL, &st);
}

void node_turn_end(struct node *n)
{
	uint64_t next;
	int err = im_turn_end(n->im, &next);
	ASSERT(err == 0);
}
