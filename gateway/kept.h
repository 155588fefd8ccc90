#ifndef GATEWAY_KEPT_H
#define GATEWAY_KEPT_H

/* The directory on disk (0600), for a start while no registry is there. Of a worker's thread; files are written by a job. */

#include "common/jobs.h"
#include "svcproto/directory.h"

struct kept;

/* Reads what was kept at `path` into d, which is fresh: blocks, before the loop runs. A file that is not usable is told and passed over.
 * jobs NULL: only read. Both are borrowed. */
struct kept *kept_new(struct loop *l, struct jobs *jobs, struct directory *d, const char *path);
/* Something in the directory is different: written soon, and not too often. */
void kept_changed(struct kept *k);
void kept_free(struct kept *k);     /* writes what is not written yet; NULL is allowed */

#endif
