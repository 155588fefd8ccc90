/*
 * One link's life: epochs (HELLO, WELCOME, RESET), timers (PING, silence, HELLO again) and what becomes of the streams when an epoch ends:
 * the hub has those that can go on. Time comes in with the calls. A callback may end the epoch, so whoever loops over streams or frames
 * compares `era`; streams are freed only when the outermost call returns.
 */
#include "svcproto/link.h"

#include "svcproto/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define HELLO_ANSWER_MS 3000u
#define HELLO_DELAY_MIN_MS 250u
#define HELLO_DELAY_MAX_MS 8000u
#define STABLE_MS 5000u     /* an epoch that lasted this long was not a failure to begin one */
#define SILENT_PINGS 3u

static uint32_t or_default(uint32_t v, uint32_t otherwise, uint32_t min, uint32_t max)
{
	v = v == 0 ? otherwise : v;
	return v < min ? min : v > max ? max : v;
}

void link_set_limits(struct svc_hello *h)
{
	h->name[sizeof(h->name) - 1] = '\0';
	if (!props_text_fits(PROP_NAME, h->name))
		h->name[0] = '\0';
	h->stanza_bytes_max = or_default(h->stanza_bytes_max, SVC_STANZA_BYTES, MESSAGE_STANZA_MIN, MESSAGE_BYTES_MAX);
	h->stream_window_bytes = or_default(h->stream_window_bytes, SVC_WINDOW_BYTES, MESSAGE_WINDOW_MIN, MESSAGE_BYTES_MAX);
	h->unacked_stanzas_max = or_default(h->unacked_stanzas_max, SVC_UNACKED_STANZAS, 1, MESSAGE_UNACKED_MAX);
	h->unacked_bytes_max = or_default(h->unacked_bytes_max, SVC_UNACKED_BYTES, 1, UINT32_MAX);
	h->streams_max = or_default(h->streams_max, SVC_STREAMS, 1, MESSAGE_BYTES_MAX);
}

struct svc_link *svc_link_new(enum svc_side side, const struct svc_hello *self, const struct svc_link_ops *ops, void *arg)
{
	struct svc_link *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->side = side;
	l->ops = ops;
	l->arg = arg;
	l->self = *self;
	link_set_limits(&l->self);
	l->join_soft = (uint64_t)l->self.stanza_bytes_max * 2 > LINK_JOIN_MIN ? (uint64_t)l->self.stanza_bytes_max * 2 : LINK_JOIN_MIN;
	l->next_handle = side == SVC_GATEWAY ? 2 : 1;
	if (getrandom(&l->table.seed, sizeof(l->table.seed), GRND_NONBLOCK) != (ssize_t)sizeof(l->table.seed))
		l->table.seed = (uint64_t)(uintptr_t)l * UINT64_C(0x9e3779b97f4a7c15);
	TAILQ_INIT(&l->all);
	TAILQ_INIT(&l->ready);
	TAILQ_INIT(&l->control);
	TAILQ_INIT(&l->lazy);
	TAILQ_INIT(&l->starved);
	TAILQ_INIT(&l->draining);
	TAILQ_INIT(&l->attaching);
	TAILQ_INIT(&l->dead);
	return l;
}

static void free_dead(struct svc_link *l)
{
	struct svc_stream *s;

	while ((s = TAILQ_FIRST(&l->dead)) != NULL) {
		TAILQ_REMOVE(&l->dead, s, all);
		svc_stream_dispose(s);
	}
}

void svc_link_free(struct svc_link *l)
{
	struct svc_stream *s;

	if (l == NULL)
		return;
	while ((s = TAILQ_FIRST(&l->all)) != NULL)
		stream_remove(s);
	free_dead(l);
	if (l->hub_peer != NULL && l->hub_peer->link == l)
		l->hub_peer->link = NULL;
	hub_peer_drop(l->hub, l->hub_peer);
	link_drop_output(l);
	table_clear(&l->table);
	free(l->batch);
	free(l);
}

void link_set_now(struct svc_link *l, uint64_t now_ms)
{
	l->now_ms = now_ms;
	if (l->hub != NULL)
		l->hub->now_ms = now_ms;
}

void link_enter(struct svc_link *l)
{
	l->depth++;
}

void link_leave(struct svc_link *l)
{
	if (--l->depth == 0)
		free_dead(l);
}

void link_doom(struct svc_link *l, const char *why)
{
	if (l->doomed == NULL)
		l->doomed = why;
}

/* Before an outermost call that may give events. */
static void settle(struct svc_link *l)
{
	if (l->doomed != NULL && l->depth == 1)
		link_fail(l, l->doomed);
}

