/*
 * Clients with stream management: they bind, send letters to each other, count, acknowledge, lose their connection and come back at any
 * gateway, in time or too late. What is not acknowledged they send again, after a resumption perhaps with something new before it.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { AWAY, BINDING, ONLINE, RESUMING };

struct client {
	uint8_t state;
	struct conn *c;
	uint64_t at_ms;               /* AWAY: when it comes back; BINDING, RESUMING: when it gives up */
	int session;                  /* -1: none; else it may be resumed if it is enabled and can be */
	uint16_t stream;              /* the session, or the one that it went on as */
	uint16_t todo[LETTERS];       /* letters to send on the session, from its beginning */
	uint32_t nr_todo, next;
	uint32_t h_sent;              /* of SAY_ACK */
	bool asked;                   /* <enable/> was sent */
	bool plain;                   /* it is not, for now */
};

static struct client clients[CLIENTS];

static struct session *session_of(const struct client *k)
{
	return &sessions[k->session];
}

static struct session *stream_of(const struct client *k)
{
	return &sessions[k->stream];
}

static void say(struct client *k, enum say what, uint32_t a, uint32_t b)
{
	talk_put(&k->c->up, &(struct word){ .say = what, .session = k->stream, .a = a, .b = b });
}

void clients_start(void)
{
	memset(clients, 0, sizeof(clients));
	for (int i = 0; i < CLIENTS; i++)
		clients[i].session = -1;
}

static void hang_up(struct client *k, uint64_t away_ms)
{
	struct conn *c = k->c;

	k->state = AWAY;
	k->at_ms = now + away_ms;
	k->c = NULL;
	if (c != NULL) {
		c->cut = c->client_gone = true;
		c->up.head = c->up.tail;
		c->down.head = c->down.tail;
	}
}

void clients_lost_gateway(struct gateway *g)
{
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i].c != NULL && clients[i].c->gw == g)
			hang_up(&clients[i], rnd(2000));
}

void clients_forget(void)
{
	for (int i = 0; i < CLIENTS; i++)
		clients[i].c = NULL;
}

/* Not acknowledged, as far as it knows: to be sent on the next session, in order. */
static void give_up_session(struct client *k)
{
	struct session *t = session_of(k);
	uint16_t rest[LETTERS];
	uint32_t nr = 0;

	for (uint32_t i = t->up_acked; i < t->nr_up; i++)
		if (!letters[t->up[i]].acked && !k->plain) /* which counts nothing, and cannot know */
			rest[nr++] = t->up[i];
	for (uint32_t i = k->next; i < k->nr_todo; i++)
		rest[nr++] = k->todo[i];
	memcpy(k->todo, rest, nr * sizeof(rest[0]));
	k->nr_todo = nr;
	k->next = 0;
	t->lost = true;
	k->session = -1;
}

static uint32_t write_letter(struct client *k)
{
	uint8_t me = (uint8_t)(k - clients);
	struct letter *l = &letters[nr_letters];

	*l = (struct letter){ .from = me, .to = (uint8_t)rnd(CLIENTS) };
	k->todo[k->nr_todo++] = (uint16_t)nr_letters;
	return nr_letters++;
}

static bool may_resume(const struct client *k)
{
	return k->session >= 0 && session_of(k)->enabled && session_of(k)->resume_s > 0;
}

static void dial(struct client *k)
{
	k->at_ms = now + 3000;
	k->c = gateway_dial(&gateways[rnd(GATEWAYS)], (uint8_t)(k - clients));
	if (k->c == NULL) {
		k->at_ms = now + rnd(500);
		return;
	}
	if (may_resume(k)) {
		k->state = RESUMING;
		say(k, SAY_RESUME, k->stream, stream_of(k)->taken - stream_of(k)->down_base);
		return;
	}
	if (k->session >= 0)
		give_up_session(k);
	if (nr_sessions >= SESSIONS) {
		hang_up(k, 1000000);
		return;
	}
	k->session = (int)nr_sessions++;
	k->stream = (uint16_t)k->session;
	sessions[k->session] = (struct session){ .client = (uint8_t)(k - clients), .root = k->stream };
	k->plain = rnd(3) == 0;
	k->state = BINDING;
	k->asked = false;
	k->h_sent = 0;
	say(k, SAY_BIND, (uint32_t)k->session, 0);
}

/* The service has handled so many: never more than it has. */
static void acknowledged(struct client *k, uint32_t h)
{
	struct session *t = session_of(k);
	uint32_t upto = t->up_base + h;

	HOLDS(t->enabled && upto >= t->up_acked && upto <= t->nr_up);
	for (uint32_t i = t->up_acked; i < upto && i < t->nr_up; i++) {
		HOLDS(t->handled[i] && letters[t->up[i]].stored);
		letters[t->up[i]].acked = true;
	}
	t->up_acked = upto;
}

static void resumed(struct client *k, uint32_t h)
{
	struct session *t = session_of(k);
	uint16_t again[SESSION_MAX];
	uint32_t nr = 0;

	acknowledged(k, h);
	HOLDS(stream_of(k)->offset + stream_of(k)->received == t->up_acked); /* what it got is in the count: the rest may change */
	for (uint32_t i = t->up_acked; i < t->nr_up; i++)
		again[nr++] = t->up[i];
	memset(t->handled + t->up_acked, 0, sizeof(t->handled) - t->up_acked);
	memset(t->seen + t->up_acked, 0, sizeof(t->seen) - t->up_acked * sizeof(t->seen[0]));
	t->nr_up = t->up_acked;
	HOLDS(k->next >= nr);
	k->next -= nr; /* they stand there in the same order */
	if (nr > 1 && rnd(3) == 0) { /* and need not be the same */
		k->todo[k->next] = again[1];
		k->todo[k->next + 1] = again[0];
	}
	k->state = ONLINE;
	tally.resumed++;
}

