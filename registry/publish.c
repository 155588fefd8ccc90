/*
 * Every update is a message of its own with the next number, so that a subscriber sees what it missed. PUB drops for whoever reads too
 * slowly: that subscriber takes a new snapshot.
 */
#include "registry/publish.h"

#include <string.h>
#include <zmq.h>

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

/* A part ends with a line, or where it is full: the receiver puts them together before it reads. A character is not cut. */
static size_t keys_part(const char *text, size_t left)
{
	size_t n = left < REG_KEYS_PART ? left : REG_KEYS_PART;

	while (n < left && n > 1 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static uint32_t count_parts(const char *text, size_t n)
{
	uint32_t parts = 0;

	do {
		size_t one = keys_part(text, n);

		text += one;
		n -= one;
		parts++;
	} while (n > 0);
	return parts;
}

/* Each part in a message of its own, by put(). */
static bool each_part(struct publisher *p, const char *text, size_t n, uint64_t serial, bool (*put)(void *arg, const struct reg_frame *f),
		      void *arg)
{
	struct reg_frame *f = &p->frame;

	memset(f, 0, offsetof(struct reg_frame, text));
	f->type = REG_KEYS;
	f->serial = serial;
	f->parts = count_parts(text, n);
	for (; f->part < f->parts; f->part++) {
		f->keys = text;
		f->keys_n = keys_part(text, n);
		if (!put(arg, f))
			return false;
		text += f->keys_n;
		n -= f->keys_n;
	}
	return true;
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
	(void)each_part(p, text, n, serial, publish_part, p);
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

void publish_snapshot(struct publisher *p, const struct registry_table *t, const char *keys, size_t keys_n, uint64_t request,
		      uint64_t now_ms, bool (*send)(void *arg, const struct reg_message *m), void *arg)
{
	struct snapshot s = { .p = p, .request = request, .send = send, .arg = arg };
	const struct entry *e = NULL;

	reg_begin(&p->message, p->epoch, request);
	if (!each_part(p, keys, keys_n, keyset_serial(registry_table_keys(t)), add_frame, &s)) /* first: entries are judged by them */
		return;
	p->frame.type = REG_ENTRY;
	while ((e = registry_table_next(t, e)) != NULL) {
		p->frame.e = *e;
		if (!add_frame(&s, &p->frame))
			return;
	}
	p->frame.type = REG_SNAPSHOT_END;
	p->frame.number = p->number;
	p->frame.up_ms = now_ms - p->started_ms;
	if (add_frame(&s, &p->frame))
		(void)send(arg, &p->message);
}
