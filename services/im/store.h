#ifndef SERVICES_IM_STORE_H
#define SERVICES_IM_STORE_H

/*
 * What must survive: users, rosters, offline messages, and stanzas whose next hop has not answered yet, in SQLite or PostgreSQL. The first
 * write opens a transaction and store_commit() ends it, so that all stanzas of one turn share one fsync. An error of the database is
 * sticky: from then on nothing is written, and store_commit() says so; the process ends without having acknowledged what it could not keep.
 */

#include "common/buf.h"

struct store;

/* Opens or creates: a file's name, which no second process may hold, or a connection string of libpq. NULL with one line in `why`. */
struct store *store_open(const char *database, char *why, size_t why_size);
void store_close(struct store *s);                     /* what was not committed is gone; NULL is allowed */
MUST_CHECK int store_commit(struct store *s);          /* 0, or -ERR_IO: the store is dead */
bool store_dirty(const struct store *s);               /* something waits for store_commit() */
const char *store_why(const struct store *s);          /* the database's words after a failure */

int64_t store_user_find(struct store *s, struct slice bare); /* its id; 0: never seen */
int64_t store_user_add(struct store *s, struct slice bare, int64_t at); /* its id, new or old; 0 after a failure */

/* A subscription's state as bits; PENDING_OUT never with TO, PENDING_IN never with FROM (RFC 6121 appendix A.1). */
enum { SUB_TO = 1, SUB_FROM = 2, SUB_PENDING_OUT = 4, SUB_PENDING_IN = 8 };

struct contact {
	char *jid;              /* prepared, without a resource for people; owned, as all below */
	char *name;             /* NULL: none */
	unsigned state;         /* SUB_* */
	bool listed;            /* the user sees it; false for somebody who only asked */
	char *request;          /* PENDING_IN: the presence stanza that asked; NULL: none */
	size_t request_n;
	char **groups;
	size_t nr_groups;
};

struct contact_list {
	struct contact *v;
	size_t nr;
};

void contact_clear(struct contact *c);
void contact_list_clear(struct contact_list *l);
bool store_contact_get(struct store *s, int64_t user, struct slice jid, struct contact *out); /* with groups; clear it when true */
unsigned store_contact_state(struct store *s, int64_t user, struct slice jid); /* SUB_*; 0: no contact, or nothing between the two */
void store_contact_put(struct store *s, int64_t user, const struct contact *c);               /* replaces, groups too */
void store_contact_del(struct store *s, int64_t user, struct slice jid);
/* Those with one of the state bits in `mask`, without groups, or all with them for 0. Clear the list. */
void store_contacts(struct store *s, int64_t user, unsigned mask, struct contact_list *out);
size_t store_contact_count(struct store *s, int64_t user);

/* Offline messages, in order of their row numbers. xml is kept as it is. */
int64_t store_offline_add(struct store *s, int64_t user, int64_t at, struct slice xml); /* row; 0 after a failure */
int64_t store_offline_next(struct store *s, int64_t user, int64_t after, struct buf *xml); /* the next row; 0: no more */
void store_offline_del(struct store *s, int64_t row);
void store_offline_size(struct store *s, int64_t user, size_t *nr, size_t *bytes);

/* Stanzas that were acknowledged and not yet answered by their next hop. Rows have their order from all instances together, and keep it
 * when another one takes them over. sender and recipient: bare JIDs, or domains. */
struct store_passing {
	int64_t row, at;
	size_t bytes;
	struct slice sender, recipient; /* empty: an older version did not say */
};
typedef void store_passing_fn(void *arg, const struct store_passing *p); /* borrowed */
int64_t store_passing_add(struct store *s, int64_t at, struct slice sender, struct slice recipient, struct slice xml);
bool store_passing_get(struct store *s, int64_t row, struct buf *xml, int64_t *at); /* false: it is gone */
void store_passing_all(struct store *s, store_passing_fn *fn, void *arg);  /* ours, in order */
void store_passing_del(struct store *s, int64_t row);
/* Takes over what instances that died left in a shared database; fn gets each, in any order. Outside a transaction, and commits. */
void store_passing_adopt(struct store *s, store_passing_fn *fn, void *arg);
/* Has another instance one that came no earlier than `since`, with a lower number than `before`? An empty recipient: whoever it is. */
bool store_passing_others(struct store *s, struct slice sender, struct slice recipient, int64_t before, int64_t since);

/* Other instances may have rows in it. They tell each other what they stored for users whom they have no session of. */
bool store_shared(const struct store *s);
/* That there is something for this user from that row on: once the transaction is committed, and once for all that it has for him. */
void store_tell(struct store *s, struct slice bare, int64_t row);
bool store_told(struct store *s, struct buf *bare, int64_t *row);              /* the next thing that another one told; false: no more */
bool store_is_file(const char *database);               /* a file's name, not a connection string, which may hold a password */

#endif
