#ifndef GATEWAY_RELOAD_H
#define GATEWAY_RELOAD_H

/* Reloads that administrators ask the workers for: done once for all who asked meanwhile, on the main thread. */

#include "common/loop.h"
#include "worker.h"

struct reload;

/* again() does it, on the loop's thread: 0, or -1 with a line in why. */
struct reload *reload_new(struct loop *main_loop, int (*again)(void *arg, char *why, size_t why_size), void *arg);
void reload_free(struct reload *r);    /* after the loop has ended and every worker has been joined */
/* From any thread: commands_reloaded() follows on the worker's. -ERR_CLOSED after the loop was stopped. */
MUST_CHECK int reload_ask(struct reload *r, struct worker *w, uint64_t request);

#endif
