#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load/client.h"

/* From the stream header to bound or resumed, one step for each answer, as a client does that doesn't pipeline. */

enum step { STARTTLS, PROCEED, AUTHENTICATE, CHALLENGE, SUCCESS, BIND, BOUND, SESSION, ENABLED, RESUMED };

const char *client_stream_error(struct slice e)
{
	static char words[80];
	struct slice inner = scan_between(e, ">", "</stream:error>");
	size_t n = 0;

	while (n + 1 < inner.n && n < 40 && ((inner.p[n + 1] >= 'a' && inner.p[n + 1] <= 'z') || inner.p[n + 1] == '-'))
		n++;
	snprintf(words, sizeof words, "a stream error: %.*s", (int)n, n > 0 ? inner.p + 1 : "");
	return words;
}

static void say(struct client *c, const char *text)
{
	client_queue(c, text, strlen(text));
}

void client_begin_stream(struct client *c)
{
	char header[400];

	c->in_n = 0;   /* nothing can follow what ended the stream before */
	scan_reset(&c->scan);
	snprintf(header, sizeof header,
		 "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='%s' "
		 "version='1.0'>",
		 c->w->domain);
	say(c, header);
}

static void say_sasl(struct client *c, const char *element, const char *attribute, const char *text, size_t n)
{
	char base64[1400], line[1600];

	EVP_EncodeBlock((unsigned char *)base64, (const unsigned char *)text, (int)n);
	snprintf(line, sizeof line, "<%s xmlns='urn:ietf:params:xml:ns:xmpp-sasl'%s>%s</%s>", element, attribute, base64, element);
	say(c, line);
}

static void user_of(const struct client *c, char *out, size_t size)
{
	snprintf(out, size, "%s%u", c->w->user_prefix, client_user(c));
}

static void authenticate(struct client *c)
{
	char user[64], text[400], attribute[60];

	user_of(c, user, sizeof user);
	snprintf(attribute, sizeof attribute, " mechanism='%s'", c->w->mechanism);
	if (strcmp(c->w->mechanism, "PLAIN") == 0) {
		int n = snprintf(text, sizeof text, "%c%s%c%s", 0, user, 0, c->w->password);

		say_sasl(c, "auth", attribute, text, (size_t)n);
		c->step = SUCCESS;
		return;
	}
	c->scram = malloc(sizeof *c->scram);
	if (c->scram == NULL)
		abort();
	scram_first(c->scram, strcmp(c->w->mechanism, "SCRAM-SHA-1") == 0 ? "SHA1" : "SHA256", user, &c->w->keys[client_user(c)],
		    text);
	say_sasl(c, "auth", attribute, text, strlen(text));
	c->step = CHALLENGE;
}

/* The base64 between the tags; the bytes, or -1. */
static int decode(struct slice element, char *out, size_t size)
{
	struct slice text = scan_between(element, ">", "<");
	int n;

	if (text.n == 0 || text.n % 4 != 0 || text.n / 4 * 3 > size ||
	    (n = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text.p, (int)text.n)) < 0)
		return -1;
	return n - (text.p[text.n - 1] == '=') - (text.p[text.n - 2] == '=');
}

static const char *challenged(struct client *c, struct slice element)
{
	char text[600], answer[400];
	int n = decode(element, text, sizeof text);

	if (!scan_begins(element, "<challenge") || n <= 0)
		return scan_begins(element, "<failure") ? "the login was refused" : "no challenge";
	if (!scram_final(c->scram, (struct slice){text, (size_t)n}, c->w->password, answer, sizeof answer))
		return "a challenge that makes no sense";
	say_sasl(c, "response", "", answer, strlen(answer));
	c->step = SUCCESS;
	return NULL;
}

