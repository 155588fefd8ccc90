#ifndef GATEWAY_LINK_ADMIN_H
#define GATEWAY_LINK_ADMIN_H

/*
 * Administrators' requests at a worker: who may ask, how many may be open, and how an answer leaves in pieces. What the commands do is the
 * owner's (struct admin_ops). Owned by the worker's thread.
 */

#include "common/buf.h"
#include "common/loop.h"
#include "svcproto/directory.h"

struct admin;
struct link;

/* One open request. Valid until admin_done, admin_fail or gone(). */
struct admin_request {
	uint64_t id;          /* never used again: what other threads hold instead of a pointer */
	void *data;           /* the owner's */
	/* private */
	struct link *link;
	uint32_t number;
	bool (*step)(struct admin_request *q);
	struct buf waiting;   /* parts that the link had no room for */
	bool ended, too_long;
	struct admin_request *next;
};

struct admin_args {
	const struct svcproto_property *v;
	size_t nr;
};

struct admin_ops {
	/* A key with the role admin asks: answer now or later. Borrowed until return. */
	void (*ask)(void *arg, struct admin_request *q, const char *command, const struct admin_args *a);
	/* The link of an open request is gone, and the request with it: free data. */
	void (*gone)(void *arg, struct admin_request *q);
};

struct admin *admin_new(struct loop *loop, struct directory *directory, const struct admin_ops *ops, void *arg);
void admin_free(struct admin *a);                /* gone() for what is open */

/* The value of an argument, NULL if it was not given. */
const char *admin_arg(const struct admin_args *a, const char *name);
/* A row of a list. What the link has no room for waits here, up to a bound; beyond it the answer ends with an error. */
void admin_row(struct admin_request *q, const struct svcproto_property *v, size_t nr);
/* The end of the answer: a summary, or one line that says what is wrong and how to mend it. q is freed. */
void admin_done(struct admin_request *q, const struct svcproto_property *v, size_t nr);
void admin_fail(struct admin_request *q, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A long answer, made piece by piece: step runs once in a turn, as long as the link takes more; it gives a few rows and returns true when
 * it has called admin_done or admin_fail. */
void admin_list(struct admin *a, struct admin_request *q, bool (*step)(struct admin_request *q));
/* The request with this id, NULL if it is gone. */
struct admin_request *admin_find(struct admin *a, uint64_t id);

/* For link.c and links.c. */
void admin_asked(struct admin *a, struct link *k, uint32_t number, const char *command, const struct admin_args *args);
void admin_link_down(struct admin *a, const struct link *k);
void admin_flushed(struct admin *a);             /* links may have room again */

#endif
