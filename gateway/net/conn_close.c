/*
 * How connections end. In order: the queue, close_notify, FIN, then reading and dropping until the peer's FIN or the lingering time, so
 * that a reset caused by input that nobody read does not destroy what was sent last. Whatever the way, closed() comes once, at the end
 * of the turn, and the reaper frees.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn_int.h"
#include "net/handshakes.h"

enum {
	FLUSH_MS = 5000,       /* the peer's time to take the rest */
	DROPS = 8,             /* reads a turn while dropping */
	DROP_MAX = 4 << 20,    /* bytes in all: more than is on its way from who does not know yet */
};

static void free_conn(void *p)
{
	struct conn *c = p;

	OBJ_CHECK(c, CONN_MAGIC);
	SSL_free(c->ch.ssl);
	free(c->timer);
	free(c->end_text);
	net_shared_put(c->shared);
	c->magic = 0;
	free(c);
}

void conn_report_end(struct conn *c)
{
	c->ops->closed(c->arg, (enum conn_end)c->end, c->end_text);
	loop_reap(c->loop, free_conn, c);
}

static void leave_open(struct conn *c)
{
	loop_task_cancel(c->loop, &c->turn);
	loop_task_cancel(c->loop, &c->again);
	(void)conn_take_late(c);
	if (c->timer)
		loop_timer_cancel(c->timer);
	acks_drop(c);
	handshakes_leave(c->limits->handshakes, c);
}

