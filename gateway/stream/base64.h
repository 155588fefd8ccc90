#ifndef GATEWAY_STREAM_BASE64_H
#define GATEWAY_STREAM_BASE64_H

/* Base64 as RFC 6120 section 13.9.1 wants it read: no white space, full padding, zero pad bits, nothing else. */

#include "common/buf.h"

MUST_CHECK int base64_decode(struct buf *out, struct slice text);   /* -ERR_SYNTAX, -ERR_LIMIT */
MUST_CHECK int base64_encode(struct buf *out, struct slice data);   /* -ERR_LIMIT */

#endif
