#ifndef GATEWAY_ROLE_RELAY_H
#define GATEWAY_ROLE_RELAY_H

/* Two services of one cluster, a server pair from one to the other, or two instances of one domain: never over the network. Frees
 * itself. */

#include "role/env.h"

/* Takes the stream (SERVER_OUT or PEER) that a service opened to a local domain; refuses it when nobody else holds that domain now. */
void relay_open(struct role_env *env, struct svc_stream *s, const struct svc_open *o);
/* Those that are left when the worker ends: after their streams, which go without events. */
void relays_free(struct role_env *env);

#endif
