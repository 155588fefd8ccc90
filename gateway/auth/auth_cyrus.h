#ifndef GATEWAY_AUTH_AUTH_CYRUS_H
#define GATEWAY_AUTH_AUTH_CYRUS_H

/* One sasl_conn_t: made, stepped and disposed of here only, on a job thread, one step at a time. Private to gateway/auth. */

#include <sasl/sasl.h>

#include "auth/auth.h"
#include "common/obj.h"

struct cyrus {
	sasl_conn_t *conn;
	sasl_channel_binding_t binding;
	sasl_callback_t *callbacks;   /* read by Cyrus while conn lives */
	bool foreign;                 /* the client asked to be somebody else */
};

enum cyrus_step { CYRUS_CHALLENGE, CYRUS_SUCCESS, CYRUS_FAILURE };

struct cyrus_answer {
	enum cyrus_step step;
	char *data;                   /* owned by the taker; NULL: none */
	size_t n;
	char *user;                   /* CYRUS_SUCCESS: as Cyrus names it, without the realm */
	enum auth_failure failure;
};

/* Once for the process. A line in why. */
int cyrus_init(char *why, size_t why_size);
/* The system's mechanisms that a server like us can offer, separated by spaces; owned by the caller. With a channel binding: -PLUS too. */
char *cyrus_mechanisms(void);
/* conn NULL: begins (mech, initial); else goes on. */
struct cyrus_answer cyrus_go(struct cyrus *c, const char *domain, const struct auth_cb *cb, const char *mech, const struct slice *in);
void cyrus_clear(struct cyrus *c);

#endif
