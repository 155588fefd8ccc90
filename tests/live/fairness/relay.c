/*
 * The relay. A slow one has the smallest socket buffers that make sense, so that what waits, waits in the ends under test; one without a
 * pace has the system's, as a network that is no bottleneck. A byte has crossed when the kernel has it for the far end.
 */
#include "tests/live/fairness/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KERNEL_BYTES 4096 /* asked for; the kernel doubles it */
#define PIECE 16384

struct way {
	int from, to;
	char b[PIECE];
	size_t at, n;       /* what is read and not handed on */
	uint64_t allowance; /* bytes that may cross by now */
};

static void die(const char *what)
{
	perror(what);
	abort();
}

static void set_options(const struct relay *r, int fd)
{
	int bytes = KERNEL_BYTES, on = 1;
	bool failed = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0;

	if (r->pace > 0)
		failed = failed || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) != 0 ||
			 setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) != 0;
	if (failed)
		die("relay: setsockopt");
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* false: the connection has ended. */
static bool fill(struct way *w)
{
	ssize_t n = recv(w->from, w->b, sizeof(w->b), MSG_DONTWAIT);

	if (n > 0) {
		w->at = 0;
		w->n = (size_t)n;
	}
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool hand_on(struct relay *r, enum relay_direction d, struct way *w)
{
	size_t n = w->n - w->at;
	ssize_t sent;

	if (r->pace > 0 && n > w->allowance)
		n = (size_t)w->allowance;
	if (n == 0)
		return true;
	sent = send(w->to, w->b + w->at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR;
	w->at += (size_t)sent;
	w->allowance -= r->pace > 0 ? (uint64_t)sent : 0;
	atomic_fetch_add(&r->crossed[d], (uint64_t)sent);
	return true;
}

static bool is_waiting(const struct relay *r, const struct way *w)
{
	return w->at < w->n && (r->pace == 0 || w->allowance > 0);
}

/* Until either end closes, or relay_stop(). */
static void serve(struct relay *r, struct way way[2])
{
	uint64_t last = now_ms();

	for (;;) {
		struct pollfd p[5] = { { .fd = r->wake[0], .events = POLLIN } };
		uint64_t now;

		for (int d = 0; d < 2; d++) { /* an entry of -1 is passed over */
			p[1 + d] = (struct pollfd){ .fd = way[d].at == way[d].n ? way[d].from : -1, .events = POLLIN };
			p[3 + d] = (struct pollfd){ .fd = is_waiting(r, &way[d]) ? way[d].to : -1, .events = POLLOUT };
		}
		if (poll(p, 5, r->pace > 0 ? 1 : -1) < 0 && errno != EINTR)
			die("relay: poll");
		if (p[0].revents != 0)
			return;
		now = now_ms();
		for (int d = 0; d < 2; d++) {
			if (now > last) /* what was not used is lost: the link is never faster afterwards */
				way[d].allowance = (now - last > 10 ? 10 : now - last) * r->pace;
			if ((way[d].at == way[d].n && p[1 + d].revents != 0 && !fill(&way[d])) ||
			    (way[d].at < way[d].n && !hand_on(r, (enum relay_direction)d, &way[d])))
				return;
		}
		last = now;
	}
}

static int dial(const struct relay *r)
{
	struct sockaddr_in a = loopback(r->server_port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("relay: socket");
	set_options(r, fd);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) != 0)
		die("relay: connect");
	return fd;
}

static void *run(void *arg)
{
	struct relay *r = arg;

	for (;;) {
		struct pollfd p[2] = { { .fd = r->wake[0], .events = POLLIN }, { .fd = r->listener, .events = POLLIN } };
		struct way way[2] = { 0 };
		int client, server;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			die("relay: poll");
		if (p[0].revents != 0)
			return NULL;
		client = accept(r->listener, NULL, NULL);
		if (client < 0)
			continue;
		set_options(r, client);
		server = dial(r);
		way[RELAY_TO_SERVER].from = way[RELAY_TO_CLIENT].to = client;
		way[RELAY_TO_SERVER].to = way[RELAY_TO_CLIENT].from = server;
		serve(r, way);
		close(client);
		close(server);
	}
}

uint16_t relay_start(struct relay *r, uint16_t server_port, uint32_t pace)
{
	struct sockaddr_in a = loopback(0);
	socklen_t n = sizeof(a);

	*r = (struct relay){ .server_port = server_port, .pace = pace };
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->listener < 0)
		die("relay: socket");
	set_options(r, r->listener); /* before the handshake: the window is agreed there */
	if (bind(r->listener, (const struct sockaddr *)&a, n) != 0 || listen(r->listener, 4) != 0 ||
	    getsockname(r->listener, (struct sockaddr *)&a, &n) != 0 || pipe(r->wake) != 0 ||
	    pthread_create(&r->thread, NULL, run, r) != 0)
		die("relay: start");
	return ntohs(a.sin_port);
}

void relay_stop(struct relay *r)
{
	if (write(r->wake[1], "", 1) != 1)
		die("relay: stop");
	pthread_join(r->thread, NULL);
	close(r->wake[0]);
	close(r->wake[1]);
	close(r->listener);
}
