#ifndef SERVICES_IM_IM_H
#define SERVICES_IM_IM_H

/*
 * The core of the instant messaging service (RFC 6121): no sockets, no clock. What svcproto reports goes in between im_turn_begin() and
 * im_turn_end(), what is to be sent comes out through the ops. im_turn_end() commits what the turn stored and only then acknowledges. What
 * was given to the ops may leave the process only after it: an answer says that something was stored just as an acknowledgement does.
 */

#include <ambrosia/svcproto.h>

#include "common/obj.h"

struct im;
struct im_session;

/* `link` is the transport's session. Functions that return int return 0 or a negative svcproto_error; none may call back into the core. */
struct im_ops {
	int (*accept)(void *arg, void *link, const char *full_jid);
	int (*refuse)(void *arg, void *link, const char *type, const char *condition, const char *text);
	int (*close)(void *arg, void *link, const char *condition, const char *text); /* im_session_closed() follows in a later turn */
	int (*send)(void *arg, void *link, const char *xml, size_t n, uint64_t cookie);
	int (*send_server)(void *arg, const char *from_domain, const char *to_domain, const char *xml, size_t n, uint64_t cookie);
	void (*ack)(void *arg, uint64_t ticket);
	/* Several instances: is this user (bare JID) ours, and whose; a stanza to the instance that has it. Both NULL: there is one. */
	bool (*is_here)(void *arg, const char *bare_jid, unsigned char instance[16]);
	int (*send_peer)(void *arg, const char *bare_jid, const char *xml, size_t n, uint64_t cookie);
};

struct im_limits {
	uint64_t wait_ms;          /* for a next hop, before a stanza is stored instead */
	size_t sends_max;          /* stanzas in flight, of all sessions together */
	size_t sessions_max;       /* of one user */
	size_t overflow_bytes_max; /* presence and pushes waiting for a slow session */
	size_t offline_max, offline_bytes_max; /* messages stored for one user */
	size_t contacts_max;       /* of one user */
	size_t directed_max;       /* addresses that got directed presence from one session */
	size_t presence_bytes_max; /* of a presence that is kept to be broadcast */
};
extern const struct im_limits im_limits_default;

/* NULL with one line in `why`. The domains are prepared here. limits NULL: the default ones. */
struct im *im_new(const char *database, char *const *domains, size_t nr_domains, const struct im_limits *limits, const struct im_ops *ops,
		  void *arg, char *why, size_t why_size);
/* Sessions that are still there are forgotten without a word; what was not committed is gone. NULL is allowed. */
void im_free(struct im *im);

/* Times: monotonic, and seconds since 1970. */
void im_turn_begin(struct im *im, uint64_t now_ms, int64_t wall_s);
/* 0 with the time of the next turn that is due without input (UINT64_MAX: none), or -ERR_IO: the store is dead, nothing of this turn was
 * acknowledged, and the process must end. */
MUST_CHECK int im_turn_end(struct im *im, uint64_t *next_ms);
const char *im_why(const struct im *im);  /* after -ERR_IO */

/* NULL: refused, and `link` is gone. */
struct im_session *im_session_open(struct im *im, void *link, const struct svcproto_open *o);
void im_session_closed(struct im_session *s);  /* s is gone afterwards */
/* Its client or its gateway went away and may come back; or is back. What is sent to it meanwhile waits in the transport. */
void im_session_detached(struct im_session *s, bool detached);
void im_stanza(struct im *im, struct im_session *s, const struct svcproto_stanza *st); /* s NULL: from another server */
void im_delivered(struct im *im, uint64_t cookie);
void im_undeliverable(struct im *im, uint64_t cookie, const char *type, const char *condition, const char *xml, size_t n);
/* A gateway is there: what an earlier process had stored on its way goes out now. */
void im_linked(struct im *im);

/* Received stanzas that are not acknowledged yet: what a process that ends should wait for, at most wait_ms. */
size_t im_nr_unacknowledged(const struct im *im);
size_t im_nr_in_flight(const struct im *im);
size_t im_nr_sessions(const struct im *im);

#endif
