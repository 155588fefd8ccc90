#ifndef GATEWAY_ROLE_PEER_DANE_H
#define GATEWAY_ROLE_PEER_DANE_H

/* What the TLSA records of a domain say of the certificate that somebody who claims to be it has shown us, or has not. Embedded. */

#include "net/tls_dane.h"
#include "role/edge.h"

struct peer_dane {
	enum tls_dane verdict;         /* TLS_DANE_NONE until there is one; without a certificate never a match */
	bool in_doubt;                 /* asked, and whether there are records is not known, or not yet */
	struct resolve *resolve_;
	SSL *ssl_;
	char *domain_;
	uint64_t log_id_;
	void (*done_)(void *arg);
	void *arg_;
};

/* Asks the DNS, for the peer of this connection, which must be there until done() or peer_dane_cancel(); done() comes later, never inside.
 * False when there is nothing to ask: no TLS, or nothing that could be proven. domain: prepared. */
bool peer_dane_ask(struct peer_dane *d, struct edge *e, const char *domain, void (*done)(void *arg), void *arg);
void peer_dane_cancel(struct peer_dane *d);
/* May what is meant for the domain go over the connection? By the same rule as over one that we made: RFC 7673. */
bool peer_dane_may_send(const struct peer_dane *d);

#endif
