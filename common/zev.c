/*
 * ZMQ_FD tells of changes, not of states: after it fired, and after every send or receive, news may already have been taken in by
 * 0MQ, and the descriptor will stay silent about it. So ZMQ_EVENTS is read again whenever somebody touched the socket, and whoever
 * stops before EAGAIN comes back in the next turn, without waiting for the descriptor.
 */
#include "common/zev.h"

#include <zmq.h>

enum { ZEV_MAGIC = 0x7a657621 };

struct zev {
	uint32_t magic;
	struct loop *loop;
	void *zsock;
	const struct zev_ops *ops;
	void *arg;
	struct event ev;
	struct loop_task check;
	bool want_write;
	bool freed; /* in the reaper's queue */
};

static int zev_events(const struct zev *z)
{
	int events = 0;
	size_t size = sizeof events;

	/* fails only when the context is being terminated: nothing will come any more */
	return zmq_getsockopt(z->zsock, ZMQ_EVENTS, &events, &size) == 0 ? events : 0;
}

static void on_check(void *arg)
{
	struct zev *z = arg;
	OBJ_CHECK(z, ZEV_MAGIC);
	int events = zev_events(z);

	if (z->want_write && (events & ZMQ_POLLOUT)) {
		z->want_write = false;
		if (z->ops->writable)
			z->ops->writable(z->arg, z->zsock);
	}
	if (z->freed || !(events & ZMQ_POLLIN))
		return;
	bool more = z->ops->readable(z->arg, z->zsock);

	/* receiving lets 0MQ take in what makes room for sends: look again for whoever still waits to send */
	if (!z->freed && (more || z->want_write))
		loop_task_queue_next(z->loop, &z->check);
}

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
	struct zev *z = arg;

	(void)fd;
	(void)what;
	loop_task_cancel(z->loop, &z->check);
	on_check(z);
}

struct zev *zev_new(struct loop *l, void *zsock, const struct zev_ops *ops, void *arg)
{
	int fd = -1;
	size_t size = sizeof fd;

	if (zmq_getsockopt(zsock, ZMQ_FD, &fd, &size) < 0)
		return NULL;
	struct zev *z = NEW(struct zev);
	*z = (struct zev){.magic = ZEV_MAGIC, .loop = l, .zsock = zsock, .ops = ops, .arg = arg};
	loop_task_init(&z->check, on_check, z);
	if (event_assign(&z->ev, loop_base(l), fd, EV_READ | EV_PERSIST, on_fd, z) < 0 || event_add(&z->ev, NULL) < 0) {
		free(z);
		return NULL;
	}
	loop_task_queue(l, &z->check); /* what came before us */
	return z;
}

void zev_free(struct zev *z)
{
	if (z == NULL || z->freed)
		return;
	z->freed = true;
	event_del(&z->ev);
	loop_task_cancel(z->loop, &z->check);
	loop_reap(z->loop, free, z);
}

void zev_sent(struct zev *z)
{
	if (!z->freed)
		loop_task_queue(z->loop, &z->check);
}

void zev_want_write(struct zev *z)
{
	z->want_write = true;
	zev_sent(z);
}
