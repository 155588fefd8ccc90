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
	NOTICE_MS = 2000, /* after this a dead connection is known at both ends */
};

#define DOMAIN "d.example"

/* ---- what is true ---- */

/* A message from a client to another. */
struct letter {
	uint8_t from, to;
	bool stored;      /* by a service, durably: in the recipient's mailbox */
	bool acked;       /* its sender heard so */
	bool received;    /* by its recipient */
	bool done;        /* the recipient's client acknowledged it */
};

/* A bind and all its resumptions. Counts run from the beginning of the stream. Where the client's session went on at another instance,
 * that stream is a session of its own for what comes down; what goes up is its root's from `offset` on. */
struct session {
	uint8_t client;
	bool reopened;
	uint16_t root;    /* itself, unless reopened */
	uint32_t offset;  /* what the instances before had acknowledged */
	struct svc_id instance; /* that has it: part of what the client resumes by */
	bool enabled;     /* the client heard <enabled/> */
	bool lost;        /* the client gave it up */
	uint32_t resume_s;
	uint16_t up[SESSION_MAX];       /* letters in the order in which the client sends them; cut by a resumption */
	bool handled[SESSION_MAX];      /* by the service */
	uint16_t seen[SESSION_MAX];     /* by any instance, handled or not: one more than the last session to which it came */
	uint32_t nr_up, up_base, up_acked;
	uint32_t received;              /* on this stream */
	uint16_t down[SESSION_MAX];     /* letters in the order in which the service sent them */
	uint32_t nr_down, down_base, taken, down_acked; /* taken: by the client; down_acked: what the service was told */
};

extern struct letter letters[LETTERS];
extern struct session sessions[SESSIONS];
extern uint32_t nr_letters, nr_sessions;
extern uint64_t now;
extern bool faults; /* may anything go wrong now? */

struct tally {
	uint64_t resumed, failed, bound, reopened, repeated, moved, late, across, again, vanished, expired, withdrawn, gone;
	uint64_t crashes, cuts, delivered, outwards, epochs;
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
	uint16_t session; /* TCP; down */
	uint32_t a, b; /* BIND: session; RESUME: stream, h; TCP: number of the stream; ACK, RESUMED: h; ENABLE(D): seconds;
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

void talk_put(struct talk *t, const struct word *w);

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
	bool asked, enabled, bound;
	bool reopens;      /* how its instance was registered */
	struct svc_rest *rest; /* its instance has died, and another one was asked */
	uint32_t told;     /* the last h that went down */
	uint16_t session;
	struct svc_id instance;
};

/* ---- members ---- */

struct wire;

/* One end of a wire at the gateway: each connection of the service's socket is another link there. */
struct tip {
	TAILQ_ENTRY(tip) all;
	struct gateway *gw;
	struct svc_link *l;
	struct svc_id peer; /* of the last epoch */
	struct wire *wire; /* NULL: that connection is gone, and the gateway does not know yet */
	uint64_t cut_ms;
};

struct gateway {
	uint32_t nr;
	uint64_t life;
	struct svc_hub *hub; /* NULL: it is down */
	TAILQ_HEAD(, tip) tips;
	TAILQ_HEAD(, conn) conns;
	struct directory *directory;
	bool heard;          /* any registry, since its start */
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
	bool reopens;     /* its registration */
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
	uint64_t cut_ms;
	uint64_t mute_until_ms; /* what the gateway says is lost, over whatever connection */
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
void notice_overdue(void);                   /* dead connections, at both ends: TCP does not take longer */
void flush_everything(void);
void tick_everything(void);

/* gateway.c */
void gateway_start(struct gateway *g);
void gateway_crash(struct gateway *g);
const char *gateway_key(const struct gateway *g);
struct tip *gateway_connected(struct gateway *g, struct wire *w);
void gateway_lost_tip(struct gateway *g, struct tip *t); /* notices that a connection is gone */
void gateway_step(struct gateway *g);                    /* one thing about one of its clients */
struct conn *gateway_dial(struct gateway *g, uint8_t client);
void gateway_notice(struct conn *c);                     /* that its client's connection is gone */
struct svc_link *gateway_link(const struct gateway *g, const struct svc_id *instance); /* that is up, or NULL */
void conn_release(struct conn *c);                       /* frees it when nobody knows it any more */

/* registries.c */
void registries_start(void);
void registries_clear(void);
void registries_fault(void);
void registries_heal(void);
void registries_settle(void);                /* at the end: all see the same */
void control(void);                          /* what is due of announcements, news and leases */
void registration_start(struct service *s);
void directory_start(struct gateway *g);
void directory_crash(struct gateway *g);
void directory_linked(struct gateway *g, const struct svc_id *instance); /* a link to it came up, or went */
bool gateway_knows(struct gateway *g, const struct svc_id *instance);    /* or is it known dead? */
bool gateway_choose(struct gateway *g, uint8_t client, struct svc_id *instance, bool *reopens); /* one with a link; false: none */

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
void pair_lost(struct svc_stream *s, bool lost); /* its link; or it is back */
void pair_ended(struct svc_stream *s);
void far_opened(struct svc_stream *s);
void far_stanza(struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n);
void far_lost(struct svc_stream *s, bool lost);
void far_ended(struct svc_stream *s);
void fars_step(struct gateway *g);
void fars_free(struct gateway *g);           /* it crashes */

/* peers.c: streams between instances */
void rows_start(void);
bool rows_are_done(void);
void rows_lost_service(struct service *sv);
void rows_step(struct service *sv);
void row_acked(struct svc_stream *s, uint32_t seq);
void row_refused(struct svc_stream *s);
void row_ended(struct service *sv, struct svc_stream *s);
void row_opened(struct service *sv, struct svc_stream *s, const struct svc_open *o);
void row_stanza(struct service *sv, struct svc_stream *s, uint32_t seq, const char *xml, size_t n);
void relay_opened(struct gateway *g, struct svc_stream *s, const struct svc_open *o);
void relay_accepted(struct svc_stream *s);
void relay_refused(struct svc_stream *s);
void relay_stanza(struct svc_stream *s, unsigned flags, const char *xml, size_t n);
void relay_acked(struct svc_stream *s, uint32_t seq);
void relay_writable(struct svc_stream *s);
void relay_ended(struct svc_stream *s);
void relays_free(struct gateway *g);

/* client.c */
void clients_start(void);
void clients_show(void); /* what a run that is stuck looks like */
void client_step(uint8_t nr);
bool clients_are_done(void);
void clients_forget(void);
void clients_lost_gateway(struct gateway *g); /* it crashed */

#endif
