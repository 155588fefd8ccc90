#ifndef SVCPROTO_DIRECTORY_INT_H
#define SVCPROTO_DIRECTORY_INT_H

/* Private to the directory: directory.c merges, directory_ask.c answers. */

#include "svcproto/directory.h"
#include "svcproto/directory_feed.h"
#include "svcproto/ever.h"
#include "svcproto/keyset.h"
#include "svcproto/redirects.h"

struct source {
	bool live;               /* its last snapshot is in force */
	uint64_t mature_at_ms;   /* from then on it would know of every living owner */
	struct keyset *keys;     /* the set that it named last, or NULL */
	char *text;              /* of that */
	size_t text_n;
	char *parts;             /* of the set that is coming */
	size_t parts_n;
	uint64_t serial;
	uint32_t next_part;
};

struct linked {
	struct svc_id id;
	char key[41];
	struct linked *next;
};

struct directory {
	const struct directory_ops *ops;
	void *arg;
	struct entries entries;
	struct redirects *redirects;
	struct source sources[REG_SOURCES + 1]; /* the last: what was kept on disk, DIRECTORY_KEPT */
	const struct source *in_force;          /* whose keys are */
	const struct keyset *keys;              /* these */
	struct linked *linked;
	struct directory_walk *walks;           /* that are under way */
	struct ever ever;
	uint64_t look_at_ms;         /* no entry ends before */
};

struct directory_gateway directory_as_gateway(const struct entry *e);
struct directory_registration directory_as_registration(const struct entry *e);
/* This entry is about to go: no walk may stand on it. */
void directory_walks_pass(struct directory *d, const struct entry *e);

#endif
