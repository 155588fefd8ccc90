#ifndef GATEWAY_AUTH_AUTH_POOL_H
#define GATEWAY_AUTH_AUTH_POOL_H

/* What the files of this folder share: the pool, the mechanisms, and one exchange as whoever runs its steps sees it. */

#include <sasl/sasl.h>
#include <stdatomic.h>

#include "auth/auth.h"
#include "auth/failures.h"
#include "auth/keycache.h"
#include "auth/lanes.h"
#include "common/obj.h"

enum mech_kind { MECH_SCRAM, MECH_PLAIN, MECH_GSSAPI, MECH_EXTERNAL };

struct mech {
	const char *name;       /* as offered */
	const char *base;       /* as Cyrus SASL knows it: without -PLUS */
	enum mech_kind kind;
	bool plus;
};

#define MECH_COUNT 9
extern const struct mech auth_mechs[MECH_COUNT];   /* best first */

struct salt_key {
	struct salt_key *older;
	unsigned char bytes[32];
};

struct auth_pool {
	struct auth_pool_options o;
	_Atomic(struct salt_key *) salt_key; /* in force, and behind it those that a job thread may still read; NULL: none yet */
	bool has[MECH_COUNT];
	char *mech_list, *pwcheck;   /* of the configuration; NULL: not given */
	struct lanes *lanes;
	struct failures *failures, *unknown;
	struct keycache *keys;
	struct loop_timer forget;    /* of keys, while there are any */
};

bool auth_pool_offers(const struct auth_pool *p, const struct mech *m, const struct auth_params *params);
/* "local" or "local@realm" as prepared "local@domain", owned. NULL: not a name. *foreign: its realm is not `domain`. */
char *auth_pool_name(const struct auth_pool *p, struct slice text, const char *domain, bool *foreign);

/* keycache_put() said so. From any thread. */
void auth_pool_watch_keys(struct auth_pool *p);

/* The auxprop plugin (auxprop.c): registers it before the configured ones and keeps their names. A SASL code. */
MUST_CHECK int auxprop_add(struct auth_pool *p);
void auxprop_remove(void);
/* The key of a SCRAM exchange that failed is not kept: the password may have been changed, or the account made, since it was. */
void auxprop_forget(const char *mech, struct slice name);
/* What getopt must answer for "auxprop_plugin", or NULL: the configured value. */
const char *auxprop_option(void);
/* Did a look-up on this thread since the last call find that the user does not exist? */
bool auxprop_take_missed(void);
/* On this thread, until it is false again: what is not in the key cache is not asked for, and the look-up fails. */
void auxprop_cache_only(bool only);
/* Did a look-up on this thread fail for that since the last call? */
bool auxprop_take_put_off(void);
bool auxprop_is_put_off(void);
/* When had a look-up on this thread since the last call its turn to derive a key, by CLOCK_MONOTONIC? 0: none had. */
uint64_t auxprop_take_turn_ms(void);

struct exchange {
	struct lane_work work;
	struct auth_pool *pool;
	struct auth *owner;     /* the loop's; NULL when nobody waits any more */
	atomic_bool abandoned;  /* the same, for the job thread: a step that has not begun is not worth beginning */
	char *domain;
	const struct mech *mech;
	bool tls, plus_offered;
	bool ran;               /* a step was taken */
	struct loop *loop;      /* of the step that is with the lanes */
	char *given_up_by;      /* owned: the address that it counts against if that step is taken; NULL: none */
	void (*spent)(void *spent_arg, void *arg, uint64_t us);
	void *spent_arg;
	uint64_t step_us;       /* processor time of the last step */
	uint64_t turn_ms;       /* when it had its turn to derive a key; 0: it needed none */
	struct auth_cb cb[AUTH_CB_MAX];
	size_t nr_cb;

	char *in;               /* of this step, owned, NUL after it */
	size_t in_n;

	/* Of the thread that runs a step. */
	sasl_conn_t *conn;
	sasl_callback_t callbacks[4];
	const struct auth_cb *bound;
	sasl_channel_binding_t binding;
	char *header;           /* GS2 header of the first message, owned */
	size_t header_n;

	/* The answer. */
	enum { EXCHANGE_CHALLENGE, EXCHANGE_SUCCESS, EXCHANGE_FAILURE } answer;
	enum auth_failure failure;
	const char *text;
	char *out;              /* owned; NULL: none */
	size_t out_n;
	char *user;             /* owned: prepared localpart */
	char *name;             /* owned: the authentication identity as given, prepared "local@domain"; NULL before */
	bool unknown;           /* nobody of that name is in the database */
};

struct exchange *exchange_new(struct auth_pool *p, const struct auth_params *params, const struct mech *m);
void exchange_free(struct exchange *x);
void exchange_input(struct exchange *x, struct slice in);
void exchange_run(struct exchange *x);   /* on a job thread */
/* On the loop. False: the step would have to ask a database or derive a key; nothing has happened, and a job thread must run it. */
MUST_CHECK bool exchange_run_at_once(struct exchange *x);
enum auth_failure exchange_failure(int sasl_code);

#endif
