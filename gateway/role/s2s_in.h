#ifndef GATEWAY_ROLE_S2S_IN_H
#define GATEWAY_ROLE_S2S_IN_H

/* A remote server's connection: authenticates its domain (certificate or dialback) for pairs, and hands its stanzas to the services. Frees
 * itself. */

#include "role/env.h"

/* Takes fd. */
void s2s_in_accept(struct role_env *env, int fd, const struct sockaddr *peer, socklen_t len, bool direct_tls);
/* A task: looks into the dialback keys that waited for a place, now that env->checks has any. arg: struct role_env. */
void s2s_in_go_on(void *arg);

#endif
