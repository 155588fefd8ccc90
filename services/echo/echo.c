/* The echo service: a message goes back to who sent it, by the way it came, and is acknowledged once the next hop has it. */
#include "services/echo/echo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_open(void *arg, struct svcproto_session *s, const struct svcproto_open *o)
{
	struct echo *e = arg;
	char jid[3200], resource[32];

	snprintf(resource, sizeof(resource), "echo-%u", ++e->sessions);
	snprintf(jid, sizeof(jid), "%s/%s", o->bare_jid, o->resource != NULL ? o->resource : resource);
	(void)svcproto_accept(s, jid); /* fails only if the session ends, and that we need not know */
}

/* The stanza with `to` and `from` of its start tag exchanged; an iq becomes the error that refuses it. Needs at most n + 200 bytes at out.
 */
static size_t turn_around(const char *xml, size_t n, char *out)
{
	static const char refusal[] =
		"><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>";
	bool iq = n > 3 && memcmp(xml, "<iq", 3) == 0;
	const char *p = xml, *end = xml + n;
	char quote = '\0', *q = out;

	while (p < end && (quote != '\0' || (*p != '>' && *p != '/'))) {
		if (quote == '\0' && end - p > 6 && memcmp(p, " from=", 6) == 0) {
			q = mempcpy(q, " to=", 4);
			p += 6;
		} else if (quote == '\0' && end - p > 4 && memcmp(p, " to=", 4) == 0) {
			q = mempcpy(q, " from=", 6);
			p += 4;
		} else if (quote == '\0' && iq && end - p > 9 && memcmp(p, " type=", 6) == 0) {
			q = mempcpy(q, " type='error'", 13);
			p += 6 + 5; /* get or set, with its quotes */
		} else {
			quote = *p == quote ? '\0' : quote == '\0' && (*p == '\'' || *p == '"') ? *p : quote;
			*q++ = *p++;
		}
	}
	q = iq ? mempcpy(q, refusal, sizeof(refusal) - 1) : mempcpy(q, p, (size_t)(end - p));
	return (size_t)(q - out);
}

static bool start_tag_has(const char *xml, size_t n, const char *text)
{
	const char *end = memchr(xml, '>', n);

	return end != NULL && memmem(xml, (size_t)(end - xml), text, strlen(text)) != NULL;
}

static bool wants_answer(const char *xml, size_t n)
{
	if (n > 8 && memcmp(xml, "<message", 8) == 0)
		return !start_tag_has(xml, n, "type='error'") && !start_tag_has(xml, n, "type=\"error\"");
	return n > 3 && memcmp(xml, "<iq", 3) == 0 && !start_tag_has(xml, n, "'result'") && !start_tag_has(xml, n, "'error'") &&
	       !start_tag_has(xml, n, "\"result\"") && !start_tag_has(xml, n, "\"error\"");
}

static void on_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	struct echo *e = arg;
	char *answer = wants_answer(st->xml, st->length) ? malloc(st->length + 200) : NULL;
	size_t n = answer != NULL ? turn_around(st->xml, st->length, answer) : 0;
	int rc = -1;

	if (answer != NULL && s != NULL)
		rc = svcproto_send(s, answer, n, st->ticket);
	else if (answer != NULL)
		rc = svcproto_send_server(e->sp, st->local_domain, st->remote_domain, answer, n, st->ticket);
	if (rc != 0)
		(void)svcproto_ack(e->sp, st->ticket); /* nothing to echo, or no room for it: an echo may be lost */
	free(answer);
}

static void on_delivered(void *arg, uint64_t ticket)
{
	struct echo *e = arg;

	(void)svcproto_ack(e->sp, ticket);
}

static void on_undeliverable(void *arg, uint64_t ticket, const char *condition, const char *xml, size_t length)
{
	(void)condition;
	(void)xml;
	(void)length;
	on_delivered(arg, ticket);
}

void echo_set_callbacks(struct svcproto_callbacks *cb)
{
	cb->session_open = on_open;
	cb->stanza = on_stanza;
	cb->delivered = on_delivered;
	cb->undeliverable = on_undeliverable;
}
