#include "tests/bench/load/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* One XMPP client's connection: TCP, TLS, bytes and elements. What is said before it is online stands in client_negotiate.c, what
 * afterwards in the scenarios. */

#define READ_MAX (64u << 10)

uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void client_drop(struct client *c)
{
	if (c->state == CLIENT_GONE)
		return;
	c->state = CLIENT_GONE;
	event_del(&c->ev);
	SSL_free(c->ssl);
	c->ssl = NULL;
	close(c->fd);
	free(c->in);
	free(c->out);
	free(c->scram);
	c->in = c->out = NULL;
	c->scram = NULL;
	c->in_n = c->in_size = c->out_n = c->out_at = c->out_size = 0;
}

/* A copy, since OpenSSL lets nobody resume a session whose connection broke, and that is when it is wanted. */
int client_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct client *c = SSL_get_app_data(ssl);

	if (c->sm) {
		SSL_SESSION_free(c->session);
		c->session = SSL_SESSION_dup(session);
	}
	return 0;
}

static void lost(struct client *c, const char *why)
{
	bool asked = c->state == CLIENT_CLOSING;

	client_drop(c);
	c->w->ops->gone(c, asked ? NULL : why);
}

static void wait_for(struct client *c, short what)
{
	if (event_get_events(&c->ev) == (short)(what | EV_PERSIST) && event_pending(&c->ev, what, NULL))
		return;
	event_del(&c->ev);
	event_assign(&c->ev, c->w->base, c->fd, (short)(what | EV_PERSIST), event_get_callback(&c->ev), c);
	event_add(&c->ev, NULL);
}

void client_queue(struct client *c, const char *bytes, size_t n)
{
	if (c->out_at == c->out_n)
		c->out_at = c->out_n = 0;
	if (c->out_n + n > c->out_size) {
		c->out_size = (c->out_n + n) * 2;
		c->out = realloc(c->out, c->out_size);
		if (c->out == NULL)
			abort();
	}
	memcpy(c->out + c->out_n, bytes, n);
	c->out_n += n;
}

/* 1: would block, 0: all written, -1: broken */
static int write_out(struct client *c)
{
	while (c->out_at < c->out_n) {
		ssize_t n;

		if (c->tls_done) {
			n = SSL_write(c->ssl, c->out + c->out_at, (int)(c->out_n - c->out_at));
			if (n <= 0)
				return SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_WRITE ? 1 : -1;
		} else {
			n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
			if (n < 0)
				return errno == EAGAIN ? 1 : -1;
		}
		c->out_at += (size_t)n;
	}
	free(c->out);
	c->out = NULL;
	c->out_at = c->out_n = c->out_size = 0;
	return 0;
}

void client_flush(struct client *c)
{
	int r;

	if (c->state == CLIENT_GONE || c->state == CLIENT_TLS || c->out_at == c->out_n)
		return;
	r = write_out(c);
	if (r >= 0)   /* what is broken shows when it is read */
		wait_for(c, r == 1 ? EV_READ | EV_WRITE : EV_READ);
}

static ssize_t read_some(struct client *c)
{
	ssize_t n;

	if (c->in_size - c->in_n < READ_MAX / 4) {
		c->in_size = c->in_n + READ_MAX;
		c->in = realloc(c->in, c->in_size);
		if (c->in == NULL)
			abort();
	}
	if (!c->tls_done) {
		n = recv(c->fd, c->in + c->in_n, c->in_size - c->in_n, 0);
		return n > 0 ? n : n < 0 && errno == EAGAIN ? 0 : -1;
	}
	n = SSL_read(c->ssl, c->in + c->in_n, (int)(c->in_size - c->in_n));
	if (n > 0)
		return n;
	return SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ ? 0 : -1;
}

/* An element of a stream that is online. */
static void take_online(struct client *c, struct slice e)
{
	char answer[80];

	if (scan_begins(e, "<r ") || scan_begins(e, "<r/")) {
		int n = snprintf(answer, sizeof answer, "<a xmlns='urn:xmpp:sm:3' h='%u'/>", c->handled);

		client_queue(c, answer, (size_t)n);
	} else if (scan_begins(e, "<stream:error")) {
		lost(c, client_stream_error(e));
	} else if (!scan_begins(e, "<a ")) {
		c->handled++;
		c->w->ops->stanza(c, e);
	}
}

