/*
 * Talking to one registry: announce, renew, subscribe, snapshot. What is lost on the way shows: by the count in RENEWED, by the number in
 * the beats, by silence. A registry that restarted shows by its epoch. A key that it does not know is tried again, ever more slowly.
 */
#include "svcproto/announcer_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "svcproto/announcer_redirects.h"
#include "svcproto/keyset.h"

#define BUDGET 200u
#define SNAPSHOT_AGAIN_MS 3000u
#define SECRETS_AGAIN_MS 3000u
#define SLOT_SETTLES_MS 1000u /* after a slot's end by the registry's clock */
#define SLOT_MAX_MS (24u * 3600 * 1000)
#define RETRY_MIN_MS 1000u
#define RETRY_MAX_MS 30000u
#define HIGH_WATER 4096
#define BROKEN_MAX 3u
#define GIVEN_UP_MS 30000u /* 0MQ, left alone, tries again every 2 s */
#define NEVER UINT64_MAX

/* The PUB endpoint is the ROUTER's with the next port. */
static bool next_port(char *out, size_t size, const char *endpoint)
{
	const char *colon = strrchr(endpoint, ':');
	unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;

	if (port == 0 || port > 65534)
		return false;
	return (size_t)snprintf(out, size, "%.*s:%lu", (int)(colon - endpoint), endpoint, port + 1) < size;
}

bool registry_endpoint_ok(const char *endpoint, size_t n)
{
	char copy[256], pub[256];

	if (n >= sizeof(copy) || n < 7 || strncmp(endpoint, "tcp://", 6) != 0)
		return false;
	memcpy(copy, endpoint, n);
	copy[n] = '\0';
	return strrchr(copy, ':') > copy + 6 && next_port(pub, sizeof(pub), copy);
}

int registry_open(struct registry *r, struct announcer *a, unsigned source, const struct announcer_options *o, const char *endpoint,
		  size_t n, const char *key)
{
	char router[256], pub[256];
	struct zmon_options zo = {.zmq_context = o->zmq_context,
				  .type = ZMQ_DEALER,
				  .endpoint = router,
				  .server_key = key,
				  .public_key = o->public_key,
				  .secret_key = o->secret_key,
				  .high_water = HIGH_WATER,
				  .message_max = SVC_MESSAGE_MAX};
	int rc;

	*r = (struct registry){ .a = a, .source = source, .retry_at_ms = NEVER, .retry_delay_ms = RETRY_MIN_MS,
				.secrets_due_ms = NEVER };
	if (n >= sizeof(router))
		return SVCPROTO_E_CONNECT;
	memcpy(router, endpoint, n);
	router[n] = '\0';
	if (!next_port(pub, sizeof(pub), router))
		return SVCPROTO_E_CONNECT;
	rc = zmon_open(&r->dealer, &zo);
	if (rc != 0)
		return rc;
	zo.type = ZMQ_SUB;
	zo.endpoint = pub;
	rc = zmon_open(&r->sub, &zo);
	if (rc != 0)
		registry_close(r);
	return rc;
}

void registry_close(struct registry *r)
{
	zmon_close(&r->dealer, 200); /* withdrawals may still leave */
	zmon_close(&r->sub, 0);
}

static uint32_t bit(const struct registry *r)
{
	return 1u << r->source;
}

/* ---- what leaves ---- */

static bool send_message(struct registry *r)
{
	const struct reg_message *m = &r->a->message;

	r->a->touched = true;
	return zmq_send(r->dealer.socket, m->b, m->n, ZMQ_DONTWAIT) == (int)m->n;
}

static bool send_frame(struct registry *r, const struct reg_frame *f, uint64_t number)
{
	reg_begin(&r->a->message, 0, number);
	return reg_put(&r->a->message, f) && send_message(r);
}

static void ask_snapshot(struct registry *r, uint64_t now_ms)
{
	r->a->frame.type = REG_SNAPSHOT;
	r->request = ++r->a->requests;
	r->begun = false;
	r->snapshot_due_ms = send_frame(r, &r->a->frame, r->request) ? now_ms + SNAPSHOT_AGAIN_MS : now_ms + REG_BEAT_MS;
}

static void ask_secrets(struct registry *r, uint64_t now_ms)
{
	r->a->frame.type = REG_SECRETS;
	(void)send_frame(r, &r->a->frame, 0); /* lost: asked again */
	r->secrets_due_ms = now_ms + SECRETS_AGAIN_MS;
}

