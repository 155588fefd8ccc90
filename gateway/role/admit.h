#ifndef GATEWAY_ROLE_ADMIT_H
#define GATEWAY_ROLE_ADMIT_H

/* How many connections an address may hold: at all, and before it has authenticated; and the places in which dialback keys are looked into.
 * IPv6 counts by /64. */

#include <sys/socket.h>

#include "role/env.h"

struct address_count;

void admit_begin(struct role_env *env);
void admit_end(struct role_env *env);   /* behind the last connection */
/* One more connection from this address, or NULL when it has too many. */
struct address_count *admit_enter(struct role_env *env, const struct sockaddr *peer);
/* It has authenticated: no longer counts as negotiating. */
void admit_authenticated(struct address_count *a);
/* It ended. `negotiating` if admit_authenticated was never called. */
void admit_leave(struct role_env *env, struct address_count *a, bool negotiating);
/* Its bytes, borrowed. */
struct slice admit_key(const struct address_count *a);

#endif
