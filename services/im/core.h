#ifndef SERVICES_IM_CORE_H
#define SERVICES_IM_CORE_H

/* What the files of the core share; everything else includes im.h. */

#include <stdlib.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "common/hash.h"
#include "services/im/im.h"
#include "services/im/store.h"
#include "xml/head.h"
#include "xml/jid.h"
#include "xml/ns.h"
#include "xml/tree.h"
#include "xml/writer.h"

#define IM_STANZA_MAX (32u << 20)  /* more than svcproto hands over, with room for what we add */

extern const struct xml_limits im_xml_limits;

/* A user with a session, or with something in flight. */
struct im_user {
	int64_t id;                      /* in the store */
	struct jid jid;                  /* bare */
	TAILQ_HEAD(, im_session) sessions;
	size_t nr_sessions;
	size_t nr_refs;                  /* sessions and works; gone at 0 */
	int64_t pumped;                  /* offline rows up to this one are in flight or delivered */
	bool backlog;                    /* there may be rows after it: new messages queue behind them */
	TAILQ_HEAD(, im_work) unstored;  /* messages on their way to sessions here that have no row, in order */
	size_t nr_unstored, unstored_bytes;
	size_t nr_limbo;                 /* messages to it on sessions that have left: they may come back, and new ones wait for that */
	bool dirty;                      /* in im->dirty */
	TAILQ_ENTRY(im_user) dirty_link;
};

/* A stanza that waits for room towards its session. */
struct im_queued {
	STAILQ_ENTRY(im_queued) link;
	size_t n;
	char xml[];
};

struct im_session {
	uint32_t magic;
	struct im *im;
	struct im_user *user;            /* NULL once it has left */
	void *link;
	struct jid jid;                  /* full */
	TAILQ_ENTRY(im_session) link_user;
	TAILQ_ENTRY(im_session) link_all;
	bool interested;                 /* asked for the roster (RFC 6121 section 2.2) */
	bool available;
	int priority;
	char *presence;                  /* the last available presence, as received */
	size_t presence_n;
	char **directed;                 /* addresses that got directed presence (RFC 6121 section 4.6) */
	size_t nr_directed;
	TAILQ_HEAD(, im_send) sends;     /* in flight: they keep the object */
	size_t nr_sends;
	bool closed;                     /* the transport's session is gone */
	bool overflowed;                 /* to be closed when the turn ends */
	bool behind;                     /* earlier stanzas of its user's may be on their way from another instance, or wait here */
	bool given;                      /* by a gateway, when the policy picked another instance; until it picks us, or a third one */
	unsigned char given_not_to[16];  /* that one */
	uint64_t away_at_ms;             /* since when it is known to pick another one, or the client is back; 0: it does not */
	bool detached;                   /* its client is away, and may come back to it */
	STAILQ_HEAD(, im_queued) queue;
	size_t queue_bytes;
};

/* What happens to a stanza that its next hop does not take in time. */
enum im_fallback {
	IM_DROP,     /* it lasts no longer than the sessions that it concerns: presence, answers to our clients */
	IM_OFFLINE,  /* a message for a user of ours: offline storage */
	IM_PASSING,  /* anything else addressed to somebody: stored until the next hop answers, bounced when it says no */
};

/* One stanza from its arrival to its end: acknowledged when it is stored or every next hop has answered. */
struct im_work {
	struct im *im;
	TAILQ_ENTRY(im_work) link;       /* in im->waiting while it is to be acknowledged, oldest first */
	uint64_t ticket;
	bool waiting;                    /* to be acknowledged */
	size_t nr_open;                  /* sends in flight, and the handler that still works on it */
	bool delivered, failed;          /* at least one of its sends was */
	bool unstored;                   /* in its user's list of these */
	TAILQ_ENTRY(im_work) link_unstored;
	bool local;                      /* IM_PASSING: the next hop is a client of ours */
	enum im_fallback fallback;
	int64_t row;                     /* of its copy in the store (offline or passing, by fallback); 0: none */
	struct im_user *user;            /* IM_OFFLINE: whose */
	uint64_t deadline_ms;
	int64_t at_s;                    /* when it came */
	char *xml;                       /* for the fallback; NULL once stored */
	size_t xml_n;
};

