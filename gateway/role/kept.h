#ifndef GATEWAY_ROLE_KEPT_H
#define GATEWAY_ROLE_KEPT_H

/*
 * How a stanza that was read goes on to its service, and the one that waits if there is no room for it: others may have taken what was
 * there when its reading began. Whoever has one kept reads no stanza behind it. It goes before anything else once the stream can take it:
 * acked() or writable() of its end tells when to try.
 */

#include "link/links.h"
#include "route/policy.h"

/* NULL: nothing is kept. */
struct kept;

/* Sends it as policy judged it, PASS or REJECT (whose words are static). 0; SVCPROTO_E_FULL: there was no room, *k has a copy, where
 * nothing may have been; SVCPROTO_E_* else: it is lost. */
MUST_CHECK int kept_pass(struct kept **k, struct links *ls, struct link_end *end, const struct policy_result *r, struct slice xml);
/* The one that waits. 0: there was none, or it has gone; SVCPROTO_E_FULL: still no room; SVCPROTO_E_* else: it is lost. */
MUST_CHECK int kept_again(struct kept **k, struct links *ls, struct link_end *end);
/* Is the stream full with what was sent on it? If nothing is outstanding there may still be no room, for others' sake: that the next stanza
 * shows. Until then what needs none is read: <r/>, an end. */
bool kept_is_full(const struct link_end *end);
size_t kept_bytes(const struct kept *k);
void kept_drop(struct kept **k);   /* idempotent */

#endif
