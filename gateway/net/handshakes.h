#ifndef GATEWAY_NET_HANDSHAKES_H
#define GATEWAY_NET_HANDSHAKES_H

/*
 * The pace at which one loop takes newcomers (net/admission.h): who connects is accepted, which costs little, and then waits for its turn
 * with the TLS handshake, which costs more, and with the login behind it. Of the time that is for newcomers a quarter goes to the first.
 */

#include "common/loop.h"
#include "net/admission.h"

struct conn;
struct jobs;
struct handshakes;

/* jobs: for handshakes_elsewhere(); borrowed, and freed before; NULL: none. */
struct handshakes *handshakes_new(struct loop *l, const struct admission_options *o, struct jobs *jobs);
void handshakes_free(struct handshakes *h);          /* after every connection that was given it; NULL is allowed */
/* admission_room(), with the time that newcomers took or nobody, of the last seconds in which it was asked for, on the loop or before it
 * runs. */
uint32_t handshakes_room(struct handshakes *h);
size_t handshakes_waiting(const struct handshakes *h);

/* 0: one more connection may be accepted; else ask again in so many ms. h may be NULL. */
uint64_t handshakes_accept_in_ms(struct handshakes *h);
enum handshakes_stage { HANDSHAKES_ACCEPT, HANDSHAKES_LOGIN };   /* up to the handshake, and from there on */
bool handshakes_are_paced(const struct handshakes *h);   /* is there a limit? h may be NULL */
/* Work for one that is not in yet, from begin to end, is charged. h may be NULL. *charged_us: what its connection was charged so far, which
 * has a bound for each stage, far above what an honest one needs: who sends one byte at a time would shut the door for all others. NULL: it
 * is no connection's. */
uint64_t handshakes_begin(const struct handshakes *h);
void handshakes_end(struct handshakes *h, enum handshakes_stage stage, uint64_t begun, uint16_t *charged_us);
/* Where what takes long of a handshake is to run, so that those who are in do not wait for it. NULL: here, since they are known to have
 * hardly any work, and the detour costs two wake-ups; or since there is no limit, or there are no threads. What they had was seen up to
 * 50 ms ago, or is looked at now, by a system call; without idle_percent nobody looks, and it is NULL for the latter two alone. h may be
 * NULL. */
struct jobs *handshakes_elsewhere(struct handshakes *h);
struct jobs *handshakes_jobs_new(void);       /* for all workers; NULL, with a warning, when the system has no threads for us */
/* And so much of a processor it took there: charged as at the end of work of the second stage, but it is none of what this thread ran. In
 * the third of a login's charge that handshakes_came_in() counts as newcomers' it is. */
void handshakes_took_elsewhere(struct handshakes *h, uint64_t us, uint16_t *charged_us);
/* What other threads did for the login of one; on the loop. c: of that one; NULL when it is gone. */
void handshakes_charge(struct handshakes *h, struct conn *c, uint64_t us);

/* The rest is for conn.c. One whose handshake is about to begin, and has sent something: true when it may go on at once. Else it waits,
 * and conn_admitted() or conn_turned_away() follows, the latter perhaps from inside, unless handshakes_leave() comes before. */
MUST_CHECK bool handshakes_enter(struct handshakes *h, struct conn *c);
void handshakes_more(struct handshakes *h, struct conn *c);    /* more of its first words has come while it waits */
void handshakes_leave(struct handshakes *h, struct conn *c);   /* it will not come in; idempotent, and nothing for one that is in */
void handshakes_came_in(struct handshakes *h, struct conn *c);  /* it is in, if it had to pass here; idempotent. h may be NULL */

#endif
