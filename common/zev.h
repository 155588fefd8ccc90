#ifndef AMBROSIA_COMMON_ZEV_H
#define AMBROSIA_COMMON_ZEV_H

#include "common/loop.h"

/* One 0MQ socket inside a loop; the only place that knows ZMQ_FD's edge. */
struct zev;

struct zev_ops {
	/* The socket is readable: receive with ZMQ_DONTWAIT up to a budget of your own; return true if you stopped because of
	 * the budget (zev comes back next turn), false once EAGAIN was seen. */
	bool (*readable)(void *arg, void *zsock);
	/* May be NULL: once after zev_want_write(), in a later turn, a send may be tried again. It may find no room again: a ROUTER tells
	 * that some peer has room, not which. */
	void (*writable)(void *arg, void *zsock);
};

struct zev *zev_new(struct loop *l, void *zsock, const struct zev_ops *ops, void *arg); /* borrows zsock; NULL on error */
void zev_free(struct zev *z);                  /* not the socket; safe inside its own callbacks */
void zev_sent(struct zev *z);                  /* call after every zmq_msg_send on the socket: looks at ZMQ_EVENTS again this turn */
void zev_want_write(struct zev *z);            /* after EAGAIN: call writable() once ZMQ_POLLOUT shows, not in this turn */

#endif
