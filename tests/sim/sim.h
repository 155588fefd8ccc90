#ifndef AMBROSIA_TESTS_SIM_H
#define AMBROSIA_TESTS_SIM_H

/*
 * A cluster in one process: gateways, service instances and clients around the real engine (hub, links, streams, stream management), a
 * network that loses, delays and breaks, and a scheduler that takes every decision from a seed. What the parts know of each other goes
 * through the engine; what the checks know is in struct session and struct letter, which no part looks at to decide anything.
 */

#include "svcproto/engine.h"

enum {
	GATEWAYS = 3,
	SERVICES = 2,
	CLIENTS = 5,
	PAIRS = 3,        /* of domains, outwards */
	SESSIONS = 400,   /* binds in a run */
	LETTERS = 6000,   /* messages in a run */
	SESSION_MAX = 3000, /* stanzas each way on a session */
	BATCHES = 64,     /* on the way on a wire, each way */
	TALK = 64,        /* on the way between a client and its gateway, each way */
	PENDING = 512,
	RESUME_S = 30,
};

/* ---- what is true ---- */

/* A message from a client to another. */
struct letter {
	uint8_t from, to;
	bool stored;      /* by a service, durably: in the recipient's mailbox */
	bool acked;       /* its sender heard so */
	bool received;    /* by its recipient */
	bool done;        /* the recipient's client acknowledged it */
};

/* A bind and all its resumptions. Counts run from the beginning of the stream. */
struct session {
	uint8_t client;
	bool enabled;     /* the client heard <enabled/> */
	bool lost;        /* the client gave it up */
	uint32_t resume_s;
	uint16_t up[SESSION_MAX];       /* letters in the order in which the client sends them; cut by a resumption */
	bool handled[SESSION_MAX];      /* by the service */
	uint32_t nr_up, up_base, received, up_acked;
	uint16_t down[SESSION_MAX];     /* letters in the order in which the service sent them */
	uint32_t nr_down, down_base, taken, down_acked; /* taken: by the client; down_acked: what the service was told */
};

extern struct letter letters[LETTERS];
extern struct session sessions[SESSIONS];
extern uint32_t nr_letters, nr_sessions;
extern uint64_t now;
extern bool faults; /* may anything go wrong now? */

struct tally {
	uint64_t resumed, failed, bound, crashes, cuts, delivered, outwards, epochs;
};
extern struct tally tally;

