#ifndef REGISTRY_WATCH_H
#define REGISTRY_WATCH_H

/* Notice of a file that was written, or replaced by another of its name. */

#include "common/obj.h"

struct watch {
	int fd;           /* readable: something happened; -1: the system gives no notice */
	char *path;
};

/* path need not exist yet, its folder must. -1 with errno: fd is -1, and all calls are allowed. */
MUST_CHECK int watch_open(struct watch *w, const char *path);
/* Takes what there is off the descriptor. True: read the file again. A file that is still being written says nothing. */
bool watch_changed(struct watch *w);
void watch_close(struct watch *w);

#endif
