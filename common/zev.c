/*
 * ZMQ_FD tells of changes, not of states: after it fired, and after every send or receive, news may already have been taken in by
 * 0MQ, and the descriptor will stay silent about it. So ZMQ_EVENTS is read again whenever somebody touched the socket, and whoever
 * stops before EAGAIN comes back in the next turn, without waiting for the descriptor.
 *
 * No turn lasts as long as the socket has news: nobody else would be served in it, and its clock stands. So it is read READS_A_TURN times
 * at most, and a send that found no room is not tried again before the next turn: where a ROUTER says EAGAIN (ZMQ_ROUTER_MANDATORY) its
 * ZMQ_POLLOUT means that any peer has room, and so says nothing of the one that is full. That one's room comes as a command of its own pipe
 * through the socket's mailbox, and the descriptor fires for it, whatever ZMQ_POLLOUT was before. A command that somebody took in who
 * touched the socket is looked for in the next turn. One that a failed send to yet another peer took in would be missed: so there is a
 * look after RETRY_MS, and again as long as sends fail. It never waits busily: a try that fails is no touch.
 */
#include "common/zev.h"

#include <zmq.h>

enum { ZEV_MAGIC = 0x7a657621, READS_A_TURN = 2, RETRY_MS = 2 };

struct zev {
	uint32_t magic;
	struct loop *loop;
	void *zsock;
	const struct zev_ops *ops;
	void *arg;
	struct event ev;
	struct loop_task check;
	struct loop_timer retry;
	uint64_t full_in, read_in; /* turns: of the last EAGAIN that we were told, of the last reading */
	unsigned nr_reads;         /* in that turn */
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

/* True: room shows, but this turn has tried already. */
static bool look_for_room(struct zev *z, int events)
{
	if (!z->want_write || !(events & ZMQ_POLLOUT))
		return false;
	if (z->full_in == loop_turn_nr(z->loop))
		return true;
	z->want_write = false;
	loop_timer_cancel(&z->retry);
	if (z->ops->writable)
		z->ops->writable(z->arg, z->zsock);
	return false;
}

/* True: there may be more, for the next turn. */
static bool look_for_news(struct zev *z, int events)
{
	uint64_t turn = loop_turn_nr(z->loop);

	if (z->freed || !(events & ZMQ_POLLIN))
		return false;
	if (z->read_in != turn)
		z->nr_reads = 0;
	z->read_in = turn;
	if (z->nr_reads == READS_A_TURN)
		return true;
	z->nr_reads++;
	/* receiving lets 0MQ take in what makes room for sends: look again for whoever still waits to send */
	return z->ops->readable(z->arg, z->zsock) || z->want_write;
}

static void on_check(void *arg)
{
	struct zev *z = arg;
	OBJ_CHECK(z, ZEV_MAGIC);
	int events = zev_events(z);
	bool room = look_for_room(z, events), more = look_for_news(z, events);

	if (!z->freed && (room || more))
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
	loop_timer_init(l, &z->retry, on_check, z);
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
	loop_timer_cancel(&z->retry);
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
	z->full_in = loop_turn_nr(z->loop);
	if (!z->freed && !loop_timer_pending(&z->retry))
		loop_timer_set(&z->retry, RETRY_MS);
}
