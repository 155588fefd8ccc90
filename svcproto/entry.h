#ifndef SVCPROTO_ENTRY_H
#define SVCPROTO_ENTRY_H

/*
 * One entry of the registry (PROTOCOL.md part II) and a store of them, pure: the registry's table and the directory are both such a store
 * with rules of their own. An entry is known by kind, key, owner and name, so that nobody can touch what another key announced.
 */

#include <sys/queue.h>

#include "svcproto/directory.h"

#define ENTRY_TEXT_MAX 1023u

/* Texts are borrowed in messages and owned in a store. */
struct entry {
	enum directory_kind kind;        /* a store holds DIR_GATEWAY and DIR_REGISTRATION; redirects have their own (redirects.h) */
	struct svc_id owner;
	uint64_t incarnation, version;
	char key[41];
	const char *name;                /* endpoint or domain; redirect: a bare JID or domain */
	const char *host;                /* redirect: where to */
	bool gone;                       /* a tombstone: the owner withdrew it */
	bool expired;                    /* with gone: the lease ran out; not the owner's word */
	bool ended;                      /* with expired: it was ended since the owner's process has died, by the kernel's word */
	uint32_t lease_ms;
	const char *public_host;         /* gateway; NULL: none */
	uint32_t client_port;            /* gateway; 0: none */
	uint32_t load;
	bool has_room;                   /* gateway */
	uint32_t room;
	unsigned types;                  /* registration */
	const char *policy;              /* static: entry_policy() */
	uint32_t weight;
	bool locate_open, certificates_only; /* registration */
	bool reopens;                    /* registration: failover is "reopen" */
	bool draining;
	/* The store's owner uses these. */
	uint64_t until_ms;               /* end of the lease, or of the tombstone */
	uint32_t sources, seen;          /* directory: who holds it */
	bool shown;                      /* directory: the events have told of it */
	uint32_t doubted;                /* directory: by whom, who held it and let it go without a word of its end */
	struct entry *chain_, *owner_chain_;
	TAILQ_ENTRY(entry) all;
};

TAILQ_HEAD(entry_list, entry);

struct entries {
	struct entry_list all;
	struct entry **buckets, **owners;
	size_t nr, cap;                  /* cap: a power of two, or 0 */
};

/* The static text of a policy, NULL if it is not known. */
const char *entry_policy(const char *p, size_t n);
/* 0 with *reopens set, or -1: a failover that is not known. */
int entry_failover(const char *p, size_t n, bool *reopens);
/* Is (incarnation, version) of a later than b's? >0, 0, <0. */
int entry_compare(const struct entry *a, const struct entry *b);

void entries_init(struct entries *s);
void entries_clear(struct entries *s);
struct entry *entries_find(const struct entries *s, const struct entry *like);
/* Everything of one kind and name, in turn: start with NULL. */
struct entry *entries_next(const struct entries *s, enum directory_kind kind, const char *name, const struct entry *last);
/* Everything of one owner, in turn: start with NULL. */
struct entry *entries_next_of_owner(const struct entries *s, const struct svc_id *owner, const struct entry *last);
/* Takes a copy over what is known by the same kind, key, owner and name (whose own fields from until_ms on stay). NULL: no memory, nothing
 * changed. What was known stays where it is, pointers to it too. */
struct entry *entries_put(struct entries *s, const struct entry *e);
void entries_remove(struct entries *s, struct entry *e);

#endif
