#ifndef TESTS_SVCCLIENT_MOVING_H
#define TESTS_SVCCLIENT_MOVING_H

/*
 * A pair of domains whose gateways drain, die, lose their link and come, under a simulated clock: the library's client_pair.c as it is,
 * over engines joined by queues in memory, with gateways that hand stanzas on to a remote server, some of them slowly. What must hold: the
 * first arrivals are in order without a gap; nothing is told delivered that has not arrived; each stanza is answered for once; what comes
 * again is marked; and no two living gateways have the pair at a time.
 */

#include "svcproto/client.h"

enum { GATEWAYS = 4, QUEUE = 512, STANZAS = 4000, STEP_MS = 20, TOLD_MS = 500, LAG_MS = 5000 };

/* One direction of a link. */
struct queue {
	uint8_t *p[QUEUE];
	size_t n[QUEUE], head, tail;
};

struct waiting {
	uint32_t number, seq;
};

/* The gateway's end of the pair's stream, and its connection to the remote server. */
struct far {
	struct svc_stream *s;      /* NULL: the service's stream has ended; what waits may still go out */
	struct waiting v[1024];
	unsigned head, tail;
	bool leaving, used;
};

struct gateway {
	struct svc_id id;
	bool alive, draining, cut;
	uint64_t leave_at_ms;
	unsigned pace;             /* stanzas that the remote server takes in a step */
	struct svc_hub *hub;
	struct svc_link *engine;
	struct queue out;
	struct far far;
	struct client_link *cl;    /* the service's end */
	struct queue in;
	uint64_t redial_at_ms, notice_at_ms;
};

extern struct svcproto sp;
extern struct gateway g[GATEWAYS];
extern uint64_t now;
extern unsigned broken;        /* how often something did not hold; a line on standard error for each */
extern unsigned sent, delivered, undeliverable, nr_repeated, nr_opened, nr_lost_in_death;
extern uint32_t arrived;       /* the highest number at the remote server */

void start(uint32_t with_seed, unsigned gateways);  /* linked */
void stop(void);
uint32_t rnd(uint32_t below);

void come(struct gateway *q);
void die(struct gateway *q);   /* its process; the service does not know that it will not come back */
void bury(struct gateway *q);  /* the service forgets the dead one */
void cut(struct gateway *q, uint64_t for_ms);  /* its link; both processes live, and the gateway learns of it up to LAG_MS later */
void drain(struct gateway *q);
struct gateway *holder(void);  /* who has the pair; NULL: nobody */

void step(void);
void pass(uint64_t ms);
void write_some(unsigned most);  /* or what the library takes */

#endif
