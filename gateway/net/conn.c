/*
 * A connection's life and bytes: one event on the descriptor, one read and one flush a turn; a newcomer's behind those of all who are in.
 * It never calls its owner from inside a call of the owner's, never frees itself inside a callback, and waits for no event while input is
 * inside TLS. Endings are in conn_close.c.
 */
#include "net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/stat.h"
#include "net/conn_int.h"
#include "net/handshakes.h"

static struct conn *conn_of(void *arg)
{
	struct conn *c = arg;

	OBJ_CHECK(c, CONN_MAGIC);
	return c;
}

/* --- events -------------------------------------------------------------- */

static void on_event(evutil_socket_t fd, short what, void *arg);

/* Without a read interest the peer's reset would go unseen, or, level-triggered, be seen without end: EPOLLERR wakes an edge-triggered
 * write interest once. */
#define WATCH_RESET (EV_WRITE | EV_ET)
/* What the peer says stays unread; more of it is worth a look, until all is known, and so is that it has gone. */
#define WATCH_WAITING (EV_READ | EV_CLOSED | EV_ET)
#define WATCH_GONE (EV_WRITE | EV_CLOSED | EV_ET)

static short wanted_interest(const struct conn *c)
{
	short writes = c->write_blocked || c->read_blocked ? EV_WRITE : 0;

	if (c->unwatched)
		return 0;
	switch ((enum conn_state)c->state) {
	case CONN_CONNECTING:
		return EV_WRITE;
	case CONN_LAST_PLAIN: /* as a rule it is over at this turn's end: not worth four system calls */
		return c->write_blocked ? WATCH_RESET : c->interest;
	case CONN_AT_THE_DOOR:
		return c->wait == NULL ? EV_READ : c->looked_through ? WATCH_GONE : WATCH_WAITING;
	case CONN_HANDSHAKE:
		return c->away ? 0 : c->handshake_writes ? EV_WRITE : EV_READ;
	case CONN_OPEN:
		return c->parked ? WATCH_RESET : c->read_blocked ? EV_WRITE : EV_READ | writes;
	case CONN_FLUSHING:
	case CONN_FINISHING:
	case CONN_LINGERING:
		return c->peer_done ? WATCH_RESET : EV_READ | writes;
	case CONN_ENDED:
		break;
	}
	return 0;
}

void conn_update_interest(struct conn *c)
{
	short want = wanted_interest(c);

	if (want == c->interest)
		return;
	if (c->interest != 0)
		event_del(&c->ev);
	c->interest = want;
	if (want == 0)
		return;
	int err = event_assign(&c->ev, loop_base(c->loop), c->ch.fd, (short)(want | EV_PERSIST), on_event, c);
	ASSERT(err == 0);
	err = event_add(&c->ev, NULL);
	ASSERT(err == 0);
}

/* --- reading ------------------------------------------------------------- */

static bool reads(const struct conn *c)
{
	return c->state == CONN_OPEN && !c->paused;
}

/* There is more inside TLS: others have their turn before, and all others before a newcomer. */
static void read_again(struct conn *c)
{
	if (conn_stands_behind(c))
		loop_task_queue_behind(c->loop, &c->again);
	else
		loop_task_queue_next(c->loop, &c->again);
}

static void read_turn(struct conn *c)
{
	char *scratch = net_shared_scratch(c->shared);
	ssize_t got = c->ch.ops->read(&c->ch, scratch, CONN_READ_MAX);

	c->read_blocked = got == TRANSPORT_WANT_WRITE;
	if (got > 0) {
		c->bytes_in += (uint64_t)got;
		stat_add(STAT_bytes_in, (uint64_t)got);
		acks_came(c);
		if (c->state == CONN_OPEN)
			c->ops->data(c->arg, (struct slice){scratch, (size_t)got});
		if (reads(c) && c->ch.ops->more(&c->ch))
			read_again(c);
	} else if (got == TRANSPORT_EOF) {
		conn_at_eof(c);
	} else if (got != TRANSPORT_WANT_READ && got != TRANSPORT_WANT_WRITE) {
		conn_end_by(c, (int)got);
	}
	/* TLS may have had to read before it could write */
	if (buf_len(&c->out) > 0 && !c->write_blocked)
		loop_task_queue(c->loop, &c->turn);
	conn_update_interest(c);
}