/* First all that can wait do, so that whoever hears of one of them may use the others; then the rest ends. */
static void end_streams(struct svc_link *l)
{
	struct svc_stream *s, *next;

	for (s = TAILQ_FIRST(&l->all); s != NULL; s = next) {
		next = TAILQ_NEXT(s, all);
		if (hub_keeps(s))
			hub_wait(s);
	}
	while ((s = TAILQ_FIRST(&l->all)) != NULL)
		svc_stream_finish(s, SVC_LINK_LOST, l->why);
	if (l->hub_peer != NULL)
		hub_tell_fresh(l->hub_peer);
}

void link_end_epoch(struct svc_link *l, const char *why)
{
	bool was_up = l->state == LINK_UP;

	if (l->ops->clock != NULL)
		link_set_now(l, l->ops->clock(l->arg));
	snprintf(l->why, sizeof(l->why), "%s", why);
	l->state = LINK_IDLE;
	l->era++;
	l->doomed = NULL;
	l->ping_due = l->pong_due = false;
	link_drop_output(l);
	if (l->hub_peer != NULL && l->hub_peer->link == l)
		l->hub_peer->link = NULL;
	end_streams(l);
	if (was_up)
		l->ops->down(l->arg, l->why);
}

void link_hello_later(struct svc_link *l, uint64_t delay_ms)
{
	l->state = LINK_HELLO;
	l->hello_sent = false;
	l->hello_at_ms = l->now_ms + delay_ms;
}

void link_fail(struct svc_link *l, const char *why)
{
	uint64_t delay = l->hello_delay_ms, era;
	uint32_t epoch = l->epoch;

	link_enter(l);
	if (l->side == SVC_SERVICE && l->state == LINK_UP && l->now_ms - l->up_at_ms >= STABLE_MS)
		delay = 0;
	era = l->era + 1;
	link_end_epoch(l, why);
	if (l->era != era || l->state != LINK_IDLE) { /* begun anew in a callback */
		link_leave(l);
		return;
	}
	if (l->side == SVC_GATEWAY) {
		link_queue_reset(l, epoch, l->why);
	} else {
		link_hello_later(l, delay);
		l->hello_delay_ms = delay == 0 ? HELLO_DELAY_MIN_MS : delay * 2 > HELLO_DELAY_MAX_MS ? HELLO_DELAY_MAX_MS : delay * 2;
	}
	link_leave(l);
}

void link_queue_reset(struct svc_link *l, uint32_t epoch, const char *why)
{
	/* A peer that does not know yet may have many batches on the way: one answer for each epoch and second is enough. */
	if (!l->reset_due && l->reset_at_ms != 0 && l->reset_epoch == epoch && l->now_ms - l->reset_at_ms < SVC_PING_MS)
		return;
	l->reset_due = true;
	l->refuse_due = false;
	l->reset_epoch = epoch;
	snprintf(l->answer, sizeof(l->answer), "%s", why);
}

void link_begin_epoch(struct svc_link *l)
{
	struct message_hello m = { .who = l->self, .version_min = WIRE_VERSION_MIN, .version_max = WIRE_VERSION_MAX };
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	link_drop_output(l);
	memcpy(m.reason, l->why, sizeof(m.reason));
	if (!props_text_fits(PROP_REASON, m.reason))
		m.reason[0] = '\0'; /* cut in the middle of a character */
	message_put_hello(&w, &m);
	l->epoch += MUTATED(EPOCH_REUSED) && l->why[0] != '\0' ? 0 : 1;
	l->version = WIRE_VERSION_MIN;
	l->out_number = l->in_number = l->out_matter = l->peer_received = 0;
	l->state = LINK_HELLO;
	l->hello_sent = link_put(l, WIRE_HELLO, 0, body, (uint32_t)w.n) == 0;
	l->hello_at_ms = l->now_ms + (l->hello_delay_ms > HELLO_ANSWER_MS ? l->hello_delay_ms : HELLO_ANSWER_MS);
}

int svc_link_start(struct svc_link *l, uint64_t now_ms)
{
	if (l->side != SVC_SERVICE)
		return SVCPROTO_E_INVALID;
	link_set_now(l, now_ms);
	link_enter(l);
	if (l->state == LINK_UP)
		link_end_epoch(l, "begun again");
	if (l->epoch == 0) /* above those of an earlier link of this process, which the gateway may still hold */
		l->epoch = (uint32_t)(now_ms / 64);
	l->hello_delay_ms = 0;
	link_hello_later(l, 0);
	link_begin_epoch(l);
	link_leave(l);
	return l->hello_sent ? 0 : SVCPROTO_E_NOMEM;
}

