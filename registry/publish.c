/*
 * Every update is a message of its own with the next number, so that a subscriber sees what it missed. PUB drops for whoever reads too
 * slowly: that subscriber takes a new snapshot.
 */
#include "registry/publish.h"

#include <string.h>
#include <zmq.h>

#include "registry/redirecting.h"

static void send_update(struct publisher *p)
{
	(void)zmq_send(p->pub, p->message.b, p->message.n, ZMQ_DONTWAIT); /* PUB never refuses */
}

void publish_entry(struct publisher *p, const struct entry *e)
{
	reg_begin(&p->message, p->epoch, ++p->number);
	if (reg_put_entry(&p->message, e))
		send_update(p);
}

static bool publish_part(void *arg, const struct reg_frame *f)
{
	struct publisher *p = arg;

	reg_begin(&p->message, p->epoch, ++p->number);
	if (reg_put(&p->message, f))
		send_update(p);
	return true;
}

void publish_keys(struct publisher *p, const char *text, size_t n, uint64_t serial)
{
	(void)reg_keys_parts(&p->frame, text, n, serial, publish_part, p);
}

void publish_beat(struct publisher *p, uint64_t now_ms)
{
	p->frame.type = REG_BEAT;
	p->frame.up_ms = now_ms - p->started_ms;
	reg_begin(&p->message, p->epoch, p->number);
	if (reg_put(&p->message, &p->frame))
		send_update(p);
}

struct snapshot {
	struct publisher *p;
	uint64_t now_ms;
	uint64_t request;
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
	reg_begin(&s->p->message, s->p->epoch, s->request);
	return reg_put(&s->p->message, f);
}

static int add_redirect(void *arg, const struct redirect *r)
{
	struct snapshot *s = arg;

	s->p->frame.e = redirecting_entry(r, s->now_ms);
	return add_frame(s, &s->p->frame) ? 0 : 1;
}

void publish_snapshot(struct publisher *p, const struct registry_table *t, const char *keys, size_t keys_n, uint64_t request,
		      uint64_t now_ms, bool (*send)(void *arg, const struct reg_message *m), void *arg)
{
	struct snapshot s = { .p = p, .now_ms = now_ms, .request = request, .send = send, .arg = arg };
	const struct entry *e = NULL;

	reg_begin(&p->message, p->epoch, request);
	/* first: entries are judged by them */
	if (!reg_keys_parts(&p->frame, keys, keys_n, keyset_serial(registry_table_keys(t)), add_frame, &s))
		return;
	p->frame.type = REG_ENTRY;
	while ((e = registry_table_next(t, e)) != NULL) {
		p->frame.e = *e;
		if (!add_frame(&s, &p->frame))
			return;
	}
	if (redirects_each(registry_table_redirects(t), now_ms, add_redirect, &s) != 0)
		return;
	p->frame.type = REG_SNAPSHOT_END;
	p->frame.number = p->number;
	p->frame.up_ms = now_ms - p->started_ms;
	if (add_frame(&s, &p->frame))
		(void)send(arg, &p->message);
}
