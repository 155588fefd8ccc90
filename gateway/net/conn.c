#include "net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <unistd.h>

/*
 * A connection and its one event for reading, one for writing. One read into a buffer of the thread and one flush at the turn's end. What the peer's
 * TCP has acknowledged is asked of the kernel (SIOCOUTQ) while somebody watches. Freed by the reaper only, never inside a callback.
 */

#define CONN_MAGIC 0x434f4e4eu
#define READ_MAX 16384
#define WRITE_MAX 65536
#define FLUSH_MS 5000
#define POLL_FIRST_MS 1
#define POLL_MAX_MS 50

enum phase { CONNECTING, OPEN, CLOSING, LINGERING, OVER };

struct conn {
	unsigned magic;
	struct loop *loop;
	int fd;
	SSL *ssl, *next_ssl;                /* next_ssl: begins when the plain output has gone */
	enum phase phase;
	bool paused, handshaking, above_high, want_write, watching;
	struct conn_limits limits;
	const struct conn_ops *ops;
	void *arg;
	struct event read_ev, write_ev;
	struct loop_task turn;              /* flush, and bytes left inside TLS */
	struct loop_timer timer, poll;      /* timer: closing, lingering */
	unsigned poll_ms, linger_ms;
	struct buf out;
	uint64_t position, bytes_in, raw_out, acked, mark_pos, mark_wire;
	enum conn_end why;
	char text[120];
	uint16_t port;
	char peer[INET6_ADDRSTRLEN];
};

static struct conn *conn_of(void *arg)
{
	struct conn *c = arg;

	OBJ_CHECK(c, CONN_MAGIC);
	return c;
}

/* --- the end ------------------------------------------------------------- */

static void free_conn(void *arg)
{
	struct conn *c = conn_of(arg);

	SSL_free(c->ssl);
	SSL_free(c->next_ssl);
	buf_clear(&c->out);
	close(c->fd);
	c->magic = 0;
	free(c);
}

static void report(void *arg)
{
	struct conn *c = conn_of(arg);

	c->ops->closed(c->arg, c->why, c->text);
	loop_reap(c->loop, free_conn, c);
}

/* The first reason counts. closed() comes at the turn's end, then the memory goes. */
static void finish(struct conn *c, enum conn_end why, const char *text)
{
	if (c->phase == OVER)
		return;
	c->phase = OVER;
	c->why = why;
	snprintf(c->text, sizeof c->text, "%s", text);
	event_del(&c->read_ev);
	event_del(&c->write_ev);
	loop_timer_cancel(&c->timer);
	loop_timer_cancel(&c->poll);
	loop_task_cancel(c->loop, &c->turn);
	loop_reap(c->loop, report, c);
}

static const char *tls_error(void)
{
	unsigned long e = ERR_get_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	return text ? text : "the handshake failed";
}

/* --- moving bytes -------------------------------------------------------- */

/* > 0: bytes; 0: not now; < 0: finished. */
static ssize_t tls_result(struct conn *c, int n)
{
	int err = SSL_get_error(c->ssl, n);

	switch (err) {
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_WANT_WRITE:
		c->want_write = true;
		event_add(&c->write_ev, NULL);
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		finish(c, c->phase >= CLOSING ? CONN_END_CLOSED_BY_US : CONN_END_EOF, "closed by the peer");
		return -1;
	default:
		if (c->handshaking)
			finish(c, CONN_END_TLS_FAILED, tls_error());
		else
			finish(c, c->phase >= CLOSING ? CONN_END_CLOSED_BY_US : CONN_END_RESET, "the connection broke");
		return -1;
	}
}

static ssize_t read_some(struct conn *c, char *to, size_t n)
{
	ssize_t got;

	ERR_clear_error();
	if (c->ssl != NULL) {
		int r = SSL_read(c->ssl, to, (int)n);

		return r > 0 ? r : tls_result(c, r);
	}
	got = read(c->fd, to, n);
	if (got > 0)
		return got;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got == 0)
		finish(c, c->phase >= CLOSING ? CONN_END_CLOSED_BY_US : CONN_END_EOF, "closed by the peer");
	else
		finish(c, c->phase >= CLOSING ? CONN_END_CLOSED_BY_US : CONN_END_RESET, strerror(errno));
	return -1;
}

