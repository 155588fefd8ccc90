/*
 * A connection whose TLS handshake waits for its turn (net/handshakes.h). What the peer has said stays in the kernel's buffer, so that one
 * that waits costs no TLS memory; that the peer has gone is noticed nevertheless.
 */
#include "net/conn_int.h"
#include "net/handshakes.h"

static void tell(struct conn *c, bool waits)
{
	if (c->ops->waits != NULL)
		c->ops->waits(c->arg, waits);
}

void conn_knock(struct conn *c, short what)
{
	struct handshakes *h = c->limits->handshakes;

	if (c->wait == NULL) {
		if (handshakes_enter(h, c))
			conn_admitted(c);
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
	uint64_t begun = handshakes_begin(c->limits->handshakes);

	c->state = CONN_HANDSHAKE;
	tell(c, false);
	if (c->state == CONN_HANDSHAKE)
		conn_handshake_step(c);
	handshakes_end(c->limits->handshakes, HANDSHAKES_LOGIN, begun, &c->charged_us);
}

void conn_turned_away(struct conn *c)
{
	conn_end_now(c, CONN_END_CROWDED, "too many came at the same time");
}

void conn_settled(struct conn *c)
{
	c->newcomer = false;
}