struct im_send {
	uint64_t cookie;
	struct im_work *work;            /* NULL: nothing waits for it */
	struct im_session *session;      /* NULL: to another server or instance */
	TAILQ_ENTRY(im_send) link;       /* in session->sends */
	bool limbo;                      /* counted by the user of `work` */
	struct im_peer *peer;            /* to a user at another instance; NULL else */
};

/* A user of another instance for whom something is on its way there. Messages that come later go the same way, though the user be here by
 * then: they would overtake. */
struct im_peer {
	size_t nr;                       /* sends */
	struct jid jid;                  /* bare */
};

/* Rows of `passing` that wait here: what another process left, and what came behind it. */
struct im_resume {
	struct im_waiting {
		int64_t row;
		size_t bytes;
		uint64_t sender;         /* hash of the sender; 0: the row does not say */
		uint64_t pair;           /* the same of sender and recipient, or what reading it said */
		bool gone;
	} *rows;                         /* ascending */
	size_t nr, cap;
	size_t at;                       /* how far this round has come */
	bool moved;                      /* something could go in this round */
	struct hash *skipped;            /* pairs of which one could not go, in this round */
	struct hash *waits;              /* struct im_waits by sender, and by pair */
	uint64_t due_ms;                 /* the next round */
	uint64_t pause_ms;               /* the last pause between two */
};

/* What waits here of one sender, or of one sender for one recipient. */
struct im_waits {
	size_t nr, bytes;
	int64_t newest_s;                /* when the last of them came */
};

/* What is stored for a user, as it was found not long ago. */
struct im_stored {
	size_t nr, bytes;                /* no less than there is, but for what other instances have added */
	bool shrunk;                     /* it may be less */
	bool overfull;                   /* what was sent was stored beyond the limit, and there was no room since */
};

/* What stamping messages uses again and again. */
struct im_sid {
	struct buf clean, id, stamped;
	unsigned char random[512];
	size_t random_n;                 /* of these were not used yet */
};

struct im {
	const struct im_ops *ops;
	void *arg;
	struct im_limits limits;
	struct store *store;
	struct hash *domains;            /* ours, to themselves */
	char **domain_names;
	size_t nr_domains;
	struct hash *users;              /* by bare JID */
	struct hash *sends;              /* by cookie */
	struct hash *inflight;           /* works by their offline row */
	struct hash *stored;             /* struct im_stored by the user's id */
	uint64_t stored_until_ms;        /* all of it is forgotten then */
	struct hash *peers;              /* struct im_peer by bare JID */
	uint64_t cookie_last;
	TAILQ_HEAD(im_works, im_work) waiting;
	TAILQ_HEAD(im_dirty, im_user) dirty;
	size_t nr_dirty;
	TAILQ_HEAD(, im_session) sessions; /* all whose transport's session is there */
	uint64_t *acks;                  /* due after the commit */
	size_t nr_acks, acks_cap;
	size_t nr_waiting, nr_sessions;
	uint64_t push_last;              /* ids of roster pushes */
	struct im_resume resume;
	uint64_t move_at_ms;             /* when to look for users who belong to another instance */
	uint64_t adopt_at_ms;            /* when to look for more of them in a shared database */
	bool linked;
	struct im_sid sid;
	struct slice taken;              /* bare JID that another instance took for ours, while its stanza is handled */
	uint64_t now_ms;
	int64_t wall_s;
};

