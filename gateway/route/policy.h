#ifndef GATEWAY_ROUTE_POLICY_H
#define GATEWAY_ROUTE_POLICY_H

/* The security gate: stamps and verifies addresses on every stanza (promise 6), and holds RFC 6120 section 8's rules. Pure. */

#include "xml/head.h"
#include "xml/jid.h"

enum policy_verdict {
	POLICY_PASS, /* out holds the stanza, canonical, in jabber:client */
	/* Keeps its place in the count: type, condition say the stanza error; out holds the stanza as stamped. It may itself be of type
	 * error (or an iq of type result): who answers must look, and not answer that. */
	POLICY_REJECT,
	POLICY_CLOSE, /* condition is a stream error of RFC 6120 section 4.9.3 */
};

struct policy_result {
	enum policy_verdict verdict;
	const char *type;        /* stanza error type */
	const char *condition;
};

/* A client's stanza: from absent, its bare or its full JID, else invalid-from (RFC 6120 section 8.1.2.1); stamped with the full JID; a
 * subscription-type presence with the bare one is left to the service. to prepared, jid-malformed else; iq type and id (8.2.3), presence
 * and message types (RFC 6121: unknown message types pass as they are), iq get/set with exactly one child. */
struct policy_result policy_from_client(const struct xml_element *e, const struct jid *full, struct buf *out);

/* A remote server's stanza in jabber:server: from and to must be there and valid (improper-addressing); pair_ok(from_domain, to_domain)
 * tells whether the stream is authenticated for them (invalid-from, or host-unknown via *condition by the caller). The prepared domains are
 * given back in from_domain/to_domain (owned strings, NULL with CLOSE): the pair is to be checked before a REJECT is answered, too. */
struct policy_result policy_from_server(const struct xml_element *e, struct buf *out, char **from_domain, char **to_domain);

/* A service's stanza to a client: well-formed, restricted, jabber:client. out: what is written to the client, bytes of xml, or of room (an
 * empty one) where it had to be written anew. */
MUST_CHECK int policy_to_client(struct slice xml, const struct xml_limits *limits, struct buf *room, struct slice *out);

/* A service's stanza to a server: from's domain is from_domain (empty: any), to's is to_domain, else -ERR_DENIED; out: in jabber:server. */
MUST_CHECK int policy_to_server(struct slice xml, const struct xml_limits *limits, struct slice from_domain, struct slice to_domain,
				struct buf *out);

#endif
