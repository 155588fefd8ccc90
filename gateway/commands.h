#ifndef GATEWAY_COMMANDS_H
#define GATEWAY_COMMANDS_H

/*
 * What administrators may ask of a worker (svcproto/PROTOCOL.md section 11): one row of a table for each command. Owned by the worker's
 * thread; what only the process can do is an up-call.
 */

#include "link/admin.h"
#include "role/env.h"

struct commands;

/* What the worker must pass on. */
struct commands_ops {
	/* Certificates and keys are to be read again, on the main thread; commands_reloaded() follows. -ERR_CLOSED: not any more. */
	int (*reload)(void *arg, uint64_t request);
};

struct commands_options {
	struct role_env *env;
	const char *name;              /* of this worker */
	const char *public_host, *endpoint;
	struct svc_id id;              /* of this worker, as in the directory */
	const struct commands_ops *ops;
	void *arg;
};

struct commands *commands_new(const struct commands_options *o);  /* strings are borrowed */
void commands_free(struct commands *c);

/* error: a line, or NULL. */
void commands_reloaded(struct commands *c, uint64_t request, const char *error);

/* For struct links_ops; arg is a struct commands. */
void commands_ask(void *arg, struct admin_request *q, const char *command, const struct admin_args *a);
void commands_gone(void *arg, struct admin_request *q);

#endif
