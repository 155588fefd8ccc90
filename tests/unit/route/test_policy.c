/* The gate: for each rule of RFC 6120 section 8 what passes, what costs its sender the stanza, what costs the stream. */
#include <check.h>
#include <stdlib.h>

#include "common/err.h"
#include "route/policy.h"
#include "xml/ns.h"

#define HEADER(ns)                                                                                                                         \
	"<stream:stream xmlns='" ns "' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' version='1.0'>"

static const struct xml_limits limits = {.element_bytes = 65536, .tag_bytes = 16384, .depth_max = 32, .attrs_max = 32};

/* What one judgement said, as "PASS <xml>", "REJECT type condition <xml>", "CLOSE condition"; for a server " [from to]" behind. */
static char said[20000];
static bool from_server;
static size_t out_max = 16384;
static struct jid alice;

static void judge(void *arg, const struct xml_element *e)
{
	(void)arg;
	struct buf out;
	char *from = NULL, *to = NULL;
	buf_init(&out, out_max);
	struct policy_result r = from_server ? policy_from_server(e, &out, &from, &to) : policy_from_client(e, &alice, &out);
	struct slice xml = buf_slice(&out);
	int n = 0;
	if (r.verdict == POLICY_PASS)
		n = snprintf(said, sizeof said, "PASS " SLICE_FMT, SLICE_ARG(xml));
	else if (r.verdict == POLICY_REJECT)
		n = snprintf(said, sizeof said, "REJECT %s %s " SLICE_FMT, r.type, r.condition, SLICE_ARG(xml));
	else
		n = snprintf(said, sizeof said, "CLOSE %s", r.condition);
	if (from != NULL || to != NULL)
		snprintf(said + n, sizeof said - (size_t)n, " [%s %s]", from ? from : "", to ? to : "");
	free(from);
	free(to);
	buf_clear(&out);
}

static void on_header(void *arg, const struct xml_head *h, struct slice default_ns)
{
	(void)arg, (void)h, (void)default_ns;
}

static void on_footer(void *arg)
{
	(void)arg;
}

static const struct xml_parser_ops ops = {.header = on_header, .element = judge, .footer = on_footer};

static void judged(const char *header, const char *stanza, const char *want)
{
	struct xml_parser *p = xml_parser_new(&limits, &ops, NULL);
	size_t used;
	snprintf(said, sizeof said, "nothing");
	CHECK_EQ(xml_parser_feed(p, slice_str(header), &used), 0);
	CHECK_EQ(xml_parser_feed(p, slice_str(stanza), &used), 0);
	CHECK_STR(said, want);
	xml_parser_free(p);
}

static void client(const char *stanza, const char *want)
{
	from_server = false;
	judged(HEADER("jabber:client"), stanza, want);
}

static void server(const char *stanza, const char *want)
{
	from_server = true;
	judged(HEADER("jabber:server"), stanza, want);
}

#define C " xmlns='jabber:client'"
#define A " from='alice@a.example/r'"

static void test_client_from(void)
{
	client("<message/>", "PASS <message" C A "/>");
	client("<message from='alice@a.example'/>", "PASS <message" C A "/>");
	client("<message from='alice@a.example/r'/>", "PASS <message" C A "/>");
	client("<message from='ALICE@A.example./r'/>", "PASS <message" C A "/>");
	client("<message from='alice@a.example/R'/>", "CLOSE invalid-from");
	client("<message from='alice@a.example/other'/>", "CLOSE invalid-from");
	client("<message from='bob@a.example'/>", "CLOSE invalid-from");
	client("<message from='a.example'/>", "CLOSE invalid-from");
	client("<message from=''/>", "CLOSE invalid-from");
	client("<message from='@'/>", "CLOSE invalid-from");
	/* Only the attribute without a namespace is the address. */
	client("<message xmlns:x='urn:x' x:from='bob@b'/>", "PASS <message" C " xmlns:x='urn:x' x:from='bob@b'" A "/>");
	client("<presence type='subscribe' to='Bob@B.example'/>", "PASS <presence" C " type='subscribe' to='bob@b.example'" A "/>");
}

