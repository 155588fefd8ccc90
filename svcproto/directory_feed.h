#ifndef SVCPROTO_DIRECTORY_FEED_H
#define SVCPROTO_DIRECTORY_FEED_H

/* What the announcer tells a directory: everything says from which registry (source, below REG_SOURCES) it comes. Pure. */

#include "svcproto/regmsg.h"

/* A snapshot comes in parts: begin, then entries and keys, then end with the registry's age. Entries of that source that were not among
 * them are no longer held by it. */
void directory_feed_begin(struct directory *d, unsigned source);
void directory_feed_end(struct directory *d, unsigned source, uint64_t up_ms, uint64_t now_ms);
/* An entry, or its end (e->gone), of a snapshot or an update. SVCPROTO_E_NOMEM: take a new snapshot later. */
int directory_feed_entry(struct directory *d, unsigned source, const struct entry *e, uint64_t now_ms);
/* One part of authorized_keys; in force when all are there. */
int directory_feed_keys(struct directory *d, unsigned source, const struct reg_frame *f);
/* The registry is silent: what it holds is neither confirmed nor denied any more. */
void directory_feed_lost(struct directory *d, unsigned source);
/* What was kept from an earlier start is a source of its own, which confirms nothing: feed, then say that it is lost. */
#define DIRECTORY_KEPT REG_SOURCES
/* For keeping: the text of authorized_keys in force (NULL: none), and every entry that is shown, in turn (start with NULL). */
const char *directory_feed_keys_text(const struct directory *d, size_t *n);
const struct entry *directory_feed_next(const struct directory *d, const struct entry *last);
/* Tombstones end, doubtful entries go when a registry is old enough to know. The next time to call. */
uint64_t directory_feed_tick(struct directory *d, uint64_t now_ms);

#endif
