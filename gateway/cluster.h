#ifndef GATEWAY_CLUSTER_H
#define GATEWAY_CLUSTER_H

/* What the process is in the cluster: 0MQ and its ZAP thread, the gateway's key, the registries given or the one embedded. Main thread. */

#include "common/obj.h"
#include "svcproto/keys.h"
#include "svcproto/zap.h"

struct registry_server;
struct secrets;

struct cluster_options {
	const char *registries;      /* "ENDPOINT=KEY[,…]" to join; NULL: embed one */
	const char *registry_bind;   /* of the embedded one */
	const char *state_dir;
	const char *key_file;        /* NULL: gateway.key in state_dir, made where it is missing */
};

struct cluster {
	void *zmq;
	struct zap *zap;
	struct registry_server *registry;  /* NULL: joined */
	char *registries;
	struct svc_key key;
};

/* Dies with a line that says what is wrong. */
void cluster_start(struct cluster *c, const struct cluster_options *o);
/* What the embedded registry would tell about the secrets at this time of the loops' clock; nothing if one was joined. */
void cluster_secrets(const struct cluster *c, struct secrets *out, uint64_t now_ms);
void cluster_reload(struct cluster *c);
/* The endpoint of worker n, where that of the first is svc: the port counts up, but 0 stays 0. */
void cluster_endpoint(const char *svc, unsigned n, char *out, size_t size);
/* Does another than the system's loopback listen at this 0MQ endpoint, so that a host name must be announced for it? */
bool cluster_is_wildcard(const char *endpoint);
void cluster_stop(struct cluster *c);    /* after every socket of its context is closed */

#endif