void conn_pause(struct conn *c, bool paused)
{
	c->paused = paused;
	if (paused || c->state != CONN_OPEN)
		return;
	c->parked = false;
	if (c->ch.ops->more(&c->ch))
		read_again(c);
	conn_update_interest(c);
}

/* --- writing ------------------------------------------------------------- */

/* What of the queue may go to the transport in force. */
static size_t sendable(const struct conn *c)
{
	switch ((enum conn_state)c->state) {
	case CONN_LAST_PLAIN:
		return c->plain_left;
	case CONN_OPEN:
	case CONN_FLUSHING:
		return buf_len(&c->out);
	default:
		return 0;
	}
}

static void sent(struct conn *c, size_t n)
{
	stat_add(STAT_bytes_out, n);
	buf_drain(&c->out, n);
	conn_count_out(c);
	c->sent += n;
	c->moved_at_ms = (uint32_t)loop_now_ms(c->loop);
	if (c->state == CONN_LAST_PLAIN)
		c->plain_left -= (uint32_t)n;
}

/* At most CONN_WRITE_MAX bytes. False when the connection broke. */
static bool write_some(struct conn *c)
{
	size_t budget = CONN_WRITE_MAX, n;

	while (!c->write_blocked && budget > 0 && (n = sendable(c)) > 0) {
		n = n < budget ? n : budget;
		ssize_t res = c->ch.ops->write(&c->ch, buf_slice(&c->out).p, n);

		c->write_blocked = res == TRANSPORT_WANT_WRITE;
		if (res == TRANSPORT_WANT_WRITE || res == TRANSPORT_WANT_READ)
			break;
		if (res < 0) {
			conn_end_by(c, (int)res);
			return false;
		}
		sent(c, (size_t)res);
		budget -= (size_t)res;
	}
	if (sendable(c) > 0 && budget == 0)
		loop_task_queue_next(c->loop, &c->turn);
	if (c->write_blocked)
		conn_watch_stall(c);
	buf_release_if_empty(&c->out);
	return true;
}

static void tell_drained(struct conn *c)
{
	if (!c->was_full || buf_len(&c->out) > c->limits->out_low)
		return;
	c->was_full = false;
	if (c->state == CONN_OPEN)
		c->ops->drained(c->arg);
}

void conn_flush(struct conn *c)
{
	if (!write_some(c))
		return;
	acks_flushed(c);
	tell_drained(c);
	if (c->state == CONN_LAST_PLAIN && c->plain_left == 0)
		conn_to_handshake(c);
	else if (c->state == CONN_FINISHING || (c->state == CONN_FLUSHING && buf_len(&c->out) == 0))
		conn_closing_flushed(c);
	conn_update_interest(c);
}

void conn_count_out(struct conn *c)
{
	uint64_t grown = (uint64_t)buf_len(&c->out) - c->counted; /* or less than nothing: sums wrap */

	c->counted = (uint32_t)buf_len(&c->out);
	*net_shared_queued(c->shared) += grown;
	stat_add(STAT_held_output, grown);
}

static bool all_is_full(const struct conn *c)
{
	return c->limits->all_max > 0 && c->write_blocked && *net_shared_queued(c->shared) > c->limits->all_max;
}

void conn_send(struct conn *c, struct slice bytes)
{
	if (c->state >= CONN_FLUSHING)
		return;
	if (buf_add_slice(&c->out, bytes) != 0) {
		conn_end_now(c, CONN_END_OVERFLOW, "the peer reads too slowly");
		return;
	}
	conn_count_out(c);
	if (all_is_full(c)) {
		conn_end_now(c, CONN_END_OVERFLOW, "the peer reads too slowly, and so do many others");
		return;
	}
	c->was_full |= buf_len(&c->out) > c->limits->out_high;
	if (!c->write_blocked)
		loop_task_queue(c->loop, &c->turn);
}

/* --- handshakes: connect() and TLS --------------------------------------- */

