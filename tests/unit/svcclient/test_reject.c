/* The answer to a stanza that the gateway refused. */
#include "check.h"
#include "svcproto/client.h"

#include <stdlib.h>

static void answers(const char *xml, const char *want)
{
	size_t n = 0;
	char *got = client_error_stanza(xml, strlen(xml), "a@b.example/x", "modify", "jid-malformed", &n);

	if (want == NULL)
		CHECK(got == NULL);
	else
		CHECK_STR(got, want);
	if (got != NULL)
		CHECK_EQ(n, strlen(got));
	free(got);
}

#define ERR(name) "<error type='modify'><jid-malformed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></" name ">"

static void test_answered(void)
{
	answers("<message xmlns='jabber:client' from='a@b.example/x' to='c@d' id=\"1&amp;'\"><body>hi</body></message>",
		"<message xmlns='jabber:client' type='error' to='a@b.example/x' from='c@d' id=\"1&amp;'\">" ERR("message"));
	answers("<iq type = \"set\"\n id='7'/>", "<iq xmlns='jabber:client' type='error' to='a@b.example/x' id='7'>" ERR("iq"));
	answers("<iq type='get'><query xmlns='x' to='no'/></iq>", "<iq xmlns='jabber:client' type='error' to='a@b.example/x'>" ERR("iq"));
	answers("<presence to='x>y'/>", "<presence xmlns='jabber:client' type='error' to='a@b.example/x' from='x>y'>" ERR("presence"));
}

static void test_not_answered(void)
{
	answers("<message type='error' to='a'/>", NULL);
	answers("<iq type='result' id='1'/>", NULL);
	answers("<iq id='1'/>", NULL);
	answers("<query/>", NULL);
	answers("", NULL);
	answers("<message", NULL);
	answers("<message to='a", NULL);
	answers("<message to=a>", NULL);
	answers("<message to>", NULL);
	answers("<message to='<'/>", NULL);
	answers("message", NULL);
}

static void test_full_jid_is_escaped(void)
{
	size_t n;
	char *got = client_error_stanza("<message/>", 10, "a@b/'<&>", NULL, NULL, &n);

	CHECK_STR(got, "<message xmlns='jabber:client' type='error' to='a@b/&apos;&lt;&amp;>'><error type='cancel'><not-acceptable "
		       "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>");
	free(got);
}

int main(void)
{
	RUN(test_answered);
	RUN(test_not_answered);
	RUN(test_full_jid_is_escaped);
	return check_done("svcclient.reject");
}