/* What comes may be of another stream by now, which it cannot tell. */
static void follow(struct client *k, uint16_t stream)
{
	HOLDS(sessions[stream].root == k->session && stream >= k->stream);
	k->stream = stream;
}

static void take(struct client *k, uint32_t letter, uint32_t seq)
{
	struct session *t = stream_of(k);

	HOLDS(letters[letter].to == k - clients);
	HOLDS(t->taken < t->nr_down && t->down[t->taken] == letter); /* in order, each once */
	HOLDS(seq == t->taken + 1);
	t->taken++;
	letters[letter].received = true;
	tally.delivered++;
	if (!session_of(k)->enabled && !talk_full(&k->c->up)) /* its TCP acknowledges */
		say(k, SAY_TCP, seq, 0);
}

static void hear(struct client *k, const struct word *w)
{
	switch (w->say) {
	case SAY_BOUND:
		k->state = ONLINE;
		tally.bound++;
		break;
	case SAY_RESUMED:
		resumed(k, w->a);
		break;
	case SAY_FAILED:
		tally.failed++;
		give_up_session(k);
		break;
	case SAY_ENABLED:
		follow(k, w->session);
		session_of(k)->enabled = true;
		session_of(k)->resume_s = w->a;
		stream_of(k)->down_base = stream_of(k)->taken;
		break;
	case SAY_ACK:
		acknowledged(k, w->a);
		break;
	case SAY_STANZA:
		follow(k, w->session);
		take(k, w->a, w->b);
		break;
	default:
		hang_up(k, rnd(faults ? 3000 : 200));
	}
}

static void say_something(struct client *k)
{
	struct session *t = session_of(k);
	struct talk *up = &k->c->up;

	if (talk_nr(up) > TALK / 2)
		return;
	if (!k->asked && (!faults || (!k->plain && rnd(3) == 0))) {
		k->asked = true;
		t->up_base = t->nr_up;
		say(k, SAY_ENABLE, faults && rnd(5) == 0 ? 3 + rnd(10) : 1000, 0);
	}
	if (faults && nr_letters < LETTERS - CLIENTS && rnd(2) == 0)
		(void)write_letter(k);
	while (k->next < k->nr_todo && t->nr_up < SESSION_MAX && talk_nr(up) < TALK / 2 && rnd(4) != 0) {
		uint32_t letter = k->todo[k->next++];

		t->up[t->nr_up++] = (uint16_t)letter;
		say(k, SAY_STANZA, letter, 0);
	}
	if (t->enabled && stream_of(k)->taken - stream_of(k)->down_base != k->h_sent && rnd(3) == 0) {
		k->h_sent = stream_of(k)->taken - stream_of(k)->down_base;
		say(k, SAY_ACK, k->h_sent, 0);
	}
}

void client_step(uint8_t nr)
{
	struct client *k = &clients[nr];

	if (k->state == AWAY) {
		if (now >= k->at_ms)
			dial(k);
		return;
	}
	if (k->c->cut && talk_nr(&k->c->down) == 0) {
		hang_up(k, rnd(faults ? 5000 : 200));
		return;
	}
	for (uint32_t i = rnd(8); i > 0 && k->c != NULL && talk_nr(&k->c->down) > 0; i--) {
		struct word w = k->c->down.w[k->c->down.head++ % TALK];

		hear(k, &w);
	}
	if (k->state == ONLINE)
		say_something(k);
	else if (k->state != AWAY && now >= k->at_ms)
		hang_up(k, rnd(1000));
	if (faults && k->c != NULL && rnd(400) == 0) /* late enough for the session to be gone, now and then */
		hang_up(k, rnd(10) == 0 ? RESUME_S * 1000u + rnd(20000) : rnd(4000));
}

bool clients_are_done(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		const struct client *k = &clients[i];

		if (k->state != ONLINE || k->next != k->nr_todo || !session_of(k)->enabled)
			return false;
		for (uint32_t n = 0; n < session_of(k)->up_base; n++) /* its session lives, and so does what it sent */
			if (!letters[session_of(k)->up[n]].stored)
				return false;
		if (session_of(k)->nr_up > session_of(k)->up_base && session_of(k)->up_acked != session_of(k)->nr_up)
			return false;
	}
	return true;
}

static void show_session(const struct session *t)
{
	fprintf(stderr, " %s; up: %u from %u, received %u, acknowledged %u; down: %u, taken %u from %u, acknowledged %u",
		t->enabled ? "enabled" : "not enabled", t->nr_up, t->up_base, t->received, t->up_acked, t->nr_down, t->taken,
		t->down_base, t->down_acked);
}

static void show_stream(const struct conn *c)
{
	fprintf(stderr, "; at gateway %u%s: state %u, stream management %u, credit %u, unacknowledged %u, unsent %" PRIu64, c->gw->nr,
		svc_stream_link(c->s) != NULL ? "" : " without a link", c->s->state, c->s->sm, c->s->out.credit, c->s->out.nr,
		c->s->out.unsent);
}

void clients_show(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		const struct client *k = &clients[i];

		fprintf(stderr, "client %d: state %u, session %d, wrote %u of %u", i, k->state, k->session, k->next, k->nr_todo);
		if (k->session >= 0)
			show_session(session_of(k));
		if (k->c != NULL && k->c->s != NULL)
			show_stream(k->c);
		fputc('\n', stderr);
	}
}
