#ifndef TESTS_UNIT_IM_ORDER_H
#define TESTS_UNIT_IM_ORDER_H

/* The model around the cores of order.c. Times are in milliseconds of its own clock. A position counts from the beginning of a stream. */

#include <inttypes.h>
#include <stdlib.h>

#include "common/mem.h"
#include "services/im/im.h"

enum {
	USERS = 8, GATEWAYS = 2, NODES = 200, NUMBERS = 2000, TICKETS = 200000,
	TALK_MS = 90000, SETTLE_MS = 200000, KNOWN_DEAD_MS = 2000, ROOM = 50,
};

struct item {                   /* a stanza on a stream */
	char *xml;
	uint64_t cookie;
	unsigned number;        /* of the message; 0: none */
	bool handled;
};

struct items {                  /* positions count from 1 */
	struct item *v;
	size_t nr, cap;
};

struct session {
	struct session *next;
	unsigned user;
	struct node *node;
	unsigned gateway;
	uint64_t away_until;    /* while its client goes on at another gateway */
	struct im_session *im;
	bool closing;           /* by the instance */
	bool left;              /* the client has another one, or none */
	bool over;              /* the instance knows */
	uint64_t over_at;       /* when it will, if the gateway cannot say */
	struct items up, down;
	size_t handed, row, told, arrived, acked;
};

struct row {                    /* what an instance has of one origin */
	struct row *next;
	unsigned origin;
	struct node *at;
	size_t received, row;
	bool *handled;
};

struct pair {                   /* peer stream from an instance to a user */
	struct items queue;
	size_t acked, sent;     /* positions */
	size_t first;           /* position before the origin's first */
	unsigned origin, gateway;
	struct node *far;       /* NULL: no stream */
	uint64_t retry_at;
};

struct node {
	struct im *im;
	unsigned index;
	bool dead;
	uint64_t registered_at, gone_at;
	struct pair to[USERS];
};

struct user {
	char bare[32];
	struct session *session;
	uint64_t bind_at, say_at;
	unsigned said, highest;
	bool was_here;          /* else nothing is kept for him */
	bool acked[NUMBERS], got[NUMBERS];
};

struct ticket {
	struct session *session;
	struct row *row;
	size_t at;
};

extern struct node nodes[NODES];
extern struct user users[USERS];
extern struct session *sessions;
extern struct row *rows;
extern unsigned nr_nodes, nr_tickets, nr_origins;
extern uint64_t now, broken[GATEWAYS][NODES], gateway_up_at[GATEWAYS];
extern const struct im_ops order_ops;

/* order_world.c */
void order_seed(uint64_t seed);
unsigned order_rnd(unsigned n);                 /* below n */
uint64_t order_mix(uint64_t x);
/* Something that happens to the pair that `user` is in; USERS: to everybody. Printed when the seed fails. */
__attribute__((format(printf, 2, 3))) void order_note(unsigned user, const char *format, ...);
void order_fail(unsigned user, unsigned number, const char *what);
bool order_failed(void);
void order_forget(void);                        /* the notes, and that it failed */
void items_put(struct items *q, const char *xml, size_t n, uint64_t cookie);
void items_clear(struct items *q);
bool node_is_linked(unsigned gateway, const struct node *n);
/* Whom the policy picks, as an observer has it, a node's index or NODES + a gateway: of those that the gateway is linked to, or of all. */
struct node *node_pick(unsigned observer, unsigned user, bool linked);
bool node_is_here(void *arg, const char *bare_jid, unsigned char instance[16]);
void node_hand_over(struct node *n, struct ticket t, const struct item *i);
void node_turn_end(struct node *n);

/* order_streams.c. All steps are in the turn of the node that they are about. */
void user_bind(unsigned user);
void user_say(unsigned user);
void client_leave(struct session *s, unsigned after_ms); /* the client has the stream no more, and comes back within that time */
void session_step(struct session *s);
void pair_near(struct node *n, struct pair *p, unsigned user);              /* of the one that sends */
void pair_far(struct node *n, struct pair *p, struct node *far);            /* of `far` */

#endif