static void begin_tls(struct conn *c)
{
	transport_tls_begin(&c->ch);
	c->state = CONN_LAST_PLAIN;
	if (c->plain_left == 0)
		conn_to_handshake(c);
	else if (!c->write_blocked)
		loop_task_queue(c->loop, &c->turn);
}

static void connect_step(struct conn *c)
{
	int res = c->ch.ops->handshake(&c->ch);

	if (res != TRANSPORT_DONE) {
		conn_end_now(c, CONN_END_CONNECT_FAILED, transport_why());
		return;
	}
	c->state = CONN_OPEN;
	if (c->ch.ssl != NULL)
		begin_tls(c);
	conn_update_interest(c);
	loop_task_queue(c->loop, &c->turn);
	c->ops->connected(c->arg);
}

void conn_handshake_did(struct conn *c, int res)
{
	c->handshake_writes = res == TRANSPORT_WANT_WRITE;
	if (res == TRANSPORT_DONE) {
		c->state = CONN_OPEN;
		loop_task_queue(c->loop, &c->turn);
		c->ops->tls_done(c->arg);
		if (reads(c) && c->ch.ops->more(&c->ch))
			read_again(c); /* a client's first words come with the end of its handshake */
	} else if (res != TRANSPORT_WANT_READ && res != TRANSPORT_WANT_WRITE) {
		conn_end_by(c, res);
	}
	conn_update_interest(c);
}

/* The client speaks first; a server that tried at once would only learn that nothing has come. */
void conn_to_handshake(struct conn *c)
{
	c->state = SSL_is_server(c->ch.ssl) && c->limits->handshakes != NULL ? CONN_AT_THE_DOOR : CONN_HANDSHAKE;
	c->parked = false;
	c->handshake_writes = !SSL_is_server(c->ch.ssl);
	c->ch.ops = &transport_tls;
	conn_update_interest(c);
}

void conn_start_tls(struct conn *c, SSL *ssl)
{
	ASSERT(c->ch.ssl == NULL);
	c->ch.ssl = ssl; /* the reaper frees it, whatever comes */
	c->plain_left = (uint32_t)buf_len(&c->out);
	if (c->state == CONN_OPEN)
		begin_tls(c);
	conn_update_interest(c);
}

/* --- the turn ------------------------------------------------------------ */

static void on_turn(void *arg)
{
	struct conn *c = conn_of(arg);

	if (c->state == CONN_ENDED)
		conn_report_end(c);
	else if (c->state != CONN_CONNECTING && c->state != CONN_AT_THE_DOOR && c->state != CONN_HANDSHAKE)
		conn_flush(c);
}

static void readable(struct conn *c)
{
	if (conn_is_closing(c)) {
		conn_drop_input(c);
	} else if (reads(c)) {
		read_turn(c);
	} else if (c->state == CONN_OPEN) {
		c->parked = true;
		conn_update_interest(c);
	}
}

static void writable(struct conn *c)
{
	/* who sees errors only through this event must ask for them */
	if ((c->interest & EV_ET) && transport_tcp.handshake(&c->ch) != TRANSPORT_DONE) {
		conn_end_by(c, TRANSPORT_RESET);
		return;
	}
	bool read_too = c->read_blocked && !c->paused;

	c->write_blocked = c->read_blocked = false;
	conn_flush(c);
	if (read_too && reads(c))
		read_turn(c);
}

static void act(struct conn *c, short what)
{
	/* conn_admitted() and a look at who waits are charged by themselves */
	uint64_t begun = c->newcomer && c->state != CONN_AT_THE_DOOR ? handshakes_begin(c->limits->handshakes) : 0;
	enum handshakes_stage stage = c->ch.ssl == NULL ? HANDSHAKES_ACCEPT : HANDSHAKES_LOGIN;

	if (c->state == CONN_CONNECTING) {
		connect_step(c);
	} else if (c->state == CONN_AT_THE_DOOR) {
		conn_knock(c, what);
	} else if (c->state == CONN_HANDSHAKE) {
		conn_handshake_step(c);
	} else {
		if (what & EV_WRITE)
			writable(c);
		if ((what & EV_READ) && c->state != CONN_ENDED)
			readable(c);
	}
	handshakes_end(c->limits->handshakes, stage, begun, &c->charged_us);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = conn_of(arg);

	(void)fd;
	if (conn_stands_behind(c))
		conn_put_off(c, what);
	else
		act(c, what);
}

