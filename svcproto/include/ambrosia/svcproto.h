#ifndef AMBROSIA_SVCPROTO_H
#define AMBROSIA_SVCPROTO_H

/*
 * svcproto: what a service of an XMPP domain links (svcproto/PROTOCOL.md is the wire).
 *
 * One object, one file descriptor, one dispatch function, as libpq and libunbound have it: poll svcproto_fd() for reading in any event
 * loop, call svcproto_dispatch() when it is readable. All functions of one object belong to one thread; callbacks run inside
 * svcproto_dispatch() only. Functions that return int return 0 or a negative svcproto_error; nothing aborts on lack of memory.
 * Strings that go in are copied; what comes out in callbacks is borrowed until the callback returns.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SVCPROTO_API __attribute__((visibility("default")))

struct svcproto;          /* a service instance */
struct svcproto_session;  /* one client's session, owned by the library until its closed callback returns */

enum svcproto_error {
	SVCPROTO_OK = 0,
	SVCPROTO_E_NOMEM = -1,
	SVCPROTO_E_INVALID = -2,   /* an argument's value */
	SVCPROTO_E_FULL = -3,      /* too much is unacknowledged on that stream: store it or bounce it */
	SVCPROTO_E_CLOSED = -4,    /* the session or object has ended */
	SVCPROTO_E_KEY = -5,       /* a key file is missing, malformed, or readable by others */
	SVCPROTO_E_CONNECT = -6,   /* an endpoint that 0MQ does not take */
	SVCPROTO_E_NOREGISTRY = -7, /* no registry given and none found in the state folder */
	SVCPROTO_E_DENIED = -8,    /* the key is not authorised for that */
};
SVCPROTO_API const char *svcproto_strerror(int error);

/* Which type of streams a registration takes. */
enum svcproto_type { SVCPROTO_CLIENT = 1, SVCPROTO_SERVER = 2 };

enum svcproto_log { SVCPROTO_LOG_ERROR, SVCPROTO_LOG_WARN, SVCPROTO_LOG_INFO, SVCPROTO_LOG_DEBUG };

/* A client that has authenticated and wants a session. */
struct svcproto_open {
	const char *bare_jid;     /* prepared: localpart@domainpart */
	const char *resource;     /* wanted resourcepart, prepared, or NULL for "choose one" */
	const char *mechanism;    /* SASL mechanism that authenticated it */
	const char *address;      /* the client's network address as text */
	bool secure;              /* TLS was in place */
};

/* A stanza that a peer sent. xml is one whole element, self-contained, its content namespace jabber:client on every stream; `from` was
 * stamped or verified at the edge. Acknowledge it exactly once with svcproto_ack(), in any order, now or later: when it is stored, or when
 * the next hop has it. */
struct svcproto_stanza {
	const char *xml;
	size_t length;
	const char *remote_domain; /* a server stream: who sends; NULL for a client's */
	const char *local_domain;  /* a server stream: the domain of ours that is addressed; NULL for a client's */
	bool peer;                 /* from another instance of local_domain (svcproto_send_peer), to a user whom it takes for ours */
	bool repeated;             /* may have been delivered before (PROTOCOL.md, REPEATED) */
	uint64_t ticket;           /* for svcproto_ack() */
};

/* A name and a text: an argument of an administrator's command, or a column of a row that answers it. */
struct svcproto_property {
	const char *name;         /* a-z, 0-9 and -, at most 31 */
	const char *value;        /* UTF-8, at most 3071 bytes */
};

