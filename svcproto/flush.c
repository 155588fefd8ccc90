/*
 * What leaves a link. Control frames first, in order; then chunks, round robin: a stream sends one chunk, or a few small stanzas, and goes
 * to the end of the line. A batch that the transport does not take is kept whole and offered again, since its number is spent. An ACK or
 * CREDIT that holds nobody up is no reason for a batch, nor is a control frame that may be gathered (svc_link_gather): it goes along with
 * the next, or when its time is over.
 */
#include "svcproto/engine.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

struct batch {
	uint8_t *p;
	uint32_t n;
	uint32_t bulk; /* large chunks in it */
	bool matters;  /* holds more than PINGs */
};

static uint32_t outbox_left(const struct outbox *o)
{
	return o->n - o->head;
}

static int outbox_grow(struct outbox *o, uint32_t more)
{
	uint32_t cap = o->cap == 0 ? 1024 : o->cap;
	uint8_t *p;

	if (o->head > 0 && o->head >= o->n / 2) {
		memmove(o->p, o->p + o->head, outbox_left(o));
		o->n -= o->head;
		o->head = 0;
	}
	if (o->n + more <= o->cap)
		return 0;
	while (cap < o->n + more)
		cap *= 2;
	p = realloc(o->p, cap);
	if (p == NULL)
		return SVCPROTO_E_NOMEM;
	o->p = p;
	o->cap = cap;
	return 0;
}

static void outbox_clear(struct outbox *o)
{
	free(o->p);
	*o = (struct outbox){ 0 };
}

static int outbox_put(struct outbox *o, const struct wire_frame *f)
{
	uint32_t all = WIRE_FRAME_HEADER + f->length;
	int rc;

	if (outbox_left(o) + all > LINK_CONTROL_MAX)
		return SVCPROTO_E_FULL;
	rc = outbox_grow(o, all);
	if (rc != 0)
		return rc;
	wire_put_frame(o->p + o->n, f);
	if (f->length > 0)
		memcpy(o->p + o->n + WIRE_FRAME_HEADER, f->body, f->length);
	o->n += all;
	return 0;
}

int link_put_frame(struct svc_link *l, const struct wire_frame *f)
{
	bool first = outbox_left(&l->outbox) == 0;
	int rc = outbox_put(&l->outbox, f);

	if (rc != 0)
		return rc;
	if (first)
		l->gathered_at_ms = LINK_UNTIMED;
	l->gathered = l->gathers && (first || l->gathered);
	return 0;
}

int link_put(struct svc_link *l, uint8_t type, uint32_t stream, const void *body, uint32_t n)
{
	return link_put_frame(l, &(struct wire_frame){ .type = type, .stream = stream, .body = body, .length = n });
}

int link_put_ack(struct svc_link *l, uint32_t stream, uint32_t seq)
{
	return link_put_frame(l, &(struct wire_frame){ .type = WIRE_ACK, .stream = stream, .sequence = seq });
}

void link_drop_output(struct svc_link *l)
{
	outbox_clear(&l->outbox);
	l->batch_n = 0;
}

static bool room_for(const struct batch *b, uint32_t body)
{
	return SVC_BATCH_MAX - b->n >= WIRE_FRAME_HEADER + body;
}

static void put(struct batch *b, const struct wire_frame *f)
{
	wire_put_frame(b->p + b->n, f);
	b->n += WIRE_FRAME_HEADER;
	if (f->length > 0)
		memcpy(b->p + b->n, f->body, f->length);
	b->n += f->length;
	b->matters = b->matters || f->type != WIRE_PING;
}

/* Each fill_* returns false when the batch is full. */
static bool fill_outbox(struct svc_link *l, struct batch *b)
{
	struct outbox *o = &l->outbox;

	while (outbox_left(o) > 0) {
		uint32_t n = WIRE_FRAME_HEADER + wire_get_u32(o->p + o->head + 4);

		if (SVC_BATCH_MAX - b->n < n)
			return false;
		memcpy(b->p + b->n, o->p + o->head, n);
		b->n += n;
		b->matters = true;
		o->head += n;
	}
	if (o->p != NULL)
		outbox_clear(o);
	return true;
}

