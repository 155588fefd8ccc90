#ifndef GATEWAY_ROLE_S2S_IN_INT_H
#define GATEWAY_ROLE_S2S_IN_INT_H

/* Private to the role of an accepted server stream: s2s_in.c (pairs, stanzas, life), s2s_in_auth.c (who it is). */

#include "role/edge.h"
#include "role/peer_dane.h"

struct in_pair;
struct in_check;

struct s2s_in {
	struct edge e;             /* first */
	struct in_pair *pairs;
	struct in_check *checks;
	unsigned nr_pairs, nr_checks;
	struct peer_dane dane;
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
void s2s_in_op_db_result(void *arg, const char *from, const char *to, struct slice key);
void s2s_in_op_db_verify(void *arg, const char *from, const char *to, struct slice id, struct slice key);
/* A domain of this cluster: no certificate and no key from outside speaks for it, and DNS is not asked about it. */
bool s2s_in_is_local(const struct s2s_in *in, const char *domain);
bool s2s_in_is_blocked(const struct s2s_in *in, const char *domain);
void s2s_in_auth_end(struct s2s_in *in);  /* whatever goes on is forgotten */

#endif
