#ifndef GATEWAY_LINK_LINK_H
#define GATEWAY_LINK_LINK_H

/* One service peer of a worker's ROUTER: its engine, its key, its routing id. Private to gateway/link. */

#include <string.h>

#include "link/links.h"
#include "svcproto/hub.h"

#define LINK_MAGIC 0x4c494e4bu
#define ROUTING_ID_MAX 255

struct link {
	unsigned magic;
	struct links *set;
	struct svc_link *engine;
	struct svc_hello peer;
	uint64_t id;                         /* for logs */
	uint64_t tick_at_ms;
	char key[41];                        /* what ZAP authenticated */
	bool administers;                    /* came with a key for administration: comes and goes as it likes */
	bool up, dead;                       /* dead: the transport no longer knows the peer; reaped by the set */
	uint8_t routing_id_n;
	unsigned char routing_id[ROUTING_ID_MAX];
};

/* Whose link this is: an instance id says nothing without the key, since whoever may link may claim any. */
static inline bool link_is(const struct link *k, const char *key, const struct svc_id *instance)
{
	return memcmp(&k->peer.instance, instance, sizeof *instance) == 0 && strcmp(k->key, key) == 0;
}

/* What a link asks of its set. */
struct link *link_new(struct links *set, struct svc_hub *hub, struct slice routing_id, const char *key);
void link_free(struct link *k);              /* without events */
void link_input(struct link *k, struct slice batch, uint64_t now_ms);

/* Implemented by links.c. */
void links_sampled(struct links *ls, struct link_end *e);    /* the timed stanza was acknowledged */
int links_transmit(struct links *ls, struct link *k, const void *batch, size_t n);
void links_link_up(struct links *ls, struct link *k);
void links_link_down(struct links *ls, struct link *k, const char *why);
void links_located(struct links *ls, struct link *k, const struct svc_located *m);
void links_opened(struct links *ls, struct link *k, struct svc_stream *s, const struct svc_open *o);

#endif
