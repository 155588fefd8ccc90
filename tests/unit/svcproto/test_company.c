/* What waits for company: an ACK or CREDIT that holds nobody up leaves with whatever else does, or when its time is over. */
#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"

static struct pair p;
static struct svc_stream *s, *far; /* the gateway's end and the service's of one stream */

/* Stanzas that arrive are the test's to acknowledge. */
static void begin_with(const struct svc_hello *gw, const struct svc_hello *sv)
{
	pair_init(&p, gw, sv);
	pair_up(&p);
	p.gw.auto_ack = p.sv.auto_ack = false;
	p.gw.quiet = p.sv.quiet = true;
	s = pair_open(&p, "a@b");
	far = p.sv.last;
	CHECK(s != NULL && far != NULL);
}

static void begin(void)
{
	begin_with(NULL, NULL);
}

static void send(struct svc_stream *from, unsigned nr, size_t bytes)
{
	char *b = calloc(1, bytes);

	for (unsigned i = 0; i < nr; i++)
		CHECK_EQ(svc_stream_send(from, b, bytes, 0, NULL), 0);
	free(b);
}

/* What is queued leaves and arrives, with no time passing. */
static void exchange(void)
{
	do
		pair_flush(&p);
	while (pair_deliver_one(&p, &p.gw) || pair_deliver_one(&p, &p.sv));
}

