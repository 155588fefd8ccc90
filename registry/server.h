#ifndef REGISTRY_SERVER_H
#define REGISTRY_SERVER_H

/* The registry as a thread: ROUTER and PUB under CURVE around the pure table. Embedded by a bare gateway, alone in ambrosia-registry. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/obj.h"
#include "svcproto/keys.h"
#include "svcproto/regmsg.h"
#include "svcproto/zap.h"

struct registry_server;

struct registry_server_options {
	void *zmq_context;            /* whose ZAP thread is `zap` */
	struct zap *zap;              /* the server gives it the keys of authorized_keys */
	const char *bind;             /* ROUTER endpoint, "tcp://127.0.0.1:5310"; port 0 picks two; PUB on the next port */
	const char *state_dir;        /* registry.key lives here */
	const char *authorized_keys;  /* file, read again when it changes; NULL: the one in state_dir, made where it is missing */
	const char *master;           /* file of the cluster's master secret; NULL: the one in state_dir, made where it is missing */
	bool embedded;                /* that one is made with gateway.key, service.key (`*`) and admin.key of the same user */
};

/* Binds, then runs its own thread. NULL with a one-line reason in why. */
struct registry_server *registry_server_start(const struct registry_server_options *o, char *why, size_t why_size);
void registry_server_stop(struct registry_server *s);     /* joins; NULL is allowed */
const char *registry_server_endpoint(const struct registry_server *s); /* as bound: "tcp://127.0.0.1:5310" */
const char *registry_server_key(const struct registry_server *s);      /* Z85 public */
/* What it would answer a gateway that asks for secrets now; from any thread. fn's bytes are borrowed until it returns. */
MUST_CHECK int registry_server_each_secret(const struct registry_server *s, void (*fn)(void *arg, const struct reg_slot *slot), void *arg);
/* What it was like a beat ago at most; from any thread. */
struct registry_counts {
	unsigned gateways, registrations, keys;
	uint64_t serial;              /* of authorized_keys */
	uint64_t beat_at_ms;          /* the last turn of the thread that told the members it is there, monotonic */
	bool bound;
};
void registry_server_counts(const struct registry_server *s, struct registry_counts *out);
void registry_server_reload(struct registry_server *s);   /* authorized_keys anew, from any thread */
/* Embedded: writes state_dir/registry ("ENDPOINT=KEY\n", 0600), which services of the same user read. */
int registry_server_publish_local(struct registry_server *s);

#endif