static void renew(struct registry *r)
{
	struct reg_frame *f = &r->a->frame;

	memset(f, 0, offsetof(struct reg_frame, text));
	f->type = REG_RENEW;
	f->e.owner = r->a->owner;
	f->e.incarnation = r->a->incarnation;
	(void)send_frame(r, f, 0); /* lost: the next one tells */
	for (struct own *own = r->a->own; own != NULL; own = own->next)
		if ((own->noted & bit(r)) == 0)
			own->asked &= ~bit(r);
}

static bool wants_announcing(const struct registry *r, const struct own *own)
{
	return ((own->asked | own->noted | own->refused) & bit(r)) == 0;
}

static void announce(struct registry *r)
{
	struct reg_message *m = &r->a->message;
	struct own *own = r->a->own, *first;

	while (own != NULL) {
		reg_begin(m, 0, 0);
		for (first = own; own != NULL; own = own->next)
			if (wants_announcing(r, own) && !reg_put_entry(m, &own->e))
				break;
		if (m->n == WIRE_BATCH_HEADER || !send_message(r))
			return;
		for (; first != own; first = first->next)
			first->asked |= bit(r);
	}
}

/* ---- what arrives at the DEALER ---- */

static void on_noted(struct registry *r, const struct reg_frame *f)
{
	struct own *own = r->a->own;

	if (f->e.kind == DIR_REDIRECT) {
		redirects_out_noted(r, f);
		return;
	}
	while (own != NULL && (own->e.kind != f->e.kind || strcmp(own->e.name, f->e.name) != 0))
		own = own->next;
	if (own == NULL || memcmp(&f->e.owner, &r->a->owner, sizeof(r->a->owner)) != 0)
		return;
	if (f->refused != NULL) {
		bool said = own->said;

		own->refused |= bit(r);
		own->noted &= ~bit(r);
		own->said = true;
		if (!said)
			announcer_refuse(r->a, f->refused); /* which may be the end of it */
	} else if (entry_compare(&f->e, &own->e) == 0) {
		own->noted |= bit(r);
		own->said = false;
	} else if (entry_compare(&f->e, &own->e) > 0) {
		announcer_exceed(r->a, f->e.incarnation, f->e.version);
	}
}

static void say_refused(struct registry *r, const char *what)
{
	if (!r->said)
		announcer_refuse(r->a, what);
	r->said = true;
}

static void say_unknown(struct registry *r)
{
	char what[128];

	snprintf(what, sizeof(what), "the registry does not know the key %s", r->a->key);
	say_refused(r, what);
}

/* Does it hold what we think it holds? */
static void on_renewed(struct registry *r, const struct reg_frame *f)
{
	uint64_t nr = 0, version = 0;

	if (f->refused != NULL) {
		say_refused(r, f->refused);
		return;
	}
	for (const struct own *own = r->a->own; own != NULL; own = own->next) {
		if ((own->noted & bit(r)) == 0)
			continue;
		nr++;
		version = own->e.version > version ? own->e.version : version;
	}
	if (nr == f->count && (nr == 0 || version == f->e.version))
		return;
	for (struct own *own = r->a->own; own != NULL; own = own->next) {
		own->asked &= ~bit(r);
		own->noted &= ~bit(r);
	}
}

static void lost(struct registry *r, uint64_t now_ms)
{
	if (r->synced)
		announcer_log(r->a, SVCPROTO_LOG_WARN, "registry %s is silent: what it said is kept", r->dealer.endpoint);
	r->synced = false;
	r->snapshot_due_ms = now_ms;
	directory_feed_lost(r->a->directory, r->source);
}

/* New keys may turn a refusal around. */
static void try_refused_again(struct announcer *a)
{
	for (struct own *own = a->own; own != NULL; own = own->next) {
		own->asked &= ~own->refused;
		own->refused = 0;
	}
}

static void feed_keys(struct registry *r, const struct reg_frame *f)
{
	int rc = directory_feed_keys(r->a->directory, r->source, f);
	uint64_t in_force;

	if (rc != 0)
		announcer_log(r->a, SVCPROTO_LOG_WARN, "registry %s sends keys that are not taken: %s", r->dealer.endpoint,
			      svcproto_strerror(rc));
	if (f->part + 1 != f->parts)
		return;
	in_force = keyset_serial(directory_keys(r->a->directory));
	if (f->serial < in_force)
		announcer_log(r->a, SVCPROTO_LOG_WARN, "registry %s has authorised keys of serial %llu; in force are those of serial %llu",
			      r->dealer.endpoint, (unsigned long long)f->serial, (unsigned long long)in_force);
	try_refused_again(r->a);
	redirects_out_again(r);
}

