/*
 * The step of a handshake that answers the ClientHello takes longer than all else that is done for a newcomer, and those who are in would
 * wait for it. Unless they are known to have hardly any work it runs on a job thread (net/handshakes.h). Meanwhile the SSL, and the channel
 * that it looks at, are that thread's: they move into the step. The connection keeps the bare descriptor, watches nothing, and may end or
 * be closed at any time as ever; if it is gone when the step is over, nobody hears of that, and what it left is freed then. That the step
 * is over comes as a post, before the work of those who are in; so it is only marked there, and what comes of it stands behind them, as
 * all that a newcomer does. Of the connection and the job, whoever lets go last frees: the job perhaps on its thread, when the loop has
 * stopped.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/jobs.h"
#include "common/stat.h"
#include "net/conn_int.h"
#include "net/handshakes.h"
#include "net/tls_tickets.h"

/* Who sends a byte at a time has it answered here after so many steps, as it is charged: each costs the same two wake-ups. */
#define AWAY_MAX 4

struct conn_step {
	struct job job;                         /* first */
	struct conn *c;                         /* no id: only the loop looks at it, and the connection's end makes it NULL */
	struct handshakes *handshakes;
	struct channel ch;
	struct tls_tickets tickets;             /* the worker's may change meanwhile */
	const struct tls_tickets *tickets_of;   /* NULL: there are none */
	atomic_uint nr_holders;
	bool over;                              /* the loop's: the job has let go */
	int res;
	uint64_t took_us;
	char why[160];
};

static void free_step(struct conn_step *s)
{
	SSL_free(s->ch.ssl);
	if (s->ch.fd >= 0)
		close(s->ch.fd);
	mem_wipe(&s->tickets, sizeof s->tickets);
	free(s);
}

static void let_go(struct conn_step *s)
{
	if (atomic_fetch_sub(&s->nr_holders, 1) == 1)
		free_step(s);
}

/* --- on the job thread ----------------------------------------------------- */

static void on_run(struct job *j)
{
	struct conn_step *s = (struct conn_step *)j;
	uint64_t begun = jobs_used_us();

	if (atomic_load(&s->nr_holders) == 1) /* nobody waits for it any more */
		return;
	s->res = s->ch.ops->handshake(&s->ch);
	if (s->res == TRANSPORT_RESET || s->res == TRANSPORT_TLS_FAILED)
		snprintf(s->why, sizeof s->why, "%s", transport_why());
	stat_add(STAT_handshake_steps_beside, 1);
	s->took_us = jobs_used_us() - begun;
}

static void on_drop(struct job *j)
{
	let_go((struct conn_step *)j);
}

/* --- on the loop ----------------------------------------------------------- */

static void go(struct conn *c, struct conn_step *s)
{
	ASSERT(!c->away);
	transport_tls_move(&c->ch, &s->ch);
	s->ch.patient = true;
	s->tickets_of = tls_tickets_use_copy(s->ch.ssl, &s->tickets);
	c->ch.ops = &transport_tcp; /* what is left of it here */
	c->step = s;
	c->away = true;
}

static void come_back(struct conn *c, struct conn_step *s)
{
	bool corked = c->ch.corked;

	if (s->tickets_of != NULL)
		tls_tickets_use_again(s->ch.ssl, s->tickets_of);
	transport_tls_move(&s->ch, &c->ch);
	c->ch.corked = corked;
	c->ch.patient = false;
	c->step = NULL;
	c->away = false;
	s->ch.ssl = NULL;
	s->ch.fd = -1;
}

static void on_back(struct job *j)
{
	struct conn_step *s = (struct conn_step *)j;
	struct handshakes *h = s->handshakes;
	struct conn *c = s->c;
	uint64_t begun = handshakes_begin(h);

	handshakes_took_elsewhere(h, s->took_us, c != NULL ? &c->charged_us : NULL);
	s->over = true;
	if (c != NULL)
		loop_task_queue_behind(c->loop, &c->again);
	let_go(s);
	handshakes_end(h, HANDSHAKES_LOGIN, begun, c != NULL ? &c->charged_us : NULL);
}

void conn_step_is_back(struct conn *c)
{
	struct conn_step *s = c->step;
	uint64_t begun = handshakes_begin(s->handshakes);

	if (!s->over)
		return;
	come_back(c, s);
	transport_set_why(s->why);
	conn_handshake_did(c, s->res);
	free_step(s);
	handshakes_end(c->limits->handshakes, HANDSHAKES_LOGIN, begun, &c->charged_us);
}

void conn_leave_step(struct conn *c)
{
	struct conn_step *s = c->step;

	shutdown(c->ch.fd, SHUT_RDWR); /* the peer need not wait until it is closed, nor the step for the peer */
	s->c = NULL;
	c->ch.ssl = NULL;
	c->step = NULL;
	c->away = false;
	let_go(s);
}

/* False: it is to be done here. */
static bool send_away(struct conn *c)
{
	bool is_long = c->newcomer && SSL_is_server(c->ch.ssl) && !c->ch.answered && c->nr_away < AWAY_MAX;
	struct jobs *jobs = is_long ? handshakes_elsewhere(c->limits->handshakes) : NULL;
	struct conn_step *s;

	if (jobs == NULL)
		return false;
	s = NEW(struct conn_step);
	s->job = (struct job){.run = on_run, .done = on_back, .drop = on_drop};
	s->c = c;
	s->handshakes = c->limits->handshakes;
	atomic_init(&s->nr_holders, 2);
	go(c, s);
	if (jobs_submit(jobs, c->loop, &s->job) == 0) {
		c->nr_away++;
		return true;
	}
	come_back(c, s);
	free_step(s);
	return false;
}

void conn_handshake_step(struct conn *c)
{
	if (send_away(c))
		conn_update_interest(c);
	else
		conn_handshake_did(c, c->ch.ops->handshake(&c->ch));
}
