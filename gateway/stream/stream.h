#ifndef GATEWAY_STREAM_STREAM_H
#define GATEWAY_STREAM_STREAM_H

/*
 * The stream machine (RFC 6120 sections 4 to 7, XEP-0220), pure: bytes, verdicts and times in; bytes and questions out. One for each
 * connection, in one of three roles. No sockets, no clock. Memory: an established, idle stream holds no parser.
 */

#include "common/buf.h"
#include "xml/jid.h"
#include "xml/parser.h"

struct stream;

enum stream_role { STREAM_C2S, STREAM_S2S_IN, STREAM_S2S_OUT };

enum stream_state {
	STREAM_WAIT_STREAM,      /* the peer's stream header */
	STREAM_WAIT_FEATURES,    /* S2S_OUT: the peer's features */
	STREAM_WAIT_TLS,         /* STARTTLS offered (or, S2S_OUT, asked for) */
	STREAM_TLS,              /* the handshake runs */
	STREAM_WAIT_SASL,        /* offered, or running; S2S_OUT: EXTERNAL sent; S2S_IN: dialback is possible too */
	STREAM_WAIT_BIND,
	STREAM_WAIT_DIALBACK,    /* S2S_OUT: db:result sent */
	STREAM_ESTABLISHED,
	STREAM_CLOSING,          /* our </stream:stream> is sent: stanzas that still come are taken no more; waiting for the peer's */
	STREAM_CLOSED,
};

/* Of a dialback key, by the authoritative server. */
enum stream_verdict { STREAM_DB_INVALID, STREAM_DB_VALID, STREAM_DB_ERROR };

enum close_reason {
#define CLOSE(name, condition, text, word) CLOSE_##name,
#include "stream/close.def"
#undef CLOSE
	CLOSE_MAX_
};
const char *close_condition(enum close_reason r);  /* "" for a plain close */
const char *close_text(enum close_reason r);       /* "" for none */
const char *close_word(enum close_reason r);       /* for the log */

/* A single tag of a peer's: the most that limits may allow, since a value of it may have to be said back. */
#define STREAM_TAG_MAX 16384

struct stream_limits {
	struct xml_limits before_auth, after_auth;   /* tag_bytes at most STREAM_TAG_MAX */
	unsigned negotiation_ms;     /* accept to bound */
	unsigned tls_ms, close_ms;   /* handshake; wait for the peer's closing tag */
	unsigned ack_ms;             /* for an answer to <r/> (XEP-0198); 0: no limit */
	unsigned keepalive_ms;       /* silence after which a white space is sent; 0: never */
	unsigned idle_ms;            /* silence from the peer after which the stream is given up; 0: never */
	unsigned hold_ms;            /* held for so long without a word of the owner: it is given up; 0: never */
	unsigned unfinished_ms;      /* established: what has begun ends, or grows by STREAM_STEP_BYTES, in so long; 0: no limit */
	unsigned auth_attempts_max;  /* for each stream */
	/* Taken from the peer before the stream is established: bytes in all, over all restarts, and of white space between the elements of
	 * a stream, where RFC 6120 sections 5.3.3 and 6.3.5 want none. 0: no limit. */
	size_t negotiation_bytes, negotiation_blanks;
};

/* Elements that one stream_feed() takes: others are to have their turn. */
#define STREAM_FEED_ELEMENTS 64

/* A stanza that has begun goes on in steps of so many bytes: fewer are no progress (stream_unfinished). */
#define STREAM_STEP_BYTES 16384

/* Stanzas since stream management was enabled, modulo 2^32. */
struct stream_counts {
	uint32_t h;              /* of the peer, handled by the service in an unbroken row */
	uint32_t sent;           /* to the peer; S2S_OUT: since it was asked for */
	uint32_t unhandled;      /* of these, not acknowledged */
	uint32_t stanzas_max, bytes_max; /* how much may be so */
};

