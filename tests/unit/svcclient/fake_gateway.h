#ifndef TESTS_SVCCLIENT_FAKE_GATEWAY_H
#define TESTS_SVCCLIENT_FAKE_GATEWAY_H

/* A gateway worker with nothing behind it: ROUTER, engines, announcer, directory. Counts and keeps what the service sends. */

#include "svcclient/cluster.h"
#include "svcproto/announcer.h"
#include "svcproto/hub.h"

#define PEERS 8

struct fake_gateway;

struct fake_peer {
	struct fake_gateway *g;
	struct svc_link *engine;
	uint8_t id[64];
	size_t id_n;
	char key[41];
	bool up;
};

struct fake_gateway {
	struct cluster *c;
	void *router;
	char endpoint[256];
	struct directory *directory;
	struct announcer *announcer;
	struct svc_hello hello;
	struct svc_hub *hub;
	struct fake_peer peers[PEERS];
	struct svc_stream *stream;        /* the last that we opened */
	char accepted_jid[256], refused[64], closed_condition[64];
	unsigned enabled, resumed, accepted, closed, stanzas, acked, outs, registry_refusals;
	char xml[NOTES][256];
	unsigned flags[NOTES];
	uint32_t acked_seq;
	struct svc_stream *out;           /* the last SERVER_OUT or PEER that was opened to us */
	struct svc_id out_id;             /* origin */
	char out_jid[128];
	uint32_t out_last_acked;
	char out_from[128], out_to[128], registry_refused[256];
	bool ack;                         /* acknowledge what comes */
	unsigned asked, admin_rows;       /* ADMIN */
	bool admin_silent;
	unsigned located;                 /* LOCATED, and the last of them */
	char located_host[64];
	bool located_here;
	const char *admin_error;
	char asked_command[32];
	uint32_t out_bytes_max;           /* the largest stanza taken on a SERVER_OUT or PEER; 0: as on any */
	const char *refuse_out;           /* condition: SERVER_OUT is refused with it */
};

void fake_gateway_start(struct fake_gateway *g, struct cluster *c, const char *bind);
void fake_gateway_stop(struct fake_gateway *g);
void fake_gateway_kill(struct fake_gateway *g);  /* without a word to the registry */
void fake_gateway_cut(struct fake_gateway *g);   /* its links; it lives on */
void fake_gateway_heal(struct fake_gateway *g);
void fake_gateway_turn(void *g);       /* for struct turn */
/* Through the link that is up; NULL if none is. */
struct svc_stream *fake_gateway_open_client(struct fake_gateway *g, const char *bare_jid, const char *resource);
struct svc_stream *fake_gateway_open_server(struct fake_gateway *g, const char *from, const char *to);
/* As a gateway that passes on what another instance of the domain opened, with its origin and what it says is acknowledged. */
struct svc_stream *fake_gateway_open_peer(struct fake_gateway *g, const struct svc_id *id, const char *bare_jid, uint32_t last_acked);
struct fake_peer *fake_gateway_peer(struct fake_gateway *g);
unsigned fake_gateway_nr_up(const struct fake_gateway *g);

#endif
