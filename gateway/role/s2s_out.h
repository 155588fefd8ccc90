#ifndef GATEWAY_ROLE_S2S_OUT_H
#define GATEWAY_ROLE_S2S_OUT_H

/* A way to a remote server, for one pair of domains: sends its stanzas, or asks it to verify a dialback key. Frees itself. */

#include "role/env.h"

struct s2s_out;

enum s2s_out_result {
	S2S_OUT_OK,
	S2S_OUT_NOT_FOUND,       /* remote-server-not-found */
	S2S_OUT_TIMEOUT,         /* remote-server-timeout: resolved, but no stream came to be */
	S2S_OUT_REFUSED,         /* the same for good: it can't be authenticated, or offers no TLS (RFC 6120 section 8.3.3.17) */
	S2S_OUT_INVALID,         /* internal-server-error: the remote says that our dialback key is not ours (XEP-0220 section 2.1.1) */
	S2S_OUT_CROWDED,         /* resource-constraint: a verifier, for whose stranger too much is going on */
	S2S_OUT_STALLED,         /* established, and the remote took nothing for too long: what is under way goes back, as by a timeout */
};

/* Who only verifies leaves acked, handled and drained out, who only sends verified. */
struct s2s_out_ops {
	/* The pair may send now (or, verifying, the stream stands). */
	void (*established)(void *arg);
	/* It could not be, or it is over (established before). Called once; o is freed afterwards. */
	void (*ended)(void *arg, enum s2s_out_result r, const char *why);
	/* The remote TCP has everything up to pos (s2s_out_position). */
	void (*acked)(void *arg, uint64_t pos);
	/* Instead, where it has stream management: the remote handled so many more of the stanzas sent. */
	void (*handled)(void *arg, uint32_t nr);
	void (*drained)(void *arg);
	/* The authoritative server's answer; error: it has none (its domain is not there, say). */
	void (*verified)(void *arg, enum stream_verdict v);
};

/* Begins: DNS, connections to its addresses (net/race.h) until one does, TLS, authentication. certificates_only: nobody whose certificate
 * does not prove it, and no dialback. Callbacks come later, never inside. */
struct s2s_out *s2s_out_new(struct role_env *env, const char *from, const char *to, bool certificates_only, const struct s2s_out_ops *ops,
			    void *arg);
/* The same, only to ask about dialback keys, in a stranger's place (net/shares.h): borrowed until it ended or was released, and held by
 * each connection until that is gone. */
struct s2s_out *s2s_out_new_verifier(struct role_env *env, const char *from, const char *to, struct share *place,
				     const struct s2s_out_ops *ops, void *arg);
/* What the service leaves unacknowledged: a remote with stream management is asked when a part of it is used up. */
void s2s_out_bounds(struct s2s_out *o, uint32_t stanzas_max, uint32_t bytes_max);
bool s2s_out_established(const struct s2s_out *o);
bool s2s_out_takes(const struct s2s_out *o);                     /* established, and not being closed */
void s2s_out_send(struct s2s_out *o, struct slice xml);          /* it takes; jabber:server */
void s2s_out_verify(struct s2s_out *o, struct slice id, struct slice key);
uint64_t s2s_out_position(const struct s2s_out *o);
/* Established: the largest stanza that the remote takes (XEP-0478); 0: it has not said. */
uint32_t s2s_out_max_bytes(const struct s2s_out *o);
bool s2s_out_is_proven(const struct s2s_out *o);                 /* established: with a remote whose certificate is good */
bool s2s_out_full(const struct s2s_out *o);
/* Established: takes leave of the remote, since the pair goes on at another gateway; ended() comes when the remote has read everything, or
 * does not in time. */
void s2s_out_leave(struct s2s_out *o);
/* The same as below, where the service is not to be reached and opens the pair elsewhere soon, by when nothing of this one may be left.
 * Takes NULL. */
void s2s_out_cut(struct s2s_out *o);
/* Lets go: closes what there is; no callback follows. */
void s2s_out_release(struct s2s_out *o);

#endif
