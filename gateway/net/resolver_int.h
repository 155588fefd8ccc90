#ifndef GATEWAY_NET_RESOLVER_INT_H
#define GATEWAY_NET_RESOLVER_INT_H

/* Single questions to libunbound: resolver.c asks, resolve.c makes targets of the answers. Private to gateway/net. */

#include <sys/queue.h>

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

/* Who asks. Embedded; zeroed but for the first three. */
struct resolver_asker {
	resolver_answer_fn *fn;
	void *arg;
	struct slice who;               /* the stranger for whom; empty: ourselves. Borrowed */
	LIST_HEAD(, resolver_query) queries_;
	unsigned nr_waiting;            /* of its questions, for one of the places that strangers have: not even asked yet */
};

/* Asks, or waits for a place to ask in; fn may be called before this returns. False with a line in *why (static) when it cannot even be
 * asked; fn is not called then. */
MUST_CHECK bool resolver_ask(struct resolver *r, struct resolver_asker *asker, const char *name, unsigned type, unsigned tag,
			     const char **why);
/* It waits for no answer any more. */
void resolver_forget(struct resolver_asker *asker);
/* Questions that libunbound has, whoever waits for them. */
unsigned resolver_nr_open(const struct resolver *r);

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
