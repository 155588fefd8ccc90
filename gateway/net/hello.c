#include "net/hello.h"

#include <stdint.h>

/*
 * A ClientHello is walked up to its extensions (RFC 8446 section 4.1.2), nothing of it is believed: whether the ticket is good is
 * OpenSSL's to find out. Every length is held against what is there.
 */

enum {
	RECORD_HANDSHAKE = 22,
	CLIENT_HELLO = 1,
	EXT_SESSION_TICKET = 35,
	EXT_PRE_SHARED_KEY = 41,
	RANDOM_BYTES = 32,
};

/* What is left to walk. Short: bytes are missing that may still come. */
struct walk {
	const unsigned char *p;
	size_t n;
	bool short_;
};

static const unsigned char *skip(struct walk *w, size_t n)
{
	const unsigned char *at = w->p;

	if (w->n < n) {
		w->short_ = true;
		w->n = 0;
		return NULL;
	}
	w->p += n;
	w->n -= n;
	return at;
}

static size_t number(struct walk *w, size_t bytes)
{
	const unsigned char *p = skip(w, bytes);
	size_t v = 0;

	for (size_t i = 0; p != NULL && i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

/* A vector with so many bytes of length before it. */
static void skip_vector(struct walk *w, size_t length_bytes)
{
	(void)skip(w, number(w, length_bytes));
}

static enum hello extensions(struct walk *w)
{
	size_t left = number(w, 2);

	while (!w->short_ && left >= 4) {
		size_t type = number(w, 2), n = number(w, 2);

		if (w->short_)
			break;
		if (type == EXT_PRE_SHARED_KEY || (type == EXT_SESSION_TICKET && n > 0))
			return HELLO_RETURNING;
		if (n > left - 4)
			return HELLO_NEW;
		(void)skip(w, n);
		left -= 4 + n;
	}
	return w->short_ ? HELLO_PARTIAL : HELLO_NEW;
}

enum hello hello_look(struct slice bytes)
{
	struct walk w = {.p = (const unsigned char *)bytes.p, .n = bytes.n};
	size_t type = number(&w, 1), record, message;

	if (!w.short_ && type != RECORD_HANDSHAKE)
		return HELLO_NEW;
	(void)skip(&w, 2);
	record = number(&w, 2);
	type = number(&w, 1);
	message = number(&w, 3);
	if (w.short_)
		return HELLO_PARTIAL;
	/* in several records: not looked at; too long: not one */
	if (type != CLIENT_HELLO || message + 4 > record)
		return HELLO_NEW;
	if (w.n > message)
		w.n = message;
	(void)skip(&w, 2 + RANDOM_BYTES);
	skip_vector(&w, 1);
	skip_vector(&w, 2);
	skip_vector(&w, 1);
	enum hello found = extensions(&w);

	/* whole, and cut short inside: nothing more will come */
	return found == HELLO_PARTIAL && bytes.n >= record + 5 ? HELLO_NEW : found;
}
