#ifndef GATEWAY_STREAM_OWN_H
#define GATEWAY_STREAM_OWN_H

/* What the files of the stream machine share; nobody else includes it. */

#include "stream/close.h"
#include "stream/gate.h"
#include "stream/pairs.h"
#include "stream/stream.h"
#include "xml/ns.h"
#include "xml/tree.h"
#include "xml/writer.h"

/* The owner's words in an error, as long as a service's can be; a longer text is left out. */
#define STREAM_TEXT_MAX 8192
/* A full JID, or two domains. */
#define STREAM_ADDRESSES_MAX 4096
/* A byte of others takes six at most when it is written ("&quot;"). */
#define STREAM_ESCAPED_MAX 6
/*
 * What the machine itself writes at once: headers, features, SASL data, errors. Never full, whatever comes from outside: one value out of a
 * peer's tag (an id that is said back), addresses, one text, and words of our own. Only a bound: what is taken is what is written.
 */
#define STREAM_OUT_MAX (STREAM_ESCAPED_MAX * (STREAM_TAG_MAX + STREAM_ADDRESSES_MAX + STREAM_TEXT_MAX) + 8192)

struct sasl_offer;
struct framing_error;

enum sm_state { SM_OFF, SM_ASKED, SM_ON };

/* Stream management (feat_sm.c). */
struct sm {
	enum sm_state state;
	bool answer_due;        /* <r/> came before <enabled/> was due, or did */
	bool requested;         /* <r/> is not answered */
	uint32_t h;             /* last said */
	uint32_t bytes;         /* to the peer since it last said what it has */
	uint64_t ask_at_ms;     /* when <r/> is due: UINT64_MAX: not */
	uint64_t answer_at_ms;  /* when the peer must have answered, to <r/> or to <enable/>: UINT64_MAX: not */
};

struct stream {
	/* Only stream_enter writes it. */
	enum stream_state state;
	enum stream_role role;
	enum close_reason reason;
	unsigned nr_fed;        /* elements, in this feed */
	const struct stream_ops *ops;
	void *arg;
	const struct stream_limits *limits;
	struct xml_parser *parser;

	bool secure : 1;        /* TLS is in place */
	bool authed : 1;        /* C2S: SASL succeeded. S2S_IN: at least one pair. S2S_OUT: the pair may send */
	bool sasl_done : 1;     /* SASL succeeded on this connection (S2S: EXTERNAL) */
	bool verify_only : 1;
	bool header_sent : 1;   /* ours, of the stream in force */
	bool feeding : 1;       /* inside xml_parser_feed */
	bool restart : 1;       /* reset the parser before the next byte */
	bool drop_rest : 1;     /* what came behind <starttls/> or <proceed/> does not survive */
	bool dead_xml : 1;      /* the parser gave up: no closing tag can be seen any more */
	bool asked : 1;         /* a question to the owner is open: nothing is consumed */
	bool naming : 1;        /* S2S_IN: that question is peer_named() */
	bool held : 1;          /* the owner's back-pressure */
	bool hold_unset : 1;    /* held_at_ms is to be settled when the time is known */
	bool exchange : 1;      /* a SASL exchange runs */
	bool external_failed : 1; /* S2S_OUT: tried and refused */
	bool external_answered : 1; /* S2S_OUT: one empty challenge was answered */
	bool dialback_offered : 1; /* S2S_OUT: in the features, or by the old namespace declaration */
	bool dialback_feature : 1; /* S2S_OUT: in the features */
	bool may_bidi : 1, bidi : 1; /* XEP-0288: the owner allows it; it is agreed */
	bool spoken : 1;        /* input came while established */
	bool dialback_declared : 1; /* our header has the namespace */
	bool phase_unset : 1;   /* phase_at_ms is to be settled when the time is known */
	bool moved : 1;         /* stream_unfinished */
	uint32_t unfinished;    /* bytes held for what has not ended */
	uint32_t step_bytes;    /* taken since its last step */
	uint32_t fed_blanks;    /* bytes of white space between them, in the last feed */
	uint32_t negotiation_left; /* bytes that may still be taken before it is established; UINT32_MAX: any number */
	uint16_t nr_attempts, nr_refusals; /* of SASL; of bind and stream management */

	char *local, *peer;     /* domains, prepared */
	char *id;
	char *bind_id;          /* of the iq being answered */
	char *see_other_host;
	const char *detail;     /* static */
	struct jid jid;
	struct pairs pairs;     /* the peer may send for: remote from, our to */
	struct pairs asked_for; /* S2S_OUT: we may, or asked to, send for: our from, remote to */
	struct sasl_offer *offer; /* while features are written */
	struct sm sm;

	uint32_t peer_max_bytes, peer_idle_ms; /* that the peer announced (XEP-0478); 0: none */
	uint64_t negotiation_at_ms, phase_at_ms, now_ms, in_at_ms, out_at_ms, held_at_ms;
	uint64_t moved_at_ms;   /* of what has not ended; UINT64_MAX: it is we who stop it */
};