/* What the stream asks of its owner. Callbacks may call stream_* except stream_feed and stream_free. Slices are borrowed. */
struct stream_ops {
	void (*send)(void *arg, struct slice bytes);
	/* <proceed/> has been sent (or received): start the handshake, then stream_tls_done(). */
	void (*start_tls)(void *arg);
	/* Does this (prepared) domain take streams of our role here? */
	bool (*host_known)(void *arg, const char *domain);
	/* S2S_IN: TLS stands and the peer said who it is. True: what it is offered depends on an answer that is still to come; say
	 * stream_peer_known() then. May be NULL. */
	bool (*peer_named)(void *arg);
	/* S2S: does this domain of ours do dialback? If not, it is neither announced nor tried. NULL: yes. */
	bool (*dialback_allowed)(void *arg, const char *domain);
	/* C2S, S2S_IN: which SASL mechanisms are offered now (after TLS): call stream_offer_mechanism for each; and channel-binding types
	 * by stream_offer_binding. S2S_IN offers EXTERNAL here when the peer's certificate stands for stream_peer_domain(). */
	void (*mechanisms)(void *arg, struct stream *s);
	void (*auth_start)(void *arg, struct slice mech, struct slice initial); /* decoded; initial.p NULL: none. Answer: stream_auth_* */
	void (*auth_step)(void *arg, struct slice response);                    /* decoded */
	/* The client ended the exchange that waits for it, or sent what none can go on with. It is over, at once: auth_start may follow
	 * from the same input. No answer. */
	void (*auth_abort)(void *arg);
	/* C2S: wanted resource, prepared; empty: choose. Answer: stream_bound or stream_bind_refused. */
	void (*bind)(void *arg, struct slice resource);
	/* Stream management (XEP-0198); without sm_counts it is neither offered nor, S2S_OUT, wanted. sm_enable: the peer wants it, and to
	 * be able to resume for so many seconds, 0: not at all (a server's wish is not to be granted). Answer: stream_sm_enabled or
	 * stream_sm_failed. */
	void (*sm_enable)(void *arg, uint32_t resume_s);
	/* C2S, before bind: a session by the id that stream_sm_enabled gave, and how many stanzas the client has handled. Answer:
	 * stream_sm_resumed, stream_sm_failed, stream_sm_too_high or a close. */
	void (*sm_resume)(void *arg, struct slice id, uint32_t h);
	/* S2S_OUT: it was asked for when established() came (see stream_managed); now it is on, or it is not to be. */
	void (*sm_answered)(void *arg, bool on);
	/* The peer has handled h stanzas in all. False: that is more than were sent. */
	bool (*sm_handled)(void *arg, uint32_t h);
	void (*sm_counts)(void *arg, struct stream_counts *c);
	/* A stanza on an established stream (message, presence, iq in the content namespace). */
	void (*stanza)(void *arg, const struct xml_element *e);
	/* S2S_IN, and S2S_OUT when stream_bidi(): a dialback key for the pair (from: remote, to: ours; prepared): verify it at the
	 * authoritative server, then stream_db_result. */
	void (*db_result)(void *arg, const char *from, const char *to, struct slice key);
	/* The same, as the authoritative server: is this our key? Answer now or later by stream_db_verify_answer. from: who asks, to: our
	 * domain. */
	void (*db_verify)(void *arg, const char *from, const char *to, struct slice id, struct slice key);
	/* S2S_OUT used for verification: the authoritative server's answer. Match all three: they're the peer's word. */
	void (*db_verified)(void *arg, const char *from, const char *to, struct slice id, enum stream_verdict v);
	/* S2S_OUT: may we authenticate by EXTERNAL (we showed a certificate), and the dialback key for a pair (from: ours) and the
	 * receiver's stream id: 65-byte out, or false: we can make none now. */
	bool (*own_certificate)(void *arg);
	bool (*make_key)(void *arg, const char *from, const char *to, struct slice stream_id, char *out);
	/* S2S_OUT: the peer's answer to stream_ask_pair(); error: detail is its condition. Invalid: the stream is being closed (XEP-0220
	 * section 2.1.1: nothing more should be sent on it). */
	void (*pair_answered)(void *arg, const char *from, const char *to, enum stream_verdict v, const char *detail);
	/* S2S_OUT after TLS: is the peer who it should be? False closes with NOT_AUTHORIZED (policy certificates-only); true goes on. */
	bool (*peer_acceptable)(void *arg);
	/* C2S: bound. S2S_IN: a pair was authenticated (from EXTERNAL or db_result). S2S_OUT: the pair may send, or, when verify_only,
	 * features after TLS came. */
	void (*established)(void *arg);
	/* Established and idle for stream.c's keepalive etc. is internal. The stream is over: our last bytes have been given to send().
	 * detail: the remote stream error's condition (with REFUSED: the condition of its SASL failure or dialback error), static, or NULL.
	 * Close the connection (lingering for the peer's close), then stream_free later (not inside). */
	void (*closed)(void *arg, enum close_reason r, const char *detail);
};