/* Elements that came; the buffer goes when it is empty. False: the client is gone. */
static bool take_elements(struct client *c)
{
	struct slice element;
	const char *why;
	int r;

	while ((r = scan_next(&c->scan, c->in, c->in_n, &element)) == 1) {
		if (c->state == CLIENT_ONLINE) {
			take_online(c, element);
		} else if (c->state != CLIENT_CLOSING) {
			why = client_negotiate(c, element);
			if (why != NULL) {
				lost(c, why);
				return false;
			}
			if (c->state == CLIENT_TLS) {   /* nothing may follow <proceed/> */
				c->in_n = 0;
				scan_reset(&c->scan);
				return true;
			}
		}
		if (c->state == CLIENT_GONE)
			return false;
	}
	if (r < 0) {
		lost(c, "the server closed the stream");
		return false;
	}
	if (c->scan.at == c->in_n && !c->scan.in_tag && c->scan.depth <= 1) {
		scan_consumed(&c->scan, c->in_n);
		free(c->in);
		c->in = NULL;
		c->in_n = c->in_size = 0;
	} else if (c->scan.begin > READ_MAX) {
		size_t n = c->scan.begin;

		memmove(c->in, c->in + n, c->in_n - n);
		c->in_n -= n;
		scan_consumed(&c->scan, n);
	}
	return true;
}

static void handshake(struct client *c)
{
	int r = SSL_connect(c->ssl), why;

	if (r == 1) {
		c->tls_done = true;
		c->state = CLIENT_NEGOTIATING;
		client_begin_stream(c);
		client_flush(c);
		return;
	}
	why = SSL_get_error(c->ssl, r);
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		wait_for(c, why == SSL_ERROR_WANT_READ ? EV_READ : EV_WRITE);
	else
		lost(c, "TLS failed");
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	ssize_t n = 1;
	int error = 0;

	if (c->state == CLIENT_CONNECTING) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
		if (error != 0) {
			lost(c, "refused");
			return;
		}
		c->state = CLIENT_NEGOTIATING;
		client_begin_stream(c);
		client_flush(c);
		return;
	}
	if (c->state == CLIENT_TLS) {
		handshake(c);
		return;
	}
	if (what & EV_WRITE)
		client_flush(c);
	if (!(what & EV_READ))
		return;
	while (c->state != CLIENT_GONE && c->state != CLIENT_TLS && (n = read_some(c)) > 0) {
		c->in_n += (size_t)n;
		if (!take_elements(c))
			return;
		if (!c->tls_done || SSL_pending(c->ssl) == 0)
			break;
	}
	if (n < 0) {
		lost(c, "the connection was lost");
		return;
	}
	if (c->state == CLIENT_TLS)
		handshake(c);
	else
		client_flush(c);
}

void client_connect(struct client *c, unsigned port)
{
	struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int on = 1;

	c->began_us = now_us();
	c->online_us = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		c->w->ops->gone(c, "no descriptor is left");
		return;
	}
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (c->w->nr_sources > 1 ? 256 + c->index % c->w->nr_sources : 0));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	c->ssl = SSL_new(c->w->tls);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 || SSL_set1_host(c->ssl, c->w->domain) != 1 ||
		SSL_set_tlsext_host_name(c->ssl, c->w->domain) != 1 || SSL_set_app_data(c->ssl, c) != 1 ||
		(c->session != NULL && SSL_set_session(c->ssl, c->session) != 1))
		abort();
	c->state = CLIENT_CONNECTING;
	c->step = 0;
	c->tls_done = c->has_session = false;
	scan_reset(&c->scan);
	event_assign(&c->ev, c->w->base, c->fd, EV_WRITE | EV_PERSIST, on_event, c);
	event_add(&c->ev, NULL);
	if (bind(c->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
		(connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS))
		lost(c, "refused");
}

void client_close(struct client *c)
{
	if (c->state == CLIENT_GONE || c->state == CLIENT_CLOSING)
		return;
	client_queue(c, "</stream:stream>", 16);
	client_flush(c);
	c->state = CLIENT_CLOSING;
}
