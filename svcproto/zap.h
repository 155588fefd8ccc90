#ifndef SVCPROTO_ZAP_H
#define SVCPROTO_ZAP_H

/* The ZAP thread of a process (RFC 27/ZAP): one for each 0MQ context, started before anything binds. Admits CURVE clients whose key is in
 * the current set; sets the User-Id to the client's public key in Z85, which is what receivers check on every message. */

#include <stdbool.h>
#include <stddef.h>

#include "svcproto/keyset.h"

/* libzmq 4.3 has this option in every build, but names it only for drafts. Set it on every socket that binds: without ZAP nobody gets in.
 */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

struct zap;

#define ZAP_LINK 1u      /* domain "link": may open svcproto links (roles service, admin) */
#define ZAP_REGISTRY 2u  /* domain "registry": may talk to the registry (any role) */

struct zap_entry { char key[41]; unsigned domains; };

struct zap *zap_start(void *zmq_context);          /* NULL on error */
void zap_stop(struct zap *z);
/* Replaces the set, from any thread; copied. An empty set admits nobody. */
int zap_set(struct zap *z, const struct zap_entry *v, size_t nr);
/* The same for authorized_keys, NULL: nobody. Every key may talk to a registry, services and admins may link. */
int zap_set_keys(struct zap *z, const struct keyset *k);

#endif
