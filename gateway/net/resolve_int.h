#ifndef GATEWAY_NET_RESOLVE_INT_H
#define GATEWAY_NET_RESOLVE_INT_H

/* A resolve under way: resolve.c decides, resolve_read.c reads the answers. Private to the two. */

#include "net/dns_answer.h"
#include "net/resolver_int.h"

enum {
	SRV_MAX = 32,            /* looked at; RESOLVE_TARGETS_MAX of them are tried */
	FAMILY_MAX = 4,          /* addresses of each family and target */
	GRACE_MS = 2000,         /* once there is an address, the others may take this long */
	NAME_BYTES = 253,
};

/* Sets of SRV records. What one of them holds counts, whatever becomes of the other, unless that is bogus. */
enum { STARTTLS, DIRECT_TLS, NR_SETS };

/* A stage ends when its questions are answered, or its time is up. */
enum stage { ASKING_SRV, ASKING_ADDRESSES, ASKING_TLSA, SETTLED };

struct target {
	struct resolve_target t;
	struct sockaddr_storage v4[FAMILY_MAX];
	unsigned nr_v4;
	bool bogus;
	bool tlsa_known;         /* the records, or that there are none */
	struct tlsa_set *tlsa;   /* owned */
};

struct resolve {
	struct resolver *r;
	resolve_fn *fn;
	void *arg;
	struct loop_timer deadline;
	struct loop_task step;
	enum stage stage;
	enum resolve_status status;
	unsigned nr_asked;               /* and not answered */
	bool failed, bogus, timed_out, in_grace;
	bool waited;                     /* a question of it was not asked at once */
	struct resolver_asker asker;
	char *who;                       /* of asker */
	bool secure[NR_SETS], known[NR_SETS];
	uint64_t give_up_at_ms;
	char domain[DNS_NAME_MAX];
	char why[200];
	struct dns_srv srv[SRV_MAX];
	size_t nr_srv;
	bool no_service;                 /* the target ".", for STARTTLS: it rules out the domain's own addresses as well */
	struct target targets[RESOLVE_TARGETS_MAX];
	size_t nr_targets;
	struct resolve *next, **prev;
};

/* Each notes what came: a set of SRV records; addresses (AF_INET, AF_INET6) and TLSA records of a target. */
void resolve_read_srv(struct resolve *q, uint16_t set, const struct dns_answer *a);
void resolve_read_addresses(struct resolve *q, struct target *t, int family, const struct dns_answer *a);
void resolve_read_tlsa(struct resolve *q, struct target *t, const struct dns_answer *a);
void resolve_add_address(struct target *t, int family, const void *bytes);

#endif