/* A received stanza on its way through a handler. */
struct stanza {
	struct im *im;
	struct im_session *session;      /* NULL: from another server */
	const struct xml_element *e;
	enum stanza_kind kind;
	struct slice xml;
	const struct jid *from;
	struct jid to;                   /* empty: the sender's own account */
	struct slice type;               /* as written; empty when absent */
	struct im_work *work;
	bool stored;                     /* it was acknowledged: a message goes to storage, and only from there to anybody */
	int64_t at_s;                    /* when it came */
	struct xml_tree *tree_;
};
/* Its `to`; without one, the sender's own account (RFC 6120 section 10.3). Borrowed from both. */
struct slice stanza_to(const struct xml_element *e, const struct jid *from);
struct xml_node *stanza_root(struct stanza *st);   /* NULL when it can't be read; lives as long as the stanza */

/* core.c */
bool im_is_local(const struct im *im, struct slice domain);
/* Of our domains, and no other instance has this user: a server's address, somebody with a session here, or whom the policy gives us. */
bool im_is_here(const struct im *im, const struct jid *jid);
bool im_owns(const struct im *im, struct slice bare);   /* does the policy pick this instance for the user? */
bool im_whose(const struct im *im, struct slice bare, unsigned char instance[16]); /* the same; instance: if not, which one it picks */
/* The user who has this bare JID, in memory: with a session or something in flight; NULL else. */
struct im_user *im_user_find(const struct im *im, struct slice bare);
struct im_user *im_user_ref(struct im *im, struct slice bare, int64_t id); /* makes it when absent */
void im_user_unref(struct im *im, struct im_user *u);
struct im_session *im_session_find(const struct im *im, const struct jid *full);
struct im_session *im_user_best(const struct im_user *u); /* available, highest priority, not negative; NULL: none */
void im_user_backlog(struct im *im, struct im_user *u);   /* there are offline rows that could go */
void im_user_mark(struct im *im, struct im_user *u);      /* looked at when the turn ends */

/* work.c */
struct im_work *work_new(struct im *im, const uint64_t *ticket); /* ticket NULL: nothing to acknowledge. Held once by the caller. */
/* What to do when no next hop takes it. xml is copied; user for IM_OFFLINE. */
void work_keep(struct im_work *w, enum im_fallback f, struct im_user *user, struct slice xml);
void work_unkeep(struct im_work *w);   /* somebody else sees to it from here on */
void work_store(struct im_work *w);    /* now, if there is room, a message that may come back; other instances hear of it */
/* Those that this user's sessions may not have yet get their rows, before one that came later does. */
void works_store(struct im_user *u);
void work_hold(struct im_work *w);
void work_release(struct im_work *w);  /* w may be gone afterwards */
void work_abandon(struct im_work *w);  /* the same without any consequence: when the core is freed */
void works_expire(struct im *im);
uint64_t works_next_ms(const struct im *im);

/* send.c */
/* To one session. 0, or a negative svcproto_error: not taken. w counts it, NULL: nobody does. */
MUST_CHECK int send_session(struct im_session *s, struct slice xml, struct im_work *w);
/* State that a session must not miss (presence, pushes, answers): waits for room in order; a session that has too much waiting is closed.
 */
void send_state(struct im_session *s, struct slice xml, struct im_work *w);
/* To another server, or to a user of ours at another instance. */
MUST_CHECK int send_remote(struct im *im, const struct jid *from, const struct jid *to, struct slice xml, struct im_work *w);
bool send_drain(struct im_session *s);  /* true when nothing waits any more */
void send_queue_clear(struct im_session *s);
/* Something that we wrote, to wherever it is addressed: a full JID's session, all available sessions of a bare one, another server. */
void send_reply(struct im *im, const struct jid *from, const struct jid *to, struct slice xml, struct im_work *w);
/* The same for what answers the stanza of w. Another server's user outlives us, and so does the answer: it is what is stored when it takes
 * long. */
void send_answer(struct im *im, const struct jid *from, const struct jid *to, struct slice xml, struct im_work *w);
void send_forget(struct im *im);

