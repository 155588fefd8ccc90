/*
 * A service instance: it stores each letter in its recipient's mailbox, which is durable and shared by all instances, and only then
 * acknowledges it, in any order; it delivers from the mailbox over the recipient's session, and takes a letter out when the client has
 * acknowledged it.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

struct service services[SERVICES];

/* The durable mailboxes: letters in the order in which they were stored. */
static struct {
	uint16_t letters[LETTERS];
	uint32_t nr;
} mail[CLIENTS];

/* What a session's stream carries as data: where in the mailbox it is. */
struct seat {
	struct service *sv;
	struct session *session;
	uint16_t nr;
	uint32_t next; /* of the mailbox: what this session has not been given */
	bool away;
};

static struct seat *seat_of(struct svc_stream *s)
{
	return svc_stream_data(s);
}

/* To or from another instance: peers.c has it. */
static bool is_row(const struct svc_stream *s)
{
	return svc_stream_kind(s) == SVC_KIND_PEER;
}

/* To another server, or a client's; who opened one stays so. */
static bool is_pair(const struct svc_stream *s)
{
	bool pair = svc_stream_kind(s) == SVC_KIND_SERVER_OUT;

	HOLDS(is_row(s) || svc_stream_is_ours(s) == pair);
	return pair;
}

/* ---- events ---- */

static int on_send(void *arg, const void *batch, size_t n)
{
	struct wire *w = arg;

	return w->tip == NULL ? 0 : wire_send(&w->to_gw, batch, n);
}

static void on_up(void *arg, const struct svc_hello *peer)
{
	(void)arg;
	(void)peer;
}

static void on_down(void *arg, const char *why)
{
	(void)arg;
	HOLDS(why[0] != '\0');
}

static void on_open(void *arg, struct svc_stream *s, const struct svc_open *o)
{
	struct service *sv = ((struct wire *)arg)->sv;
	uint32_t nr = wire_get_u32(o->stream_id.b);
	struct seat *seat;
	uint8_t client = nr < nr_sessions ? sessions[nr].client : 0;
	char jid[16] = "0@d/r";

	if (o->kind == SVC_KIND_PEER) {
		row_opened(sv, s, o);
		return;
	}
	seat = calloc(1, sizeof(*seat));
	if (seat == NULL)
		abort();
	HOLDS(o->bare_jid[0] == '0' + client);
	jid[0] = o->bare_jid[0];
	seat->sv = sv;
	seat->session = &sessions[nr];
	seat->nr = (uint16_t)nr;
	svc_stream_set_data(s, seat);
	if (sv->of[client] != NULL) /* one for each client: the last */
		(void)svc_stream_close(sv->of[client], "conflict", NULL);
	sv->of[client] = s;
	HOLDS(svc_stream_accept(s, jid) == 0);
}

static void on_accepted(void *arg, struct svc_stream *s, const char *full_jid)
{
	(void)arg;
	(void)s;
	HOLDS(full_jid == NULL);
}

static void on_refused(void *arg, struct svc_stream *s, const struct svc_refusal *r)
{
	(void)arg;
	(void)r;
	if (is_row(s))
		row_refused(s);
	else
		broken("a gateway refused a stream");
}

/* What the client means to send on this session, each once and in its order. */
static void on_stanza(void *arg, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n)
{
	struct service *sv = ((struct wire *)arg)->sv;
	struct seat *seat = seat_of(s);
	struct session *t, *root;
	uint32_t letter, at;

	if (is_row(s)) {
		row_stanza(sv, s, seq, xml, n);
		return;
	}
	t = seat->session;
	root = &sessions[t->root];
	letter = letter_of(xml, n);
	at = t->offset + t->received;
	HOLDS(flags == 0 || (flags == SVC_REPEATED && t->reopened));
	HOLDS(seq == t->received + 1);
	HOLDS(at < root->nr_up && root->up[at] == letter);
	if (is_broken())
		return;
	/* What may have been seen before says so. A repetition may overtake what it repeats: at an instance that lives, taken for dead. */
	HOLDS(root->seen[at] == 0 || flags == SVC_REPEATED || seat->nr + 1 < root->seen[at]);
	tally.repeated += flags != 0;
	root->seen[at] = seat->nr + 1 > root->seen[at] ? (uint16_t)(seat->nr + 1) : root->seen[at];
	t->received++;
	HOLDS(sv->nr_pending < PENDING);
	if (sv->nr_pending < PENDING)
		sv->pending[sv->nr_pending++] = (struct pending){ s, seq, seat->nr, (uint16_t)letter };
}