static const char *succeeded(struct client *c, struct slice element)
{
	char text[200];
	int n;

	if (scan_begins(element, "<challenge")) {   /* the server's proof comes in a challenge of its own */
		n = decode(element, text, sizeof text);
		if (c->scram == NULL || n <= 0 || !scram_proven(c->scram, (struct slice){text, (size_t)n}))
			return "the server doesn't know the password";
		free(c->scram);
		c->scram = NULL;
		say(c, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
		return NULL;
	}
	if (!scan_begins(element, "<success"))
		return "the login was refused";
	if (c->scram != NULL) {
		n = decode(element, text, sizeof text);
		if (n <= 0 || !scram_proven(c->scram, (struct slice){text, (size_t)n}))
			return "the server doesn't know the password";
		free(c->scram);
		c->scram = NULL;
	}
	client_begin_stream(c);
	c->step = BIND;
	return NULL;
}

static void bind_or_resume(struct client *c, struct slice features)
{
	char line[300];

	c->has_session = scan_has(features, "<session") && !scan_has(scan_between(features, "<session", "</session>"), "optional");
	if (c->sm && c->sm_id[0]) {
		snprintf(line, sizeof line, "<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%u'/>", c->sm_id, c->handled);
		say(c, line);
		c->step = RESUMED;
		return;
	}
	say(c, "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
	c->step = BOUND;
}

static void online(struct client *c)
{
	c->state = CLIENT_ONLINE;
	c->online_us = now_us();
	c->w->ops->online(c);
}

/* Bound, and a session where the server insists on it: then stream management, where it is wanted. */
static void bound(struct client *c)
{
	if (c->has_session) {
		c->has_session = false;
		say(c, "<iq type='set' id='session'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
		c->step = SESSION;
	} else if (c->sm) {
		say(c, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
		c->step = ENABLED;
	} else {
		online(c);
	}
}

static const char *bind_answered(struct client *c, struct slice element)
{
	struct slice jid = scan_between(element, "<jid>", "</jid>");

	if (jid.p == NULL || jid.n >= sizeof c->jid)
		return "not bound";
	memcpy(c->jid, jid.p, jid.n);
	c->jid[jid.n] = '\0';
	bound(c);
	return NULL;
}

static const char *enabled(struct client *c, struct slice element)
{
	struct slice id = scan_between(element, " id='", "'");

	if (id.p == NULL)
		id = scan_between(element, " id=\"", "\"");
	if (!scan_begins(element, "<enabled") || id.p == NULL || id.n >= sizeof c->sm_id)
		return "no stream management";
	memcpy(c->sm_id, id.p, id.n);
	c->sm_id[id.n] = '\0';
	c->handled = 0;
	online(c);
	return NULL;
}

static const char *resumed(struct client *c, struct slice element)
{
	c->sm_id[0] = '\0';
	if (scan_begins(element, "<failed")) {
		bind_or_resume(c, (struct slice){"", 0});
		return NULL;
	}
	if (!scan_begins(element, "<resumed"))
		return "not resumed";
	c->resumed = true;
	online(c);
	return NULL;
}

const char *client_negotiate(struct client *c, struct slice e)
{
	if (scan_begins(e, "<stream:error"))
		return client_stream_error(e);
	if (scan_begins(e, "<stream:stream") || scan_begins(e, "<?"))
		return NULL;
	switch ((enum step)c->step) {
	case STARTTLS:
		if (!scan_has(e, "<starttls"))
			return "no STARTTLS";
		say(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
		c->step = PROCEED;
		return NULL;
	case PROCEED:
		if (!scan_begins(e, "<proceed"))
			return "STARTTLS was refused";
		c->step = AUTHENTICATE;
		c->state = CLIENT_TLS;
		return NULL;
	case AUTHENTICATE:
		authenticate(c);
		return NULL;
	case CHALLENGE:
		return challenged(c, e);
	case SUCCESS:
		return succeeded(c, e);
	case BIND:
		bind_or_resume(c, e);
		return NULL;
	case BOUND:
		return bind_answered(c, e);
	case SESSION:
		bound(c);
		return NULL;
	case ENABLED:
		return enabled(c, e);
	case RESUMED:
		return resumed(c, e);
	}
	return "lost its way";
}