/* Something that must hold does not: said once, and the run ends. */
void broken(const char *what);
bool is_broken(void);
#define HOLDS(cond)                   \
	do {                          \
		if (!(cond))          \
			broken(#cond); \
	} while (0)

uint32_t rnd(uint32_t n); /* 0 to n - 1 */

/* ---- stanzas ---- */

/* A letter as a stanza; its size follows from it, now and then several chunks. */
struct body {
	const char *p;
	size_t n;
};
struct body stanza_of(uint32_t letter);
uint32_t letter_of(const char *p, size_t n); /* checks the bytes */

/* ---- a client's connection ---- */

enum say {
	/* up */
	SAY_BIND, SAY_RESUME, SAY_ENABLE, SAY_TCP, SAY_ACK, SAY_STANZA,
	/* down */
	SAY_BOUND, SAY_RESUMED, SAY_FAILED, SAY_ENABLED, SAY_CLOSED,
};

struct word {
	uint8_t say;
	uint32_t a, b; /* BIND: session; RESUME: session and service, h; TCP: number of the stream; ACK, RESUMED: h; ENABLE(D): seconds;
			  STANZA: letter, and down the number of the stream */
};

struct talk {
	struct word w[TALK];
	uint32_t head, tail;
};

static inline bool talk_full(const struct talk *t)
{
	return t->tail - t->head >= TALK;
}

static inline uint32_t talk_nr(const struct talk *t)
{
	return t->tail - t->head;
}

void talk_put(struct talk *t, enum say say, uint32_t a, uint32_t b);

/* Between client and gateway: lives as long as either end knows it. */
struct conn {
	TAILQ_ENTRY(conn) all;
	struct gateway *gw;
	struct svc_stream *s;
	struct talk up, down;
	uint8_t client;
	bool cut;          /* the network lost it; the gateway may not know yet */
	bool ended;        /* the gateway is done with it */
	bool client_gone;  /* the client is done with it */
	bool enabling, enabled, bound;
	uint32_t told;     /* the last h that went down */
	uint16_t session;
};

/* ---- members ---- */

struct wire;

/* One end of a wire at the gateway: each connection of the service's socket is another link there. */
struct tip {
	TAILQ_ENTRY(tip) all;
	struct gateway *gw;
	struct svc_link *l;
	struct wire *wire; /* NULL: that connection is gone, and the gateway does not know yet */
};

struct gateway {
	uint32_t nr;
	uint64_t life;
	struct svc_hub *hub; /* NULL: it is down */
	TAILQ_HEAD(, tip) tips;
	TAILQ_HEAD(, conn) conns;
};

/* A stanza that the application has not acknowledged. */
struct pending {
	struct svc_stream *s;
	uint32_t seq;
	uint16_t session, letter;
};

struct service {
	uint32_t nr;
	uint64_t life;
	struct svc_hub *hub;
	struct pending pending[PENDING];
	uint32_t nr_pending;
	struct svc_stream *of[CLIENTS]; /* the client's last session here */
};

struct packets {
	uint8_t *p[BATCHES];
	size_t n[BATCHES];
	uint32_t head, tail;
};

/* A service's socket towards a gateway. */
struct wire {
	struct gateway *gw;
	struct service *sv;
	struct svc_link *l; /* the service's end; NULL while it is down */
	struct tip *tip;    /* the gateway's end of the connection that is up, or NULL */
	bool told;          /* the service knows whether it is up */
	struct packets to_gw, to_sv;
};

extern struct gateway gateways[GATEWAYS];
extern struct service services[SERVICES];
extern struct wire wires[GATEWAYS][SERVICES];

/* network.c */
void wire_cut(struct wire *w);               /* with all that is on the way; the ends learn of it later */
void wire_notice(struct wire *w);            /* the service does, and its socket connects again when it can */
bool wire_deliver(struct packets *q, struct svc_link *to); /* false: nothing there */
void wire_lose(struct packets *q, uint32_t nr);
int wire_send(struct packets *q, const void *batch, size_t n);
void flush_everything(void);
void tick_everything(void);

/* gateway.c */
void gateway_start(struct gateway *g);
void gateway_crash(struct gateway *g);
struct tip *gateway_connected(struct gateway *g, struct wire *w);
void gateway_lost_tip(struct gateway *g, struct tip *t); /* notices that a connection is gone */
void gateway_step(struct gateway *g);                    /* one thing about one of its clients */
struct conn *gateway_dial(struct gateway *g, uint8_t client);
void gateway_notice(struct conn *c);                     /* that its client's connection is gone */
void conn_release(struct conn *c);                       /* frees it when nobody knows it any more */

/* service.c */
void service_start(struct service *s);
void service_crash(struct service *s);
void service_step(struct service *s);
extern const struct svc_link_ops service_link_ops;
bool mail_is_done(void);
void mail_clear(void);

/* pairs.c: streams that services open */
void pairs_start(void);
bool pairs_are_done(void);
void pairs_lost_service(struct service *sv); /* it crashed */
void pairs_step(struct service *sv);
void pair_acked(struct svc_stream *s, uint32_t seq);
void pair_ended(struct svc_stream *s);
void far_opened(struct svc_stream *s);
void far_stanza(struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n);
void far_ended(struct svc_stream *s);
void fars_step(struct gateway *g);
void fars_free(struct gateway *g);           /* it crashes */

/* client.c */
void clients_start(void);
void clients_show(void); /* what a run that is stuck looks like */
void client_step(uint8_t nr);
bool clients_are_done(void);
void clients_forget(void);
void clients_lost_gateway(struct gateway *g); /* it crashed */

#endif
