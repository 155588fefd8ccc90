#ifndef GATEWAY_ROLE_ENV_H
#define GATEWAY_ROLE_ENV_H

/* What a worker lends to its roles. One for each worker, used on its thread only. */

#include <sys/queue.h>

#include "auth/auth.h"
#include "auth/extern.h"
#include "common/hash.h"
#include "common/loop.h"
#include "link/links.h"
#include "net/admission.h"
#include "net/conn.h"
#include "net/resolve.h"
#include "net/shares.h"
#include "net/tls_ctx.h"
#include "net/tls_tickets.h"
#include "role/halves.h"
#include "role/s2s_ways.h"
#include "route/backoff.h"
#include "stream/stream.h"

struct blocks;
struct drain;
struct edge;
struct edge_walk;
struct pair;
struct relay;

struct role_limits {
	struct stream_limits c2s, s2s_in, s2s_out;
	struct xml_limits from_service;      /* what a service may send */
	struct conn_limits conn;
	struct admission_options handshakes;
	unsigned s2s_connect_ms;             /* reach a remote server: DNS, connections, TLS, authentication */
	unsigned s2s_idle_ms, stall_ms;
	uint64_t held_bytes_max;             /* what a worker holds of stanzas for services, and of unfinished ones, each in all */
	unsigned negotiating_per_address_max, connections_per_address_max;
	unsigned checks_max;                 /* dialback keys that are looked into at a time, see role/s2s_in.h */
};

struct role_env {
	struct loop *loop;
	struct links *links;
	struct directory *directory;
	struct tls_store *tls;               /* replaced at reload; roles take it anew for each connection */
	struct auth_pool *auth;
	struct resolver *resolver;
	struct backoff *backoff;             /* reasons are enum s2s_out_result */
	struct role_limits limits;
	struct dialback_secrets dialback;    /* these two change with the cluster's time slot */
	struct tls_tickets tickets;
	struct hash *addresses;              /* address bytes -> struct address_count *, see role/admit.h */
	struct shares *checks;               /* of who they come from; each may be connections of ours that a stranger asked for */
	struct loop_task checks_go_on;       /* with those that wait */
	struct edge *edges;                  /* every connection of this worker, newest first */
	size_t nr_edges;
	LIST_HEAD(, relay) relays;           /* see role/relay.h */
	size_t nr_sessions;                  /* clients that are bound */
	struct pair *pairs;                  /* to other servers, see role/s2s_pair.h */
	size_t nr_leaving;                   /* of these, on their way to another gateway */
	struct s2s_ways ways;                /* to other servers */
	struct blocks *blocks;
	struct halves halves;                /* stanzas that have begun and not ended */
	struct edge_walk *walks;             /* see role/edge.h */
	size_t counts[STREAM_S2S_OUT + 1][STREAM_CLOSED + 1];  /* streams by role and state */
	uint64_t next_id;
	void (*heard_from)(void *arg, const char *domain);   /* a remote domain authenticated itself */
	void *heard_from_arg;
	struct drain *drain;                 /* see role/drain.h */
	bool draining;                       /* clients are sent elsewhere */
	bool leaving;                        /* the worker ends when its last connection has gone */
	void (*drained)(void *arg);          /* the last edge went while leaving */
	void *drained_arg;
};

#endif