static void test_client_to(void)
{
	client("<message to='Bob@B.example/Home'><body>x</body></message>",
	       "PASS <message" C " to='bob@b.example/Home'" A "><body>x</body></message>");
	client("<message to='b.example'/>", "PASS <message" C " to='b.example'" A "/>");
	client("<message to=''/>", "REJECT modify jid-malformed <message" C " to=''" A "/>");
	client("<message to='a b@c' id='1'/>", "REJECT modify jid-malformed <message" C " to='a b@c' id='1'" A "/>");
	client("<iq to='@c' id='1' type='get'><q/></iq>", "REJECT modify jid-malformed <iq" C " to='@c' id='1' type='get'" A "><q/></iq>");
}

static void test_client_kinds(void)
{
	client("<foo/>", "CLOSE unsupported-stanza-type");
	client("<message xmlns='jabber:server'/>", "CLOSE unsupported-stanza-type");
	client("<message xmlns=''/>", "CLOSE unsupported-stanza-type");
	client("<message xmlns='urn:x'/>", "CLOSE unsupported-stanza-type");
	client("<stream:message/>", "CLOSE unsupported-stanza-type");
	client("<c:message xmlns:c='jabber:client'><c:body/></c:message>",
	       "PASS <c:message" C " xmlns:c='jabber:client'" A "><c:body/></c:message>");
}

static void test_iq(void)
{
#define BAD(attrs, inner) "REJECT modify bad-request <iq" C attrs A inner
	client("<iq id='1' type='get'><q/></iq>", "PASS <iq" C " id='1' type='get'" A "><q/></iq>");
	client("<iq id='1' type='set'>\n<q/>\n</iq>", "PASS <iq" C " id='1' type='set'" A ">\n<q/>\n</iq>");
	client("<iq id='1' type='result'/>", "PASS <iq" C " id='1' type='result'" A "/>");
	client("<iq id='1' type='error'><q/><error/></iq>", "PASS <iq" C " id='1' type='error'" A "><q/><error/></iq>");
	client("<iq type='get'><q/></iq>", BAD(" type='get'", "><q/></iq>"));
	client("<iq id='' type='get'><q/></iq>", BAD(" id='' type='get'", "><q/></iq>"));
	client("<iq id='1'><q/></iq>", BAD(" id='1'", "><q/></iq>"));
	client("<iq id='1' type=''><q/></iq>", BAD(" id='1' type=''", "><q/></iq>"));
	client("<iq id='1' type='GET'><q/></iq>", BAD(" id='1' type='GET'", "><q/></iq>"));
	client("<iq id='1' type='get'/>", BAD(" id='1' type='get'", "/>"));
	client("<iq id='1' type='set'>text</iq>", BAD(" id='1' type='set'", ">text</iq>"));
	client("<iq id='1' type='set'><q/><r/></iq>", BAD(" id='1' type='set'", "><q/><r/></iq>"));
	client("<iq id='1' type='set'><q><r/><s/></q></iq>", "PASS <iq" C " id='1' type='set'" A "><q><r/><s/></q></iq>");
}

static void test_types(void)
{
	static const char *const presence[] = {"unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"};
	char stanza[100], want[300];
	for (size_t i = 0; i < ARRAY_LEN(presence); i++) {
		snprintf(stanza, sizeof stanza, "<presence type='%s'/>", presence[i]);
		snprintf(want, sizeof want, "PASS <presence" C " type='%s'" A "/>", presence[i]);
		client(stanza, want);
	}
	client("<presence type='available'/>", "REJECT modify bad-request <presence" C " type='available'" A "/>");
	client("<presence type=''/>", "REJECT modify bad-request <presence" C " type=''" A "/>");
	client("<message type='chat'/>", "PASS <message" C " type='chat'" A "/>");
	client("<message type='whatever'/>", "PASS <message" C " type='whatever'" A "/>");
}

