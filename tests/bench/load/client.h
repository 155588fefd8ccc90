#ifndef AMBROSIA_BENCH_CLIENT_H
#define AMBROSIA_BENCH_CLIENT_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>
#include <stdint.h>

#include "tests/bench/load/scan.h"
#include "tests/bench/load/scram.h"

enum client_state { CLIENT_GONE, CLIENT_CONNECTING, CLIENT_TLS, CLIENT_NEGOTIATING, CLIENT_ONLINE, CLIENT_CLOSING };

struct client;

/* What a client tells of; each may free nothing and may call any client_ function. */
struct client_ops {
	void (*online)(struct client *c);                        /* bound, or resumed */
	void (*stanza)(struct client *c, struct slice stanza);   /* a message, presence or iq while online */
	void (*gone)(struct client *c, const char *why);         /* not connected any more; why NULL: as asked by client_close */
};

/* What all clients share. */
struct client_world {
	struct event_base *base;
	SSL_CTX *tls;
	const struct client_ops *ops;
	const char *domain, *user_prefix, *password;
	unsigned nr_users, nr_sources;   /* accounts; loopback addresses to come from */
	unsigned first_user;             /* the account of client 0 */
	const char *mechanism;           /* PLAIN, SCRAM-SHA-1, SCRAM-SHA-256 */
	struct scram_keys *keys;         /* one for each account, of the present mechanism */
};

struct client {
	struct client_world *w;
	unsigned index;          /* the account is (first_user + index) % nr_users */
	enum client_state state;
	unsigned step;           /* of the negotiation */
	int fd;
	SSL *ssl;
	SSL_SESSION *session;    /* of the last ticket, offered when it comes again; NULL: none, as always without sm */
	struct event ev;
	bool tls_done, has_session, resumed;
	bool sm;                 /* turns stream management on, and resumes after a loss, as it does its TLS session */
	struct scan scan;
	char *in, *out;
	size_t in_n, in_size, out_n, out_at, out_size;
	struct scram *scram;
	char jid[160], sm_id[160];
	uint32_t handled;        /* stanzas received since stream management began */
	uint64_t began_us, online_us;
	void *play;              /* the scenario's */
};

uint64_t now_us(void);
/* Begins to connect to 127.0.0.1:port; ops tell the rest. */
void client_connect(struct client *c, unsigned port);
/* Queues bytes; they leave at client_flush. */
void client_queue(struct client *c, const char *bytes, size_t n);
void client_flush(struct client *c);
/* The clean end: the stream's end tag, and the server's answer or end awaited. */
void client_close(struct client *c);
/* Gone at once, as by a crash; ops->gone isn't called. */
void client_drop(struct client *c);

/* OpenSSL's callback for a session ticket. */
int client_ticket(SSL *ssl, SSL_SESSION *session);

/* client_negotiate.c: one element before the client is online. NULL, or why it can't go on. */
const char *client_negotiate(struct client *c, struct slice element);
/* Its condition in words, until the next one. */
const char *client_stream_error(struct slice element);
void client_begin_stream(struct client *c);

static inline unsigned client_user(const struct client *c)
{
	return (c->w->first_user + c->index) % c->w->nr_users;
}

/* How many bytes wait to be written. */
static inline size_t client_unsent(const struct client *c)
{
	return c->out_n - c->out_at;
}

#endif
