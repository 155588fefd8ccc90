#ifndef GATEWAY_NET_RESOLVER_INT_H
#define GATEWAY_NET_RESOLVER_INT_H

/* Single questions to libunbound: resolver.c asks, resolve.c makes targets of the answers. Private to gateway/net. */

#include "net/resolve.h"

enum dns_security { DNS_INSECURE = 0, DNS_BOGUS = 1, DNS_SECURE = 2 };   /* as libunbound has them */

struct dns_answer {
	int rcode;
	enum dns_security security;
	struct slice packet;            /* empty when there is none */
	const char *why;                /* of a bogus one; or NULL */
};

struct resolver_query;
typedef void resolver_answer_fn(void *arg, unsigned tag, const struct dns_answer *a);

/* Asks; fn may be called before this returns. False with a line in *why (static) when it cannot even be asked; fn is not called then. */
MUST_CHECK bool resolver_ask(struct resolver *r, const char *name, unsigned type, resolver_answer_fn *fn, void *arg, unsigned tag,
			     const char **why);
/* Nobody waits for what was asked with this arg any more. */
void resolver_forget(struct resolver *r, const void *arg);

/* Finds out, unless it is known, whether the system's anchor is of any use with these servers. */
void resolver_probe(struct resolver *r);

struct loop *resolver_loop(const struct resolver *r);
unsigned resolver_timeout_ms(const struct resolver *r);
/* NULL, or why nothing can be asked at all. */
const char *resolver_mute(const struct resolver *r);

/* Resolves under way, for resolver_free(). */
struct resolve **resolver_list(struct resolver *r);
void resolve_drop_all(struct resolver *r);

#endif
