#ifndef TESTS_UNIT_IM_FAKE_H
#define TESTS_UNIT_IM_FAKE_H

/*
 * A core with a transport that only writes down what it is given. Every call of fake_* that feeds the core is a turn of its own, unless
 * between fake_begin() and fake_end().
 */

#include "services/im/im.h"

struct fake;

struct client {                 /* what the core knows as a link */
	struct fake *fake;
	struct im_session *session;
	char jid[256];          /* full, once accepted */
	size_t room;            /* sends until SVCPROTO_E_FULL */
	bool open;              /* the transport's session is there */
	char refused[64], closed[64]; /* conditions */
};

struct sent {
	struct client *to;      /* NULL: to a server */
	char from_domain[64], to_domain[64];
	char *xml;
	size_t n;
	uint64_t cookie;
	bool answered, read;
};

struct fake {
	struct im *im;
	char dir[64], path[96];
	struct im_limits limits;
	struct sent *sent;
	size_t nr_sent;
	uint64_t acks[4096];
	size_t nr_acks;
	uint64_t ticket;
	uint64_t now_ms;
	uint64_t next_ms;
	size_t server_room, stanza_max;
	bool servers_full;          /* server_room, when it starts, is 0 */
	bool in_turn;
	bool shared;                /* the database is one of shared.c's */
	bool several;               /* give the core an is_here: everybody is, but `away` */
	const char *away;           /* bare JID */
	unsigned char away_to;      /* at which instance: its first byte */
	bool unknown;               /* nobody knows: everybody is here */
	const char *watch_table;    /* counted, as another process sees it, at the moment of every acknowledgement */
	size_t rows_at_ack;
	int end_err;
	struct client clients[64];
	size_t nr_clients;
};

void fake_open(struct fake *f);         /* domains a.example and b.example, an empty database */
void fake_crash(struct fake *f);        /* the process dies and starts again: clients are gone, the database stays */
void fake_close(struct fake *f);

void fake_begin(struct fake *f);
void fake_end(struct fake *f);
void fake_wait(struct fake *f, uint64_t ms);

struct client *fake_login(struct fake *f, const char *bare, const char *resource);
/* The same with an available presence; everything that it got for that is answered and read. */
struct client *fake_online(struct fake *f, const char *bare, const char *resource, int priority);
void fake_logout(struct client *c);
uint64_t fake_from(struct client *c, const char *xml);                  /* its ticket; from is stamped by the caller's text */
uint64_t fake_from_server(struct fake *f, const char *remote, const char *xml);
uint64_t fake_from_peer(struct fake *f, const char *domain, const char *xml); /* another instance of ours */
bool fake_acked(const struct fake *f, uint64_t ticket);

/* The next unread stanza to this client (NULL: to any server); NULL: none. */
struct sent *fake_next(struct fake *f, struct client *c);
size_t fake_unread(struct fake *f, struct client *c);
void fake_read_all(struct fake *f);
void fake_delivered(struct fake *f, struct sent *s);
void fake_undeliverable(struct fake *f, struct sent *s, const char *type, const char *condition);
void fake_deliver_all(struct fake *f);  /* until nothing is unanswered */

/* The next stanza holds all the words, a NULL ends them. */
bool fake_got(struct fake *f, struct client *c, ...) __attribute__((sentinel));
size_t fake_rows(struct fake *f, const char *table);
void fake_stored(struct fake *f, const char *bare, const char *xml);   /* a message in offline storage, by another process */

#endif
