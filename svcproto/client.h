#ifndef SVCPROTO_CLIENT_H
#define SVCPROTO_CLIENT_H

/*
 * Private to the service library. client.c: the object, its descriptor and its turn; client_link.c: gateways; client_session.c: what
 * peers open, tickets; client_admin.c: questions to gateways; client_locate.c: theirs to us, and redirects; client_pair.c: streams to other
 * domains; client_answer.c: answers to stanzas; run.c: a loop for programs without one.
 */

#include <stdatomic.h>
#include <sys/queue.h>

#include "svcproto/announcer.h"
#include "svcproto/hub.h"
#include "svcproto/keys.h"
#include "svcproto/peer_row.h"
#include "svcproto/window.h"
#include "svcproto/zmon.h"

#define CLIENT_NEVER UINT64_MAX

/* A gateway worker of the directory. */
struct client_link {
	TAILQ_ENTRY(client_link) all;
	struct svcproto *sp;
	uint32_t serial;         /* names it to the application; never used again */
	struct svc_id owner;     /* as the directory has it */
	struct svc_id instance;  /* who answers there */
	char key[41];
	struct zmon z;
	struct svc_link *engine;
	bool gone;               /* the directory has lost it: closed when it is down, and no stream waits for it */
	bool dead;               /* and its process with it: nothing waits */
	bool surplus;            /* there is another link to the same gateway: closed */
	bool draining;
	bool up, said;
	bool ready, monitor_ready; /* something may wait in that socket: it is looked at */
	bool touched;            /* 0MQ may have taken in news since the last look */
	unsigned broken;         /* handshakes in a row that failed */
	uint64_t retry_at_ms, retry_delay_ms;
	uint64_t redial_at_ms;      /* no epoch by then: the connection is taken for dead though 0MQ has it */
	uint64_t tick_at_ms;
};

enum inbound_kind { INBOUND_SESSION = 1, INBOUND_SERVER, INBOUND_PEER };

/* A stream that a gateway opened: what a ticket leads to. */
struct inbound {
	enum inbound_kind kind;
	uint64_t serial;         /* never used again */
	struct svc_stream *stream;
	uint32_t last_seq, aged_seq; /* aged: had come a while ago */
	struct inbound *chain;
};

struct sent {
	STAILQ_ENTRY(sent) all;
	uint32_t seq;
	uint64_t cookie;
};

struct svcproto_session {
	struct inbound in;       /* first */
	struct svcproto *sp;
	void *data;
	char *jid;
	bool accepted;
	STAILQ_HEAD(, sent) sent; /* those with a cookie */
	struct late_errors *late; /* client_wait.c; NULL: none */
};

struct server_in {
	struct inbound in;       /* first */
	char *remote, *local;
};

/* From another instance of our domain. It outlives its stream, so that what comes again over the next one is known. */
struct peer_in {
	struct inbound in;       /* first; stream NULL: none now */
	TAILQ_ENTRY(peer_in) all;
	struct peer_in *chain;   /* in peer_buckets */
	struct svc_id id;
	char *domain;
	struct peer_row row;     /* what came on all streams of this origin */
	uint64_t gone_at_ms;
};

struct queued {
	STAILQ_ENTRY(queued) all;
	uint64_t cookie;
	uint64_t since_ms;       /* when it came, or became the first of those that move */
	uint32_t seq;            /* on its stream, if sent: any number, 0 too */
	bool sent;               /* the engine has it */
	bool repeated;
	size_t n;
	char xml[];
};

/* All stanzas from one domain of ours to another domain, or to one user of it whom another instance has (then `to` is a bare JID). */
struct pair {
	struct pair *chain;
	TAILQ_ENTRY(pair) all, work;
	bool in_work, closing, accepted;
	char *from, *to;
	struct svc_stream *stream;       /* NULL: none now */
	struct svc_id id;                /* to a user: the origin of all its streams, while has_id */
	bool has_id;
	uint32_t acked;                  /* of that id */
	STAILQ_HEAD(, queued) queue;     /* in order, first those that the engine has */
	struct queued *unsent;           /* the first that it does not have, or NULL */
	size_t nr, bytes;
	uint64_t used_at_ms, retry_at_ms, retry_delay_ms;
	uint64_t held_until_ms;          /* its gateway drains: nothing more is sent there; 0: not so */
};

struct own_domain {
	struct own_domain *next;
	unsigned types;
	bool certificates_only;
	char name[];
};

#define CLIENT_PAIR_BUCKETS 4096u
#define CLIENT_PAIR_WINDOWS 16u

