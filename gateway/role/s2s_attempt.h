#ifndef GATEWAY_ROLE_S2S_ATTEMPT_H
#define GATEWAY_ROLE_S2S_ATTEMPT_H

/*
 * One connection, and the stream on it, to one address of a remote server. Whoever tries several (s2s_out) decides what follows. Frees
 * itself.
 */

#include "role/env.h"

struct s2s_attempt;

struct s2s_attempt_ops {
	void (*connected)(void *arg, struct s2s_attempt *a);       /* TCP */
	void (*established)(void *arg, struct s2s_attempt *a);
	/* Over; also when the time for negotiating is. a is not to be used from here on. detail: static, or NULL. */
	void (*ended)(void *arg, struct s2s_attempt *a, enum close_reason r, const char *detail);
	void (*acked)(void *arg, uint64_t pos);
	void (*handled)(void *arg, uint32_t nr);                   /* so many more stanzas, by a remote with stream management */
	void (*drained)(void *arg);
	void (*verified)(void *arg, const char *from, const char *to, struct slice id, enum stream_verdict v);
};

struct s2s_attempt_params {
	const char *from, *to;      /* prepared; borrowed until it ended or was released */
	const char *host;           /* the target, A-labels; borrowed as they are */
	const struct tlsa_set *tlsa;  /* of the target, or NULL; borrowed as well */
	bool certificates_only, direct_tls;
	struct share *place;        /* only to verify, for a stranger: held until the connection is gone. Or NULL */
	struct sockaddr_storage addr;
	unsigned number;            /* the owner's */
	uint32_t stanzas_max, bytes_max; /* that the owner's service leaves unacknowledged */
};

/* Connects. NULL when the system refuses at once. Callbacks come later, never inside. */
struct s2s_attempt *s2s_attempt_new(struct role_env *env, const struct s2s_attempt_params *p, const struct s2s_attempt_ops *ops, void *arg);
unsigned s2s_attempt_number(const struct s2s_attempt *a);
/* Established, and not being closed: what is sent after our closing tag nobody reads, though the peer's TCP acknowledges it. */
bool s2s_attempt_takes(const struct s2s_attempt *a);
/* Established: */
void s2s_attempt_send(struct s2s_attempt *a, struct slice xml);
void s2s_attempt_verify(struct s2s_attempt *a, struct slice id, struct slice key);
uint64_t s2s_attempt_position(const struct s2s_attempt *a);
uint32_t s2s_attempt_max_bytes(const struct s2s_attempt *a); /* stream_peer_max_bytes */
bool s2s_attempt_is_proven(const struct s2s_attempt *a);      /* s2s_lane_is_proven */
bool s2s_attempt_full(const struct s2s_attempt *a);
/* Takes leave of the remote: ended() comes when it has too, or did not in time. What was sent is read before that, so that nothing that is
 * sent elsewhere from then on can overtake it. */
void s2s_attempt_leave(struct s2s_attempt *a);
/* Lets go of it and closes it, whoever else uses it, without patience for a remote that reads too slowly to be left in time. Takes NULL. */
void s2s_attempt_cut(struct s2s_attempt *a);
/* Lets go of it, closing what nobody else uses (s2s_lane.h); no callback follows. Takes NULL. */
void s2s_attempt_release(struct s2s_attempt *a);

#endif
