#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H

/*
 * Everything that one event loop's thread owns: its listeners, its ROUTER for services, its view of the registry, its resolver and its
 * connections. Workers share the auth pool, the TLS store (immutable) and nothing else.
 */

#include "net/cidr.h"
#include "role/env.h"
#include "secrets.h"
#include "svcproto/keys.h"

struct worker;

/* Descriptors that main bound before it dropped its privileges; -1: that listener is off. */
struct worker_sockets { int c2s, c2s_direct, s2s, s2s_direct; };

struct worker_options {
	unsigned number;                    /* from 0 */
	void *zmq_context;
	struct worker_sockets sockets;
	const struct cidr *proxy_from;      /* whose PROXY headers are believed; borrowed for the worker's life */
	size_t nr_proxy_from;
	/* Texts: borrowed until worker_new returns. */
	const char *svc_bind;               /* endpoint of this worker */
	const char *svc_advertise;          /* host announced instead of the bound one, or NULL */
	const char *public_host;
	uint16_t client_port;               /* where clients from outside reach c2s; 0: none do */
	const char *registries;             /* "ENDPOINT=KEY[,…]" */
	struct zap *zap;                    /* of the context, to be given who may link; NULL: an embedded registry does that */
	const char *keep_path;              /* of the directory on disk, or NULL; the first worker writes it */
	struct jobs *jobs, *handshake_jobs; /* borrowed; the latter may be NULL */
	struct svc_key key;                 /* the gateway's CURVE key */
	uint64_t incarnation;
	struct tls_store *tls;              /* a reference is taken */
	struct auth_pool *auth;             /* borrowed */
	struct resolver_options resolver;
	struct role_limits limits;
	const struct secrets *secrets;      /* of the embedded registry, or NULL; copied */
	void (*heard_from)(void *arg, const char *domain);  /* on the worker's thread: a remote domain authenticated itself */
	/* On the worker's thread: an administrator asks for a reload; commands_reloaded() follows. -ERR_CLOSED: not any more. */
	int (*reload)(void *arg, struct worker *w, uint64_t request);
	void (*ended)(void *arg);           /* on the worker's thread: drained, about to leave */
	void *arg;
};

/* Makes all that can fail; runs nothing yet. NULL with a line in why. */
struct worker *worker_new(const struct worker_options *o, char *why, size_t why_size);
const char *worker_svc_endpoint(const struct worker *w);
/* Starts the thread. */
MUST_CHECK int worker_start(struct worker *w);
/* From any thread: */
struct worker_health {
	bool draining;
	uint64_t heard_at_ms;               /* when it last heard a registry; 0: not yet */
};
void worker_health(const struct worker *w, struct worker_health *out);
void worker_set_tls(struct worker *w, struct tls_store *tls);   /* takes a reference */
void worker_hint(struct worker *w, const char *domain);         /* backoff_hint */
/* fn(arg) runs on the worker's thread. -ERR_CLOSED: it does not, the worker is leaving. */
MUST_CHECK int worker_post(struct worker *w, void (*fn)(void *arg), void *arg);
struct commands *worker_commands(struct worker *w);             /* on its thread */
/* Closes the listeners, drains within window_ms (role/drain.h), and leaves the loop when the last connection is gone or patience_ms
 * passed. */
void worker_leave(struct worker *w, unsigned window_ms, unsigned patience_ms);
void worker_join(struct worker *w);
void worker_free(struct worker *w);                             /* after join, or if never started */

#endif