/* error.c */
/* Answers a received stanza with an error; not if it is an answer or error itself. */
void error_reply(struct stanza *st, const char *condition);
/* The same for a stanza that came back or was stored: xml as it was sent. */
void error_bounce(struct im *im, struct slice xml, const char *condition, struct im_work *w);
/* With an error type of its own; NULL: the condition's. */
void error_bounce_as(struct im *im, struct slice xml, const char *type, const char *condition, struct im_work *w);

/* session.c */
void session_leave(struct im_session *s, struct im_work *w);  /* out of its user's list, unavailable to everybody; idempotent */
void session_free(struct im_session *s);                      /* when closed and nothing is in flight */
void session_kill(struct im_session *s, const char *condition, const char *text);

/* route.c */
void route_handle(struct stanza *st);
void route_remote(struct stanza *st);   /* passes it on unchanged, kept until the next hop answers */
/* A stanza to a user of ours that no other instance takes: it is ours to handle. */
void route_taken(struct im *im, struct slice xml, struct im_work *w);
void route_session(struct stanza *st, struct im_session *s); /* to one client, likewise */

/* The same for one that was acknowledged at at_s, and is in the store no more when the turn ends. */
void route_stored(struct im *im, struct slice xml, int64_t at_s, struct im_work *w);

/* sid.c, offline.c */
void sid_init(struct im *im);
void sid_clear(struct im *im);
/* Gives a message to a user of ours its id (XEP-0359): st->xml is the stamped one, until the next. False: it cannot be. */
MUST_CHECK bool sid_stamp(struct stanza *st);
/* For whoever looks for the way that a message took: by its id, at the log level debug. row: 0 where it is not stored. */
void sid_log(const char *way, struct slice xml, struct slice whom, int64_t row);
/* The stanza with one more child behind the others. 0 or a negative error. */
MUST_CHECK int stanza_add_child(struct buf *out, struct slice xml, struct slice child);

/* message.c, offline.c, passing.c, behind.c */
void message_handle(struct stanza *st);
bool offline_wants(struct slice xml);  /* worth keeping; else it is dropped where it would have been stored */
bool offline_has_room(struct im *im, int64_t user, size_t bytes);
void offline_del(struct im *im, int64_t user, int64_t row);
void offline_clear(struct im *im);
/* May one more be on its way to him that storage was not asked about? */
bool offline_may_send(struct im *im, const struct im_user *u, size_t bytes);
/* Stores a message with its delay stamp; the row, or 0 when the store is dead or no stamp fits. Other instances hear nothing of it. */
int64_t offline_store(struct im *im, int64_t user, const struct jid *jid, int64_t at_s, struct slice xml);
void offline_pump(struct im_user *u);
/* A row that no session here may get: the user may have one at another instance, for which it is not in its turn. */
void offline_tell(struct im *im, const struct jid *jid, int64_t row);
void offline_left(struct im *im, const struct im_user *u); /* the same of what waits, when the user's messages go to a session no more */
bool offline_waits(struct im_user *u); /* is there something in storage that no session was sent? */
void offline_listen(struct im *im);    /* to what other instances stored for users who are here */
/* A stanza of ours to another server that must not be lost: stored in this turn, sent behind earlier ones, deleted when the server has it.
 * False: it has not gone yet, or came back, so that what belongs behind it must not go. */
bool passing_send(struct im *im, const struct jid *from, const struct jid *to, struct slice xml);
/* The same for an answer, whose sender could be told nothing: when it can't go, it waits. What it answers is in the store no more. */
void passing_answer(struct im *im, const struct jid *from, const struct jid *to, struct slice xml);
void passing_init(struct im *im);
void passing_clear(struct im *im);
int64_t passing_store(struct im *im, int64_t at_s, struct slice xml); /* the row */
/* Stored, and goes when it may. */
void passing_wait(struct im *im, int64_t at_s, struct slice sender, struct slice recipient, struct slice xml);
void passing_resume(struct im *im);
void passing_adopt(struct im *im);   /* outside a transaction: looks for instances that died */
void passing_soon(struct im *im);    /* a session begins: it may be of a user whose instance died */