/* A LOCATE that the application has not answered: an answer with a host is a redirect for every gateway, and needs the name. */
struct question {
	TAILQ_ENTRY(question) all;
	uint64_t request;
	char bare_jid[];
};

struct svcproto {
	const struct svcproto_callbacks *cb;
	void *arg;
	void *zmq;
	struct svc_key key;
	struct svc_hello hello;
	struct svc_hub *hub;             /* of every link */
	struct directory *directory;
	struct announcer *announcer;
	int epoll_fd, timer_fd, kick_fd;
	atomic_bool stopping;
	bool kicked;
	bool kick_ready, timer_ready, announcer_ready; /* as epoll said */
	uint64_t timer_at_ms;            /* when it is set to end; 0: it has */
	unsigned nr_up;
	uint64_t now_ms, swept_at_ms;
	bool synced;                     /* a registry has answered */
	struct own_domain *domains;
	TAILQ_HEAD(, admin_request) requests;
	uint32_t nr_requests, request_numbers;
	TAILQ_HEAD(, question) questions; /* the oldest first */
	size_t nr_questions;
	TAILQ_HEAD(, client_link) links;
	struct inbound **inbound;        /* by serial */
	size_t nr_inbound, cap_inbound;
	uint64_t serials;
	uint32_t link_serials;
	struct pair *pairs[CLIENT_PAIR_BUCKETS];
	TAILQ_HEAD(, pair) all_pairs, work_pairs;
	TAILQ_HEAD(, peer_in) peers;     /* the newest first */
	struct peer_in **peer_buckets;   /* by origin; NULL before the first */
	uint64_t peer_seed;              /* random: origins are the others' choice */
	size_t nr_peers;
	uint64_t peers_at_ms;
	size_t nr_pairs, pair_bytes;      /* pair_bytes: of all that waits for other domains */
	uint64_t pair_bytes_max, late_bytes; /* late: errors that wait for room */
	uint64_t aged_at_ms;
	uint32_t ack_after_ms;
	uint8_t batch[SVC_BATCH_MAX];
};

/* A pair may have an eighth of what is left for all: domains that are slow or away leave room for others. It carries what all users of two
 * domains have to say, so sixteen times as many stanzas as one stream, sent and waiting; but no more bytes. */
static inline bool client_pair_has_room(const struct svcproto *sp, const struct pair *p, size_t n)
{
	uint64_t left = sp->pair_bytes < sp->pair_bytes_max ? sp->pair_bytes_max - sp->pair_bytes : 0;
	uint64_t most = left / 8 < sp->hello.unacked_bytes_max ? left / 8 : sp->hello.unacked_bytes_max;

	return p->nr == 0 ? n <= left : p->nr / CLIENT_PAIR_WINDOWS < sp->hello.unacked_stanzas_max && p->bytes + n <= most;
}

