#include "net/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "net/handshakes.h"

/*
 * Waits for the header by peeking, so that what follows it stays in the socket for its reader. Edge-triggered: a part of a header is looked
 * at again only when more has come. Who waits is bounded in number and time.
 */

enum {
	WAITING_MAX = 4096,
	HEADER_MS = 5000,
};

struct waiting {
	struct proxy_door *door;
	struct event ev;
	struct loop_timer deadline;
	struct loop_task look;
	int fd;
	struct sockaddr_storage peer;
	socklen_t peer_n;
	struct waiting *next, **prev;
};

struct proxy_door {
	struct loop *loop;
	const struct cidr *from;
	size_t nr_from, nr_waiting;
	void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len);
	void *arg;
	struct waiting *first;
	struct handshakes *pace;
	uint64_t warned_ms;
};

/* Out of the list and the loop; the descriptor is the caller's. */
static int let_go(struct waiting *w)
{
	int fd = w->fd;

	event_del(&w->ev);
	loop_timer_cancel(&w->deadline);
	loop_task_cancel(w->door->loop, &w->look);
	*w->prev = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	w->door->nr_waiting--;
	loop_reap(w->door->loop, free, w);
	return fd;
}

static void refuse(struct waiting *w, const char *why)
{
	if (log_once_a_second(&w->door->warned_ms))
		log_warn("proxy", 0, "refused", "why=\"%s\"", why);
	close(let_go(w));
}

static void on_deadline(void *arg)
{
	refuse(arg, "a listed address sent no PROXY header in time");
}

/* The header was peeked at whole: it is there. */
static bool swallow(int fd, size_t n)
{
	char rest[PROXY_HEADER_MAX];

	return recv(fd, rest, n, 0) == (ssize_t)n;
}

static void look(struct waiting *w)
{
	struct proxy_door *d = w->door;
	char in[PROXY_HEADER_MAX];
	ssize_t n = recv(w->fd, in, sizeof in, MSG_PEEK);
	struct proxy_header h;
	int used;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(let_go(w)); /* a balancer that only looks whether we listen */
		return;
	}
	used = proxy_parse((struct slice){in, (size_t)n}, &h);
	if (used == 0)
		return;
	if (used < 0 || !swallow(w->fd, (size_t)used)) {
		refuse(w, "a listed address sent no PROXY header");
		return;
	}
	if (h.local) {
		h.peer = w->peer;
		h.peer_n = w->peer_n;
	}
	d->accepted(d->arg, let_go(w), (const struct sockaddr *)&h.peer, h.peer_n);
}

/* From here on it is a newcomer like those that come directly. */
static void on_look(void *arg)
{
	struct waiting *w = arg;
	struct handshakes *pace = w->door->pace;
	uint64_t begun = handshakes_begin(pace);

	look(w);
	handshakes_end(pace, HANDSHAKES_ACCEPT, begun, NULL);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct waiting *w = arg;

	(void)fd;
	(void)what;
	if (handshakes_are_paced(w->door->pace))
		loop_task_queue_behind(w->door->loop, &w->look);
	else
		loop_task_queue(w->door->loop, &w->look);
}

static bool is_listed(const struct proxy_door *d, const struct sockaddr *peer)
{
	for (size_t i = 0; i < d->nr_from; i++) {
		if (cidr_has(&d->from[i], peer))
			return true;
	}
	return false;
}

struct proxy_door *proxy_door_new(struct loop *l, const struct cidr *from, size_t nr_from,
				  void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len), void *arg)
{
	struct proxy_door *d = NEW(struct proxy_door);

	d->loop = l;
	d->from = from;
	d->nr_from = nr_from;
	d->accepted = accepted;
	d->arg = arg;
	return d;
}

void proxy_door_pace(struct proxy_door *d, struct handshakes *h)
{
	d->pace = h;
}

static void wait_for_header(struct proxy_door *d, int fd, const struct sockaddr *peer, socklen_t len)
{
	struct waiting *w = NEW(struct waiting);

	w->door = d;
	w->fd = fd;
	memcpy(&w->peer, peer, len);
	w->peer_n = len;
	w->next = d->first;
	w->prev = &d->first;
	if (w->next != NULL)
		w->next->prev = &w->next;
	d->first = w;
	d->nr_waiting++;
	loop_task_init(&w->look, on_look, w);
	loop_timer_init(d->loop, &w->deadline, on_deadline, w);
	loop_timer_set(&w->deadline, HEADER_MS);
	int err = event_assign(&w->ev, loop_base(d->loop), fd, EV_READ | EV_PERSIST | EV_ET, on_readable, w);
	ASSERT(err == 0);
	err = event_add(&w->ev, NULL);
	ASSERT(err == 0);
}

void proxy_door_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	struct proxy_door *d = arg;

	if (!is_listed(d, peer)) {
		d->accepted(d->arg, fd, peer, len);
	} else if (d->nr_waiting >= WAITING_MAX) {
		if (log_once_a_second(&d->warned_ms))
			log_warn("proxy", 0, "refused", "why=\"too many connections without their PROXY header\"");
		close(fd);
	} else {
		wait_for_header(d, fd, peer, len);
	}
}

void proxy_door_free(struct proxy_door *d)
{
	if (d == NULL)
		return;
	while (d->first != NULL)
		close(let_go(d->first));
	free(d);
}
