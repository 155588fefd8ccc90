#ifndef SVCPROTO_REDIRECTS_H
#define SVCPROTO_REDIRECTS_H

/*
 * Who is to be sent to which other host, and until when: a compact store, pure, of which a registry and every directory have one. A
 * redirect is known by whom it is for alone, whoever set it; of two the one with the higher version counts. A removal is kept as a
 * tombstone until what it removed would have ended, so that nothing older comes back.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDIRECT_NAME_MAX 2047u             /* a bare JID */
#define REDIRECT_MAX_MS UINT32_C(2592000000) /* 30 days */
#define REDIRECT_TOMBSTONE_MS 60000u         /* of a removal of what is not known */

struct redirect {
	const char *name;            /* "user@domain", or "domain" for all of it; prepared */
	const char *host;            /* as other_host_ok() wants it; NULL: a tombstone */
	const char *key;             /* who set it: 40 letters of Z85 */
	uint64_t version;
	uint64_t until_ms;
};

struct redirects;

struct redirects *redirects_new(void);        /* NULL: no memory */
void redirects_free(struct redirects *rs);    /* NULL is allowed */
/* Copies. 1: it counts now; 0: what is known is the same or later; SVCPROTO_E_NOMEM. */
int redirects_put(struct redirects *rs, const struct redirect *r, uint64_t now_ms);
/* What counts for exactly this name, a tombstone too. False: nothing, or it has ended. Borrowed until the next put or tick. */
bool redirects_get(const struct redirects *rs, const char *name, uint64_t now_ms, struct redirect *out);
/* Is a later than b, which is for the same name? */
bool redirects_later(const struct redirect *a, const struct redirect *b);
/* Those that have not ended, tombstones too; fn non-zero stops, and is returned. */
int redirects_each(const struct redirects *rs, uint64_t now_ms, int (*fn)(void *arg, const struct redirect *r), void *arg);
/* How many this key has set, tombstones and those that ended a moment ago too. */
size_t redirects_of_key(const struct redirects *rs, const char *key);
size_t redirects_count(const struct redirects *rs);
size_t redirects_bytes(const struct redirects *rs);   /* of memory, as the allocator has them */
/* Forgets some of those that have ended: a part of the store once a second, the whole of it in about a minute. */
void redirects_tick(struct redirects *rs, uint64_t now_ms);

/* "user@domain" or "domain", with nothing in it that prepared names don't have. */
bool redirect_name_ok(const char *name);
const char *redirect_domain(const char *name);

#endif
