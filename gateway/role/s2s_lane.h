#ifndef GATEWAY_ROLE_S2S_LANE_H
#define GATEWAY_ROLE_S2S_LANE_H

/*
 * A pair of domains that sends over a stream which was made for another one: ours to that remote domain, which is asked by dialback to take
 * one more pair (XEP-0220 section 2.6), or the remote's to us, where it agreed to have stanzas both ways (XEP-0288).
 */

#include "role/env.h"

#define S2S_LANES_MAX 32u   /* on one stream: each may have a stanza on its way when the stream is full */

struct edge;

struct s2s_lane_ops {
	/* Once, later than s2s_lane_find: valid: it may send; else the stream leaves the lane behind. detail: of an error, static, or NULL.
	 */
	void (*answered)(void *arg, enum stream_verdict v, const char *detail);
	void (*acked)(void *arg, uint64_t pos);    /* the remote's TCP has everything up to pos (s2s_lane_position) */
	void (*handled)(void *arg, uint32_t nr);   /* instead, with stream management: the remote has so many more of its stanzas */
	void (*drained)(void *arg);
	void (*ended)(void *arg, enum close_reason r); /* the stream; before answered() or after */
};

struct s2s_lane {
	struct edge *e;                  /* NULL: on none */
	const char *from, *to;           /* prepared; the owner's: ours, remote */
	const struct s2s_lane_ops *ops;
	void *arg;
	bool certificates_only;          /* the owner's, before s2s_lane_find: only where a certificate proves the remote */
	bool open;
	bool by_tcp;                     /* it was there before stream management: what of its stanzas arrived the TCP says */
	uint32_t nr_sent, nr_handled, first;  /* stanzas with stream management, and how many had gone over the stream before */
	struct loop_task opened;
	struct s2s_lane *next, **prev;   /* e->lanes */
};

void s2s_lane_init(struct s2s_lane *l, const char *from, const char *to, const struct s2s_lane_ops *ops, void *arg);
/* Puts it on a stream that may take it. False: there is none. */
MUST_CHECK bool s2s_lane_find(struct s2s_lane *l, struct role_env *env);
/* Idempotent. No callback follows. */
void s2s_lane_leave(struct s2s_lane *l);
bool s2s_lane_takes(const struct s2s_lane *l);                 /* answered valid, and the stream is not being closed */
void s2s_lane_send(struct s2s_lane *l, struct slice xml);      /* it takes; jabber:server */
uint64_t s2s_lane_position(const struct s2s_lane *l);
bool s2s_lane_full(const struct s2s_lane *l);
uint32_t s2s_lane_max_bytes(const struct s2s_lane *l);         /* stream_peer_max_bytes */

/* Ends the stream, whoever else uses it; cut: without patience for a remote that reads too slowly. On none: nothing. */
void s2s_lane_end(struct s2s_lane *l, enum close_reason r, bool cut);

/* Is the remote known by its certificate? Of a stream that it made only the first domain's proof is known: no. */
bool s2s_lane_is_proven(const struct edge *e);

/* What the stream's role tells the lanes on it. */
void s2s_lanes_answered(struct edge *e, const char *from, const char *to, enum stream_verdict v, const char *detail);
void s2s_lanes_acked(struct edge *e, uint64_t pos);
void s2s_lanes_handled(struct edge *e, uint32_t h);   /* of all stanzas on the stream */
void s2s_lanes_drained(struct edge *e);
/* s2s_in_sm.c: one more stanza goes over a managed stream; how many did before. */
uint32_t s2s_lane_count(struct edge *e);
void s2s_lanes_ended(struct edge *e, enum close_reason r);

#endif
