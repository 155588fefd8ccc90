#ifndef TESTS_SVCCLIENT_CLUSTER_H
#define TESTS_SVCCLIENT_CLUSTER_H

/* A registry with its ZAP thread in a folder of its own, and services that note what their callbacks say. Real sockets on loopback. */

#include <ambrosia/svcproto.h>

#include "registry/server.h"

struct cluster {
	char dir[64];
	void *zmq;
	struct zap *zap;
	struct registry_server *registry;
	char where[256];          /* ENDPOINT=KEY */
	struct svc_key gateway_key;
};

void cluster_start(struct cluster *c);
void cluster_stop(struct cluster *c);
void cluster_stop_registry(struct cluster *c);
void cluster_start_registry(struct cluster *c);   /* on the same ports again */
/* Replaces authorized_keys; %G and %S stand for the keys of gateway and service. Reloads. */
void cluster_write_keys(struct cluster *c, const char *text);
const char *cluster_path(const struct cluster *c, const char *name);

#define NOTES 64

struct service {
	struct svcproto *sp;
	struct svcproto_session *session; /* the last opened */
	unsigned detached, resumed, opened, closed, stanzas, linked_calls, nr_gateways, refusals, nr_delivered, nr_undeliverable;
	uint64_t delivered[NOTES], undeliverable[NOTES], tickets[NOTES];
	char conditions[NOTES][64], types[NOTES][16], xml[NOTES][256], remote[NOTES][64], local[NOTES][64];
	char resumed_address[64], refused[256], closed_condition[64], bare_jid[128];
	char order[NOTES];       /* one letter for each callback: d, u, c, s */
	unsigned nr_order;
	unsigned nr_asked;       /* LOCATE: the last is for the test to answer */
	uint64_t asked;
	const char *answer;      /* sent before the flush of the dispatch that brings the first stanza, which is acknowledged then too */
	unsigned nr_flushes, answered_in;
	bool hold;               /* does not answer session_open */
	bool refuse;             /* refuses it */
	const char *unregister[4]; /* in refused(), the first that is left */
	void (*slow)(void);      /* what the stanza callback takes its time for; NULL: nothing */
	unsigned ack_after_ms;   /* to be set before service_start() */
};

/* What the service's key file is when key is NULL: the embedded one's. */
int service_start(struct service *s, const struct cluster *c, const char *key_file);
void service_stop(struct service *s);
int service_register(struct service *s, const char *domain, unsigned types);

uint64_t test_now_ms(void);
/* Runs fn(arg) and the services whose descriptors are readable until cond(arg) or a time has passed. */
struct turn {
	void (*fn)(void *arg);
	void *arg;
	struct service *services[4];
};
bool turn_until(const struct turn *t, bool (*cond)(void *arg), void *arg, unsigned max_ms);
/* ... or a counter has reached a value. */
bool turn_until_reached(const struct turn *t, const unsigned *counter, unsigned value, unsigned max_ms);

#endif
