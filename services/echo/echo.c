/* The echo service: a message goes back to who sent it, by the way it came, and is acknowledged once the next hop has it. Who reads too
 * little for that hears so in its place. */
#include "services/echo/echo.h"

#include <stdio.h>

static void on_open(void *arg, struct svcproto_session *s, const struct svcproto_open *o)
{
	static unsigned sessions;
	char jid[3200], own[32];

	(void)arg;
	snprintf(own, sizeof(own), "echo-%u", ++sessions);
	snprintf(jid, sizeof(jid), "%s/%s", o->bare_jid, o->resource != NULL ? o->resource : own);
	(void)svcproto_accept(s, jid); /* fails only if the session ends, and that we need not know */
}

/* Who reads too little for his answers may be waiting for us before he reads: what has no room is refused, and acknowledged at once. */
static void on_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	struct svcproto *sp = *(struct svcproto **)arg;
	int rc = -1;

	if (svcproto_stanza_is(st, "message"))
		rc = svcproto_send_back(sp, s, st, st->ticket);
	else if (svcproto_stanza_is(st, "iq"))
		rc = svcproto_send_error(sp, s, st, "cancel", "service-unavailable", st->ticket);
	if (rc == SVCPROTO_E_FULL && svcproto_send_error(sp, s, st, "wait", "resource-constraint", 0) == SVCPROTO_E_FULL && s != NULL)
		(void)svcproto_close(s, "resource-constraint", "nothing is read of what comes back");
	else if (rc != 0)
		(void)svcproto_ack(sp, st->ticket); /* refused, or nothing to answer */
}

static void on_delivered(void *arg, uint64_t ticket)
{
	(void)svcproto_ack(*(struct svcproto **)arg, ticket);
}

static void on_undeliverable(void *arg, uint64_t ticket, const char *type, const char *condition, const char *xml, size_t length)
{
	(void)type, (void)condition, (void)xml, (void)length;
	on_delivered(arg, ticket);
}

/* What waits for this client's own connection must not keep it from coming back. */
static void on_detached(void *arg, struct svcproto_session *s)
{
	(void)arg;
	(void)svcproto_ack_all(s);
}

const struct svcproto_callbacks echo_callbacks = {
	.session_open = on_open,
	.session_detached = on_detached,
	.stanza = on_stanza,
	.delivered = on_delivered,
	.undeliverable = on_undeliverable,
};
