/* Answers that are made of the stanza itself. */
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

static void test_error_to_its_own_from(void)
{
	static const char xml[] = "<iq id='1' from='a@b/&lt;' type='get' to='c'/>";
	size_t n;
	char *got = client_error_stanza(xml, strlen(xml), NULL, "modify", "jid-malformed", &n);

	CHECK_STR(got, "<iq xmlns='jabber:client' type='error' to='a@b/&lt;' from='c' id='1'>" ERR("iq"));
	free(got);
	CHECK(client_error_stanza("<iq type='get'/>", 16, NULL, NULL, NULL, &n) == NULL); /* to whom? */
}

static void turns(const char *xml, const char *want)
{
	size_t n = 0;
	char *got = client_turn_around(xml, strlen(xml), &n);

	if (want == NULL)
		CHECK(got == NULL);
	else
		CHECK(got != NULL && n == strlen(want) && memcmp(got, want, n) == 0);
	if (check_bad_)
		fprintf(stderr, "from %s: %.*s\n", xml, (int)n, got ? got : "");
	free(got);
}

static void test_turned_around(void)
{
	turns("<message from='a' to='b'><body from='x' to='y'> to='z'</body></message>",
	      "<message to='a' from='b'><body from='x' to='y'> to='z'</body></message>");
	turns("<message\n to =\"b'>\" id=' from=' x:to='c'/>", "<message\n from =\"b'>\" id=' from=' x:to='c'/>");
	turns("<message from='a'/>", "<message to='a'/>");
	turns("<message to='b'>to='</message>", "<message from='b'>to='</message>");
	turns("<message/>", "<message/>");
	turns("<iq to='b' type='get' from='a'/>", "<iq from='b' type='get' to='a'/>");
	turns("<message type='error' to='b'/>", NULL);
	turns("<iq type='result'/>", NULL);
	turns("<message to='b", NULL);
	turns("", NULL);
}

static void test_names(void)
{
	struct svcproto_stanza st = { .xml = "<message to='x'/>", .length = 17 };

	CHECK(svcproto_stanza_is(&st, "message"));
	CHECK(!svcproto_stanza_is(&st, "mess"));
	CHECK(!svcproto_stanza_is(&st, "iq"));
	st.length = 8;
	CHECK(!svcproto_stanza_is(&st, "message"));
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
	RUN(test_error_to_its_own_from);
	RUN(test_turned_around);
	RUN(test_names);
	RUN(test_full_jid_is_escaped);
	return check_done("svcclient.answer");
}