void behind_opened(struct im_session *s);
/* A message of a client's that must wait for earlier ones: it is in the store, and nothing more is to be done. */
bool behind_keeps(struct stanza *st, const struct jid *to);
uint64_t behind_pair(struct slice sender, struct slice recipient);   /* their hash */
/* Are there rows of these two that have not gone, here or at another instance? What comes now goes behind them. */
bool behind_rows(const struct im *im, struct slice sender, struct slice recipient);
bool behind_ours(const struct im *im, struct slice sender, struct slice recipient);  /* the same of those here */
bool behind_has_room(const struct im *im, struct slice sender, size_t bytes); /* for one more row of this sender that waits */
void behind_count(struct im *im, const struct im_waiting *w, int64_t at_s);   /* it waits here */
void behind_uncount(struct im *im, const struct im_waiting *w);               /* it has gone */
void behind_clear(struct im *im);
/* Has another instance rows of this sender and recipient with lower numbers? */
bool behind_others(const struct im *im, struct slice sender, struct slice recipient, int64_t row);

/* moving.c */
void moving_opened(struct im_session *s);
void moving_run(struct im *im);   /* ends sessions of users whom another instance has now */
uint64_t moving_next_ms(const struct im *im);
/* Has a session here, though another instance may take its messages, or did a moment ago. */
bool moving_is_elsewhere(const struct im *im, const struct im_user *u);

/* presence.c */
/* What we say ourselves: a presence without children. */
MUST_CHECK int presence_write(struct buf *out, const char *type, struct slice from, struct slice to);
bool presence_is_subscription(struct slice type);
void presence_handle(struct stanza *st);
void presence_gone(struct im_session *s, struct im_work *w);  /* unavailable to all who knew it */
/* To a user of ours: all available sessions, or the one addressed. */
void presence_inbound(struct im *im, const struct jid *to, struct slice xml, struct im_work *w);
/* This account's availability (every session) to somebody; with available false, as unavailable. */
void presence_tell(struct im_user *u, const struct jid *to, bool available, struct im_work *w);

/* roster.c */
void roster_push(struct im *im, struct im_user *u, const struct contact *c, bool removed, struct im_work *w);
void roster_get(struct stanza *st, struct xml_node *query);
void roster_set(struct stanza *st, struct xml_node *query);

/* subscription.c */
void subscription_outbound(struct stanza *st);
void subscription_inbound(struct stanza *st);
void subscription_pending(struct im_session *s, struct im_work *w);  /* what still asks for an answer */
/* One that waited behind others has gone to another server, and so may what belongs behind it. */
void subscription_went(struct im *im, const struct jid *from, const struct jid *to, struct slice type);
/* The contact leaves the roster: tells it (RFC 6121 section 2.5.2). */
void subscription_cancel(struct im *im, struct im_user *u, const struct contact *c, struct im_work *w);

/* iq.c */
void iq_handle(struct stanza *st);
/* Begins the result of an iq in `out`, ends and sends it. Between, children are written. */
void iq_result_start(struct stanza *st, struct xml_writer *w, struct buf *out);
void iq_result_end(struct stanza *st, struct xml_writer *w);
void iq_result_empty(struct stanza *st);

/* disco.c, ping.c */
void disco_info_server(struct stanza *st, struct xml_node *query);
void disco_items_server(struct stanza *st, struct xml_node *query);
void disco_info_account(struct stanza *st, struct xml_node *query);
void disco_items_account(struct stanza *st, struct xml_node *query);
void ping_answer(struct stanza *st, struct xml_node *query);

#endif
