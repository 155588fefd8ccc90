#include "role/ends.h"

/* Two tables, so that each decision about an end is in one place and stands for every client. */

enum auth_over ends_whose_doing(enum close_reason r)
{
	switch (r) {
	case CLOSE_TIMEOUT_NEGOTIATION:
		return AUTH_LATE;
	case CLOSE_SHUTDOWN:
	case CLOSE_MOVED:
	case CLOSE_SERVICE_CLOSED: /* before there is a service: by an administrator */
		return AUTH_OURS;
	default:
		return AUTH_LEFT;
	}
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
	default:
		return false;
	}
}