/* client.c */
void client_kick(struct svcproto *sp);  /* dispatch runs soon */
/* now_ms; otherwise it is of the turn's beginning, or of the last end of a link, however long callbacks took since. */
void client_read_clock(struct svcproto *sp);
/* *ready becomes true in a turn in which there may be something in the socket; it must last until client_unwatch. */
int client_watch(struct svcproto *sp, void *zsock, bool *ready);
void client_unwatch(struct svcproto *sp, void *zsock);
__attribute__((format(printf, 3, 4))) void client_log(struct svcproto *sp, enum svcproto_log level, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void client_refused(struct svcproto *sp, const char *fmt, ...);
bool client_has_domain(const struct svcproto *sp, const char *domain, unsigned type);
bool client_certificates_only(const struct svcproto *sp, const char *domain);

/* client_link.c */
void client_gateway_event(void *sp, const struct directory_gateway *g, bool gone);
/* Receives; true when the budget stopped it. */
bool client_links_read(struct svcproto *sp);
/* Timers and flushing; the next time to call. Says in *more whether something came meanwhile. */
uint64_t client_links_tick(struct svcproto *sp, bool *more);
void client_links_free(struct svcproto *sp);

/* client_hub.c: the hub and its events. */
int client_hub_start(struct svcproto *sp, const struct svcproto_options *o);

/* client_session.c: the engine's events for streams of theirs. */
void client_inbound_open(struct client_link *cl, struct svc_stream *s, const struct svc_open *o);
void client_inbound_stanza(struct svcproto *sp, struct svc_stream *s, uint32_t seq, unsigned flags, const char *xml, size_t n);
void client_inbound_acked(struct svcproto *sp, struct svc_stream *s, uint32_t seq);
void client_inbound_closed(struct svcproto *sp, struct svc_stream *s, const char *condition, const char *text);
void client_inbound_detached(struct svcproto *sp, struct svc_stream *s);
void client_inbound_attached(struct svcproto *sp, struct svc_stream *s, const struct svc_resume *r);
const char *client_inbound_jid(const struct svc_stream *s); /* full, of an accepted session; or NULL */
void client_inbound_free(struct svcproto *sp);  /* all of them, no callbacks */

int client_session_send(struct svcproto_session *s, const char *xml, size_t n, uint64_t cookie); /* behind nothing that waits */

/* client_wait.c: errors that found no room, and stanzas that nobody acknowledges. */
int client_late_add(struct svcproto_session *s, const char *xml, size_t n, uint64_t cookie); /* copied; SVCPROTO_E_FULL: too many wait */
void client_late_send(struct svcproto_session *s);             /* what there is room for */
void client_late_end(struct svcproto_session *s, bool tell);   /* none will be sent; tell: undeliverable() */
void client_waits_run(struct svcproto *sp);

/* client_admin.c */
void client_admin_reply(struct client_link *cl, uint32_t number, bool more, const char *error, const struct svcproto_property *v,
			size_t nr);
void client_admin_lost(struct client_link *cl, const char *why); /* the link went down */
void client_admin_free(struct svcproto *sp);                     /* all requests, no callbacks */
/* client_session.c, for client_peer.c */
bool client_inbound_add(struct svcproto *sp, struct inbound *in);
void client_inbound_remove(struct svcproto *sp, struct inbound *in);
uint64_t client_ticket(const struct inbound *in, uint32_t seq);

/* client_peer.c */
void client_peer_open(struct client_link *cl, struct svc_stream *s, const struct svc_open *o);
void client_peer_stanza(struct svcproto *sp, struct peer_in *p, uint32_t seq, const char *xml, size_t n);
void client_peer_ack(struct peer_in *p, uint32_t position);
void client_peer_closed(struct svcproto *sp, struct peer_in *p);
void client_peer_free(struct svcproto *sp, struct peer_in *p);  /* not from the table */
void client_peers_run(struct svcproto *sp);                    /* those that were left alone too long */

/* client_locate.c */
/* For every gateway; seconds 0: for as long as an answer holds. */
void client_publish_host(struct svcproto *sp, const char *bare_jid, const char *host, uint32_t seconds);
void client_locate(struct client_link *cl, uint32_t request, const char *bare_jid);
void client_locate_free(struct svcproto *sp);  /* all questions */

/* client_pair.c: the engine's events for streams of ours, and the turn's work. */
void client_pair_refused(struct svcproto *sp, struct svc_stream *s, const struct svc_refusal *r);
/* Puts a copy in the queue of the pair, or of the user `to`. 0, or a negative error: not taken. */
int client_pair_send(struct svcproto *sp, const char *from, const char *to, const char *xml, size_t length, uint64_t cookie);
void client_pair_acked(struct svcproto *sp, struct svc_stream *s, uint32_t seq);
void client_pair_accepted(struct svcproto *sp, struct svc_stream *s);
void client_pair_writable(struct svcproto *sp, struct svc_stream *s);
/* link_lost: not by the gateway, which says the same of a remote server that went. */
void client_pair_closed(struct svcproto *sp, struct svc_stream *s, const char *condition, bool link_lost);
void client_pairs_linked(struct svcproto *sp);  /* a gateway came up */
void client_pairs_draining(struct svcproto *sp, const struct client_link *cl); /* it does, or no more */
void client_pairs_run(struct svcproto *sp);
void client_pairs_free(struct svcproto *sp);

/* client_answer.c: the error that answers a stanza, as RFC 6120 section 8.3.1 has it; to: the full JID that sent it, NULL: the stanza's own
 * `from`. Owned by the caller; NULL: none is due, or no memory. */
char *client_error_stanza(const char *xml, size_t n, const char *to, const char *type, const char *condition, size_t *out_n);
/* Tells the application that a stanza of its came back; type NULL: the one that goes with the condition. cookie 0: nobody wants to know. */
void client_give_back(struct svcproto *sp, uint64_t cookie, const char *type, const char *condition, const char *xml, size_t n);
/* The stanza with `to` and `from` of its start tag exchanged; owned by the caller. NULL: it is an answer itself, or no memory. */
char *client_turn_around(const char *xml, size_t n, size_t *out_n);

#endif