struct svcproto_callbacks {
	/* A client asks for a session. Answer with svcproto_accept() or svcproto_refuse(), now or later. */
	void (*session_open)(void *arg, struct svcproto_session *s, const struct svcproto_open *o);
	/* The session ended (client, gateway or you closed it). Stanzas of its sender that were not acknowledged never will be; s is freed
	 * on return. */
	void (*session_closed)(void *arg, struct svcproto_session *s, const char *condition, const char *text);
	/* The client or its gateway went away. If the client had stream management (XEP-0198), the session goes on: what you send queues,
	 * up to SVCPROTO_E_FULL, and either session_resumed() follows, or session_closed() when the time for that is over, after
	 * undeliverable() for all that did not arrive. A client that resumes waits until you have acknowledged everything it sent:
	 * acknowledge what only waits for this client. May be NULL. */
	void (*session_detached)(void *arg, struct svcproto_session *s);
	/* It is there again: o says from where, NULL that only its gateway was away. Nothing is lost, nothing comes twice. May be NULL. */
	void (*session_resumed)(void *arg, struct svcproto_session *s, const struct svcproto_open *o);
	/* s is NULL for a stanza of a remote server (see remote_domain). */
	void (*stanza)(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st);
	/* The next hop has what you sent with this cookie: the client's stream management or TCP, the remote server, or the other service.
	 */
	void (*delivered)(void *arg, uint64_t cookie);
	/* What you sent with this cookie came back: type and condition are a stanza error's (RFC 6120 sections 8.3.2 and 8.3.3), fit for
	 * the error that tells its sender: "cancel" and "remote-server-not-found"; "remote-server-timeout" with "wait", or with "cancel"
	 * where trying again is of no use (the other server can't be authenticated, say); "modify" and "policy-violation" when it is
	 * larger than the other server takes; "wait" and "recipient-unavailable" when the session ended; … xml is what you sent. */
	void (*undeliverable)(void *arg, uint64_t cookie, const char *type, const char *condition, const char *xml, size_t length);
	/* Where is this user? Asked for clients whose user the login database does not know, in domains registered with locate_open.
	 * Answer with svcproto_located(), now or later. NULL: unknown, to every question. */
	void (*locate)(void *arg, uint64_t request, const char *bare_jid);
	/* Registered domains became reachable through nr_gateways gateways (0: none now). May be NULL. */
	void (*linked)(void *arg, unsigned nr_gateways);
	/* The registry or a gateway refused something, by name ("domain example.org is not authorised for this key"). May be NULL. */
	void (*refused)(void *arg, const char *what);
	/* At the end of every svcproto_dispatch(), before anything leaves that was sent or acknowledged in it: where a service commits what
	 * it stored, so that nobody hears of what a crash would undo. It may send and acknowledge itself. May be NULL. */
	void (*before_flush)(void *arg);
	/* One line for a log. NULL: silence. */
	void (*log)(void *arg, enum svcproto_log level, const char *line);
};

struct svcproto_options {
	const char *registry;       /* "ENDPOINT=KEY[,…]", KEY in Z85; NULL: the local gateway's, found in state_dir */
	const char *key_file;       /* CURVE key pair, 0600; NULL: the one for services in state_dir */
	const char *state_dir;      /* NULL: /var/lib/ambrosia as root, else the user's state folder */
	const char *name;           /* of the program, for logs and ambrosiactl; NULL: "service" */
	uint32_t unacked_stanzas_max; /* per stream and direction; 0: 256. For another domain sixteen times as many, most of them waiting */
	uint32_t unacked_bytes_max;   /* per stream and direction; 0: 4 MiB (one larger stanza alone always passes) */
	uint32_t stanza_bytes_max;    /* largest stanza taken; 0: 16 MiB */
	uint32_t resume_seconds_max;  /* how long a session is kept for its client at most; 0: 600 */
	uint32_t detached_sessions_max; /* how many are kept so; 0: 100,000. Beyond it the oldest end. */
	uint64_t detached_bytes_max;  /* and what they have unacknowledged, in all; 0: 256 MiB */
	/* What is sent and not acknowledged on all streams together, and a quarter of it more for what waits for other domains; 0: 256 MiB.
	 * Each stream, and each other domain, may have an eighth of what is left: -SVCPROTO_E_FULL beyond. */
	uint64_t held_bytes_max;
	/* What you have not acknowledged for so long, or twice that, counts as acknowledged (not what other instances sent): for a service
	 * that keeps nothing, whose answers wait for clients that may wait for it. 0: never. */
	uint32_t ack_after_ms;
};

