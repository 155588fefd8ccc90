#ifndef GATEWAY_NET_RESOLVE_H
#define GATEWAY_NET_RESOLVE_H

/*
 * Where the servers of a domain are: SRV for STARTTLS and for direct TLS (RFC 2782, XEP-0368), then addresses; libunbound inside the loop,
 * forwarding to the system's resolvers only.
 */

#include <sys/socket.h>

#include "common/loop.h"
#include "net/tlsa.h"

struct resolver;
struct resolve;

struct resolver_options {
	const char *server;         /* ADDR:PORT, or NULL: resolv_conf's. Without any, every resolve ends with RESOLVE_TIMEOUT */
	const char *trust_anchor;   /* file, or NULL: the system's root key if there, for as long as the DNS servers pass DNSSEC on */
	const char *system_anchor;  /* NULL: the usual files */
	unsigned timeout_ms;        /* of a whole resolve; 0: 10000 */
	const char *resolv_conf;    /* NULL: /etc/resolv.conf */
};

#define RESOLVE_TARGETS_MAX 16

struct resolve_target {
	char host[256];             /* A-labels, no trailing dot */
	uint16_t port, priority, weight;
	bool direct_tls;            /* XEP-0368 */
	bool secure;                /* the whole chain to it was DNSSEC-secure */
	struct sockaddr_storage addrs[8];
	const struct tlsa_set *tlsa; /* of this host and port, proven by DNSSEC; NULL: there are none */
	unsigned nr_addrs;          /* IPv6 and IPv4 by turns, IPv6 first (RFC 8305 section 4), with the port filled in */
};

enum resolve_status {
	RESOLVE_OK,
	RESOLVE_NO_DOMAIN,          /* nothing there: remote-server-not-found */
	RESOLVE_NO_SERVICE,         /* SRV says ".", and offers no direct TLS either */
	RESOLVE_TIMEOUT,            /* no answer in time, or servers failing: remote-server-timeout */
	RESOLVE_BOGUS,              /* DNSSEC says bogus, of SRV records or of all targets: never fall back */
	RESOLVE_CROWDED,            /* not asked in time, since too much is being asked for that stranger: resource-constraint */
};

/* targets in the order to try (priorities, weights drawn at random), addresses resolved; borrowed until return, their TLSA records too. A
 * target whose addresses or TLSA records are bogus, or whose TLSA records cannot be had although its zone is signed, is left out: not to
 * know them is not to know that there are none (RFC 7672 section 2.2). */
typedef void resolve_fn(void *arg, enum resolve_status status, const struct resolve_target *targets, size_t nr, const char *why);

struct resolver *resolver_new(struct loop *l, const struct resolver_options *o, char *why, size_t why_size);
void resolver_free(struct resolver *r);      /* pending resolves end without a callback */
/* _xmpp-server._tcp and _xmpps-server._tcp, merged; with neither: the domain's own addresses and port 5269 (RFC 6120 section 3.2.2).
 * IP-literal domains need no DNS. who: the stranger who named the domain (net/shares.h), or empty: ourselves. Strangers' questions are few
 * at a time and wait for each other; ours do not wait for them. fn is called later, never inside. */
struct resolve *resolve_server(struct resolver *r, const char *domain_ascii, struct slice who, resolve_fn *fn, void *arg);
void resolve_cancel(struct resolve *q);
/* May anything be secure at all? No without a trust anchor. */
bool resolver_validates(const struct resolver *r);

#endif
