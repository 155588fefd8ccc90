#ifndef GATEWAY_LINK_LINKS_INT_H
#define GATEWAY_LINK_LINKS_INT_H

/* Private to the set: links.c (the ROUTER, its peers, life) and pick.c (which instance gets what). */

#include "common/hash.h"
#include "common/zev.h"
#include "link/choose.h"
#include "link/link.h"
#include "link/links.h"

struct links {
	struct loop *loop;
	void *zsock, *monitor;
	struct zev *zev, *zev_monitor;
	struct directory *directory;
	struct admin *admin;
	struct svc_hub *hub;                 /* of every link: their streams outlive them */
	const struct links_ops *ops;
	void *arg;
	struct hash *by_routing_id;          /* struct link * */
	struct locates *locates;
	struct link **v;
	size_t nr, cap;
	struct choose_candidate *candidates; /* of the present choice */
	size_t candidates_cap;
	bool heard;                          /* the directory is what a registry says */
	struct loop_task flush;
	struct loop_timer tick, probe;
	uint64_t round_robin, warned_ms;
	uint64_t held_told;                  /* of the bytes held, what is in STAT_held_unacked */
	unsigned probes_left;
	char endpoint[256];
};

void links_gather(struct svc_link *engine, bool gathers); /* svc_link_gather(); NULL is allowed */
struct link *links_of(struct links *ls, const struct directory_registration *r); /* NULL: it has none that is up */

#endif
