#ifndef SERVICES_IM_SUBSCRIPTION_TABLE_H
#define SERVICES_IM_SUBSCRIPTION_TABLE_H

/* RFC 6121 appendix A: what a subscription stanza does to a contact's state. Pure. */

#include "common/obj.h"

enum sub_direction { SUB_OUTBOUND, SUB_INBOUND };
enum sub_type { SUB_SUBSCRIBE, SUB_UNSUBSCRIBE, SUB_SUBSCRIBED, SUB_UNSUBSCRIBED, SUB_TYPE_MAX_ };

struct sub_step {
	bool pass;       /* outbound: route it; inbound: deliver it */
	unsigned next;   /* the new state, SUB_* bits of store.h */
};

bool sub_type_parse(struct slice name, enum sub_type *out);
const char *sub_type_name(enum sub_type type);
/* state: one of the nine that appendix A.1 names. */
struct sub_step sub_step(enum sub_direction d, enum sub_type type, unsigned state);

#endif
