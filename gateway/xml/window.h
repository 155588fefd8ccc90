#ifndef GATEWAY_XML_WINDOW_H
#define GATEWAY_XML_WINDOW_H

/*
 * Private to xml/: raw bytes of a stream by position, across feeds. What lies in the present input is given as it lies there; only what
 * began in an earlier input is kept and put together. It has no limit of its own: its user checks before each call.
 */

#include "common/buf.h"

struct xml_window {
	struct slice in;         /* the present input, at position `origin` */
	int64_t origin;
	struct buf pending;      /* bytes from pending_at up to origin (or, once put together, past it); empty: none */
	int64_t pending_at;
};

void xml_window_init(struct xml_window *w);
void xml_window_clear(struct xml_window *w);
/* Bytes [at, end), borrowed until the next call. */
struct slice xml_window_bytes(struct xml_window *w, int64_t at, int64_t end);
/* Everything before `end` is done with. */
void xml_window_done(struct xml_window *w, int64_t end);
/* The input goes away: keeps its bytes [from, end), end being what of it was seen. */
void xml_window_save(struct xml_window *w, int64_t from, int64_t end);

#endif