static ssize_t write_some(struct conn *c, struct slice s)
{
	ssize_t sent;

	ERR_clear_error();
	if (c->ssl != NULL) {
		int r = SSL_write(c->ssl, s.p, (int)s.n);

		return r > 0 ? r : tls_result(c, r);
	}
	sent = send(c->fd, s.p, s.n, MSG_NOSIGNAL);
	if (sent >= 0) {
		c->raw_out += (uint64_t)sent;
		return sent;
	}
	if (errno == EAGAIN || errno == EINTR) {
		c->want_write = true;
		event_add(&c->write_ev, NULL);
		return 0;
	}
	finish(c, CONN_END_RESET, strerror(errno));
	return -1;
}

static void begin_tls(struct conn *c)
{
	c->ssl = c->next_ssl;
	c->next_ssl = NULL;
	c->handshaking = true;
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
		finish(c, CONN_END_TLS_FAILED, "no memory for TLS");
		return;
	}
	loop_task_queue(c->loop, &c->turn);
}

static void handshake(struct conn *c)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(c->ssl);
	if (r != 1) {
		(void)tls_result(c, r);
		return;
	}
	c->handshaking = false;
	c->ops->tls_done(c->arg);
	if (c->phase != OVER)
		loop_task_queue(c->loop, &c->turn);
}

/* Both directions of a closing connection: our close_notify and FIN, then the peer's, for as long as we linger. */
static void half_close(struct conn *c)
{
	if (c->ssl != NULL && !c->handshaking)
		(void)SSL_shutdown(c->ssl);
	ERR_clear_error();
	shutdown(c->fd, SHUT_WR);
	c->phase = LINGERING;
	if (c->linger_ms == 0)
		finish(c, CONN_END_CLOSED_BY_US, "closed");
	else
		loop_timer_set(&c->timer, c->linger_ms);
}

static void look_low(struct conn *c)
{
	if (c->above_high && buf_len(&c->out) <= c->limits.out_low) {
		c->above_high = false;
		if (c->phase == OPEN)
			c->ops->drained(c->arg);
	}
}

static void flush(struct conn *c)
{
	size_t budget = WRITE_MAX;

	while (buf_len(&c->out) > 0 && budget > 0 && !c->want_write && !c->handshaking) {
		struct slice s = buf_slice(&c->out);
		ssize_t sent;

		s.n = s.n < budget ? s.n : budget;
		sent = write_some(c, s);
		if (sent < 0)
			return;
		if (sent == 0)
			break;
		buf_drain(&c->out, (size_t)sent);
		budget -= (size_t)sent;
	}
	if (buf_len(&c->out) > 0) {
		if (!c->want_write && !c->handshaking)
			loop_task_queue(c->loop, &c->turn);
		return;
	}
	buf_release_if_empty(&c->out);
	if (c->next_ssl != NULL)
		begin_tls(c);
	else if (c->phase == CLOSING)
		half_close(c);
}

/* One read for each wake-up; what TLS still holds inside comes with the next turn, since no descriptor will tell of it. */
static void take(struct conn *c)
{
	static _Thread_local char scratch[READ_MAX];
	ssize_t got;

	if (c->phase == LINGERING || c->phase == CLOSING) {
		while ((got = read_some(c, scratch, sizeof scratch)) > 0)
			;
		return;
	}
	if (c->paused || c->phase != OPEN)
		return;
	got = read_some(c, scratch, sizeof scratch);
	if (got <= 0)
		return;
	c->bytes_in += (uint64_t)got;
	c->ops->data(c->arg, (struct slice){scratch, (size_t)got});
	if (c->phase == OPEN && c->ssl != NULL && !c->handshaking && SSL_pending(c->ssl) > 0)
		event_active(&c->read_ev, EV_READ, 0);
}