static void snapshot_done(struct registry *r, const struct reg_frame *f, uint32_t epoch, uint64_t now_ms)
{
	r->epoch = epoch;
	r->number = f->number;
	r->synced = true;
	r->a->heard_at_ms = now_ms;
	r->heard_at_ms = now_ms;
	r->snapshot_due_ms = NEVER;
	directory_feed_end(r->a->directory, r->source, f->up_ms, now_ms);
	announcer_synced(r->a);
}

static void on_snapshot_frame(struct registry *r, const struct reg_frame *f, uint32_t epoch, uint64_t now_ms)
{
	if (!r->begun)
		directory_feed_begin(r->a->directory, r->source);
	r->begun = true;
	r->snapshot_due_ms = now_ms + SNAPSHOT_AGAIN_MS; /* it is coming, at the registry's pace */
	if (f->type == REG_ENTRY)
		(void)directory_feed_entry(r->a->directory, r->source, &f->e, now_ms); /* no memory: a registry repeats itself */
	else if (f->type == REG_KEYS)
		feed_keys(r, f);
	else if (f->type == REG_SNAPSHOT_END)
		snapshot_done(r, f, epoch, now_ms);
}

static void on_slot(struct registry *r, const struct reg_slot *slot, uint64_t now_ms)
{
	if (r->a->ops->secrets == NULL)
		return;
	r->secrets_due_ms = now_ms + (slot->left_ms < SLOT_MAX_MS ? slot->left_ms : SLOT_MAX_MS) + SLOT_SETTLES_MS;
	r->a->ops->secrets(r->a->arg, r->source, slot);
}

static void on_answer(struct registry *r, const uint8_t *p, size_t n, uint64_t now_ms)
{
	struct reg_frame *f = &r->a->frame;
	struct wire_batch b;

	if (reg_header(&p, &n, &b) != 0)
		return;
	while (reg_next(&p, &n, f) > 0) {
		if (f->type == REG_NOTED)
			on_noted(r, f);
		else if (f->type == REG_RENEWED)
			on_renewed(r, f);
		else if (f->type == REG_SECRETS_SLOT)
			on_slot(r, &f->slot, now_ms);
		else if (b.number == r->request && !r->synced)
			on_snapshot_frame(r, f, b.epoch, now_ms);
	}
}

/* ---- what arrives at the SUB ---- */

static void on_publication(struct registry *r, const uint8_t *p, size_t n, uint64_t now_ms)
{
	struct reg_frame *f = &r->a->frame;
	struct wire_batch b;
	bool beat;

	if (reg_header(&p, &n, &b) != 0)
		return;
	r->heard_at_ms = now_ms;
	if (!r->synced)
		return;
	r->a->heard_at_ms = now_ms;
	beat = n >= WIRE_FRAME_HEADER && p[0] == REG_BEAT;
	if (b.epoch != r->epoch || b.number > r->number + !beat) {
		r->synced = false; /* it restarted, or something was missed */
		r->snapshot_due_ms = now_ms;
		if (b.epoch != r->epoch)
			r->renew_at_ms = now_ms;
		return;
	}
	if (beat || b.number <= r->number)
		return;
	r->number = b.number;
	while (reg_next(&p, &n, f) > 0) {
		if (f->type == REG_ENTRY)
			(void)directory_feed_entry(r->a->directory, r->source, &f->e, now_ms);
		else if (f->type == REG_KEYS)
			feed_keys(r, f);
	}
}

/* ---- connections ---- */

static void came_up(struct registry *r, uint64_t now_ms)
{
	r->up = true;
	r->said = false;
	r->broken = 0;
	r->down_at_ms = 0;
	r->retry_at_ms = NEVER;
	r->retry_delay_ms = RETRY_MIN_MS;
	r->heard_at_ms = now_ms;
	r->renew_at_ms = now_ms;
	r->secrets_due_ms = r->a->ops->secrets != NULL ? now_ms : NEVER;
	for (struct own *own = r->a->own; own != NULL; own = own->next)
		own->asked &= ~bit(r);
	redirects_out_again(r);
	if (!r->synced)
		r->snapshot_due_ms = now_ms;
}

static void retry_later(struct registry *r, uint64_t now_ms)
{
	r->up = false;
	if (r->retry_at_ms != NEVER)
		return;
	r->retry_at_ms = now_ms + r->retry_delay_ms;
	r->retry_delay_ms = r->retry_delay_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : r->retry_delay_ms * 2;
}