struct stream_params {
	enum stream_role role;
	const struct stream_limits *limits;  /* borrowed, lives on */
	bool direct_tls;                     /* TLS is already in place */
	const char *from, *to;               /* S2S_OUT: our domain, the remote one (prepared) */
	bool verify_only;                    /* S2S_OUT: connection for db:verify only */
	bool bidi;                           /* S2S_IN: offer, S2S_OUT: ask for stanzas both ways (XEP-0288) */
	const char *see_other_host;          /* NULL */
};

struct stream *stream_new(const struct stream_params *p, const struct stream_ops *ops, void *arg, uint64_t now_ms);
void stream_free(struct stream *s);

/* Bytes from the peer. Stops consuming while a question is outstanding: *used (stream_wants_input() false then; the owner pauses reading
 * and feeds the rest after). Stops at STREAM_FEED_ELEMENTS, too (stream_wants_input() true): the rest is for the next turn. */
void stream_feed(struct stream *s, struct slice in, size_t *used, uint64_t now_ms);
bool stream_wants_input(const struct stream *s);
size_t stream_fed_blanks(const struct stream *s);   /* bytes of white space between elements in the last feed */
/* Bytes of memory held for what has begun and not ended, 0 between elements; moved: in the last feed it began, or came a step on. */
size_t stream_unfinished(const struct stream *s, bool *moved);
/* Back-pressure: while held, nothing is consumed, as if a question were outstanding. A plain switch; may be called inside stanza().
 * Each call that holds gives limits.hold_ms anew. Tick afterwards. */
void stream_hold(struct stream *s, bool held);
/* Deadlines and keepalives; returns the next time to call, UINT64_MAX for none. */
uint64_t stream_tick(struct stream *s, uint64_t now_ms);
/* The peer was made to wait for so long, without a tick: what it has its time for may end later by that. */
void stream_put_off(struct stream *s, uint64_t ms);
void stream_start(struct stream *s, uint64_t now_ms);               /* S2S_OUT: connected (and direct TLS done): send the header */
void stream_tls_done(struct stream *s, uint64_t now_ms); /* after start_tls(); ignored else, so that direct TLS may call it too */
/* The owner wrote a stanza of so many bytes to the connection: no keepalive is due for a while, but perhaps an <r/>, now or at a tick. */
void stream_sent(struct stream *s, size_t n, uint64_t now_ms);
void stream_lost(struct stream *s, enum close_reason r);            /* the connection is gone: closed() follows if it has not been */

