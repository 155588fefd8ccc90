#include "role/ends.h"

/* Two tables, so that each decision about an end is in one place and stands for every client. No default: the compiler names the
 * reason that is missing. */

enum auth_over ends_whose_doing(enum close_reason r)
{
	switch (r) {
	case CLOSE_TIMEOUT_NEGOTIATION:
		return AUTH_LATE;
	case CLOSE_SHUTDOWN:
	case CLOSE_MOVED:
	case CLOSE_SERVICE_CLOSED: /* before there is a service: by an administrator */
		return AUTH_OURS;
	case CLOSE_PEER:
	case CLOSE_EOF:
	case CLOSE_LOST:
	case CLOSE_TLS_FAILED:
	case CLOSE_CROWDED:
	case CLOSE_CONNECT_FAILED:
	case CLOSE_DONE:
	case CLOSE_REFUSED:
	case CLOSE_KEY_REFUSED:
	case CLOSE_SERVICE_LOST:
	case CLOSE_LEAVING:
	case CLOSE_DIALBACK_INVALID:
	case CLOSE_BAD_FORMAT:
	case CLOSE_BAD_PREFIX:
	case CLOSE_TIMEOUT_IDLE:
	case CLOSE_TIMEOUT_STANZA:
	case CLOSE_HOST_UNKNOWN:
	case CLOSE_HOST_GONE:
	case CLOSE_IMPROPER_ADDRESSING:
	case CLOSE_INTERNAL:
	case CLOSE_INVALID_FROM:
	case CLOSE_INVALID_NAMESPACE:
	case CLOSE_INVALID_XML:
	case CLOSE_NOT_AUTHORIZED:
	case CLOSE_NOT_WELL_FORMED:
	case CLOSE_POLICY:
	case CLOSE_TOO_BIG:
	case CLOSE_NEGOTIATION_BYTES:
	case CLOSE_NEGOTIATION_BLANKS:
	case CLOSE_TOO_MANY_ATTEMPTS:
	case CLOSE_TIMEOUT_ACK:
	case CLOSE_HANDLED_TOO_HIGH:
	case CLOSE_POLICY_CHANGED:
	case CLOSE_TLS_AGAIN:
	case CLOSE_TLS_REQUIRED:
	case CLOSE_RESOURCE_CONSTRAINT:
	case CLOSE_UNFINISHED: /* our want of room; but whoever fills that himself would have look-ups for nothing */
	case CLOSE_RESTRICTED_XML:
	case CLOSE_UNSUPPORTED_ENCODING:
	case CLOSE_UNSUPPORTED_FEATURE:
	case CLOSE_UNSUPPORTED_STANZA:
	case CLOSE_UNSUPPORTED_VERSION:
	case CLOSE_STALLED:
	case CLOSE_SERVICE_STALLED:
	case CLOSE_SLOW_READER:
	case CLOSE_MAX_:
		break;
	}
	return AUTH_LEFT;
}

bool ends_may_come_back(enum close_reason r)
{
	switch (r) {
	case CLOSE_EOF:
	case CLOSE_LOST:
	case CLOSE_TLS_FAILED: /* within a session: what somebody on the way can do to it, as a reset */
	case CLOSE_SHUTDOWN:
	case CLOSE_MOVED:
	case CLOSE_SLOW_READER:
	case CLOSE_STALLED:
	case CLOSE_SERVICE_STALLED:
	case CLOSE_TIMEOUT_NEGOTIATION: /* the service's answer to <resume/> was late */
	case CLOSE_TIMEOUT_ACK:
	case CLOSE_TIMEOUT_IDLE:
	case CLOSE_TIMEOUT_STANZA:
	case CLOSE_UNFINISHED:
		return true;
	case CLOSE_PEER:
	case CLOSE_CROWDED:
	case CLOSE_CONNECT_FAILED:
	case CLOSE_DONE:
	case CLOSE_REFUSED:
	case CLOSE_KEY_REFUSED:
	case CLOSE_SERVICE_LOST:
	case CLOSE_LEAVING:
	case CLOSE_SERVICE_CLOSED:
	case CLOSE_DIALBACK_INVALID:
	case CLOSE_BAD_FORMAT:
	case CLOSE_BAD_PREFIX:
	case CLOSE_HOST_UNKNOWN:
	case CLOSE_HOST_GONE:
	case CLOSE_IMPROPER_ADDRESSING:
	case CLOSE_INTERNAL:
	case CLOSE_INVALID_FROM:
	case CLOSE_INVALID_NAMESPACE:
	case CLOSE_INVALID_XML:
	case CLOSE_NOT_AUTHORIZED:
	case CLOSE_NOT_WELL_FORMED:
	case CLOSE_POLICY:
	case CLOSE_TOO_BIG:
	case CLOSE_NEGOTIATION_BYTES:
	case CLOSE_NEGOTIATION_BLANKS:
	case CLOSE_TOO_MANY_ATTEMPTS:
	case CLOSE_HANDLED_TOO_HIGH:
	case CLOSE_POLICY_CHANGED:
	case CLOSE_TLS_AGAIN:
	case CLOSE_TLS_REQUIRED:
	case CLOSE_RESOURCE_CONSTRAINT:
	case CLOSE_RESTRICTED_XML:
	case CLOSE_UNSUPPORTED_ENCODING:
	case CLOSE_UNSUPPORTED_FEATURE:
	case CLOSE_UNSUPPORTED_STANZA:
	case CLOSE_UNSUPPORTED_VERSION:
	case CLOSE_MAX_:
		break;
	}
	return false;
}
