#ifndef REGISTRY_TABLE_H
#define REGISTRY_TABLE_H

/*
 * What a registry knows, pure: entries with leases, tombstones, the authorised keys. Every change of it goes to ops->changed, numbered by
 * whoever publishes.
 */

#include "svcproto/entry.h"
#include "svcproto/keyset.h"
#include "svcproto/redirects.h"

#define TABLE_ENTRIES_MAX 300000u
#define TABLE_ENTRIES_PER_KEY 200000u /* so that one key cannot keep all others out */

struct registry_table;

struct registry_table_ops {
	/* An entry is new, changed, or gone (e->gone; e->expired: by its lease; e->ended: since its owner died). Borrowed until return. */
	void (*changed)(void *arg, const struct entry *e);
};

struct registry_table *registry_table_new(const struct registry_table_ops *ops, void *arg);
void registry_table_free(struct registry_table *t);
/* Takes the set over; entries whose keys may not any more go. */
void registry_table_set_keys(struct registry_table *t, struct keyset *keys, uint64_t now_ms);
const struct keyset *registry_table_keys(const struct registry_table *t);

/* An announcement (or withdrawal) by `user`, the key that ZAP saw. seen gets the last incarnation and version known of it. NULL: in force
 * (or older than what is known: compare `seen`). Else why it is refused, in `why`. */
const char *registry_table_announce(struct registry_table *t, const char *user, const struct entry *e, uint64_t now_ms, struct entry *seen,
				    char *why, size_t why_size);
/* A redirect that was kept on disk (redirecting.h). Before anybody is told of anything: it is not told of as a change. */
int registry_table_restore(struct registry_table *t, const struct entry *e, uint64_t now_ms);
/* Leases of all that this owner holds under this key begin anew. Returns how many there are; *version: the highest. */
size_t registry_table_renew(struct registry_table *t, const char *user, const struct svc_id *owner, uint64_t incarnation, uint64_t now_ms,
			    uint64_t *version);
/* Nothing is heard of it any more, or (died) its process has ended for certain: the leases of all that this owner holds under this key end
 * now. Returns how many there were. */
size_t registry_table_end(struct registry_table *t, const char *user, const struct svc_id *owner, bool died, uint64_t now_ms);
/* Leases and tombstones end. The next time to call, UINT64_MAX for none. */
uint64_t registry_table_tick(struct registry_table *t, uint64_t now_ms);
/* All living entries in turn: start with NULL. */
const struct entry *registry_table_next(const struct registry_table *t, const struct entry *last);
/* Borrowed, until the next change. */
const struct redirects *registry_table_redirects(const struct registry_table *t);

#endif