void stream_peer_known(struct stream *s);
void stream_offer_mechanism(struct stream *s, const char *mech);
void stream_offer_binding(struct stream *s, const char *type);
void stream_auth_challenge(struct stream *s, struct slice data);
void stream_auth_success(struct stream *s, const char *user, struct slice data); /* user: localpart (C2S); data.p NULL: none */
void stream_auth_failure(struct stream *s, const char *condition, const char *text);
void stream_bound(struct stream *s, const char *full_jid);
void stream_bind_refused(struct stream *s, const char *type, const char *condition, const char *text); /* the client may ask again */
void stream_sm_enabled(struct stream *s, const char *id, uint32_t resume_s); /* id NULL: it cannot be resumed */
void stream_sm_resumed(struct stream *s, const char *id, const char *full_jid, uint32_t h);
/* Answers either; condition of a stanza error. h: how many stanzas of the client were handled, NULL: not known. */
void stream_sm_failed(struct stream *s, const char *condition, const uint32_t *h);
void stream_sm_too_high(struct stream *s, uint32_t h, uint32_t sent); /* closes */
void stream_sm_grown(struct stream *s); /* more is handled than before: tells the peer */
/* The largest stanza that the peer takes, in bytes as sent (XEP-0478); 0: it has not said. A larger one is not to be sent. */
uint32_t stream_peer_max_bytes(const struct stream *s);
/* On, or asked for. A server stream takes no further pair then: its counts are one pair's. */
bool stream_managed(const struct stream *s);
void stream_db_result(struct stream *s, const char *from, const char *to, bool valid,
		      const char *error_condition); /* error: item-not-found, remote-… */
void stream_db_verify_answer(struct stream *s, const char *from, const char *to, struct slice id, enum stream_verdict v);
void stream_send_db_verify(struct stream *s, const char *from, const char *to, struct slice id,
			   struct slice key); /* S2S_OUT, after established */
/* S2S_OUT, established: asks by dialback to send for one more pair (XEP-0220 section 2.6); pair_answered() follows, unless the stream ends
 * before. False: not on this stream, or it was asked for already. */
MUST_CHECK bool stream_ask_pair(struct stream *s, const char *from, const char *to);
/* Ends the stream: header if none was sent yet, error if r has a condition, closing tag; then closed() once the peer's closing tag came or
 * close_ms passed. */
void stream_close(struct stream *s, enum close_reason r);
/* Ends it at once: what the peer still sends is not read, its closing tag neither, and what was held of it is given back. */
void stream_give_up(struct stream *s, enum close_reason r);
/* The same as stream_close, with a condition and text that a service gave (condition of RFC 6120 section 4.9.3, else undefined-condition is
 * sent); NULL condition: plain. */
void stream_close_with(struct stream *s, const char *condition, const char *text);
void stream_close_see_other_host(struct stream *s, const char *host);  /* after TLS only */

enum stream_state stream_state(const struct stream *s);
const char *stream_state_name(enum stream_state state);
const char *stream_role_name(enum stream_role role);
const struct jid *stream_jid(const struct stream *s);         /* C2S: bare after SASL, full after bind; empty before */
const char *stream_local_domain(const struct stream *s);      /* the stream's to (accepting) or from (S2S_OUT), prepared; NULL before */
const char *stream_peer_domain(const struct stream *s);       /* S2S: the other side's domain, prepared; NULL when unknown */
struct slice stream_id(const struct stream *s);               /* the stream id in force (ours when accepting, the peer's when initiating) */
bool stream_secure(const struct stream *s);
/* Is the peer authenticated for this pair (remote from, our to)? */
bool stream_pair_ok(const struct stream *s, const char *from, const char *to);
unsigned stream_nr_pairs(const struct stream *s);             /* for how many it is */
/* Does fn find one of those (remote from, our to)? */
bool stream_any_pair(const struct stream *s, bool (*fn)(void *arg, const char *from, const char *to), void *arg);
/* Is it one of the stream's own domains, or of a pair that either side may send for? */
bool stream_concerns(const struct stream *s, const char *domain);
/* S2S_OUT: are we (our from, remote to)? */
bool stream_pair_given(const struct stream *s, const char *from, const char *to);
bool stream_bidi(const struct stream *s);                     /* stanzas go both ways (XEP-0288) */

#endif
