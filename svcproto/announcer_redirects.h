#ifndef SVCPROTO_ANNOUNCER_REDIRECTS_H
#define SVCPROTO_ANNOUNCER_REDIRECTS_H

/* Private to the announcer: redirects on their way to the registries. One is kept until every registry has noted or refused it, or it
 * has ended; then it is the registries' and nobody's. */

#include "svcproto/announcer_int.h"

void redirects_out_free(struct announcer *a);
/* What this registry has not been told yet, into messages by `send`; false: it takes no more now. */
bool redirects_out_announce(struct registry *r, uint64_t now_ms, bool (*send)(struct registry *r));
/* Everything unanswered is to be said again: the connection is new, or the keys are. */
void redirects_out_again(struct registry *r);
void redirects_out_noted(struct registry *r, const struct reg_frame *f);

#endif
