/*
 * Listening sockets. Accepts behind all else that a turn brings, so that a storm of newcomers does not starve those who are in. Out of
 * descriptors it stops looking for a while: the kernel's queue keeps who knocks, and a level-triggered event would only spin.
 */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "net/handshakes.h"
#include "net/transport.h"

enum {
	BACKLOG = 4096,
	BACK_OFF_MS = 100,
	UNPACED_A_TURN = 16,
	ACCEPT_EVERY_MS = 10,   /* one at least, however little time there is: nothing that others do shuts the door */
};

struct listener {
	struct loop *loop;
	struct handshakes *pace;
	struct event ev;
	struct loop_task knock;
	struct loop_timer back_off;
	int fd;
	bool paused, ended;
	uint64_t warned, accepted_at_ms;
	void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len);
	void *arg;
};

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} u;
	socklen_t len;
};

static bool parse_address(const char *host, uint16_t port, struct address *out)
{
	*out = (struct address){0};
	if (inet_pton(AF_INET6, host, &out->u.six.sin6_addr) == 1) {
		out->u.six.sin6_family = AF_INET6;
		out->u.six.sin6_port = htons(port);
		out->len = sizeof out->u.six;
	} else if (inet_pton(AF_INET, host, &out->u.four.sin_addr) == 1) {
		out->u.four.sin_family = AF_INET;
		out->u.four.sin_port = htons(port);
		out->len = sizeof out->u.four;
	}
	return out->len != 0;
}

static bool set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* A descriptor or a negative errno. */
static int try_bind(const struct address *a, bool shared)
{
	int fd = socket(a->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (set(fd, SOL_SOCKET, SO_REUSEADDR, 1) && (!shared || set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
	    transport_tune(fd) && (a->u.any.sa_family != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)) &&
	    bind(fd, &a->u.any, a->len) == 0 && (!shared || listen(fd, BACKLOG) == 0))
		return fd;
	int err = -errno;
	close(fd);
	return err;
}

static uint16_t bound_port(int fd)
{
	struct address a = {.len = sizeof a.u};

	if (getsockname(fd, &a.u.any, &a.len) != 0)
		return 0;
	return ntohs(a.u.any.sa_family == AF_INET6 ? a.u.six.sin6_port : a.u.four.sin_port);
}

static int bind_any(const char *host, uint16_t port, bool shared, char *why, size_t why_size)
{
	bool colon = strchr(host, ':') != NULL;
	struct address a;
	int fd = parse_address(host, port, &a) ? try_bind(&a, shared) : -EINVAL;

	/* a system without IPv6: the wildcard means every address that there is */
	if (strcmp(host, "::") == 0 && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) && parse_address("0.0.0.0", port, &a))
		fd = try_bind(&a, shared);
	if (fd < 0)
		snprintf(why, why_size, "cannot listen on %s%s%s:%u: %s", colon ? "[" : "", host, colon ? "]" : "", port, strerror(-fd));
	return fd;
}

int listener_bind(const char *host, uint16_t port, uint16_t *port_out, char *why, size_t why_size)
{
	int fd = bind_any(host, port, true, why, why_size);

	if (fd >= 0)
		*port_out = bound_port(fd);
	return fd;
}

int listener_probe(const char *host, uint16_t port, char *why, size_t why_size)
{
	int fd = bind_any(host, port, false, why, why_size);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static void on_back_off(void *arg)
{
	struct listener *ln = arg;

	if (!ln->paused)
		event_add(&ln->ev, NULL);
}

static bool is_shortage(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static void look_away(struct listener *ln, uint64_t ms)
{
	event_del(&ln->ev);
	loop_timer_set(&ln->back_off, ms);
}

static void back_off(struct listener *ln, int err)
{
	if (log_once_a_second(&ln->warned))
		log_warn("listener", 0, "shortage", "why=\"%s\"", strerror(err));
	look_away(ln, BACK_OFF_MS);
}

/* One of those who knock, if there is one and there is time for it, or none came in for a while. False: no more now. */
static bool accept_one(struct listener *ln)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;
	uint64_t wait_ms = handshakes_accept_in_ms(ln->pace), begun = handshakes_begin(ln->pace);
	uint64_t since_ms = loop_now_ms(ln->loop) - ln->accepted_at_ms;
	int fd, err;

	if (wait_ms > 0 && since_ms < ACCEPT_EVERY_MS) {
		look_away(ln, wait_ms < ACCEPT_EVERY_MS - since_ms ? wait_ms : ACCEPT_EVERY_MS - since_ms);
		return false;
	}
	fd = accept4(ln->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	err = errno;
	if (fd >= 0) {
		ln->accepted_at_ms = loop_now_ms(ln->loop);
		ln->accepted(ln->arg, fd, (const struct sockaddr *)&peer, len);
	} else if (is_shortage(err)) {
		back_off(ln, err);
	}
	handshakes_end(ln->pace, HANDSHAKES_ACCEPT, begun, NULL);
	/* else it died in the queue: the next one */
	return fd >= 0 || (err != EAGAIN && !is_shortage(err));
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *ln = arg;

	(void)fd;
	(void)what;
	if (handshakes_are_paced(ln->pace))
		loop_task_queue_behind(ln->loop, &ln->knock);
	else
		loop_task_queue(ln->loop, &ln->knock);
}

static void on_knock(void *arg)
{
	struct listener *ln = arg;
	bool paced = handshakes_are_paced(ln->pace), more = true;

	for (int n = 0; more && n < (paced ? 1 : UNPACED_A_TURN); n++)
		more = accept_one(ln) && !ln->paused && !ln->ended;
	if (more && paced)
		loop_task_queue_behind(ln->loop, &ln->knock);
	else if (more)
		loop_task_queue_next(ln->loop, &ln->knock);
}

struct listener *listener_new(struct loop *l, int fd, void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len),
			      void *arg)
{
	struct listener *ln = NEW(struct listener);

	ln->loop = l;
	ln->fd = fd;
	ln->accepted = accepted;
	ln->arg = arg;
	loop_task_init(&ln->knock, on_knock, ln);
	loop_timer_init(l, &ln->back_off, on_back_off, ln);
	int err = event_assign(&ln->ev, loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, ln);
	ASSERT(err == 0);
	err = event_add(&ln->ev, NULL);
	ASSERT(err == 0);
	return ln;
}

void listener_pace(struct listener *ln, struct handshakes *h)
{
	ln->pace = h;
}

void listener_pause(struct listener *ln, bool paused)
{
	if (ln->paused == paused)
		return;
	ln->paused = paused;
	loop_task_cancel(ln->loop, &ln->knock);
	if (paused)
		event_del(&ln->ev);
	else if (!loop_timer_pending(&ln->back_off))
		event_add(&ln->ev, NULL);
}

void listener_free(struct listener *ln)
{
	if (ln == NULL)
		return;
	event_del(&ln->ev);
	loop_task_cancel(ln->loop, &ln->knock);
	loop_timer_cancel(&ln->back_off);
	close(ln->fd);
	ln->ended = true;
	loop_reap(ln->loop, free, ln); /* this may be inside accepted() */
}
