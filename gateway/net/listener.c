#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"

/* Listening sockets. Accepts a bounded number a turn, so that a storm of connections does not starve those that stand. */

#define ACCEPTS_A_TURN 16
#define BACKLOG 4096
#define BACK_OFF_MS 100

struct listener {
	struct loop *loop;
	struct event ev;
	struct loop_timer back_off;
	int fd;
	bool paused;
	uint64_t warned;
	void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len);
	void *arg;
};

static socklen_t parse_address(const char *host, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *six = (void *)out;
	struct sockaddr_in *four = (void *)out;

	*out = (struct sockaddr_storage){0};
	if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		return sizeof *six;
	}
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		return sizeof *four;
	}
	return 0;
}

static int try_bind(const struct sockaddr_storage *a, socklen_t len)
{
	int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, off = 0, err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
	    (a->ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
	    bind(fd, (const struct sockaddr *)a, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	err = errno;
	close(fd);
	return -err;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;

	if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		return 0;
	return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

int listener_bind(const char *host, uint16_t port, uint16_t *port_out, char *why, size_t why_size)
{
	struct sockaddr_storage a;
	socklen_t len = parse_address(host, port, &a);
	int fd = len == 0 ? -EINVAL : try_bind(&a, len);

	/* A system without IPv6: the wildcard means every address that there is. */
	if (strcmp(host, "::") == 0 && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
		len = parse_address("0.0.0.0", port, &a);
		fd = try_bind(&a, len);
	}
	if (fd < 0)
		snprintf(why, why_size, "cannot listen on %s port %u: %s", host, port, strerror(-fd));
	else
		*port_out = bound_port(fd);
	return fd;
}

static void on_back_off(void *arg)
{
	struct listener *ln = arg;

	if (!ln->paused)
		event_add(&ln->ev, NULL);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *ln = arg;

	(void)what;
	for (int i = 0; i < ACCEPTS_A_TURN && !ln->paused; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof peer;
		int got = accept4(fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (got >= 0) {
			ln->accepted(ln->arg, got, (const struct sockaddr *)&peer, len);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			if (log_once_a_second(&ln->warned))
				log_warn("listener", 0, "shortage", "why=\"%s\"", strerror(errno));
			event_del(&ln->ev);
			loop_timer_set(&ln->back_off, BACK_OFF_MS);
			return;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		/* The connection died in the queue, or a signal came: the next one. */
	}
}

struct listener *listener_new(struct loop *l, int fd, void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len), void *arg)
{
	struct listener *ln = NEW(struct listener);

	ln->loop = l;
	ln->fd = fd;
	ln->accepted = accepted;
	ln->arg = arg;
	loop_timer_init(l, &ln->back_off, on_back_off, ln);
	ASSERT(event_assign(&ln->ev, loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, ln) == 0);
	ASSERT(event_add(&ln->ev, NULL) == 0);
	return ln;
}

void listener_pause(struct listener *ln, bool paused)
{
	if (ln->paused == paused)
		return;
	ln->paused = paused;
	if (paused)
		event_del(&ln->ev);
	else
		event_add(&ln->ev, NULL);
}

void listener_free(struct listener *ln)
{
	if (ln == NULL)
		return;
	event_del(&ln->ev);
	loop_timer_cancel(&ln->back_off);
	close(ln->fd);
	free(ln);
}
