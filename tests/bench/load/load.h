#ifndef AMBROSIA_BENCH_LOAD_H
#define AMBROSIA_BENCH_LOAD_H

#include <stdio.h>

#include "tests/bench/load/client.h"
#include "tests/bench/load/hist.h"

#define TARGETS 2

struct load;

/* What a command does, from its words to the line of JSON. While it runs, clients tell it; all but start may be NULL. */
struct phase {
	const char *name, *usage;
	bool (*start)(struct load *l, char **words, int nr);   /* false: wrong words */
	void (*online)(struct load *l, struct client *c);
	void (*stanza)(struct load *l, struct client *c, struct slice stanza);
	void (*gone)(struct load *l, struct client *c, const char *why);
	void (*tick)(struct load *l, uint64_t us);             /* each millisecond, and load_tick_at() */
	void (*enough)(struct load *l);                        /* the word came: it is to end soon */
	void (*print)(struct load *l, FILE *out);              /* `,"name":…` */
};

/* One way of a pair: numbered messages, checked as they arrive. */
struct flow {
	struct client *from, *to;
	uint64_t sent, received;
	size_t body;
	uint64_t *sent_us;   /* a ring, indexed by number % ring */
	uint32_t ring;
};

struct load {
	struct event_base *base;
	struct event due;            /* load_tick_at() */
	struct client_world targets[TARGETS];
	unsigned ports[TARGETS], nr_targets;
	struct client *clients;      /* those at [0, nr) were told to connect and stay */
	unsigned nr, max;
	bool sm;                     /* those that connect turn stream management on */
	const struct phase *phase;   /* the command that runs, or NULL */
	void *state;                 /* its own */
	struct hist latency;
	struct hist late;            /* how long after its time each left at a given rate: this program's own part of the latency */
	uint64_t began_us, progress_us, errors;
	uint64_t nr_delayed;         /* delivered with <delay/>: the server had stored them (XEP-0203) */
	char error[160];
	char suite[64];              /* of TLS and key exchange, of who came last */
	uint64_t nr_strays;          /* messages that came when none was awaited, such as a second copy of the last */
	struct flow *flows;
	unsigned nr_flows;
	char *pattern;               /* the alphabet again and again */
	size_t pattern_n;
};

/* The command is over: its line is printed and the next one read. */
void load_done(struct load *l);
/* Counts a failure and keeps the first one's words. */
void load_error(struct load *l, const char *what);
/* One tick more, at that time of began_us's clock and not up to a millisecond later. The latest call counts. */
void load_tick_at(struct load *l, uint64_t us);
/* A client's target: where it connects. */
unsigned load_target(const struct load *l, const struct client *c);
/* The mechanism of all logins from now on, whose keys nobody has yet; false: there is no such. */
bool load_mechanism(struct load *l, const char *name);
bool load_number(const char *word, uint64_t min, uint64_t max, uint64_t *out);

/* flow.c: pairs of the clients [first, first + 2 * pairs), both ways. */
void flows_make(struct load *l, unsigned first, unsigned pairs, size_t body, uint32_t ring);
void flows_free(struct load *l);
void flow_send(struct load *l, struct flow *f, uint64_t when_us);
/* The flow that a message belongs to, after its checks and its latency; NULL: it is not what was awaited. */
struct flow *flow_receive(struct load *l, struct client *to, struct slice stanza);

extern const struct phase phase_login, phase_connect, phase_close, phase_chat, phase_open, phase_one, phase_serial,
    phase_storm;

#endif