/* The only writer of state. */
void stream_enter(struct stream *s, enum stream_state state);
bool stream_accepting(const struct stream *s);
const char *stream_content_ns(const struct stream *s);
/* A new stream on the same connection (RFC 6120 section 4.3.3). */
void stream_restart(struct stream *s);
/* No stanza limits of strangers any more. */
void stream_authenticated(struct stream *s);
/* The last step: tells the owner. */
void stream_establish(struct stream *s);
/* Ends with an error, if there is one, and the closing tag. */
void stream_end(struct stream *s, enum close_reason r, const struct framing_error *e);
/* Ends without a further byte to the peer. */
void stream_finish(struct stream *s, enum close_reason r);
/* The client was refused what it asked for and may ask again, but not for ever. */
enum gate_result stream_count_refusal(struct stream *s);
/* stream_close, as a handler's return value. */
enum gate_result stream_refuse(struct stream *s, enum close_reason r);
/* "<name xmlns='ns'/>" */
void stream_send_empty(struct stream *s, const char *name, const char *ns);
void stream_send_buf(struct stream *s, struct buf *out, struct xml_writer *w);   /* sends and clears */
void stream_set(char **field, char *owned);
struct xml_tree *stream_tree(const struct stream *s, const struct xml_element *e);
/* Name of the first child in a namespace, other than <text/>; NULL when there is none. */
const char *stream_condition_of(const struct xml_node *parent, const char *ns);

/* unfinished.c: after a feed that took n bytes; the next time to look. */
void unfinished_fed(struct stream *s, size_t n);
uint64_t unfinished_tick(struct stream *s, uint64_t now_ms);

/* framing_tcp.c: bytes of headers, errors and closing tags (RFC 6120 section 4). */
void framing_send_header(struct stream *s, const char *from, const char *to);
struct framing_error {
	const char *condition;   /* RFC 6120 section 4.9.3; empty: no error */
	const char *text;        /* NULL or empty: none */
	const char *content;     /* of the condition's element; NULL: none */
	struct slice own;        /* an element of another namespace (4.9.4), well-formed */
};
/* <text/>; ns NULL: its parent's. None for a text that is NULL, empty or longer than STREAM_TEXT_MAX. */
void framing_write_text(struct xml_writer *w, const char *ns, const char *text);
void framing_send_error(struct stream *s, const struct framing_error *e);
void framing_send_footer(struct stream *s);
/* Is this a stream header of our kind? CLOSE_MAX_ when it is. */
enum close_reason framing_check_header(const struct xml_head *h, struct slice default_ns, const char *content_ns);

void stream_in_new_id(struct stream *s);   /* random, for the stream header to come */
void stream_in_header(struct stream *s, const struct xml_head *h, struct slice default_ns);
void stream_out_header(struct stream *s, const struct xml_head *h, struct slice default_ns);
/* S2S_OUT: sends our header of a new stream, or gives up when the owner does not accept the peer. */
void stream_out_begin(struct stream *s);
/* feat_dialback.c, S2S_OUT: we are authenticated for the stream's own pair. */
void stream_pair_taken(struct stream *s);
/* feat_bidi.c, S2S_OUT: we may send for the pair; so may the peer the other way, where that was agreed. False: that is
 * one pair too many. */
bool bidi_takes_last(const struct stream *s);   /* closing: stanzas that were on their way */
MUST_CHECK bool bidi_pair(struct stream *s, const char *from, const char *to);
/* S2S_OUT: sends our key if the peer does dialback; false when it doesn't. */
bool dialback_out_start(struct stream *s);
/* Does this domain of ours do dialback? NULL: not known yet. */
bool dialback_allowed(const struct stream *s, const char *domain);

/* Handlers of the gate. */
gate_fn stream_take_error, stream_take_stanza, stream_ignore, stream_out_features;
gate_fn tls_starttls, tls_starttls_again, tls_required, tls_proceed, tls_failure;
gate_fn sasl_before_tls, sasl_auth, sasl_response, sasl_abort, sasl_out_success, sasl_out_failure, sasl_out_challenge;
gate_fn sm_enable, sm_resume, sm_no_resume, sm_unexpected, sm_request, sm_answer, sm_out_enabled, sm_out_failed;
gate_fn bidi_enable, bidi_last;
gate_fn bind_iq, dialback_result, dialback_verify, dialback_out_result, dialback_out_verify;

/*
 * A stream feature. offer: writes what we offer in the present state, as the accepting side. consume: as the initiating side, looks into
 * the peer's features; true when it took the next step (or ended the stream).
 */
struct feature {
	void (*offer)(struct stream *s, struct xml_writer *w);
	bool (*consume)(struct stream *s, const struct xml_node *features);
};
extern const struct feature feature_limits, feature_tls, feature_sasl, feature_bind, feature_dialback, feature_sm, feature_bidi;

/* feat_limits.c: <limits/> of ours, as they are or as they are before authentication; those in a parent of the peer's, or none. */
void limits_write(const struct stream *s, struct xml_writer *w, bool before_auth);
void limits_read(struct stream *s, const struct xml_node *parent);
/* Keeps the peer from taking us for gone; the next time to look. */
uint64_t limits_tick(struct stream *s, uint64_t now_ms);
/* feat_sm.c: what is due; the next time to look. */
uint64_t sm_tick(struct stream *s, uint64_t now_ms);
/* feat_bind.c: who the session is, as the service named it; false: that is not within the account, and the stream has been ended. */
MUST_CHECK bool bind_take_jid(struct stream *s, const char *full_jid);

#endif