static void read_monitors(struct registry *r, uint64_t now_ms)
{
	enum zmon_event ev;

	while ((ev = zmon_next(&r->dealer)) != ZMON_NONE) {
		if (ev == ZMON_UP) {
			came_up(r, now_ms);
		} else if (ev == ZMON_DOWN) {
			r->up = false;
			r->down_at_ms = now_ms;
		} else {
			/* A handshake may also break because the registry ends just then. */
			if (ev == ZMON_REFUSED)
				say_unknown(r);
			else if (++r->broken >= BROKEN_MAX)
				say_refused(r, "the registry does not hold the key that was given for it, or is none");
			retry_later(r, now_ms);
		}
	}
	while ((ev = zmon_next(&r->sub)) != ZMON_NONE)
		if (ev == ZMON_REFUSED || ev == ZMON_BROKEN)
			retry_later(r, now_ms);
}

/* One message of a socket; 0 when there is none. */
static size_t receive(struct registry *r, void *socket)
{
	int n = zmq_recv(socket, r->a->message.b, sizeof(r->a->message.b), ZMQ_DONTWAIT);

	return n < 0 ? 0 : (size_t)n > sizeof(r->a->message.b) ? 1 : (size_t)n; /* too long: 1 is no message either */
}

bool registry_read(struct registry *r, uint64_t now_ms)
{
	unsigned budget = BUDGET;
	size_t n = 1;

	read_monitors(r, now_ms);
	while (budget > 0 && (n = receive(r, r->dealer.socket)) > 0) {
		on_answer(r, r->a->message.b, n, now_ms);
		if (r->a->ops->secrets != NULL)
			explicit_bzero(r->a->message.b, n); /* what it may have held */
		budget--;
	}
	/* Updates that come before the snapshot that is being made wait in the socket. */
	while (budget > 0 && (r->synced || r->request == 0 || r->snapshot_due_ms <= now_ms) && (n = receive(r, r->sub.socket)) > 0) {
		on_publication(r, r->a->message.b, n, now_ms);
		budget--;
	}
	return budget == 0;
}

static void reconnect(struct registry *r)
{
	r->retry_at_ms = NEVER;
	r->a->touched = true;
	if (zmon_reconnect(&r->dealer) != 0 || zmon_reconnect(&r->sub) != 0)
		announcer_log(r->a, SVCPROTO_LOG_WARN, "registry %s: cannot connect anew", r->dealer.endpoint);
}

/* The subscription alone may have been refused, or hang: the DEALER works and no beat comes. */
static void check_silence(struct registry *r, uint64_t now_ms)
{
	if (r->heard_at_ms == 0 || now_ms < r->heard_at_ms + REG_SILENCE_MS)
		return;
	if (r->up && !r->synced && (zmon_events(r->sub.socket) & ZMQ_POLLIN) != 0) {
		r->heard_at_ms = now_ms; /* what it publishes waits for the snapshot, which takes its time where many want one */
		return;
	}
	lost(r, now_ms);
	r->heard_at_ms = now_ms;
	r->a->touched = true;
	if (r->up)
		(void)zmon_reconnect(&r->sub);
}

/* 0MQ gives up on a connection whose peer broke its protocol, and does not say so. */
static void check_down(struct registry *r, uint64_t now_ms)
{
	if (r->down_at_ms == 0 || now_ms < r->down_at_ms + GIVEN_UP_MS)
		return;
	r->down_at_ms = now_ms;
	r->a->touched = true;
	(void)zmon_reconnect(&r->dealer);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t registry_tick(struct registry *r, uint64_t now_ms)
{
	if (r->retry_at_ms <= now_ms)
		reconnect(r);
	check_silence(r, now_ms);
	check_down(r, now_ms);
	if (!r->up)
		return r->retry_at_ms;
	if (!r->synced && r->snapshot_due_ms <= now_ms)
		ask_snapshot(r, now_ms);
	if (r->renew_at_ms <= now_ms) {
		renew(r);
		r->renew_at_ms = now_ms + REG_RENEW_MS;
	}
	if (r->secrets_due_ms <= now_ms)
		ask_secrets(r, now_ms);
	announce(r);
	(void)redirects_out_announce(r, now_ms, send_message); /* not now: at the next tick */
	return earlier(earlier(r->renew_at_ms, r->secrets_due_ms), r->synced ? NEVER : r->snapshot_due_ms);
}
