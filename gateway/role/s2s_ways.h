#ifndef GATEWAY_ROLE_S2S_WAYS_H
#define GATEWAY_ROLE_S2S_WAYS_H

/*
 * Which established streams lead to a remote domain, so that a pair need not have one of its own: streams that we made (further pairs,
 * XEP-0220 section 2.6) and such as the remote made and lets us use (XEP-0288). Of one worker.
 */

#include "common/hash.h"

#define S2S_WAYS_ALONE_MAX 256u

struct edge;
struct s2s_way;

/* Part of struct role_env; all zero at first. */
struct s2s_ways {
	struct hash *domains_;           /* domain -> struct s2s_way *, newest first; NULL while there is none */
	struct { uint64_t pair, until_ms; } alone_[S2S_WAYS_ALONE_MAX];
	unsigned next_;
};

/* e leads to a server of this domain. Once more changes nothing. */
void s2s_ways_add(struct s2s_ways *w, struct edge *e, const char *domain);
/* e leads nowhere any more. Idempotent. */
void s2s_ways_drop(struct s2s_ways *w, struct edge *e);
/* The newest one that fits, or NULL. fits() adds and drops nothing. */
struct edge *s2s_ways_find(const struct s2s_ways *w, const char *domain, bool (*fits)(void *arg, struct edge *e), void *arg);
/*
 * A pair that another's stream did not take goes alone for some minutes, all the more when it cost the others the stream (XEP-0220 section
 * 2.1.1: its key was called invalid). The latest S2S_WAYS_ALONE_MAX are remembered.
 */
void s2s_ways_alone(struct s2s_ways *w, const char *from, const char *to, uint64_t now_ms);
bool s2s_ways_is_alone(const struct s2s_ways *w, const char *from, const char *to, uint64_t now_ms);

#endif
