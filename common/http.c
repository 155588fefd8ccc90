/*
 * One read buffer and one answer for each connection, a deadline over all of it. While the most connections are open, no more are accepted:
 * the kernel's queue holds who knocks until one ends, which the deadline guarantees.
 */
#include "common/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

enum {
	CONNECTIONS_MAX = 32,
	REQUEST_MAX = 4096,
	DEADLINE_MS = 10000,
	BACKLOG = 64,
	BACK_OFF_MS = 1000,
};

struct http_conn {
	struct http_server *s;
	struct http_conn *next, **prev;
	int fd;
	struct event readable, writable;
	struct loop_timer deadline;
	size_t n;
	struct buf out;
	char in[REQUEST_MAX];
};

struct http_server {
	struct loop *loop;
	int fd;
	struct event readable;
	http_get *get;
	void *arg;
	struct http_conn *conns;
	unsigned nr;
	struct loop_timer back_off; /* out of descriptors */
};

/* --- listening ------------------------------------------------------------ */

static int address_of(const char *host, uint16_t port, struct sockaddr_storage *out, socklen_t *len)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	struct sockaddr_in *four = (struct sockaddr_in *)out;

	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		*len = sizeof *six;
	} else if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		*len = sizeof *four;
	} else {
		return -EINVAL;
	}
	return 0;
}

static int bind_and_listen(const struct sockaddr_storage *a, socklen_t len)
{
	int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(fd, (const struct sockaddr *)a, len) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int http_listen(const char *host, uint16_t port, uint16_t *port_out, char *why, size_t why_size)
{
	struct sockaddr_storage a;
	socklen_t len;
	int fd = address_of(host, port, &a, &len);

	if (fd == 0)
		fd = bind_and_listen(&a, len);
	if (fd < 0) {
		snprintf(why, why_size, strchr(host, ':') ? "cannot listen on [%s]:%u: %s" : "cannot listen on %s:%u: %s", host, port,
			 strerror(-fd));
		return fd;
	}
	len = sizeof a;
	if (getsockname(fd, (struct sockaddr *)&a, &len) == 0)
		*port_out = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
	return fd;
}

/* --- a connection --------------------------------------------------------- */

static void end(struct http_conn *c)
{
	struct http_server *s = c->s;

	event_del(&c->readable);
	event_del(&c->writable);
	loop_timer_cancel(&c->deadline);
	close(c->fd);
	buf_clear(&c->out);
	*c->prev = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	loop_reap(s->loop, free, c);
	if (s->nr-- == CONNECTIONS_MAX)
		event_add(&s->readable, NULL);
}

static void on_deadline(void *arg)
{
	end(arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;
	struct slice left = buf_slice(&c->out);
	ssize_t n = send(fd, left.p, left.n, MSG_NOSIGNAL);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (size_t)n == left.n)
		end(c);
	else
		buf_drain(&c->out, (size_t)n);
}

static const char *reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return "Service Unavailable";
	}
}

static void answer(struct http_conn *c, const struct http_answer *a)
{
	struct slice body = buf_slice(&a->body);
	int err = buf_printf(&c->out,
			     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
			     "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
			     a->status, reason(a->status), a->type, body.n, a->status == 405 ? "Allow: GET\r\n" : "");

	if (err != 0 || buf_add_slice(&c->out, body) != 0) {
		end(c);
		return;
	}
	event_del(&c->readable);
	event_add(&c->writable, NULL);
}

static void answer_plainly(struct http_conn *c, int status)
{
	struct http_answer a = {.status = status, .type = "text/plain"};

	buf_init(&a.body, 256);
	if (buf_printf(&a.body, "%s\n", reason(status)) == 0)
		answer(c, &a);
	buf_clear(&a.body);
}

/* The next word of the request line; it ends at one space. */
static struct slice word(struct slice *line)
{
	const char *space = line->n > 0 ? memchr(line->p, ' ', line->n) : NULL;
	struct slice w = {line->p, space ? (size_t)(space - line->p) : line->n};
	size_t used = w.n + (space != NULL);