static void test_server(void)
{
	server("<message from='A@R.example/x' to='b@L.example'/>",
	       "PASS <message" C " from='a@r.example/x' to='b@l.example'/> [r.example l.example]");
	server("<message to='l.example' from='r.example'><body/></message>",
	       "PASS <message" C " to='l.example' from='r.example'><body/></message> [r.example l.example]");
	server("<s:message xmlns:s='jabber:server' from='r' to='l'><s:body/></s:message>",
	       "PASS <s:message" C " xmlns:s='jabber:client' from='r' to='l'><s:body/></s:message> [r l]");
	server("<message from='r'/>", "CLOSE improper-addressing");
	server("<message to='l'/>", "CLOSE improper-addressing");
	server("<message from='' to='l'/>", "CLOSE improper-addressing");
	server("<message from='r' to=''/>", "CLOSE improper-addressing");
	server("<message from='@r' to='l'/>", "CLOSE improper-addressing");
	server("<message from='r' to='l/'/>", "CLOSE improper-addressing");
	server("<message/>", "CLOSE improper-addressing");
	server("<message xmlns='jabber:client' from='r' to='l'/>", "CLOSE unsupported-stanza-type");
	server("<db:message from='r' to='l'/>", "CLOSE unsupported-stanza-type");
	server("<foo from='r' to='l'/>", "CLOSE unsupported-stanza-type");
	/* The pair is given back also where the stanza is refused: the caller looks at it first. */
	server("<iq from='r' to='l' type='get'><q/></iq>", "REJECT modify bad-request <iq" C " from='r' to='l' type='get'><q/></iq> [r l]");
	server("<presence from='r' to='l' type='x'/>", "REJECT modify bad-request <presence" C " from='r' to='l' type='x'/> [r l]");
}

static void test_full(void)
{
	out_max = 40;
	client("<message to='bob@b.example'/>", "CLOSE policy-violation");
	server("<message from='r.example' to='l.example'/>", "CLOSE policy-violation");
	out_max = 16384;
}

/* ---- from services ---- */

static void outward(const char *xml, bool to_server, int err, const char *want)
{
	struct buf out;
	struct slice passed = SLICE_NONE;
	buf_init(&out, 16384);
	int got = to_server ? policy_to_server(slice_str(xml), &limits, SLICE("a.example"), SLICE("b.example"), &out)
			    : policy_to_client(slice_str(xml), &limits, &out, &passed);
	CHECK_EQ(got, err);
	if (to_server)
		passed = buf_slice(&out);
	if (!slice_is(passed, want)) {
		check_bad_ = 1;
		fprintf(stderr, "wrote " SLICE_FMT "\nnot   %s\n", SLICE_ARG(passed), want);
	}
	buf_clear(&out);
}

/* Between instances of one domain: from whom it is was proven elsewhere. */
static void test_from_anybody(void)
{
	static const char *const xml[] = {"<message" C " from='x@far.example' to='b@b.example'/>",
					  "<message" C " from='x@far.example' to='b@c.example'/>", "<message" C " to='b@b.example'/>"};
	static const int want[] = {0, -ERR_DENIED, -ERR_DENIED};

	for (size_t i = 0; i < ARRAY_LEN(xml); i++) {
		struct buf out;

		buf_init(&out, 16384);
		CHECK_EQ(policy_to_server(slice_str(xml[i]), &limits, SLICE_NONE, SLICE("b.example"), &out), want[i]);
		buf_clear(&out);
	}
}

