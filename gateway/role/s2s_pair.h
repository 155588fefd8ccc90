#ifndef GATEWAY_ROLE_S2S_PAIR_H
#define GATEWAY_ROLE_S2S_PAIR_H

/* A service's server pair outwards, over the network (s2s_out). Pairs within the cluster are role/relay.h. Frees itself. */

#include "role/env.h"

/* Answers the stream (accept or refuse) now or later. */
void s2s_pair_open(struct role_env *env, struct svc_stream *s, const struct svc_open *o);

/* This worker is about to go, and another is there: every pair of now takes nothing more, waits for what is on its way to be
 * acknowledged, closes the stream to the other server, and only then the service's, which goes on elsewhere. env->nr_leaving says how many
 * have not yet. */
void s2s_pairs_leave(struct role_env *env);

/* This domain of ours knows others by their certificates only from now on. What stands for it without a good one ends: other servers'
 * streams with `reset`, our pairs when what is on its way is acknowledged, so that the service opens them anew, by the new policy. */
void s2s_pairs_restrict(struct role_env *env, const char *from);

#endif