static void on_turn(void *arg)
{
	struct conn *c = conn_of(arg);

	if (c->phase == OVER || c->phase == CONNECTING)
		return;
	if (c->handshaking && c->ssl != NULL)
		handshake(c);
	if (c->phase == OPEN || c->phase == CLOSING) {
		flush(c);
		if (c->phase != OVER)
			look_low(c);
	}
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = conn_of(arg);

	(void)fd;
	(void)what;
	if (c->phase == OVER)
		return;
	if (c->handshaking) {
		if (c->ssl != NULL)
			handshake(c);
		return;
	}
	take(c);
}

static void connected(struct conn *c)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err != 0) {
		finish(c, CONN_END_CONNECT_FAILED, strerror(err));
		return;
	}
	c->phase = OPEN;
	event_add(&c->read_ev, NULL);
	c->ops->connected(c->arg);
	loop_task_queue(c->loop, &c->turn);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = conn_of(arg);

	(void)fd;
	(void)what;
	c->want_write = false;
	if (c->phase == CONNECTING)
		connected(c);
	else
		on_turn(c);
}

/* --- acknowledgements ---------------------------------------------------- */

static uint64_t wire_position(const struct conn *c)
{
	return c->ssl != NULL ? c->raw_out + BIO_number_written(SSL_get_wbio(c->ssl)) : c->raw_out;
}

/* The kernel counts bytes of the wire, which TLS makes of plaintext as it likes: a mark joins a position in the one with a position in the other. Part of
 * a record that TLS has not finished is counted on the wire but not in the plaintext, which errs on the safe side. */
static void set_mark(struct conn *c)
{
	c->mark_pos = c->position - buf_len(&c->out);
	c->mark_wire = wire_position(c);
}

static void on_poll(void *arg)
{
	struct conn *c = conn_of(arg);
	int queued = 0;

	if (ioctl(c->fd, SIOCOUTQ, &queued) == 0 && !c->handshaking && wire_position(c) - (uint64_t)queued >= c->mark_wire &&
	    c->mark_pos > c->acked) {
		c->acked = c->mark_pos;
		c->poll_ms = POLL_FIRST_MS;
		c->ops->acked(c->arg, c->acked);
		if (c->phase != OPEN)
			return;
	}
	if (c->acked == c->position) {
		c->watching = false;
		return;
	}
	if (c->mark_pos <= c->acked)
		set_mark(c);
	c->poll_ms = 2 * c->poll_ms < POLL_MAX_MS ? 2 * c->poll_ms : POLL_MAX_MS;
	loop_timer_set(&c->poll, c->poll_ms);
}

void conn_watch_acks(struct conn *c)
{
	if (c->watching || c->phase != OPEN)
		return;
	c->watching = true;
	c->poll_ms = POLL_FIRST_MS;
	loop_timer_set(&c->poll, c->poll_ms);
}

/* --- birth and control --------------------------------------------------- */

static void on_timer(void *arg)
{
	finish(conn_of(arg), CONN_END_CLOSED_BY_US, "closed");
}

static void name_peer(struct conn *c, const struct sockaddr *a)
{
	const struct sockaddr_in6 *six = (const void *)a;
	const struct sockaddr_in *four = (const void *)a;

	if (a->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, c->peer, sizeof c->peer);
	else if (a->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &six->sin6_addr, c->peer, sizeof c->peer);
	else
		inet_ntop(AF_INET, &four->sin_addr, c->peer, sizeof c->peer);
	c->port = ntohs(a->sa_family == AF_INET6 ? six->sin6_port : four->sin_port);
}

static struct conn *make(struct loop *l, int fd, const struct sockaddr *peer, const struct conn_limits *limits, const struct conn_ops *ops,
			 void *arg)
{
	struct conn *c = NEW(struct conn);
	int on = 1;

	c->magic = CONN_MAGIC;
	c->loop = l;
	c->fd = fd;
	c->limits = *limits;
	c->ops = ops;
	c->arg = arg;
	c->phase = OPEN;
	name_peer(c, peer);
	buf_init(&c->out, limits->out_max);
	loop_task_init(&c->turn, on_turn, c);
	loop_timer_init(l, &c->timer, on_timer, c);
	loop_timer_init(l, &c->poll, on_poll, c);
	ASSERT(event_assign(&c->read_ev, loop_base(l), fd, EV_READ | EV_PERSIST, on_read, c) == 0);
	ASSERT(event_assign(&c->write_ev, loop_base(l), fd, EV_WRITE, on_write, c) == 0);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return c;
}