/* callbacks is borrowed and must live as long as the object. NULL with *error set on failure. */
SVCPROTO_API struct svcproto *svcproto_new(const struct svcproto_options *o, const struct svcproto_callbacks *cb, void *arg, int *error);
/* Closes all streams as a restarting service does, then frees everything. NULL is allowed. */
SVCPROTO_API void svcproto_free(struct svcproto *sp);

/* Readable when svcproto_dispatch() has work; the same descriptor for the object's life. */
SVCPROTO_API int svcproto_fd(const struct svcproto *sp);
/* Never blocks. 0, or a negative error that ends the object. */
SVCPROTO_API int svcproto_dispatch(struct svcproto *sp);
/* The same with a wait: poll + dispatch until svcproto_stop() or an error; for programs without a loop of their own. */
SVCPROTO_API int svcproto_run(struct svcproto *sp);
SVCPROTO_API void svcproto_stop(struct svcproto *sp); /* async-signal-safe */

struct svcproto_registration {
	const char *domain;
	unsigned types;            /* SVCPROTO_CLIENT | SVCPROTO_SERVER */
	const char *policy;        /* "round-robin" (NULL) or "hash" */
	uint32_t weight;           /* 0: 1 */
	/* A client whose user the login database does not know may be sent to another host before anything is proven: that tells whoever
	 * asks which names exist elsewhere. Without it redirects come after authentication only. */
	bool locate_open;
	/* Other servers are known to this domain by their certificates (PKIX or DANE), in both directions: dialback is neither offered nor
	 * used. One instance that says so is enough. */
	bool certificates_only;
	/* What becomes of this instance's clients when its process is known dead: "close" (NULL), and they log in again; or "reopen": those
	 * that cannot resume (no XEP-0198) notice nothing, their sessions are opened at another instance, under the same full JID, with
	 * what was not acknowledged of what they sent; `repeated` where it may have been handled. For services to which a session is no
	 * more than its full JID: of presence, say, the other instance knows nothing. */
	const char *failover;
};
/* Valid at once and kept alive by the library; a refusal comes through refused(). */
SVCPROTO_API int svcproto_register(struct svcproto *sp, const struct svcproto_registration *r);
SVCPROTO_API int svcproto_unregister(struct svcproto *sp, const char *domain);

SVCPROTO_API int svcproto_accept(struct svcproto_session *s, const char *full_jid);
/* type and condition as a stanza error's (RFC 6120 section 8.3); text may be NULL. s is gone afterwards, without session_closed(). */
SVCPROTO_API int svcproto_refuse(struct svcproto_session *s, const char *type, const char *condition, const char *text);
/* Sends the client to another host instead (RFC 6120 section 4.9.3.19): "gw2.example.org", "192.0.2.7:5222", "[2001:db8::1]:5222".
 * It holds for 300 seconds at every gateway, as the host in svcproto_located(): the next sends the user away without asking.
 * SVCPROTO_E_INVALID: not such a value; SVCPROTO_E_CLOSED: the session is accepted, or gone. s is gone afterwards, without
 * session_closed(). */
SVCPROTO_API int svcproto_redirect(struct svcproto_session *s, const char *host);
/* Answers locate(), once: see_other_host as above, or NULL when the user is nowhere else; here: it is a user of ours. The gateway waits for
 * less than a second; what comes later, or twice, it passes over. A host holds for so many seconds (0: 300; at most 30 days) at every
 * gateway, so that none asks again: it becomes a redirect as by svcproto_set_redirect(), unless the user, or the domain, has one. */
