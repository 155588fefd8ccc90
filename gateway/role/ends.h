#ifndef GATEWAY_ROLE_ENDS_H
#define GATEWAY_ROLE_ENDS_H

/* What the end of a client's stream means for what it had going on. Pure; each reason is named there. */

#include "auth/auth.h"
#include "stream/stream.h"

/* Its login: whose doing is it that this is given up? */
enum auth_over ends_whose_doing(enum close_reason r);
/* Its session: is it left for the client to come back to? Whoever said goodbye, or broke the rules, does not. */
bool ends_may_come_back(enum close_reason r);

#endif