struct conn *conn_accept(struct loop *l, int fd, const struct sockaddr *peer, socklen_t peer_len, const struct conn_limits *limits,
			 const struct conn_ops *ops, void *arg)
{
	struct conn *c = make(l, fd, peer, limits, ops, arg);

	(void)peer_len;
	event_add(&c->read_ev, NULL);
	return c;
}

struct conn *conn_connect(struct loop *l, const struct sockaddr *to, socklen_t to_len, const struct conn_limits *limits,
			  const struct conn_ops *ops, void *arg)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct conn *c;

	if (fd < 0)
		return NULL;
	if (connect(fd, to, to_len) != 0 && errno != EINPROGRESS) {
		close(fd);
		return NULL;
	}
	c = make(l, fd, to, limits, ops, arg);
	c->phase = CONNECTING;
	event_add(&c->write_ev, NULL);
	return c;
}

void conn_start_tls(struct conn *c, SSL *ssl)
{
	ASSERT(c->ssl == NULL && c->next_ssl == NULL);
	c->next_ssl = ssl;
	if (c->phase != OPEN && c->phase != CONNECTING)
		return;
	if (buf_len(&c->out) == 0 && c->phase == OPEN)
		begin_tls(c);
	else
		loop_task_queue(c->loop, &c->turn);
}

SSL *conn_ssl(const struct conn *c)
{
	return c->ssl;
}

void conn_send(struct conn *c, struct slice bytes)
{
	if (c->phase != OPEN && c->phase != CONNECTING)
		return;
	c->position += bytes.n;
	if (buf_add_slice(&c->out, bytes) != 0) {
		finish(c, CONN_END_OVERFLOW, "too much output is waiting");
		return;
	}
	c->above_high |= buf_len(&c->out) > c->limits.out_high;
	loop_task_queue(c->loop, &c->turn);
}

bool conn_full(const struct conn *c)
{
	return buf_len(&c->out) > c->limits.out_high;
}

size_t conn_queued(const struct conn *c)
{
	return buf_len(&c->out);
}

uint64_t conn_position(const struct conn *c)
{
	return c->position;
}

/* Paused: no event for reading, so that the kernel's buffer fills and the peer feels it. A reset shows at the next write. */
void conn_pause(struct conn *c, bool paused)
{
	if (c->paused == paused)
		return;
	c->paused = paused;
	if (c->phase != OPEN)
		return;
	if (paused) {
		event_del(&c->read_ev);
		return;
	}
	event_add(&c->read_ev, NULL);
	if (c->ssl != NULL && SSL_pending(c->ssl) > 0)
		event_active(&c->read_ev, EV_READ, 0);
}

void conn_close(struct conn *c, unsigned linger_ms)
{
	if (c->phase >= CLOSING)
		return;
	if (c->phase == CONNECTING || c->handshaking) {
		finish(c, CONN_END_CLOSED_BY_US, "closed");
		return;
	}
	c->phase = CLOSING;
	c->linger_ms = linger_ms;
	loop_timer_cancel(&c->poll);
	event_add(&c->read_ev, NULL);
	loop_timer_set(&c->timer, FLUSH_MS);
	loop_task_queue(c->loop, &c->turn);
}

void conn_abort(struct conn *c)
{
	finish(c, CONN_END_CLOSED_BY_US, "cut");
}

const char *conn_peer_text(const struct conn *c)
{
	return c->peer;
}

uint16_t conn_peer_port(const struct conn *c)
{
	return c->port;
}

uint64_t conn_bytes_in(const struct conn *c)
{
	return c->bytes_in;
}

uint64_t conn_bytes_out(const struct conn *c)
{
	return c->position - buf_len(&c->out);
}