SVCPROTO_API int svcproto_located(struct svcproto *sp, uint64_t request, const char *see_other_host, uint32_t seconds, bool here);
/* From now on, at every gateway, whoever is called `who` is sent to host: a user's bare JID, prepared, or a domain for all of it that has
 * no redirect of its own. It ends after so many seconds (at most 30 days) or by its removal, not with this process; a later one for the
 * same name takes its place. It takes effect when a client has authenticated; before that only where a registration allows it
 * (locate_open) and the login database does not know the user. The key must be authorised for the domain's clients, or have the role
 * admin: what a registry refuses comes through refused(). */
SVCPROTO_API int svcproto_set_redirect(struct svcproto *sp, const char *who, const char *host, uint32_t seconds);
SVCPROTO_API int svcproto_remove_redirect(struct svcproto *sp, const char *who);
/* How many of these calls some registry has not answered yet: who ends before it is 0 may not have been heard. */
SVCPROTO_API size_t svcproto_nr_redirects_pending(const struct svcproto *sp);
/* How many of them no registry has answered yet: what one has taken counts, though another be down. */
SVCPROTO_API size_t svcproto_nr_redirects_unheard(const struct svcproto *sp);
struct svcproto_redirect {
	const char *who, *host;
	uint64_t seconds;         /* that are left */
};
/* All redirects that count; fn may be NULL. Their number, or SVCPROTO_E_NOREGISTRY as long as no registry has told of any. */
SVCPROTO_API int svcproto_each_redirect(struct svcproto *sp, void (*fn)(void *arg, const struct svcproto_redirect *r), void *arg);
/* Ends the session with a stream error condition (RFC 6120 section 4.9.3), NULL for a plain close; session_closed() follows. */
SVCPROTO_API int svcproto_close(struct svcproto_session *s, const char *condition, const char *text);
SVCPROTO_API void svcproto_set_data(struct svcproto_session *s, void *data);
SVCPROTO_API void *svcproto_data(const struct svcproto_session *s);
SVCPROTO_API const char *svcproto_jid(const struct svcproto_session *s);  /* full JID after accept, bare before */

/* A stanza to the client of this session. cookie comes back in delivered() or undeliverable(); 0 asks for neither. -SVCPROTO_E_FULL at once
 * when too much is unacknowledged. */
SVCPROTO_API int svcproto_send(struct svcproto_session *s, const char *xml, size_t length, uint64_t cookie);
/* A stanza from a domain that you registered to another domain: the library keeps one ordered stream for each pair of domains, opened when
 * needed at a gateway, closed when idle. Its `from` and `to` are of these two: one that is not comes back with "forbidden", and so does
 * what waits on the same stream then. -SVCPROTO_E_FULL when 16 times unacked_stanzas_max, or unacked_bytes_max, are sent and waiting for
 * that pair, or its share of held_bytes_max is: bounce it, or keep it. What waits comes back as "remote-server-timeout" where nothing could
 * be sent and nothing was acknowledged for a minute. */
SVCPROTO_API int svcproto_send_server(struct svcproto *sp, const char *from_domain, const char *to_domain, const char *xml, size_t length,
				      uint64_t cookie);
/* Answers to a stanza, for use in the stanza() callback or as long as st is kept: by the way it came (s as it was given there), `to` and
 * `from` exchanged. cookie and errors as for svcproto_send(); SVCPROTO_E_INVALID for what may not be answered: errors, and an iq's result
 * (RFC 6120 sections 8.2.3 and 8.3.1). */
/* The whole stanza. */
SVCPROTO_API int svcproto_send_back(struct svcproto *sp, struct svcproto_session *s, const struct svcproto_stanza *st, uint64_t cookie);
/* The error that refuses it: type and condition as in RFC 6120 section 8.3, "cancel" and "service-unavailable" for one you do not serve.
 * Towards a session it waits where there is no room, and nothing else is taken before it; SVCPROTO_E_FULL when 1 MiB of them wait. */
SVCPROTO_API int svcproto_send_error(struct svcproto *sp, struct svcproto_session *s, const struct svcproto_stanza *st, const char *type,
				     const char *condition, uint64_t cookie);