	*line = (struct slice){line->p + used, line->n - used};
	return w;
}

static void request(struct http_conn *c, struct slice line)
{
	struct slice method = word(&line), target = word(&line), version = word(&line);
	struct http_answer a = {.status = 404, .type = "text/plain; charset=utf-8"};
	const char *query;

	if (line.n > 0 || target.n == 0 || target.p[0] != '/' || (!slice_is(version, "HTTP/1.1") && !slice_is(version, "HTTP/1.0"))) {
		answer_plainly(c, 400);
		return;
	}
	if (!slice_is(method, "GET")) {
		answer_plainly(c, 405);
		return;
	}
	query = memchr(target.p, '?', target.n);
	if (query != NULL)
		target.n = (size_t)(query - target.p);
	buf_init(&a.body, HTTP_ANSWER_MAX);
	c->s->get(c->s->arg, target, &a);
	if (a.status == 404 && buf_len(&a.body) == 0)
		answer_plainly(c, 404);
	else
		answer(c, &a);
	buf_clear(&a.body);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;
	ssize_t n = recv(fd, c->in + c->n, sizeof c->in - c->n, 0);
	const char *eol;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(c);
		return;
	}
	c->n += (size_t)n;
	if (memmem(c->in, c->n, "\r\n\r\n", 4) != NULL) {
		eol = memmem(c->in, c->n, "\r\n", 2);
		request(c, (struct slice){c->in, (size_t)(eol - c->in)});
	} else if (c->n == sizeof c->in) {
		answer_plainly(c, 431);
	}
}

static void begin(struct http_server *s, int fd)
{
	struct http_conn *c = NEW(struct http_conn);
	int err;

	c->s = s;
	c->fd = fd;
	buf_init(&c->out, HTTP_ANSWER_MAX + 1024);
	c->next = s->conns;
	c->prev = &s->conns;
	if (c->next != NULL)
		c->next->prev = &c->next;
	s->conns = c;
	s->nr++;
	err = event_assign(&c->readable, loop_base(s->loop), fd, EV_READ | EV_PERSIST, on_readable, c);
	ASSERT(err == 0);
	err = event_assign(&c->writable, loop_base(s->loop), fd, EV_WRITE | EV_PERSIST, on_writable, c);
	ASSERT(err == 0);
	event_add(&c->readable, NULL);
	loop_timer_init(s->loop, &c->deadline, on_deadline, c);
	loop_timer_set(&c->deadline, DEADLINE_MS);
}

static void on_back_off(void *arg)
{
	struct http_server *s = arg;

	if (s->nr < CONNECTIONS_MAX)
		event_add(&s->readable, NULL);
}

static void on_knock(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;

	(void)what;
	while (s->nr < CONNECTIONS_MAX) {
		int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (got < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
			log_warn("http", 0, "shortage", "why=\"%s\"", strerror(errno));
			loop_timer_set(&s->back_off, BACK_OFF_MS);
			break;
		}
		if (got < 0)
			return;
		begin(s, got);
	}
	event_del(&s->readable);
}

struct http_server *http_server_new(struct loop *l, int fd, http_get *get, void *arg)
{
	struct http_server *s = NEW(struct http_server);
	int err;

	s->loop = l;
	s->fd = fd;
	s->get = get;
	s->arg = arg;
	loop_timer_init(l, &s->back_off, on_back_off, s);
	err = event_assign(&s->readable, loop_base(l), fd, EV_READ | EV_PERSIST, on_knock, s);
	ASSERT(err == 0);
	err = event_add(&s->readable, NULL);
	ASSERT(err == 0);
	return s;
}

void http_server_free(struct http_server *s)
{
	if (s == NULL)
		return;
	while (s->conns != NULL)
		end(s->conns);
	event_del(&s->readable);
	loop_timer_cancel(&s->back_off);
	close(s->fd);
	loop_reap(s->loop, free, s);
}
