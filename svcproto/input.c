/*
 * What arrives on a link. A batch is checked as a whole only for its header; its frames act one by one, so those before a broken one count.
 * The gateway answers what it does not understand with RESET, the service with a new epoch.
 */
#include "svcproto/engine.h"

#include <string.h>

#define REFUSED_DELAY_MS 10000u

static const char *on_ping(struct svc_link *l, const struct wire_frame *f)
{
	struct message_ping m;
	int rc = message_get_ping(f, &m);

	if (rc != 0)
		return wire_strerror(rc);
	if (m.sent != l->in_number)
		return "PING names another batch";
	if (m.received > l->out_number || m.received < l->peer_received)
		return "PING confirms what was not sent";
	l->peer_received = m.received;
	if ((f->flags & WIRE_ANSWER) == 0)
		l->pong_due = true;
	return NULL;
}

static const char *one_frame(struct svc_link *l, const struct wire_frame *f)
{
	int rc = wire_check_frame(f, link_peer_side(l));

	if (rc != 0)
		return rc > 0 ? NULL : wire_strerror(rc);
	if (f->stream != 0)
		return stream_input(l, f);
	if (f->type == WIRE_PING)
		return on_ping(l, f);
	if (f->type == WIRE_ADMIN || f->type == WIRE_ADMIN_REPLY)
		return admin_input(l, f);
	if (f->type == WIRE_LOCATE || f->type == WIRE_LOCATED)
		return link_locate_input(l, f);
	return "HELLO, WELCOME or RESET within an epoch";
}

/* The frames of a numbered batch, until one ends the epoch. */
static void frames(struct svc_link *l, const uint8_t *p, size_t n)
{
	uint64_t era = l->era;
	struct wire_frame f;
	const char *wrong;
	size_t used;

	while (n > 0) {
		int rc = wire_get_frame(p, n, &f, &used);

		wrong = rc == 0 ? one_frame(l, &f) : wire_strerror(rc);
		if (l->era != era)
			return;
		if (wrong == NULL && l->doomed != NULL && l->depth == 1)
			wrong = l->doomed;
		if (wrong != NULL) {
			link_fail(l, wrong);
			return;
		}
		p += used;
		n -= used;
	}
}

/* The next batch of the epoch, complete with its header. */
static void in_epoch(struct svc_link *l, const struct wire_batch *h, const uint8_t *p, size_t n)
{
	if (MUTATED(GAP_IGNORED) ? h->number <= l->in_number : h->number != l->in_number + 1) {
		link_fail(l, "a gap in the batch numbers");
		return;
	}
	if (h->version != l->version) {
		link_fail(l, wire_strerror(WIRE_E_VERSION));
		return;
	}
	l->in_number = h->number;
	l->heard_at_ms = l->now_ms;
	l->unheard_pings = 0;
	frames(l, p + WIRE_BATCH_HEADER, n - WIRE_BATCH_HEADER);
}

static bool first_frame(const uint8_t *p, size_t n, enum svc_side sender, uint8_t type, struct wire_frame *f, size_t *used)
{
	return wire_get_frame(p + WIRE_BATCH_HEADER, n - WIRE_BATCH_HEADER, f, used) == 0 && f->type == type &&
	       wire_check_frame(f, sender) == 0;
}

static void welcome(struct svc_link *l, const struct message_hello *hello, uint32_t epoch)
{
	struct message_welcome m = { .who = l->self };
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	l->epoch = l->reset_epoch = epoch;
	l->peer = hello->who; /* whose epochs these are, also when it is refused */
	l->reset_due = false;
	if (hello->version_min > WIRE_VERSION_MAX || hello->version_max < WIRE_VERSION_MIN) {
		memcpy(l->answer, "no common version", sizeof("no common version"));
		l->refuse_due = true;
		return;
	}
	m.version = hello->version_max < WIRE_VERSION_MAX ? hello->version_max : WIRE_VERSION_MAX;
	if (hub_link_up(l) != 0)
		return; /* unanswered: the service says HELLO again */
	m.streams_held = hub_nr_waiting_for(l);
	message_put_welcome(&w, &m);
	link_drop_output(l);
	if (link_put(l, WIRE_WELCOME, 0, body, (uint32_t)w.n) != 0)
		return; /* likewise */
	l->refuse_due = false;
	l->version = m.version;
	l->out_number = l->out_matter = l->peer_received = 0;
	l->in_number = 1;
	attach_all(l);
	link_came_up(l);
}

static bool same_instance(const struct svc_hello *a, const struct svc_hello *b)
{
	return memcmp(a->instance.b, b->instance.b, sizeof(a->instance.b)) == 0 && a->incarnation == b->incarnation;
}