void link_came_up(struct svc_link *l)
{
	l->state = LINK_UP;
	l->up_at_ms = l->heard_at_ms = l->ping_at_ms = l->now_ms;
	l->unheard_pings = 0;
	l->why[0] = '\0';
	l->ops->up(l->arg, &l->peer);
}

void svc_link_break(struct svc_link *l, const char *why, uint64_t now_ms)
{
	uint32_t epoch = l->epoch;

	link_set_now(l, now_ms);
	link_enter(l);
	if (l->state == LINK_UP) {
		link_end_epoch(l, why);
		if (l->side == SVC_GATEWAY && l->state == LINK_IDLE)
			link_queue_reset(l, epoch, l->why);
	} else if (l->side == SVC_SERVICE) {
		link_drop_output(l);
		l->state = LINK_IDLE;
	}
	link_leave(l);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool outstanding(const struct svc_link *l)
{
	return l->out_matter > l->peer_received;
}

static uint64_t next_ping(const struct svc_link *l)
{
	uint64_t since = outstanding(l) ? l->matter_at_ms : l->heard_at_ms;

	return (since > l->ping_at_ms ? since : l->ping_at_ms) + (outstanding(l) ? SVC_PING_MS : SVC_IDLE_PING_MS);
}

static uint64_t tick_up(struct svc_link *l)
{
	struct svc_stream *s;
	uint64_t next;

	if (l->now_ms >= l->heard_at_ms + SVC_SILENCE_MS && l->unheard_pings >= SILENT_PINGS) {
		link_fail(l, "the peer is silent");
		return l->now_ms;
	}
	if (l->now_ms >= next_ping(l) && !MUTATED(TAIL_UNNOTICED)) {
		l->ping_due = true;
		l->ping_at_ms = l->now_ms;
		l->unheard_pings++;
	}
	next = sooner(next_ping(l), l->heard_at_ms + SVC_SILENCE_MS > l->now_ms ? l->heard_at_ms + SVC_SILENCE_MS : UINT64_MAX);
	while ((s = TAILQ_FIRST(&l->draining)) != NULL && s->until_ms <= l->now_ms) {
		if (s->state == STREAM_ATTACHING)
			resume_expired(s);
		else
			stream_queue_close(s); /* what the peer gave no credit for stays unacknowledged */
	}
	return s != NULL ? sooner(next, s->until_ms) : next;
}

static uint64_t tick_hello(struct svc_link *l)
{
	if (l->now_ms < l->hello_at_ms)
		return l->hello_at_ms;
	if (l->hello_sent) /* and not answered */
		l->hello_delay_ms = l->hello_delay_ms == 0 ? HELLO_ANSWER_MS : sooner(l->hello_delay_ms * 2, HELLO_DELAY_MAX_MS);
	link_begin_epoch(l);
	return l->hello_sent ? l->hello_at_ms : l->now_ms + HELLO_DELAY_MIN_MS;
}

uint64_t svc_link_tick(struct svc_link *l, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	link_set_now(l, now_ms);
	link_enter(l);
	settle(l);
	if (l->state == LINK_UP)
		next = tick_up(l);
	else if (l->state == LINK_HELLO)
		next = tick_hello(l);
	if (l->batch != NULL && l->batch_n == 0) {
		if (now_ms >= l->active_at_ms + SVC_PING_MS) {
			free(l->batch);
			l->batch = NULL;
		} else {
			next = sooner(next, l->active_at_ms + SVC_PING_MS);
		}
	}
	link_time_lazy(l);
	if (!TAILQ_EMPTY(&l->lazy) && !link_lazy_due(l)) /* what is due waits for the transport only */
		next = sooner(next, l->lazy_at_ms);
	if (link_is_gathering(l))
		next = sooner(next, l->gathered_at_ms);
	link_leave(l);
	return next;
}

void svc_link_ping(struct svc_link *l)
{
	if (l->state == LINK_UP)
		l->ping_due = true;
}

bool svc_link_wants_flush(const struct svc_link *l)
{
	return l->doomed != NULL || link_flush_due(l) || (!TAILQ_EMPTY(&l->lazy) && l->lazy_at_ms == LINK_UNTIMED) ||
	       (link_is_gathering(l) && l->gathered_at_ms == LINK_UNTIMED);
}

bool svc_link_is_up(const struct svc_link *l)
{
	return l->state == LINK_UP;
}

const struct svc_hello *svc_link_peer(const struct svc_link *l)
{
	return l->state == LINK_UP ? &l->peer : NULL;
}

size_t svc_link_nr_streams(const struct svc_link *l)
{
	return (size_t)l->nr_ours + l->nr_theirs;
}

size_t svc_link_queued_bytes(const struct svc_link *l)
{
	return (size_t)(l->unsent + (l->outbox.n - l->outbox.head) + l->batch_n);
}
