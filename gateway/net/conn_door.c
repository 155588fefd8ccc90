/*
 * What makes a newcomer's connection different. All its events stand behind those of who is in. When its TLS handshake waits for its turn
 * (net/handshakes.h) what the peer has said stays in the kernel's buffer, so that one that waits costs no buffers of TLS; that the peer
 * has gone is noticed nevertheless.
 */
#include "net/conn_int.h"
#include "net/handshakes.h"

bool conn_stands_behind(const struct conn *c)
{
	return c->newcomer && handshakes_are_paced(c->limits->handshakes);
}

static void tell(struct conn *c, bool waits)
{
	if (c->ops->waits != NULL)
		c->ops->waits(c->arg, waits);
}

void conn_put_off(struct conn *c, short what)
{
	/* as a rule it is looked at in this turn of the loop, and four system calls are saved; else what nobody looks at would be told
	 * again and again */
	c->unwatched = c->late_read || c->late_write || c->late_closed;
	c->late_read |= (what & EV_READ) != 0;
	c->late_write |= (what & EV_WRITE) != 0;
	c->late_closed |= (what & EV_CLOSED) != 0;
	loop_task_queue_behind(c->loop, &c->again);
	conn_update_interest(c);
}

short conn_take_late(struct conn *c)
{
	short what = (short)((c->late_read ? EV_READ : 0) | (c->late_write ? EV_WRITE : 0) | (c->late_closed ? EV_CLOSED : 0));

	c->late_read = c->late_write = c->late_closed = c->unwatched = false;
	return what;
}

static void step_in(struct conn *c)
{
	uint64_t begun = handshakes_begin(c->limits->handshakes);

	c->state = CONN_HANDSHAKE;
	conn_handshake_step(c);
	handshakes_end(c->limits->handshakes, HANDSHAKES_LOGIN, begun, &c->charged_us);
}

void conn_knock(struct conn *c, short what)
{
	struct handshakes *h = c->limits->handshakes;

	if (c->wait == NULL) {
		if (handshakes_enter(h, c))
			step_in(c);
		else if (c->wait != NULL)
			tell(c, true);
	} else if ((what & EV_CLOSED) || transport_tcp.handshake(&c->ch) != TRANSPORT_DONE) {
		conn_end_by(c, TRANSPORT_RESET);
	} else {
		handshakes_more(h, c);
	}
	conn_update_interest(c);
}

void conn_admitted(struct conn *c)
{
	c->state = CONN_HANDSHAKE;
	tell(c, false);
	if (c->state != CONN_HANDSHAKE)
		return;
	c->late_read = true; /* what it has said, and what else it says, it will find when its turn comes */
	conn_put_off(c, EV_READ);
}

void conn_turned_away(struct conn *c)
{
	conn_end_now(c, CONN_END_CROWDED, "too many came at the same time");
}

void conn_settled(struct conn *c)
{
	c->newcomer = false;
	handshakes_came_in(c->limits->handshakes, c);
	if (c->ch.open)
		transport_tls_settled(&c->ch);
}