/* The client has them: really. */
static void on_acked(void *arg, struct svc_stream *s, uint32_t seq)
{
	struct session *t;

	(void)arg;
	if (is_row(s) || is_pair(s)) {
		is_row(s) ? row_acked(s, seq) : pair_acked(s, seq);
		return;
	}
	t = seat_of(s)->session;
	HOLDS(seq > t->down_acked && seq <= t->taken);
	for (uint32_t i = t->down_acked; i < seq && i < t->nr_down; i++)
		letters[t->down[i]].done = true;
	t->down_acked = seq;
}

static void on_writable(void *arg, struct svc_stream *s)
{
	(void)arg;
	(void)s;
}

struct unacked {
	const struct session *t;
	uint32_t next;
};

static void on_unacked(void *arg, uint32_t seq, const char *xml, size_t n)
{
	struct unacked *u = arg;

	HOLDS(seq == u->next + 1 && u->next < u->t->nr_down && letter_of(xml, n) == u->t->down[u->next]);
	u->next++;
}

/* All that the client did not acknowledge comes back, and nothing else: it stays in the mailbox. */
static void ended(struct service *sv, struct svc_stream *s, const char *condition)
{
	struct seat *seat = seat_of(s);
	struct unacked u;

	HOLDS(condition == NULL || strcmp(condition, "policy-violation") != 0);
	if (is_row(s) || is_pair(s)) {
		is_row(s) ? row_ended(sv, s) : pair_ended(s);
		return;
	}
	u = (struct unacked){ seat->session, seat->session->down_acked };
	svc_stream_unacked(s, on_unacked, &u);
	HOLDS(u.next == seat->session->nr_down);
	if (sv->of[seat->session->client] == s)
		sv->of[seat->session->client] = NULL;
	for (uint32_t i = 0; i < sv->nr_pending; i++)
		if (sv->pending[i].s == s)
			sv->pending[i--] = sv->pending[--sv->nr_pending];
	svc_stream_set_data(s, NULL);
	free(seat);
}

static void on_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	(void)text;
	ended(((struct wire *)arg)->sv, s, condition);
}

const struct svc_link_ops service_link_ops = {
	.send = on_send, .up = on_up, .down = on_down, .open = on_open, .accepted = on_accepted, .refused = on_refused,
	.stanza = on_stanza, .acked = on_acked, .writable = on_writable, .closed = on_closed,
};

static void on_hub_closed(void *arg, struct svc_stream *s, const char *condition, const char *text)
{
	(void)text;
	ended(arg, s, condition);
}

static void on_detached(void *arg, struct svc_stream *s)
{
	(void)arg;
	HOLDS(svc_stream_link(s) == NULL);
	if (is_row(s))
		return;
	if (is_pair(s))
		pair_lost(s, true);
	else
		seat_of(s)->away = true;
}

static void on_attached(void *arg, struct svc_stream *s, const struct svc_resume *r)
{
	(void)arg;
	(void)r;
	HOLDS(svc_stream_link(s) != NULL);
	if (is_row(s))
		return;
	if (is_pair(s)) {
		pair_lost(s, false);
		return;
	}
	HOLDS(seat_of(s)->away);
	seat_of(s)->away = false;
}

static const char *on_full_jid(void *arg, const struct svc_stream *s)
{
	static char jid[16] = "0@d/r";

	(void)arg;
	jid[0] = (char)('0' + ((struct seat *)svc_stream_data(s))->session->client);
	return jid;
}

static const struct svc_hub_ops hub_ops = {
	.detached = on_detached, .attached = on_attached, .closed = on_hub_closed, .full_jid = on_full_jid,
};

