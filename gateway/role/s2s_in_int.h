#ifndef GATEWAY_ROLE_S2S_IN_INT_H
#define GATEWAY_ROLE_S2S_IN_INT_H

/*
 * Private to the role of an accepted server stream: s2s_in.c (pairs, stanzas, life), s2s_in_auth.c (who it is), s2s_in_sm.c (stream
 * management). What a remote server says on a stream that we made (XEP-0288) is the same: there a struct s2s_in is the first member of what
 * the stream belongs to (s2s_attempt.c).
 */

#include "role/edge.h"
#include "role/peer_dane.h"

struct in_check;
struct in_pair;

struct s2s_in {
	struct edge e;             /* first */
	struct in_pair *pairs;
	struct in_pair *waiting;   /* the one whose stanza e.kept is, or NULL */
	struct in_check *checks;
	unsigned nr_pairs;
	struct peer_dane dane;
	uint32_t h;                /* managed: of the only pair's stanzas since then, handled by the service in an unbroken row */
	uint32_t nr_before;        /* handled first: those from before */
	uint32_t sent, handled;    /* managed: stanzas to the remote since then, and by its word of these; both wrap */
	uint32_t stanzas_max, bytes_max; /* that whoever sends them leaves unacknowledged */
};

struct in_pair {
	struct link_end end;
	struct s2s_in *in;
	char *from, *to;
	uint32_t sent, acked;      /* numbers of the last stanzas given to the service, and handled by it; both wrap */
	struct in_pair *next;
};

static inline struct s2s_in *s2s_in_of(void *arg)
{
	OBJ_CHECK((struct edge *)arg, EDGE_MAGIC);
	return arg;
}

/* s2s_in_auth.c: entries of struct stream_ops. */
bool s2s_in_op_peer_named(void *arg);
void s2s_in_op_mechanisms(void *arg, struct stream *s);
void s2s_in_op_auth_start(void *arg, struct slice mech, struct slice initial);
void s2s_in_op_auth_step(void *arg, struct slice response);
void s2s_in_op_auth_abort(void *arg);
void s2s_in_op_stanza(void *arg, const struct xml_element *el);
void s2s_in_op_db_result(void *arg, const char *from, const char *to, struct slice key);
void s2s_in_op_db_verify(void *arg, const char *from, const char *to, struct slice id, struct slice key);
/* The stream is over: lets go of the pairs, and of whatever goes on. */
void s2s_in_end(struct s2s_in *in);
/* s2s_in_sm.c: likewise. */
void s2s_in_op_sm_enable(void *arg, uint32_t resume_s);
bool s2s_in_op_sm_handled(void *arg, uint32_t h);
void s2s_in_op_sm_counts(void *arg, struct stream_counts *out);
void s2s_in_sm_begin(struct s2s_in *in);                 /* the remote counts from here on, and its stanzas are counted */
void s2s_in_sm_acked(struct in_pair *p, uint32_t seq);   /* the service handled the pair's stanzas up to this one */
/* s2s_in_auth.c again. A domain of this cluster: no certificate and no key from outside speaks for it, and DNS is not asked about it. */
bool s2s_in_is_local(const struct s2s_in *in, const char *domain);
bool s2s_in_is_blocked(const struct s2s_in *in, const char *domain);
/* Does it stand for this domain of ours, which knows others by their certificates only, without a good one? */
bool s2s_in_is_too_lax(struct s2s_in *in, const char *domain);
void s2s_in_auth_end(struct s2s_in *in);  /* whatever goes on is forgotten */

#endif