/* The ACK of the stream's first stanza waits. */
static void begin_waiting(void)
{
	begin();
	send(s, 1, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	exchange();
	CHECK_EQ(s->out.acked, 0);
}

static size_t nr_left(const struct end *e)
{
	return e->out.tail - e->out.head;
}

static void alone_it_waits(void)
{
	begin();
	send(s, 1, 10);
	exchange();
	CHECK_EQ(far->in.received, 1);
	p.now += 500; /* whoever acknowledges has no time to say */
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	CHECK(svc_link_wants_flush(p.sv.l)); /* to be given the time */
	svc_link_flush(p.sv.l, p.now);
	CHECK(!svc_link_wants_flush(p.sv.l));
	CHECK_EQ(svc_link_tick(p.sv.l, p.now), p.now + SVC_ACK_WAIT_MS);
	exchange();
	CHECK_EQ(s->out.acked, 0);

	p.now += SVC_ACK_WAIT_MS - 1;
	CHECK_EQ(svc_link_tick(p.sv.l, p.now), p.now + 1);
	exchange();
	CHECK_EQ(s->out.acked, 0);

	p.now++;
	CHECK(svc_link_tick(p.sv.l, p.now) > p.now);
	CHECK(svc_link_wants_flush(p.sv.l));
	svc_link_flush(p.sv.l, p.now);
	CHECK_EQ(nr_left(&p.sv), 1);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	CHECK(svc_link_tick(p.sv.l, p.now) > p.now + SVC_ACK_WAIT_MS);
	pair_clear(&p);
}

/* The tick may be the first to have the time. */
static void a_tick_gives_the_time(void)
{
	begin();
	send(s, 1, 10);
	exchange();
	p.now += 500;
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	CHECK_EQ(svc_link_tick(p.sv.l, p.now), p.now + SVC_ACK_WAIT_MS);
	CHECK(!svc_link_wants_flush(p.sv.l));
	pair_tick(&p, SVC_ACK_WAIT_MS);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	pair_clear(&p);
}

/* One that comes later has no time of its own, and one that follows an empty line does. */
static void the_first_counts(void)
{
	struct svc_stream *s2, *far2;

	begin();
	s2 = pair_open(&p, "c@b");
	far2 = p.sv.last;
	send(s, 1, 10);
	send(s2, 2, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	pair_tick(&p, 0);
	p.now += SVC_ACK_WAIT_MS - 1;
	CHECK_EQ(svc_stream_ack(far2, 1), 0);
	CHECK_EQ(svc_link_tick(p.sv.l, p.now), p.now + 1);
	p.now++;
	exchange();
	CHECK_EQ(s->out.acked, 1);
	CHECK_EQ(s2->out.acked, 1);
	CHECK_EQ(svc_stream_ack(far2, 2), 0);
	CHECK_EQ(svc_link_tick(p.sv.l, p.now), p.now + SVC_ACK_WAIT_MS);
	pair_clear(&p);
}

static void company_takes_it_along(void)
{
	struct svc_stream *s2, *far2;

	begin();
	s2 = pair_open(&p, "c@b");
	far2 = p.sv.last;
	send(s, 1, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	exchange();
	CHECK_EQ(s->out.acked, 0);
	send(far2, 1, 10); /* on another stream */
	svc_link_flush(p.sv.l, p.now);
	CHECK_EQ(nr_left(&p.sv), 1);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	CHECK_EQ(s2->in.received, 1);
	CHECK(TAILQ_EMPTY(&p.sv.l->lazy));

	send(s, 1, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 2), 0);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	svc_link_ping(p.sv.l);
	exchange();
	CHECK_EQ(s->out.acked, 2);
	pair_clear(&p);
}

/* At half of what the peer may leave unacknowledged, whether the last of it comes before its acknowledgement or after. */
static void half_of_the_bound_hurries(void)
{
	struct svc_hello gw = { .unacked_stanzas_max = 8 };

	begin_with(&gw, NULL);
	send(s, 3, 10);
	exchange();
	CHECK_EQ(svc_stream_ack_through(far, 3), 0);
	exchange();
	CHECK_EQ(s->out.acked, 0);
	send(s, 1, 10);
	exchange();
	CHECK_EQ(s->out.acked, 3); /* the fourth unacknowledged as far as the peer knows */

	send(s, 3, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 4), 0);
	exchange();
	CHECK_EQ(s->out.acked, 4);
	pair_clear(&p);

	gw = (struct svc_hello){ .unacked_stanzas_max = 1 };
	begin_with(&gw, NULL);
	send(s, 1, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	pair_clear(&p);

	gw = (struct svc_hello){ .unacked_bytes_max = 4 * SVC_CHUNK_MAX };
	begin_with(&gw, NULL);
	send(s, 1, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	exchange();
	CHECK_EQ(s->out.acked, 0);
	send(s, 1, SVC_CHUNK_MAX);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	pair_clear(&p);
}

static void a_large_stanza_hurries(void)
{
	begin();
	send(s, 2, SVC_CHUNK_MAX + 1);
	exchange();
	CHECK_EQ(far->in.received, 2);
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	CHECK_EQ(svc_stream_ack(far, 2), 0);
	exchange();
	CHECK_EQ(s->out.acked, 2);
	send(s, 1, 10); /* and the next small one does not */
	exchange();
	CHECK_EQ(svc_stream_ack(far, 3), 0);
	exchange();
	CHECK_EQ(s->out.acked, 2);
	pair_clear(&p);
}

/* As long as it is not acknowledged itself, and no longer, though others always are behind it. */
static void a_large_stanza_hurries_no_others(void)
{
	begin();
	send(s, 1, 10);
	send(s, 1, SVC_CHUNK_MAX + 1);
	send(s, 1, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 1), 0); /* what the large one is behind */
	exchange();
	CHECK_EQ(s->out.acked, 1);
	CHECK_EQ(svc_stream_ack(far, 2), 0);
	exchange();
	CHECK_EQ(s->out.acked, 2);
	for (uint32_t i = 3; i < 10; i++) {
		send(s, 1, 10);
		exchange();
		CHECK_EQ(far->in.received, i + 1);
		CHECK_EQ(svc_stream_ack(far, i), 0);
		exchange();
		CHECK_EQ(s->out.acked, i - 1);
		pair_tick(&p, SVC_ACK_WAIT_MS);
		exchange();
		CHECK_EQ(s->out.acked, i);
	}
	pair_clear(&p);
}

/* The sender has no room for another: it says so with the last chunk, which says nothing to who does not know that. */
static void an_awaited_stanza_hurries(void)
{
	begin_waiting();
	pair_inject(&p, &p.sv, WIRE_DATA, WIRE_FIRST | WIRE_LAST | 0x80, s->handle, 2, "x", 1);
	exchange();
	CHECK_EQ(far->in.received, 2);
	CHECK_EQ(far->in_said, 0);
	pair_inject(&p, &p.sv, WIRE_DATA, WIRE_FIRST | WIRE_LAST | WIRE_AWAITED, s->handle, 3, "x", 1);
	svc_link_flush(p.sv.l, p.now);
	CHECK_EQ(far->in_said, 1); /* what waited makes room, too */
	CHECK_EQ(svc_stream_ack(far, 3), 0);
	svc_link_flush(p.sv.l, p.now);
	CHECK_EQ(far->in_said, 1);
	CHECK_EQ(svc_stream_ack(far, 2), 0);
	svc_link_flush(p.sv.l, p.now);
	CHECK_EQ(far->in_said, 3);
	pair_inject(&p, &p.sv, WIRE_DATA, WIRE_FIRST | WIRE_LAST, s->handle, 4, "x", 1);
	CHECK_EQ(svc_stream_ack(far, 4), 0);
	svc_link_flush(p.sv.l, p.now);
	CHECK_EQ(far->in_said, 3);
	pair_clear(&p);
}

static void the_end_hurries(void)
{
	/* Closed at once. */
	begin_waiting();
	CHECK_EQ(svc_stream_close(far, NULL, NULL), 0);
	pair_log(&p.gw);
	exchange();
	CHECK_STR(pair_log(&p.gw), "closed - - 0");
	pair_clear(&p);

	/* Closed with stanzas that find no credit: in the midst of that. */
	begin();
	svc_stream_pause(s, true);
	send(s, 2, 10);
	send(far, 2, SVC_WINDOW_BYTES);
	exchange();
	CHECK(far->out.unsent > 0);
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	exchange();
	CHECK_EQ(s->out.acked, 0);
	CHECK_EQ(svc_stream_close(far, NULL, NULL), 0);
	CHECK_EQ(far->state, STREAM_DRAINING);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	CHECK_EQ(svc_stream_ack(far, 2), 0);
	exchange();
	CHECK_EQ(s->out.acked, 2);
	pair_clear(&p);

	/* By the peer. */
	begin_waiting();
	CHECK_EQ(svc_stream_close(s, NULL, NULL), 0);
	pair_log(&p.gw);
	exchange();
	CHECK_STR(pair_log(&p.gw), "closed - - 0");
	pair_clear(&p);
}

static void who_leaves_says_it_all(void)
{
	begin_waiting();
	svc_link_hurry(p.sv.l);
	CHECK(svc_link_wants_flush(p.sv.l));
	exchange();
	CHECK_EQ(s->out.acked, 1);
	send(s, 1, 10); /* that was about the one, not about those to come */
	exchange();
	CHECK_EQ(svc_stream_ack(far, 2), 0);
	exchange();
	CHECK_EQ(s->out.acked, 1);
	pair_clear(&p);
}

/* CREDIT waits while the sender has half of the window left, and never within a stanza. */
static void credit_waits_while_there_is_some(void)
{
	begin();
	send(s, 1, SVC_WINDOW_BYTES / 4);
	exchange();
	CHECK_EQ(s->out.credit, SVC_WINDOW_BYTES * 3 / 4);
	send(s, 1, SVC_WINDOW_BYTES / 4 - 1);
	exchange();
	CHECK_EQ(s->out.credit, SVC_WINDOW_BYTES / 2 + 1);
	send(s, 1, 1);
	exchange();
	CHECK_EQ(s->out.credit, SVC_WINDOW_BYTES);

	send(s, 1, SVC_WINDOW_BYTES / 4);
	exchange();
	CHECK_EQ(s->out.credit, SVC_WINDOW_BYTES * 3 / 4);
	pair_tick(&p, SVC_ACK_WAIT_MS);
	exchange();
	CHECK_EQ(s->out.credit, SVC_WINDOW_BYTES);

	send(s, 1, 20 * SVC_WINDOW_BYTES); /* whole without any time passing */
	exchange();
	CHECK_EQ(far->in.received, 5);
	pair_clear(&p);
}

/* CREDIT that waits when a stanza begins for which there is no room is withheld with the rest of what is due. */
static void withheld_credit_does_not_leave_with_company(void)
{
	struct svc_stream *favoured;

	begin();
	favoured = pair_open(&p, "c@b");
	p.sv.l->join_soft = SVC_CHUNK_MAX;
	send(favoured, 1, 100000);
	pair_flush(&p);
	pair_deliver_one(&p, &p.gw);
	CHECK(p.sv.l->favoured != NULL && p.sv.l->favoured != far);
	p.sv.l->join_soft = (uint32_t)p.sv.l->join_bytes + 1000; /* what the other one begins goes beyond it */
	send(s, 1, SVC_WINDOW_BYTES / 4);
	pair_flush(&p);
	pair_deliver_one(&p, &p.gw);
	CHECK(far->credit_due && far->in_lazy);
	send(s, 1, 2 * SVC_CHUNK_MAX);
	pair_flush(&p);
	pair_deliver_one(&p, &p.gw);
	CHECK(far->aside == &p.sv.l->starved);
	CHECK_EQ(far->in.due, SVC_WINDOW_BYTES);
	pair_tick(&p, SVC_ACK_WAIT_MS);
	CHECK_EQ(far->in.due, SVC_WINDOW_BYTES);

	p.sv.l->join_soft = 300000;
	exchange(); /* the favoured one comes to its end, and it is the other's turn */
	CHECK_EQ(far->in.received, 2);
	pair_clear(&p);
}

/* A transport that takes nothing leaves it due, without a time to wake up at for nothing; the end of the epoch takes it away. */
static void a_full_transport(void)
{
	begin();
	send(s, 1, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 1), 0);
	p.sv.room = 0;
	pair_tick(&p, 0);
	pair_tick(&p, SVC_ACK_WAIT_MS);
	CHECK(svc_link_wants_flush(p.sv.l));
	CHECK(svc_link_tick(p.sv.l, p.now) > p.now);
	p.sv.room = SIZE_MAX;
	exchange();
	CHECK_EQ(s->out.acked, 1);

	send(s, 1, 10);
	exchange();
	CHECK_EQ(svc_stream_ack(far, 2), 0);
	exchange();
	svc_link_break(p.sv.l, "by hand", p.now);
	CHECK(TAILQ_EMPTY(&p.sv.l->lazy));
	CHECK(!svc_link_wants_flush(p.sv.l));
	pair_clear(&p);
}

int main(void)
{
	RUN(alone_it_waits);
	RUN(a_tick_gives_the_time);
	RUN(the_first_counts);
	RUN(company_takes_it_along);
	RUN(half_of_the_bound_hurries);
	RUN(a_large_stanza_hurries);
	RUN(a_large_stanza_hurries_no_others);
	RUN(an_awaited_stanza_hurries);
	RUN(the_end_hurries);
	RUN(who_leaves_says_it_all);
	RUN(credit_waits_while_there_is_some);
	RUN(withheld_credit_does_not_leave_with_company);
	RUN(a_full_transport);
	return check_done("svcproto/company");
}
