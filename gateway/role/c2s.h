#ifndef GATEWAY_ROLE_C2S_H
#define GATEWAY_ROLE_C2S_H

/* A client's connection: accepts, authenticates, binds at the service, then passes stanzas both ways. Frees itself. */

#include "role/env.h"

/* Takes fd. */
void c2s_accept(struct role_env *env, int fd, const struct sockaddr *peer, socklen_t len, bool direct_tls);

#endif
