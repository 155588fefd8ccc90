#ifndef GATEWAY_MEMBER_H
#define GATEWAY_MEMBER_H

/* A worker as a member of the cluster: its directory, fed by the registries, and its own entry there, with load and draining. Of the
 * worker's thread. */

#include "common/jobs.h"
#include "secrets.h"
#include "svcproto/announcer.h"
#include "svcproto/keys.h"
#include "svcproto/zap.h"

struct member;

struct member_ops {
	void (*keys)(void *arg);         /* authorized_keys changed */
	void (*synced)(void *arg);       /* a registry has told all that it knows */
	void (*secrets)(void *arg, const struct secrets *s); /* they came, or another time slot began */
	/* A registration says that this domain knows other servers by their certificates only. */
	void (*restricted)(void *arg, const char *domain);
	/* A service's instance, under the key that registered it: the cluster knows that it has ended. */
	void (*gone)(void *arg, const char *key, const struct svc_id *instance);
	uint32_t (*load)(void *arg);     /* sessions, asked once a second or so */
	uint32_t (*room)(void *arg);     /* new clients that fit into the next second, likewise; UINT32_MAX: any number */
	/* Once a second or so: when any registry was last heard, by the loop's clock; 0: none yet. */
	void (*heard)(void *arg, uint64_t at_ms);
};

struct member_options {
	struct loop *loop;
	void *zmq_context;
	const char *registries;          /* "ENDPOINT=KEY[,…]" */
	const struct svc_key *key;       /* the gateway's */
	struct svc_id id;                /* the worker's */
	uint64_t incarnation;
	const char *public_host;
	const struct secrets *secrets;   /* to begin with; NULL: none, a registry gives them. Copied */
	const char *keep_path;           /* where the directory is kept for the next start; NULL: nowhere */
	struct jobs *jobs;               /* that write it; NULL: it is only read */
	uint16_t client_port;            /* 0: takes no clients */
	struct zap *zap;                 /* given the keys that may link; NULL: an embedded registry does that */
};

/* Knows what was kept, speaks to nobody yet. Blocks for the file. Aborts on lack of memory. */
struct member *member_new(const struct member_options *o, const struct member_ops *ops, void *arg);
struct directory *member_directory(struct member *m);
/* Dials the registries, announces the gateway at `endpoint` once it knows who may link. 0, or -1 with a line in why. */
MUST_CHECK int member_join(struct member *m, const char *endpoint, char *why, size_t why_size);
/* Told at once; load follows by itself. */
void member_set_draining(struct member *m, bool draining);
void member_free(struct member *m);      /* withdraws the entry; NULL is allowed */

#endif
