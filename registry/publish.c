/*
 * Every update is a message with the next number, so that a subscriber sees what it missed. It holds all that changed in one turn of the
 * loop, since each message costs for each subscriber. PUB drops for whoever reads too slowly: that subscriber takes a new snapshot.
 */
#include "registry/publish.h"

#include <string.h>
#include <zmq.h>

#include "registry/redirecting.h"

static void send_update(struct publisher *p, const struct reg_message *m)
{
	(void)zmq_send(p->pub, m->b, m->n, ZMQ_DONTWAIT); /* PUB never refuses */
}

void publish_flush(struct publisher *p)
{
	if (p->updates.n > 0)
		send_update(p, &p->updates);
	p->updates.n = 0;
}

void publish_entry(struct publisher *p, const struct entry *e)
{
	if (p->updates.n > 0 && reg_put_entry(&p->updates, e))
		return;
	publish_flush(p);
	reg_begin(&p->updates, p->epoch, ++p->number);
	(void)reg_put_entry(&p->updates, e); /* an entry is far smaller than a message */
}

static bool publish_part(void *arg, const struct reg_frame *f)
{
	struct publisher *p = arg;

	reg_begin(&p->message, p->epoch, ++p->number);
	if (reg_put(&p->message, f))
		send_update(p, &p->message);
	return true;
}

void publish_keys(struct publisher *p, const char *text, size_t n, uint64_t serial)
{
	publish_flush(p);
	(void)reg_keys_parts(&p->frame, text, n, serial, publish_part, p);
}

void publish_beat(struct publisher *p, uint64_t now_ms)
{
	publish_flush(p);
	p->frame.type = REG_BEAT;
	p->frame.up_ms = now_ms - p->started_ms;
	reg_begin(&p->message, p->epoch, p->number);
	if (reg_put(&p->message, &p->frame))
		send_update(p, &p->message);
}

struct snapshot {
	struct publisher *p;
	uint64_t now_ms;
	bool (*send)(void *arg, const struct reg_message *m);
	void *arg;
};

/* Into the message that is being filled, or into the next one. */
static bool add_frame(void *arg, const struct reg_frame *f)
{
	struct snapshot *s = arg;

	if (reg_put(&s->p->message, f))
		return true;
	if (!s->send(s->arg, &s->p->message))
		return false;
	reg_begin(&s->p->message, s->p->epoch, 0);
	return reg_put(&s->p->message, f);
}

static int add_redirect(void *arg, const struct redirect *r)
{
	struct snapshot *s = arg;

	s->p->frame.e = redirecting_entry(r, s->now_ms);
	return add_frame(s, &s->p->frame) ? 0 : 1;
}

bool publish_snapshot(struct publisher *p, const struct registry_table *t, const char *keys, size_t keys_n, uint64_t now_ms,
		      bool (*send)(void *arg, const struct reg_message *m), void *arg)
{
	struct snapshot s = { .p = p, .now_ms = now_ms, .send = send, .arg = arg };
	const struct entry *e = NULL;

	publish_flush(p);
	reg_begin(&p->message, p->epoch, 0);
	/* first: entries are judged by them */
	if (!reg_keys_parts(&p->frame, keys, keys_n, keyset_serial(registry_table_keys(t)), add_frame, &s))
		return false;
	p->frame.type = REG_ENTRY;
	while ((e = registry_table_next(t, e)) != NULL) {
		p->frame.e = *e;
		if (!add_frame(&s, &p->frame))
			return false;
	}
	if (redirects_each(registry_table_redirects(t), now_ms, add_redirect, &s) != 0)
		return false;
	p->frame.type = REG_SNAPSHOT_END;
	p->frame.number = p->number;
	p->frame.up_ms = now_ms - p->started_ms;
	return add_frame(&s, &p->frame) && send(arg, &p->message);
}