/* Whether the stanza is a "message", "presence" or "iq". */
SVCPROTO_API bool svcproto_stanza_is(const struct svcproto_stanza *st, const char *name);
/* Several instances may hold one domain (registered with the policy "hash": every session of a user is at one instance). Does the policy
 * pick this one for the user? True too where there is no other, or no such policy. */
SVCPROTO_API bool svcproto_is_here(const struct svcproto *sp, const char *bare_jid);
/* The same, and the id of the instance that the policy picks (16 bytes; all zero where it picks none, or our own registration is not
 * known to us yet): whether it is still the same one. */
SVCPROTO_API bool svcproto_whose(const struct svcproto *sp, const char *bare_jid, unsigned char instance[16]);
/* A stanza to a user of our own domain whom another instance has: a gateway hands it to the one that the policy picks, in order for each
 * user, once. `to` is of that domain; `from` may be of another, as it came from there. undeliverable() with "recipient-unavailable" when
 * the policy picks ourselves, or the other has gone. */
SVCPROTO_API int svcproto_send_peer(struct svcproto *sp, const char *bare_jid, const char *xml, size_t length, uint64_t cookie);
/* Handled: stored durably, or the next hop has it. Once for every stanza received; a second time says nothing. */
SVCPROTO_API int svcproto_ack(struct svcproto *sp, uint64_t ticket);
/* The same for everything that this client has sent so far; later acknowledgements of those stanzas say nothing new. */
SVCPROTO_API int svcproto_ack_all(struct svcproto_session *s);

/* ---- administration: needs a key with the role admin, and no registration ---- */

/* A gateway worker that the registry knows. */
struct svcproto_gateway {
	const char *id;           /* 32 hexadecimal digits, for the life of its process */
	const char *endpoint;     /* where services link to it */
	const char *public_host;  /* where clients find it */
	uint16_t client_port;     /* and at which port; 0: it takes none */
	uint32_t load;            /* its clients */
	bool draining;            /* takes no new ones */
	bool linked;              /* svcproto_admin() may ask it now */
	bool has_room;            /* it has said how many new clients it can take: */
	uint32_t room;            /* in the next second, roughly */
};
/* All gateways, linked or not; fn may be NULL. Their number, or SVCPROTO_E_NOREGISTRY as long as no registry has said which there are. fn
 * must not call back into the library. */
SVCPROTO_API int svcproto_each_gateway(struct svcproto *sp, void (*fn)(void *arg, const struct svcproto_gateway *g), void *arg);

/* A part of an answer: a row of a list, or a summary. After a part without `more` nothing follows. */
struct svcproto_reply {
	const char *gateway;      /* id of who answers */
	bool more;
	const char *error;        /* one line, in the last part only; NULL: none. Also when the link ended before the answer did. */
	const struct svcproto_property *properties;
	size_t nr;
};
typedef void svcproto_reply_fn(void *arg, const struct svcproto_reply *r);
/* Asks one gateway (by id) for a command; PROTOCOL.md section 11 has them all. fn is called inside svcproto_dispatch() for each part, and
 * no more after svcproto_free(). SVCPROTO_E_CLOSED: not linked to that gateway; E_FULL: 256 of our requests are open; E_INVALID: a command,
 * name or value that has not the form. */
SVCPROTO_API int svcproto_admin(struct svcproto *sp, const char *gateway, const char *command, const struct svcproto_property *args,
				size_t nr, svcproto_reply_fn *fn, void *arg);
/* The value of a property, NULL if it is not there. */
SVCPROTO_API const char *svcproto_reply_get(const struct svcproto_reply *r, const char *name);

/* A CURVE key pair: written to path with mode 0600, never over an existing file. public_z85, if not NULL, takes 41 bytes. */
SVCPROTO_API int svcproto_keygen(const char *path, char *public_z85);

#ifdef __cplusplus
}
#endif

#endif