static void on_hello(struct svc_link *l, const struct wire_batch *h, const struct wire_frame *f, bool alone)
{
	struct message_hello m;
	int rc = message_get_hello(f, &m);

	if (rc != 0 || !alone) {
		if (l->state == LINK_UP)
			link_end_epoch(l, "a broken HELLO");
		link_queue_reset(l, h->epoch, rc != 0 ? wire_strerror(rc) : "HELLO is not alone");
		return;
	}
	if (same_instance(&l->peer, &m.who) && !seq_after(h->epoch, l->epoch))
		return; /* overtaken by a later epoch */
	if (l->state == LINK_UP)
		link_end_epoch(l, m.reason[0] != '\0' ? m.reason : "the service began again");
	if (l->state == LINK_IDLE)
		welcome(l, &m, h->epoch);
}

size_t svc_link_turn_away(const void *batch, size_t n, const char *why, uint8_t *answer)
{
	struct wire_batch h;
	struct wire_frame f;
	size_t used;

	if (wire_get_batch(batch, n, &h) != 0 || h.number != 1 || !first_frame(batch, n, SVC_SERVICE, WIRE_HELLO, &f, &used))
		return 0;
	return link_put_answer(answer, h.epoch, true, why);
}

static void gateway_input(struct svc_link *l, const uint8_t *p, size_t n)
{
	struct wire_batch h;
	struct wire_frame f;
	size_t used;
	int rc = wire_get_batch(p, n, &h);

	if (rc != 0 && l->state == LINK_UP)
		link_fail(l, wire_strerror(rc));
	if (rc != 0)
		return;
	if (h.number == 1 && first_frame(p, n, SVC_SERVICE, WIRE_HELLO, &f, &used)) {
		on_hello(l, &h, &f, WIRE_BATCH_HEADER + used == n);
	} else if (l->state == LINK_UP && h.epoch == l->epoch) {
		in_epoch(l, &h, p, n);
	} else if (l->state != LINK_UP || seq_after(h.epoch, l->epoch)) {
		if (l->state == LINK_UP)
			link_end_epoch(l, "an unknown epoch");
		link_queue_reset(l, h.epoch, "an unknown epoch");
	}
}

static void on_reset(struct svc_link *l, const struct wire_frame *f)
{
	struct message_text t;
	const char *reason;

	if (message_get_reset(f, &t, &reason) != 0 || reason == NULL || reason[0] == '\0')
		reason = "the gateway said RESET";
	link_fail(l, reason);
}

static void on_welcome(struct svc_link *l, const struct wire_batch *h, const struct wire_frame *f, const uint8_t *rest, size_t n)
{
	struct message_welcome m;
	uint64_t era = l->era;
	int rc = message_get_welcome(f, &m);

	if (rc != 0) {
		link_fail(l, wire_strerror(rc));
		return;
	}
	if (m.refused[0] != '\0') {
		link_end_epoch(l, m.refused);
		link_hello_later(l, REFUSED_DELAY_MS);
		l->ops->down(l->arg, l->why);
		return;
	}
	if (m.version != h->version || m.version < WIRE_VERSION_MIN || m.version > WIRE_VERSION_MAX) {
		link_fail(l, wire_strerror(WIRE_E_VERSION));
		return;
	}
	l->version = m.version;
	l->in_number = 1;
	l->peer = m.who;
	l->held = m.streams_held;
	if (hub_link_up(l) != 0) {
		link_fail(l, "out of memory");
		return;
	}
	if (l->held == 0)
		hub_unclaimed(l);
	link_came_up(l);
	if (l->era == era)
		frames(l, rest, n);
}

static void service_input(struct svc_link *l, const uint8_t *p, size_t n)
{
	struct wire_batch h;
	struct wire_frame f;
	size_t used;
	int rc = wire_get_batch(p, n, &h);

	if (l->state == LINK_IDLE || (l->state == LINK_HELLO && !l->hello_sent))
		return; /* no epoch of ours is going on */
	if (rc != 0) {
		link_fail(l, wire_strerror(rc));
		return;
	}
	if (h.epoch != l->epoch)
		return; /* of an epoch that we ended */
	if (h.number == 0) {
		if (first_frame(p, n, SVC_GATEWAY, WIRE_RESET, &f, &used))
			on_reset(l, &f);
		else
			link_fail(l, "batch 0 is not a RESET");
	} else if (l->state == LINK_UP) {
		in_epoch(l, &h, p, n);
	} else if (h.number == 1 && first_frame(p, n, SVC_GATEWAY, WIRE_WELCOME, &f, &used)) {
		on_welcome(l, &h, &f, p + WIRE_BATCH_HEADER + used, n - WIRE_BATCH_HEADER - used);
	} else {
		link_fail(l, "no WELCOME came first");
	}
}

void svc_link_input(struct svc_link *l, const void *batch, size_t n, uint64_t now_ms)
{
	link_set_now(l, now_ms);
	link_enter(l);
	if (l->doomed != NULL)
		link_fail(l, l->doomed);
	if (l->side == SVC_GATEWAY)
		gateway_input(l, batch, n);
	else
		service_input(l, batch, n);
	if (l->doomed != NULL)
		link_fail(l, l->doomed);
	link_leave(l);
}
