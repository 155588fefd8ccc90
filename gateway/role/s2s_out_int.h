#ifndef GATEWAY_ROLE_S2S_OUT_INT_H
#define GATEWAY_ROLE_S2S_OUT_INT_H

/* Private to the wish to reach a domain: s2s_out.c (dialling, life), s2s_out_lane.c (a place on a stream that is there already). */

#include "net/race.h"
#include "role/s2s_attempt.h"
#include "role/s2s_lane.h"
#include "role/s2s_out.h"

struct s2s_out {
	struct role_env *env;
	char *from, *to;
	char *verify_id;                 /* asked about, or NULL */
	struct share *place;             /* only to verify, for a stranger; borrowed while it is not over. Or NULL */
	bool certificates_only, established, over;
	uint32_t stanzas_max, bytes_max; /* unacknowledged */
	bool took_stanzas;               /* the remote said so itself, or it was of use otherwise */
	bool dialled;                    /* the back-off let us, and has not heard how it ended */
	uint64_t established_at_ms;
	enum s2s_out_result result;      /* of the attempts so far, when all of them fail */
	const struct s2s_out_ops *ops;
	void *arg;
	struct resolve *resolve;
	struct loop_timer deadline, next;
	struct {
		char host[256];
		bool direct_tls;
		struct tlsa_set *tlsa;   /* or NULL */
	} targets[RESOLVE_TARGETS_MAX];
	struct race race;
	struct {
		struct sockaddr_storage addr;
		unsigned target;
		struct s2s_attempt *attempt; /* under way, or NULL */
	} v[RACE_MAX];
	struct s2s_attempt *chosen;      /* connected: the only one */
	struct s2s_lane lane;            /* or a place on another's stream */
	char why[160];
};

/* Over, for this reason; tells the owner. */
void s2s_out_end(struct s2s_out *o, enum s2s_out_result r, const char *why);
/* Its stream, which was established, is over. */
void s2s_out_broke(struct s2s_out *o, enum close_reason r, const char *why);
/* Looks the domain up and connects, or hears that there is no point. Leaves the lane. */
void s2s_out_dial(struct s2s_out *o);
/* True when a stream was found that may take the pair: what follows comes later. */
MUST_CHECK bool s2s_out_lane_find(struct s2s_out *o);
/* It does not, or has not said so in time: the pair goes alone. */
void s2s_out_lane_refused(struct s2s_out *o, const char *condition);

#endif
