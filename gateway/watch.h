#ifndef GATEWAY_WATCH_H
#define GATEWAY_WATCH_H

/* /healthz and /metrics of a gateway (--http). Main thread. */

#include "common/loop.h"
#include "net/tls_ctx.h"

struct watch;

/* How the workers are, together. */
struct watch_health {
	unsigned workers, draining;      /* of them: those that take no newcomers */
	unsigned synced;                 /* of them: those to whom a registry has told the directory */
	uint64_t directory_heard_at_ms;  /* the worst worker's last word from any registry, by the main loop's clock; 0: none yet */
	bool stopping;
};

struct watch_ops {
	void (*health)(void *arg, struct watch_health *out);
	struct tls_store *(*tls)(void *arg);   /* in force; borrowed */
};

/* Takes fd, of http_listen(). */
struct watch *watch_new(struct loop *l, int fd, const struct watch_ops *ops, void *arg);
void watch_free(struct watch *w);              /* NULL is allowed */

#endif
