#ifndef AMBROSIA_TESTS_SVCPROTO_STAGE_H
#define AMBROSIA_TESTS_SVCPROTO_STAGE_H

/* Two gateways and a service, each with a hub, joined by queues of batches that a story loses as it likes. Every event is a word in a
 * log. */

#include "svcproto/engine.h"

enum { QUEUE = 256 };

struct member;

/* One end of a link, and what it has sent. */
struct tip {
	struct member *m;
	struct tip *far;
	struct svc_link *l;
	const struct svc_link_ops *ops;
	uint8_t *q[QUEUE];
	size_t n[QUEUE], head, tail;
};

struct member {
	const char *name;
	struct svc_hub *hub;
	char log[4096];
	size_t log_n;
	struct svc_stream *s; /* the one that a story is about */
	bool keep;            /* does not acknowledge */
	bool takes;           /* what a stream that ends leaves: into rest */
	struct svc_rest *rest;
	const struct svc_id *forgets; /* when a link goes down, this instance is known dead */
};

extern struct member a, b, service;
extern struct tip a_tip, b_tip, service_a, service_b;
extern uint64_t now;
extern const struct svc_id juliet; /* the stream's id */
extern const struct svc_hub_ops stage_hub_ops;

void set_up(void);
void set_up_with(const struct svc_hub_limits *limits); /* of the service */
void take_down(void);
void join(struct tip *gw, struct member *gm, struct tip *sv); /* a link, and the service's HELLO */
const char *heard(struct member *m); /* since the last call */

void flush_all(void);
void exchange(void);                           /* what is queued goes both ways, with no time passing */
void pump(void);                               /* the same, and what waits for company: until nothing moves */
void deliver_one(struct tip *from);            /* the oldest batch */
void lose(struct tip *from);                   /* all that it has sent and that has not arrived */
void cut(struct tip *gw, struct tip *sv);      /* their connection dies with all that was on the way */
void reconnect(struct tip *sv);
void pass(uint64_t ms);                        /* time, everything being delivered */

void open_client(void);                        /* at gateway a, accepted */
void open_enabled(void);                       /* with one stanza each way before stream management, and 300 s to resume */
void send(struct member *m, const char *xml);  /* on m's stream */
void resume_at(struct tip *t, uint32_t h);

#endif