static void on_again(void *arg)
{
	struct conn *c = conn_of(arg);
	short what = conn_take_late(c) | (reads(c) ? EV_READ : 0);

	if (c->away && c->state == CONN_HANDSHAKE) /* one that is being closed has no use for the step, and keeps it to its end */
		conn_step_is_back(c);
	else if (what != 0)
		act(c, what);
	conn_update_interest(c);
}

/* --- birth --------------------------------------------------------------- */

static const char *text_of(const struct sockaddr *a, char *to, size_t size, uint16_t *port)
{
	struct sockaddr_in6 six = {0};
	struct sockaddr_in four = {0};

	if (a->sa_family != AF_INET6) {
		memcpy(&four, a, sizeof four);
		*port = ntohs(four.sin_port);
		return inet_ntop(AF_INET, &four.sin_addr, to, (socklen_t)size);
	}
	memcpy(&six, a, sizeof six);
	*port = ntohs(six.sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
		return inet_ntop(AF_INET, six.sin6_addr.s6_addr + 12, to, (socklen_t)size);
	return inet_ntop(AF_INET6, &six.sin6_addr, to, (socklen_t)size);
}

static struct conn *make(struct loop *l, int fd, enum conn_state state, const struct sockaddr *peer, const struct conn_limits *limits,
			 const struct conn_ops *ops, void *arg)
{
	char text[INET6_ADDRSTRLEN] = "";
	uint16_t port = 0;

	(void)text_of(peer, text, sizeof text, &port);
	struct conn *c = mem_alloc(sizeof *c + strlen(text) + 1);
	memcpy(c->peer_text, text, strlen(text) + 1);
	c->magic = CONN_MAGIC;
	c->state = (unsigned char)state;
	c->peer_port = port;
	c->loop = l;
	c->ops = ops;
	c->arg = arg;
	c->shared = net_shared_get(l);
	c->ch = (struct channel){.ops = &transport_tcp, .fd = fd};
	ASSERT(limits->out_max <= UINT32_MAX && limits->out_high <= limits->out_max && limits->out_low <= limits->out_high);
	buf_init(&c->out, limits->out_max);
	c->limits = limits;
	loop_task_init(&c->turn, on_turn, c);
	loop_task_init(&c->again, on_again, c);
	conn_update_interest(c);
	return c;
}

struct conn *conn_accept(struct loop *l, int fd, const struct sockaddr *peer, socklen_t peer_len, const struct conn_limits *limits,
			 const struct conn_ops *ops, void *arg)
{
	struct conn *c = make(l, fd, CONN_OPEN, peer, limits, ops, arg);

	(void)peer_len;
	c->newcomer = true;
	return c;
}

struct conn *conn_connect(struct loop *l, const struct sockaddr *to, socklen_t to_len, const struct conn_limits *limits,
			  const struct conn_ops *ops, void *arg)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return NULL;
	(void)transport_tune(fd); /* a courtesy */
	if (connect(fd, to, to_len) != 0 && errno != EINPROGRESS) {
		close(fd);
		return NULL;
	}
	return make(l, fd, CONN_CONNECTING, to, limits, ops, arg);
}

/* --- what it says of itself ---------------------------------------------- */

SSL *conn_ssl(const struct conn *c)
{
	return c->ch.ssl;
}

bool conn_full(const struct conn *c)
{
	return buf_len(&c->out) > c->limits->out_high;
}

size_t conn_queued(const struct conn *c)
{
	return buf_len(&c->out);
}

uint64_t conn_position(const struct conn *c)
{
	return c->sent + buf_len(&c->out);
}

const char *conn_peer_text(const struct conn *c)
{
	return c->peer_text;
}

uint16_t conn_peer_port(const struct conn *c)
{
	return c->peer_port;
}

uint64_t conn_bytes_in(const struct conn *c)
{
	return c->bytes_in;
}

uint64_t conn_bytes_out(const struct conn *c)
{
	return c->sent;
}
