#ifndef REGISTRY_KEPT_H
#define REGISTRY_KEPT_H

/* The file that keeps a registry's redirects for its next start. Of the registry's thread, which writes it itself: for at most a hundredth
 * of its time. */

#include "registry/table.h"

struct kept_redirects {
	char path[2304];
	uint64_t due_ms;         /* UINT64_MAX: nothing has changed */
	uint64_t rest_until_ms;
	uint64_t warned_ms;
};

/* Reads what is there into the table, whose keys are in force. */
void kept_redirects_open(struct kept_redirects *k, const char *state_dir, struct registry_table *t);
void kept_redirects_changed(struct kept_redirects *k, uint64_t now_ms);
/* Writes it when it is due. The next time to call, UINT64_MAX for none. */
uint64_t kept_redirects_tick(struct kept_redirects *k, const struct registry_table *t, uint64_t now_ms);
/* What has changed is written now. */
void kept_redirects_close(struct kept_redirects *k, const struct registry_table *t);

#endif