static void test_to_client(void)
{
	outward("<message" C " from='b@b/c' to='a@a'><body>x</body></message>", false, 0,
		"<message" C " from='b@b/c' to='a@a'><body>x</body></message>");
	outward("<iq" C "/>\n", false, 0, "<iq" C "/>");
	outward("<message" C "><x:a xmlns:x='urn:x' xmlns=''><b/></x:a></message>", false, 0,
		"<message" C "><x:a xmlns:x='urn:x' xmlns=''><b/></x:a></message>");
	/* Whose body is in no namespace, and stays there. */
	outward("<c:message xmlns:c='jabber:client'><body/></c:message>", false, 0,
		"<c:message xmlns:c='jabber:client' xmlns=''><body/></c:message>");
	outward("<c:message xmlns='' xmlns:c='jabber:client'><body/></c:message>", false, 0,
		"<c:message xmlns:c='jabber:client' xmlns=''><body/></c:message>");
	outward("<c:message xmlns='urn:x' xmlns:c='jabber:client'><body/></c:message>", false, 0,
		"<c:message xmlns='urn:x' xmlns:c='jabber:client'><body/></c:message>");
	outward("<c:features xmlns:c='jabber:client'/>", false, -ERR_INVALID, "");
	outward("<message/>", false, -ERR_XML_NAMESPACE, "");
	outward("<message xmlns='jabber:server'/>", false, -ERR_XML_NAMESPACE, "");
	outward("<features" C "/>", false, -ERR_INVALID, "");
	outward("<message" C "></message></stream:stream>", false, -ERR_XML_NOT_WELL_FORMED, "");
	outward("<message" C "/></x>", false, -ERR_XML_NOT_WELL_FORMED, "");
	outward("<message" C "/><message" C "/>", false, -ERR_XML_NOT_WELL_FORMED, "");
	outward("<message" C "><!-- --></message>", false, -ERR_XML_RESTRICTED, "");
	outward("", false, -ERR_XML_NOT_WELL_FORMED, "");
}

static void test_to_server(void)
{
#define S " xmlns='jabber:server'"
	outward("<message" C " from='Al@A.example/r' to='b@b.example'><body/></message>", true, 0,
		"<message" S " from='al@a.example/r' to='b@b.example'><body/></message>");
	outward("<message" C " from='a.example' to='b.example'><f xmlns='urn:f'><message" C "/></f></message>", true, 0,
		"<message" S " from='a.example' to='b.example'><f xmlns='urn:f'><message" C "/></f></message>");
	outward("<c:message xmlns:c='jabber:client' from='a.example' to='b.example'><body/></c:message>", true, 0,
		"<c:message xmlns:c='jabber:server' xmlns='' from='a.example' to='b.example'><body/></c:message>");
	outward("<message" C " from='x@sub.a.example' to='b.example'/>", true, -ERR_DENIED, "");
	outward("<message" C " from='a.example' to='c.example'/>", true, -ERR_DENIED, "");
	outward("<message" C " from='a.example@evil.example' to='b.example'/>", true, -ERR_DENIED, "");
	outward("<message" C " to='b.example'/>", true, -ERR_DENIED, "");
	outward("<message" C " from='a.example'/>", true, -ERR_DENIED, "");
	outward("<message" C " from='a.example' to='@'/>", true, -ERR_DENIED, "");
	outward("<features" C " from='a.example' to='b.example'/>", true, -ERR_INVALID, "");
	outward("<message" S " from='a.example' to='b.example'/>", true, -ERR_XML_NAMESPACE, "");
	outward("<db:result xmlns:db='jabber:server:dialback' from='a.example' to='b.example'/>", true, -ERR_XML_NAMESPACE, "");
}

static void test_outward_full(void)
{
	struct buf out;
	buf_init(&out, 30);
	CHECK_EQ(policy_to_server(SLICE("<message" C " from='a' to='b'/>"), &limits, SLICE("a"), SLICE("b"), &out), -ERR_LIMIT);
	CHECK_EQ(buf_len(&out), 0);
	buf_clear(&out);
}

int main(void)
{
	if (jid_parse(&alice, SLICE("alice@a.example/r")) < 0)
		return 1;
	RUN(test_client_from);
	RUN(test_client_to);
	RUN(test_client_kinds);
	RUN(test_iq);
	RUN(test_types);
	RUN(test_server);
	RUN(test_full);
	RUN(test_to_client);
	RUN(test_from_anybody);
	RUN(test_to_server);
	RUN(test_outward_full);
	jid_clear(&alice);
	return check_done("unit.route.policy");
}
