#ifndef GATEWAY_AUTH_AUTH_H
#define GATEWAY_AUTH_AUTH_H

/*
 * SASL for clients: Cyrus SASL (application "xmpp", realm = the stream's `to`); what may wait runs on job threads, never on a loop. One
 * `struct auth` is one exchange; answers come back on the loop that began it. Every failure is delivered at one fixed deadline, the same
 * for an unknown user and a wrong password.
 */

#include "common/jobs.h"
#include "common/slice.h"

struct auth_pool;   /* one for the process, thread-safe */
struct auth;

enum auth_failure { /* RFC 6120 section 6.5; "aborted" is the stream machine's own */
	AUTH_ACCOUNT_DISABLED, AUTH_CREDENTIALS_EXPIRED, AUTH_ENCRYPTION_REQUIRED,
	AUTH_INCORRECT_ENCODING, AUTH_INVALID_AUTHZID, AUTH_INVALID_MECHANISM, AUTH_MALFORMED_REQUEST,
	AUTH_MECHANISM_TOO_WEAK, AUTH_NOT_AUTHORIZED, AUTH_TEMPORARY_FAILURE,
};
const char *auth_failure_name(enum auth_failure f);   /* "not-authorized" */

struct auth_pool_options {
	unsigned failure_ms; /* when a failed login is answered, counted from its start; later failures at the next multiple. 0: 1000 */
	size_t per_address_failures_max; /* within a minute, with those that the client gave up; then answered
	                                    temporary-auth-failure without asking. 0: 30 */
	char *(*prep_local)(struct slice text);  /* a localpart prepared into an owned string, or NULL; any thread. Must be given */
	char *(*prep_domain)(struct slice text); /* the same for a domainpart. NULL: ASCII lower case */
	size_t per_address_unknown_max;  /* how often within a minute unknown() may be said of one address; 0: 10 */
	unsigned threads_per_domain; /* job threads that one domain's logins may occupy at most (see lanes.h). 0: 4 */
	unsigned job_ms;            /* a step that takes longer is answered temporary-auth-failure, and finishes behind. 0: 10000 */
	unsigned challenge_ms;      /* a SCRAM challenge is not sent earlier than this after its question, or its turn among those whose
	                               keys are derived, so that a key that was at hand doesn't show by its speed. 0: 10 */
	unsigned key_life_ms;       /* how long a derived SCRAM key may be used; up to a second later it is wiped. 0: 60000 */
	struct loop *loop;          /* borrowed, to be freed after the pool: whose timer wipes keys. Must be given */
};

/* Initialises Cyrus SASL (once for the process). NULL with a line in why. jobs is borrowed. */
struct auth_pool *auth_pool_new(struct jobs *jobs, const struct auth_pool_options *o, char *why, size_t why_size);
/* After jobs_free and after the loops have stopped. */
void auth_pool_free(struct auth_pool *p);
/* Does the system's mech_list name EXTERNAL? Only then are clients worth asking for a certificate. */
bool auth_pool_takes_external(const struct auth_pool *p);

/* 32 bytes, copied: salts of derived keys and of users who don't exist come of it, the same wherever the key is. Until it is given, SCRAM
 * is not offered. From any thread; again replaces it. */
void auth_pool_set_salt_key(struct auth_pool *p, const unsigned char *salt_key);

#define AUTH_CB_MAX 3
struct auth_cb { const char *type; unsigned char data[128]; size_t n; };  /* type "tls-exporter", …; n 0: there, but not derived yet */

struct auth_params {
	const char *domain;         /* prepared domainpart: the realm */
	const char *address;        /* of the client, for limits and logs */
	bool tls;
	struct auth_cb cb[AUTH_CB_MAX];
	size_t nr_cb;
	/* Each step's processor time on a job thread, told on the loop; arg: of auth_start, NULL when the exchange is over. For the loop's
	 * life. Or NULL. */
	void (*spent)(void *spent_arg, void *arg, uint64_t us);
	void *spent_arg;
	const char *const *external; /* NULL-terminated: bare JIDs that the client's verified certificate holds (XmppAddr), or NULL */
};

/* Names to offer in <mechanisms/>, best first, for a stream like this: our allowed list ∩ the system's mech_list. -PLUS only with channel
 * bindings, EXTERNAL only with external, PLAIN only with tls. fn is called for each. Cheap: computed at start. */
void auth_each_mechanism(struct auth_pool *p, const struct auth_params *params, void (*fn)(void *arg, const char *mech), void *arg);

/* Does this mechanism need the bindings' data? Without it, their types are enough. */
bool auth_binds(struct slice mech);
/* The name as one of ours, static; "other" for what we never offer. */
const char *auth_mechanism_name(struct slice mech);

struct auth_ops {
	void (*challenge)(void *arg, struct slice data);              /* raw bytes, not base64 */
	/* user: prepared localpart; data: additional data with success (data.p NULL: none). The exchange is over; call auth_free. */
	void (*success)(void *arg, const char *user, struct slice data);
	void (*failure)(void *arg, enum auth_failure f, const char *text); /* text NULL or fixed text; over; call auth_free */
	/* The user database does not know this user (prepared localpart): failure() follows at its time, whatever is done meanwhile. May be
	 * NULL; auth_free is not allowed here. */
	void (*unknown)(void *arg, const char *user);
};

/* Begins an exchange: initial.p NULL when there was no initial response, n 0 with p for "=". The answer comes later through ops, never
 * inside. NULL with *failure set when refused at once (unknown or not offered mechanism, queue full). */
struct auth *auth_start(struct auth_pool *p, struct loop *l, const struct auth_params *params, struct slice mech, struct slice initial,
			const struct auth_ops *ops, void *arg, enum auth_failure *failure);
void auth_step(struct auth *a, struct slice response);   /* raw bytes */
/* Whose doing it is that an exchange goes no further. */
enum auth_over {
	AUTH_LEFT,              /* its client's, which ended it or is gone */
	AUTH_LATE,              /* its time was over: the client's, unless it waits for us */
	AUTH_OURS,
};
/* At any time: no callback follows; a running job finishes behind. Where it is the client's doing, a step was taken or is on a job thread,
 * and the exchange has not ended, it counts against the address as a failure does. */
void auth_free(struct auth *a, enum auth_over over);

#endif
