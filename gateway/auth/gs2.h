#ifndef GATEWAY_AUTH_GS2_H
#define GATEWAY_AUTH_GS2_H

#include "common/obj.h"

/* What the GS2 header of a SCRAM client-first message says about channel binding (RFC 5802 section 7). Pure; slices borrow the message. */
struct gs2 {
	char flag;              /* 'p', 'y' or 'n' */
	struct slice type;      /* with 'p': the binding's name */
	struct slice header;    /* the whole header with both commas */
};

MUST_CHECK int gs2_parse(struct slice client_first, struct gs2 *out);   /* -ERR_INVALID */
/* Does the c= of a client-final message hold exactly this header and, after it, this binding? Cyrus compares only the beginning when
 * nothing is bound. */
bool gs2_confirms(struct slice client_final, struct slice header, struct slice binding);

#endif
