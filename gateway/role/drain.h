#ifndef GATEWAY_ROLE_DRAIN_H
#define GATEWAY_ROLE_DRAIN_H

/*
 * A worker that is to be empty: sends its clients to other gateways of the cluster (RFC 6120 section 4.9.3.19), a few at a time, then ends
 * what is left with system-shutdown. What services send to other servers goes on at another gateway first, if there is one. Of the worker's
 * thread.
 */

#include "role/env.h"

struct drain;

struct drain_options {
	struct role_env *env;
	struct svc_id id;               /* the worker's */
	const char *public_host;        /* this gateway's, as announced: nobody is sent to it */
	unsigned client_port;
	/* Draining began or was taken back: to be announced, so that nobody sends more. */
	void (*changed)(void *arg, bool draining);
	void *arg;
};

struct drain *drain_new(const struct drain_options *o);
void drain_free(struct drain *d);        /* NULL is allowed */
/* Clients that can be sent leave as fast as the others can take them, and within window_ms in any case; at once if there is nowhere to go.
 * While it drains, new clients are sent away
 * too. Again while it drains: only the window changes. env->draining says whether it drains. */
void drain_begin(struct drain *d, unsigned window_ms);
void drain_end(struct drain *d);         /* takes new clients again, unless the worker is leaving */
/* The worker is leaving, and has closed what was left: nothing is to be opened any more. */
bool drain_is_over(const struct drain *d);
/* Does this value of see-other-host name this gateway itself? */
bool drain_is_here(const struct drain *d, const char *host);
/* Where a client may be sent now: another gateway of the cluster that takes clients and does not drain, each as often as it has room.
 * NULL: none. Borrowed until the next call. */
const char *drain_elsewhere(struct drain *d);

#endif
