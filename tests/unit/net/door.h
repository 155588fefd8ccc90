#ifndef AMBROSIA_TESTS_NET_DOOR_H
#define AMBROSIA_TESTS_NET_DOOR_H

/* A door (net/handshakes.h) before the one of a pair of connections that is called, b. */
#include <sys/socket.h>
#include <unistd.h>

#include "../check.h"
#include "common/jobs.h"
#include "net/conn_int.h"
#include "net/handshakes_int.h"
#include "pair.h"

static struct handshakes *door;
static struct jobs *steps;              /* where its handshakes may run; NULL: nowhere else */

static void begin(struct admission_options o)
{
	pair_begin();
	door = handshakes_new(loop, &o, steps);
	limits.handshakes = door;
}

static void end(void)
{
	jobs_free(steps);
	steps = NULL;
	if (raw >= 0)
		close(raw);
	raw = -1;
	if (a.conn)
		conn_abort(a.conn);
	if (b.conn)
		conn_abort(b.conn);
	loop_turn(loop);
	CHECK_EQ(handshakes_waiting(door), 0);
	handshakes_free(door);
	pair_end();
}

static void use_up(unsigned ms)
{
	admission_charge(&door->login, ms * 1000, handshakes_begin(door));
}

/* Little, so that a test comes to its point before the bucket is full again. */
static const struct admission_options little = {.share_percent = 4, .burst_us = 1000, .patience_ms = 5000, .waiting_max = 10};

#define PART_OF_HELLO SLICE("\x16\x03\x01\x02\x00")
#define NO_HELLO SLICE("\x17")

/* Somebody says something when there is no time for it. */
static inline void speak(struct slice first)
{
	pair_raw();
	SSL *ssl = pair_ssl(true);
	use_up(100);
	conn_start_tls(b.conn, ssl);
	CHECK_EQ(send(raw, first.p, first.n, 0), first.n);
}

#endif