/* What the peer would not read must not stay in the kernel for minutes. */
static void reset_at_close(struct conn *c)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(c->ch.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void conn_end_now(struct conn *c, enum conn_end why, const char *text)
{
	if (c->state == CONN_ENDED)
		return;
	if (conn_is_closing(c))
		why = CONN_END_CLOSED_BY_US;
	leave_open(c);
	c->state = CONN_ENDED;
	conn_update_interest(c);
	if (why == CONN_END_OVERFLOW)
		reset_at_close(c);
	if (c->away)
		conn_leave_step(c);
	else
		close(c->ch.fd);
	c->ch.fd = -1;
	buf_clear(&c->out);
	conn_count_out(c);
	c->end = (unsigned char)why;
	c->end_text = mem_strdup(text);
	loop_task_queue(c->loop, &c->turn);
}

/* Reads what has come, to no purpose but that close() will not answer it with a reset. True at the peer's end, and
 * when it has sent so much that it is not worth the reading: it is no more waited for. */
static bool drop(struct conn *c)
{
	char *scratch = net_shared_scratch(c->shared);
	ssize_t got = 1;

	for (int i = 0; i < DROPS && got > 0 && c->dropped < DROP_MAX; i++) {
		got = transport_tcp.read(&c->ch, scratch, CONN_READ_MAX);
		c->dropped += got > 0 ? (uint32_t)got : 0;
	}
	return c->dropped >= DROP_MAX || (got != TRANSPORT_WANT_READ && got <= 0);
}

void conn_end_by(struct conn *c, int res)
{
	bool handshake = c->state == CONN_AT_THE_DOOR || c->state == CONN_HANDSHAKE;

	if (c->state == CONN_ENDED)
		return;
	if (res == TRANSPORT_EOF) {
		conn_end_now(c, CONN_END_EOF, "the peer closed the connection");
		return;
	}
	if (res == TRANSPORT_TLS_FAILED) {
		char *text = mem_strdup(transport_why());

		/* OpenSSL has sent an alert that says why: let it arrive */
		shutdown(c->ch.fd, SHUT_WR);
		(void)drop(c);
		conn_end_now(c, CONN_END_TLS_FAILED, text);
		free(text);
		return;
	}
	conn_end_now(c, CONN_END_RESET, handshake ? "the peer left during the TLS handshake" : transport_why());
}

/* The peer said its last word; what is queued may still reach it, close_notify and FIN too. */
void conn_at_eof(struct conn *c)
{
	if (buf_len(&c->out) > 0)
		conn_flush(c);
	if (c->state == CONN_ENDED)
		return;
	if (buf_len(&c->out) == 0)
		(void)c->ch.ops->shutdown(&c->ch);
	conn_end_by(c, TRANSPORT_EOF);
}

/* Set once for many blocks and looked at when it fires, so that a busy connection re-arms nothing. */
static void on_stall_timer(struct conn *c)
{
	uint32_t still_ms = (uint32_t)loop_now_ms(c->loop) - c->moved_at_ms;

	if (!c->write_blocked)
		return;
	if (still_ms >= c->limits->stall_ms)
		c->ops->stalled(c->arg);
	else
		loop_timer_set(c->timer, c->limits->stall_ms - still_ms);
}

static void on_timer(void *arg)
{
	struct conn *c = arg;

	OBJ_CHECK(c, CONN_MAGIC);
	if (!conn_is_closing(c)) {
		on_stall_timer(c);
		return;
	}
	if (c->state != CONN_LINGERING)
		reset_at_close(c);
	conn_end_now(c, CONN_END_CLOSED_BY_US, c->state == CONN_LINGERING ? "closed" : "closed; the peer did not take the rest in time");
}

static void set_timer(struct conn *c, unsigned ms)
{
	if (c->timer == NULL) {
		c->timer = NEW(struct loop_timer);
		loop_timer_init(c->loop, c->timer, on_timer, c);
	}
	loop_timer_set(c->timer, ms);
}

void conn_watch_stall(struct conn *c)
{
	if (c->limits->stall_ms == 0 || c->ops->stalled == NULL || c->state != CONN_OPEN ||
	    (c->timer != NULL && loop_timer_pending(c->timer)))
		return;
	c->moved_at_ms = (uint32_t)loop_now_ms(c->loop);
	set_timer(c, c->limits->stall_ms);
}

void conn_closing_flushed(struct conn *c)
{
	if (c->ch.ops->shutdown(&c->ch) == TRANSPORT_WANT_WRITE) {
		c->state = CONN_FINISHING;
		c->write_blocked = true;
		return;
	}
	shutdown(c->ch.fd, SHUT_WR);
	bool over = drop(c) || c->peer_done;
	if (over || c->linger_ms == 0) {
		conn_end_now(c, CONN_END_CLOSED_BY_US, "closed");
		return;
	}
	c->state = CONN_LINGERING;
	set_timer(c, c->linger_ms);
}

/* The peer may go on sending while we flush: unread, it would block, and so would we. */
void conn_drop_input(struct conn *c)
{
	if (!drop(c))
		return;
	if (c->state == CONN_LINGERING)
		conn_end_now(c, CONN_END_CLOSED_BY_US, "closed");
	else
		c->peer_done = true;
	conn_update_interest(c);
}

void conn_close(struct conn *c, unsigned linger_ms)
{
	if (c->state >= CONN_FLUSHING)
		return;
	if (c->state == CONN_CONNECTING) {
		conn_end_now(c, CONN_END_CLOSED_BY_US, "closed");
		return;
	}
	if (c->state == CONN_LAST_PLAIN)
		buf_truncate(&c->out, c->plain_left);
	else if (c->state == CONN_AT_THE_DOOR || c->state == CONN_HANDSHAKE)
		buf_clear(&c->out); /* it was to go encrypted */
	conn_count_out(c);
	handshakes_leave(c->limits->handshakes, c);
	ASSERT(linger_ms <= UINT16_MAX);
	c->linger_ms = (uint16_t)linger_ms;
	c->dropped = 0;
	c->state = CONN_FLUSHING;
	c->ch.corked = true; /* the last words go out in one segment, which the FIN pushes */
	c->read_blocked = false;
	loop_task_cancel(c->loop, &c->again);
	(void)conn_take_late(c);
	set_timer(c, FLUSH_MS);
	loop_task_queue(c->loop, &c->turn);
	conn_update_interest(c);
}

void conn_abort(struct conn *c)
{
	conn_end_now(c, CONN_END_CLOSED_BY_US, "cut");
}