/* ---- life ---- */

void service_start(struct service *s)
{
	struct svc_hub_limits limits = { .resume_s_max = RESUME_S, .detached_max = 1 + rnd(4), .detached_bytes_max = 200000 };
	struct svc_hello h = { .stream_window_bytes = 1u << (12 + rnd(3)), .unacked_stanzas_max = 4 + rnd(20),
			       .unacked_bytes_max = 20000 + rnd(100000) };

	s->life++;
	s->reopens = rnd(4) != 0;
	registration_start(s);
	h.incarnation = s->life;
	h.instance.b[0] = (uint8_t)(s->nr + 101);
	h.instance.b[1] = (uint8_t)s->life;
	s->hub = svc_hub_new(SVC_SERVICE, &h, &limits, &hub_ops, s);
	for (int g = 0; g < GATEWAYS; g++) {
		struct wire *w = &wires[g][s->nr];

		w->gw = &gateways[g];
		w->sv = s;
		w->told = true;
		w->l = svc_hub_link(s->hub, gateway_key(&gateways[g]), &service_link_ops, w);
		w->l->epoch = (uint32_t)s->life << 16;
	}
}

static void free_seats(struct service *s)
{
	for (uint32_t i = 0; i < s->hub->ids.cap; i++)
		for (struct svc_stream *st = s->hub->ids.heads[i]; st != NULL; st = st->same_hash)
			if (!is_row(st) && !is_pair(st))
				free(svc_stream_data(st));
}

void service_crash(struct service *s)
{
	free_seats(s);
	pairs_lost_service(s);
	rows_lost_service(s);
	for (int g = 0; g < GATEWAYS; g++) {
		wire_cut(&wires[g][s->nr]);
		svc_link_free(wires[g][s->nr].l);
		wires[g][s->nr].l = NULL;
	}
	svc_hub_free(s->hub);
	s->hub = NULL;
	s->nr_pending = 0;
	memset(s->of, 0, sizeof(s->of));
}

/* Stores a letter and says so, in any order. */
static void handle_one(struct service *s)
{
	uint32_t i = rnd(s->nr_pending);
	struct pending p = s->pending[i];

	s->pending[i] = s->pending[--s->nr_pending];
	if (!letters[p.letter].stored)
		mail[letters[p.letter].to].letters[mail[letters[p.letter].to].nr++] = p.letter;
	letters[p.letter].stored = true;
	sessions[sessions[p.session].root].handled[sessions[p.session].offset + p.seq - 1] = true;
	(void)svc_stream_ack(p.s, p.seq); /* it may just be closing */
}

/* The next letter of its mailbox to a client that has a session here, whether it is there or away. */
static bool deliver_one(struct service *s, uint8_t client)
{
	struct svc_stream *st = s->of[client];
	struct seat *seat = st != NULL ? seat_of(st) : NULL;
	struct session *t = seat != NULL ? seat->session : NULL;
	struct body b;

	if (seat == NULL || t->nr_down >= SESSION_MAX)
		return false;
	while (seat->next < mail[client].nr && letters[mail[client].letters[seat->next]].done)
		seat->next++;
	if (seat->next == mail[client].nr)
		return false;
	b = stanza_of(mail[client].letters[seat->next]);
	if (svc_stream_send(st, b.p, b.n, 0, NULL) != 0)
		return false;
	t->down[t->nr_down++] = mail[client].letters[seat->next++];
	return true;
}

void service_step(struct service *s)
{
	if (s->hub == NULL)
		return;
	while (s->nr_pending > 0 && (s->nr_pending > 40 || rnd(3) != 0))
		handle_one(s);
	pairs_step(s);
	rows_step(s);
	for (uint8_t c = 0; c < CLIENTS; c++)
		while (rnd(4) != 0 && deliver_one(s, c))
			;
}

void mail_clear(void)
{
	for (int i = 0; i < CLIENTS; i++)
		mail[i].nr = 0;
}

bool mail_is_done(void)
{
	for (uint32_t i = 0; i < nr_letters; i++)
		if (letters[i].stored && !letters[i].done)
			return false;
	return true;
}