/* REATTACH or ATTACHED. Its position is an ACK as well; another one behind a REATTACH that is refused would be of no stream. */
static void put_attach(struct svc_stream *s, struct batch *b)
{
	uint8_t body[LINK_ATTACH_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	uint8_t type = attach_body(s, &w);

	put(b, &(struct wire_frame){ .type = type, .stream = s->handle, .body = body, .length = (uint32_t)w.n });
	s->ack_due = false;
}

static void put_ack(struct svc_stream *s, struct batch *b)
{
	put(b, &(struct wire_frame){ .type = WIRE_ACK, .stream = s->handle, .sequence = s->in.row });
	stream_said(s);
}

static bool fill_line(struct stream_list *line, struct batch *b)
{
	struct svc_stream *s;

	while ((s = TAILQ_FIRST(line)) != NULL) {
		if (SVC_BATCH_MAX - b->n < 2 * WIRE_FRAME_HEADER + (s->attach_due ? WIRE_FRAME_HEADER + LINK_ATTACH_MAX : 0))
			return false;
		if (s->attach_due)
			put_attach(s, b);
		if (s->ack_due && !(s->in_lazy && MUTATED(LAZY_FORGOTTEN)))
			put_ack(s, b);
		if (s->credit_due && s->in.due > 0) {
			put(b, &(struct wire_frame){ .type = WIRE_CREDIT, .stream = s->handle, .sequence = s->in.due });
			s->in.credit += s->in.due;
			s->in.due = 0;
		}
		stream_leave_control(s);
	}
	return true;
}

static bool fill_control(struct svc_link *l, struct batch *b)
{
	return fill_line(&l->control, b) && fill_line(&l->lazy, b);
}

static bool fill_ping(struct svc_link *l, struct batch *b)
{
	struct message_ping m = { .sent = l->out_number + 1, .received = l->in_number };
	uint8_t body[64];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	if (!l->ping_due && !l->pong_due)
		return true;
	message_put_ping(&w, &m);
	if (SVC_BATCH_MAX - b->n < 2 * (WIRE_FRAME_HEADER + w.n))
		return false;
	if (l->pong_due)
		put(b, &(struct wire_frame){ .type = WIRE_PING, .flags = WIRE_ANSWER, .body = body, .length = (uint32_t)w.n });
	if (l->ping_due)
		put(b, &(struct wire_frame){ .type = WIRE_PING, .body = body, .length = (uint32_t)w.n });
	l->ping_due = l->pong_due = false;
	return true;
}

/* A stream at the head of the line. */
static bool fill_turn(struct svc_link *l, struct svc_stream *s, struct batch *b)
{
	uint32_t done = 0, floor_bytes = stream_floor(s);

	for (;;) {
		uint32_t want = chunk_want(&s->out), least = want < LINK_SPLIT_BYTES ? want : LINK_SPLIT_BYTES;
		struct chunk c;

		if (!chunk_ready(&s->out, floor_bytes)) {
			stream_sleep(s);
			if (s->state == STREAM_DRAINING && s->out.unsent == 0)
				stream_queue_close(s);
			return true;
		}
		if (done > 0 && done + want > LINK_TURN_BYTES) {
			stream_sleep(s);
			stream_wake(s); /* to the end of the line */
			return true;
		}
		if (!room_for(b, least) || (want > LINK_TURN_BYTES && b->bulk >= LINK_BULK_CHUNKS))
			return false;
		b->bulk += want > LINK_TURN_BYTES;
		chunk_take(&s->out, SVC_BATCH_MAX - b->n - WIRE_FRAME_HEADER, &c);
		if ((c.flags & WIRE_LAST) != 0 && s->hub != NULL && !hub_has_share(s))
			c.flags |= WIRE_AWAITED;
		l->unsent -= c.n;
		put(b, &(struct wire_frame){ .type = WIRE_DATA, .flags = c.flags, .stream = s->handle, .sequence = c.seq,
					     .length = c.n, .body = (const uint8_t *)c.p });
		done += c.n + WIRE_FRAME_HEADER;
	}
}

static void fill(struct svc_link *l, struct batch *b)
{
	struct svc_stream *s;

	if (!fill_outbox(l, b))
		return;
	if (l->state != LINK_UP || !fill_control(l, b) || !fill_ping(l, b))
		return;
	while ((s = TAILQ_FIRST(&l->ready)) != NULL)
		if (!fill_turn(l, s, b))
			return;
}

/* 0: taken. After any other result the caller stops: the transport is full, or the epoch is over. */
static int hand_over(struct svc_link *l)
{
	uint64_t era = l->era;
	uint32_t n = l->batch_n;
	int rc = l->ops->send(l->arg, l->batch, n);

	if (l->era != era)
		return SVCPROTO_E_CLOSED;
	if (rc == 0)
		l->batch_n = 0;
	else if (rc != SVCPROTO_E_FULL)
		link_doom(l, "the transport failed");
	return rc;
}

size_t link_put_answer(uint8_t *p, uint32_t epoch, bool refuse, const char *text)
{
	struct wire_batch h = { .version = WIRE_VERSION_MIN, .epoch = epoch, .number = refuse ? 1 : 0 };
	struct props_writer w = { .p = p + WIRE_BATCH_HEADER + WIRE_FRAME_HEADER,
				  .max = SVC_ANSWER_MAX - WIRE_BATCH_HEADER - WIRE_FRAME_HEADER };
	struct wire_frame f = { .type = refuse ? WIRE_WELCOME : WIRE_RESET };
	struct message_welcome m = { .version = 0 };

	if (refuse) {
		snprintf(m.refused, sizeof(m.refused), "%s", text);
		message_put_welcome(&w, &m);
	} else {
		message_put_reset(&w, text);
	}
	f.length = (uint32_t)w.n;
	wire_put_batch(p, &h);
	wire_put_frame(p + WIRE_BATCH_HEADER, &f);
	return WIRE_BATCH_HEADER + WIRE_FRAME_HEADER + w.n;
}

static int send_answer(struct svc_link *l)
{
	uint8_t p[SVC_ANSWER_MAX];
	int rc;

	if (!props_text_fits(PROP_REASON, l->answer))
		l->answer[0] = '\0';
	rc = l->ops->send(l->arg, p, link_put_answer(p, l->reset_epoch, l->refuse_due, l->answer));
	if (rc != SVCPROTO_E_FULL) {
		l->reset_due = l->refuse_due = false;
		l->reset_at_ms = l->now_ms;
	}
	return rc;
}

/* Builds the next batch and numbers it. 1: there is one. */
static int next_batch(struct svc_link *l)
{
	struct batch b = { .n = WIRE_BATCH_HEADER };
	struct wire_batch h = { .version = (uint8_t)l->version, .epoch = l->epoch };

	if (l->batch == NULL)
		l->batch = malloc(SVC_BATCH_MAX);
	if (l->batch == NULL) {
		link_doom(l, "out of memory");
		return SVCPROTO_E_NOMEM;
	}
	b.p = l->batch;
	fill(l, &b);
	if (b.n == WIRE_BATCH_HEADER)
		return 0;
	h.number = ++l->out_number;
	wire_put_batch(b.p, &h);
	if (b.matters) {
		if (l->out_matter <= l->peer_received)
			l->matter_at_ms = l->now_ms;
		l->out_matter = h.number;
	}
	l->batch_n = b.n;
	l->active_at_ms = l->now_ms;
	return 1;
}

bool link_is_gathering(const struct svc_link *l)
{
	return outbox_left(&l->outbox) > 0 && l->gathered && l->now_ms < l->gathered_at_ms;
}

static bool outbox_due(const struct svc_link *l)
{
	return outbox_left(&l->outbox) > 0 && !link_is_gathering(l);
}

static bool epoch_output_due(const struct svc_link *l)
{
	return l->batch_n > 0 || outbox_due(l) || !TAILQ_EMPTY(&l->control) || !TAILQ_EMPTY(&l->ready) || l->ping_due ||
	       l->pong_due || link_lazy_due(l);
}

bool link_lazy_due(const struct svc_link *l)
{
	return !TAILQ_EMPTY(&l->lazy) && l->now_ms >= l->lazy_at_ms;
}

void link_time_lazy(struct svc_link *l)
{
	if (!TAILQ_EMPTY(&l->lazy) && l->lazy_at_ms == LINK_UNTIMED)
		l->lazy_at_ms = l->now_ms + SVC_ACK_WAIT_MS;
	if (link_is_gathering(l) && l->gathered_at_ms == LINK_UNTIMED)
		l->gathered_at_ms = l->now_ms + SVC_GATHER_MS;
}

void svc_link_gather(struct svc_link *l, bool gathers)
{
	l->gathers = gathers;
}

void svc_link_hurry(struct svc_link *l)
{
	l->lazy_at_ms = 0;
	l->gathered = false;
}

bool link_flush_due(const struct svc_link *l)
{
	return l->reset_due || l->refuse_due || epoch_output_due(l);
}

void svc_link_flush(struct svc_link *l, uint64_t now_ms)
{
	if (l->flushing)
		return;
	link_set_now(l, now_ms);
	link_time_lazy(l);
	l->flushing = true;
	link_enter(l);
	if (l->doomed != NULL && l->depth == 1)
		link_fail(l, l->doomed);
	if (!(l->reset_due || l->refuse_due) || send_answer(l) == 0) {
		while (epoch_output_due(l) && l->doomed == NULL) {
			if (l->batch_n == 0 && next_batch(l) <= 0)
				break;
			if (hand_over(l) != 0)
				break;
		}
	}
	if (l->doomed != NULL && l->depth == 1)
		link_fail(l, l->doomed);
	l->flushing = false;
	link_leave(l);
}
