#ifndef SVCPROTO_ANNOUNCER_H
#define SVCPROTO_ANNOUNCER_H

/*
 * A member's side of the registry protocol (PROTOCOL.md, part II): announces the member's own entries to every registry, renews leases,
 * subscribes, takes snapshots, and feeds a directory. Owns two 0MQ sockets for each registry (DEALER, SUB); no loop of its own: the owner
 * polls the sockets and calls dispatch, and tick at the time it said. Used by the service library and by every gateway worker.
 */

#include "svcproto/directory.h"

struct announcer;
struct reg_slot;

struct announcer_options {
	void *zmq_context;
	const char *registries;       /* "ENDPOINT=KEY[,…]": ROUTER endpoints; PUB is on the next port */
	const char *public_key, *secret_key; /* Z85, 40 characters */
	struct svc_id owner;
	uint64_t incarnation;
	enum directory_role role;
};

struct announcer_ops {
	void (*refused)(void *arg, const char *what);  /* a registry refused an entry, or our key, by name */
	void (*synced)(void *arg);                     /* the first snapshot of any registry has been applied */
	/* Role gateway: one slot's keys (svcproto/regmsg.h), borrowed until return; source: which registry, counted from 0. NULL: they are
	 * not asked for. */
	void (*secrets)(void *arg, unsigned source, const struct reg_slot *slot);
	void (*log)(void *arg, enum svcproto_log level, const char *line);
};

/* Is this a list of registries as announcer_new wants it? 0, SVCPROTO_E_CONNECT, or SVCPROTO_E_NOREGISTRY when it is empty. */
int announcer_check(const char *registries);
struct announcer *announcer_new(const struct announcer_options *o, struct directory *d, const struct announcer_ops *ops, void *arg,
				int *error);
void announcer_free(struct announcer *a);       /* withdraws our entries, best effort */
/* All sockets of this announcer; the set never changes after announcer_new. Returns their number, at most max. */
size_t announcer_sockets(struct announcer *a, void **zsocks, size_t max);
/* Receives what there is, up to a budget; true when stopped by the budget. */
bool announcer_dispatch(struct announcer *a, uint64_t now_ms);
/* When a registry whose snapshot is in force was last heard, in the time given to dispatch and tick; 0: none ever. */
uint64_t announcer_heard_at(const struct announcer *a);
uint64_t announcer_tick(struct announcer *a, uint64_t now_ms);  /* next time to call */

/* Our own entries: set replaces by name (endpoint or domain); announced at the next tick or at once when connected. */
int announcer_set_gateway(struct announcer *a, const struct directory_gateway *g);
int announcer_set_registration(struct announcer *a, const struct directory_registration *r);
/* Sends who is called `name` (a bare JID, or a domain for all of it) to `host` for lease_ms, whatever becomes of us. wall_ms, the time
 * since 1970, is the version. Refusals come through refused(). */
int announcer_set_redirect(struct announcer *a, const char *name, const char *host, uint32_t lease_ms, uint64_t wall_ms, uint64_t now_ms);
/* The same where nobody has set, or removed, one for that name that would not have ended: 0 too when it gives way. */
int announcer_offer_redirect(struct announcer *a, const char *name, const char *host, uint32_t lease_ms, uint64_t wall_ms, uint64_t now_ms);
int announcer_remove_redirect(struct announcer *a, const char *name, uint64_t wall_ms, uint64_t now_ms);
/* Those that not every registry has answered yet. */
size_t announcer_nr_redirects(const struct announcer *a);
/* Those that no registry has answered yet. */
size_t announcer_nr_redirects_unheard(const struct announcer *a);
int announcer_remove_registration(struct announcer *a, const char *domain);

#endif
