/* Stanzas on their way: rewritten start tags keep the infoset, stanzas given whole are taken or refused, errors are as RFC 6120 has them.
 */
#include <check.h>
#include <pthread.h>

#include "events.h"
#include "sametree.h"

/* ---- writing ---- */

struct rewrite {
	const char *from_ns, *to_ns;
	struct slice from, to;
	const char *want;            /* NULL: only the infoset is compared */
};

static const struct rewrite *rewriting;

static void rewrite_element(const struct xml_element *e)
{
	struct buf out;
	buf_init(&out, 100000);
	CHECK_EQ(buf_add_str(&out, "before"), 0);
	CHECK_EQ(stanza_write(&out, e, rewriting->from_ns, rewriting->to_ns, rewriting->from, rewriting->to), 0);
	buf_drain(&out, 6);
	struct slice written = buf_slice(&out);
	if (rewriting->want != NULL && !slice_is(written, rewriting->want)) {
		check_bad_ = 1;
		fprintf(stderr, "wrote " SLICE_FMT "\nnot   %s\n", SLICE_ARG(written), rewriting->want);
	}
	if (rewriting->from.p == NULL && rewriting->to.p == NULL) {
		struct xml_tree *a = xml_tree_parse(e->raw, &wide, e->decls, e->nr_decls), *b = xml_tree_parse(written, &wide, NULL, 0);
		CHECK(a != NULL && b != NULL);
		if (a == NULL || b == NULL || !same_tree(xml_tree_root(a), xml_tree_root(b), rewriting->from_ns, rewriting->to_ns)) {
			check_bad_ = 1;
			fprintf(stderr, "from  " SLICE_FMT "\nwrote " SLICE_FMT "\n", SLICE_ARG(e->raw), SLICE_ARG(written));
		}
		xml_tree_free(a);
		xml_tree_free(b);
	}
	buf_clear(&out);
}

static void rewrite(const char *stream, const struct rewrite *r)
{
	struct events v;
	events_begin(&v, &wide);
	v.on_element = rewrite_element;
	rewriting = r;
	CHECK_EQ(events_feed_str(&v, stream), 0);
	CHECK_EQ(v.nr_elements, 1);
	if (check_bad_)
		fprintf(stderr, "in    %s\n", stream);
	events_end(&v);
}

static void same(const char *stream, const char *want)
{
	rewrite(stream, &(struct rewrite){NS_CLIENT, NS_CLIENT, SLICE_NONE, SLICE_NONE, want});
}

#define S2S "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>"
#define EXTRA                                                                                                                              \
	"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='urn:x' "                            \
	"xmlns:y='urn:y&apos;&quot;'>"

#define IN(lang) "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='" lang "'>"

/* The stream's language goes with the stanza, unless it has its own, even an empty one. */
static void test_write_lang(void)
{
	struct rewrite r = {NS_CLIENT, NS_CLIENT, SLICE("a@b"), SLICE_NONE, "<m xmlns='jabber:client' from='a@b' xml:lang='de'/>"};
	rewrite(IN("de") "<m/>", &r);
	same(IN("de") "<m xml:lang='fr'/>", "<m xmlns='jabber:client' xml:lang='fr'/>");
	same(IN("de") "<m xml:lang=''/>", "<m xmlns='jabber:client' xml:lang=''/>");
	same(IN("") "<m/>", "<m xmlns='jabber:client'/>");
	same(IN("de-Latn-DE-1996-x-one-of-our-own-and-long") "<m/>", "<m xmlns='jabber:client'/>");
}

static void test_write_same(void)
{
	same(C2S "<message to='b'><body>hi</body></message>", "<message xmlns='jabber:client' to='b'><body>hi</body></message>");
	same(C2S "<presence/>", "<presence xmlns='jabber:client'/>");
	same(C2S "<presence></presence>", "<presence xmlns='jabber:client'/>");
	same(C2S "<iq xmlns='jabber:client' id=\"a'b\"><q xmlns='urn:q'/></iq>",
	     "<iq xmlns='jabber:client' id=\"a'b\"><q xmlns='urn:q'/></iq>");
	same(C2S "<m a='&lt;&amp;&#10;&#9;&#13;&quot;&apos;>' b=\"'\" c='\xc3\xa9'/>", NULL);
	same(C2S "<m xml:lang='de' xmlns:z='urn:z' z:a='1' a='2'><z:b z:c=''/></m>",
	     "<m xmlns='jabber:client' xmlns:z='urn:z' xml:lang='de' z:a='1' a='2'><z:b z:c=''/></m>");
	/* Of the header's prefixes only those that occur. */
	same(EXTRA "<m><x:a/></m>", "<m xmlns='jabber:client' xmlns:x='urn:x'><x:a/></m>");
	same(EXTRA "<m y:a='1'/>", "<m xmlns='jabber:client' xmlns:y='urn:y&apos;\"' y:a='1'/>");
	same(EXTRA "<m><a xmlns:x='urn:own'><x:b/></a></m>", NULL);
	same(EXTRA "<m xmlns:x='urn:own'><x:b/></m>", "<m xmlns='jabber:client' xmlns:x='urn:own'><x:b/></m>");
	same(EXTRA "<m><stream:error/></m>", NULL);
	same(EXTRA "<m>xx:</m>", NULL);
	/* Default namespace overridden, undone, given by a prefix. */
	same(C2S "<a xmlns='urn:a'><b xmlns='jabber:client'/><c xmlns=''/></a>", NULL);
	same(C2S "<a xmlns=''><b/></a>", "<a><b/></a>");
	same("<s:s xmlns:s='http://etherx.jabber.org/streams'><c:message xmlns:c='jabber:client'><c:body>x</c:body><d/></c:message>",
	     "<c:message xmlns:c='jabber:client' xmlns=''><c:body>x</c:body><d/></c:message>");
	same("<s:s xmlns:s='http://etherx.jabber.org/streams' xmlns:c='jabber:client' xmlns='urn:d'><c:message><c:body/><d/></c:message>",
	     "<c:message xmlns:c='jabber:client' xmlns='urn:d'><c:body/><d/></c:message>");
	same(C2S "<stream:m/>", NULL);
	same(C2S "<a\n  b = 'c'\t d=\"e'e\"\r\n>x</a\n>", "<a xmlns='jabber:client' b='c' d=\"e'e\">x</a>");
}

/* Prefixes that a value or a text means, and no name has: the same, whoever tells the element. */
static void test_write_meant(void)
{
#define MEANT "<m><a type='x:int'>y:b</a></m>"
	const struct rewrite r = {NS_CLIENT, NS_CLIENT, SLICE_NONE, SLICE_NONE,
				  "<m xmlns='jabber:client' xmlns:x='urn:x' xmlns:y='urn:y&apos;\"'><a type='x:int'>y:b</a></m>"};
	rewrite(EXTRA MEANT, &r);
	struct events v;
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, EXTRA), 0);
	v.on_element = rewrite_element;
	rewriting = &r;
	CHECK_EQ(events_feed_str(&v, MEANT), 0); /* alone it is not expat's */
	CHECK_EQ(v.nr_elements, 1);
	events_end(&v);
}

static void test_write_converted(void)
{
	const struct rewrite out = {NS_CLIENT, NS_SERVER, SLICE_NONE, SLICE_NONE, NULL};
	const struct rewrite in = {NS_SERVER, NS_CLIENT, SLICE_NONE, SLICE_NONE, NULL};
	rewrite(C2S "<message><body>x</body><q xmlns='urn:q'/></message>", &out);
	rewrite(S2S "<message xmlns='jabber:server'><body>x</body></message>", &in);
	rewrite(S2S "<db:result/>", &in);
	rewrite("<s:s xmlns:s='urn:s'><c:message xmlns:c='jabber:server' xmlns:d='jabber:server' c:a=''><c:body/><d:e/></c:message>", &in);
	rewrite("<s:s xmlns:s='urn:s'><c:message xmlns:c='jabber:client'><c:body/>s:</c:message>", &(struct rewrite){NS_CLIENT, NS_SERVER,
		SLICE_NONE, SLICE_NONE, "<c:message xmlns:s='urn:s' xmlns:c='jabber:server' xmlns=''><c:body/>s:</c:message>"});
}

/* An explicit declaration below the stanza stays: what is forwarded inside is what was sent. */
static void inner_stays(const struct xml_element *e)
{
	struct buf out;
	buf_init(&out, 10000);
	CHECK_EQ(stanza_write(&out, e, NS_SERVER, NS_CLIENT, SLICE_NONE, SLICE_NONE), 0);
	CHECK(slice_is(buf_slice(&out), "<message xmlns='jabber:client'><f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:server'/>"
					"<message xmlns='jabber:client'/></f></message>"));
	buf_clear(&out);
}

static void test_write_inner_stays(void)
{
	struct events v;
	events_begin(&v, &wide);
	v.on_element = inner_stays;
	CHECK_EQ(events_feed_str(&v, S2S
				 "<message><f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:server'/><message xmlns='jabber:client'/>"
				 "</f></message>"),
		 0);
	CHECK_EQ(v.nr_elements, 1);
	events_end(&v);
}

static void test_write_stamped(void)
{
#define STAMP(f, t, w) (&(struct rewrite){NS_CLIENT, NS_CLIENT, f, t, w})
	const struct slice a = SLICE("a@b/c"), n = SLICE_NONE, gone = SLICE("");
	rewrite(C2S "<m/>", STAMP(a, n, "<m xmlns='jabber:client' from='a@b/c'/>"));
	rewrite(C2S "<m to='x' id='1'/>", STAMP(a, n, "<m xmlns='jabber:client' to='x' id='1' from='a@b/c'/>"));
	rewrite(C2S "<m from='z' to='x' id='1'/>", STAMP(a, a, "<m xmlns='jabber:client' from='a@b/c' to='a@b/c' id='1'/>"));
	rewrite(C2S "<m from='z' to='x' id='1'/>", STAMP(gone, gone, "<m xmlns='jabber:client' id='1'/>"));
	rewrite(C2S "<m id='1'/>", STAMP(gone, a, "<m xmlns='jabber:client' id='1' to='a@b/c'/>"));
	rewrite(C2S "<m xmlns:p='urn:p' p:from='z'/>", STAMP(a, n, "<m xmlns='jabber:client' xmlns:p='urn:p' p:from='z' from='a@b/c'/>"));
	rewrite(C2S "<m/>", STAMP(SLICE("a@b/<'&\">"), n, "<m xmlns='jabber:client' from='a@b/&lt;&apos;&amp;\">'/>"));
}

static void write_into_less(const struct xml_element *e)
{
	struct buf out;
	size_t full;
	buf_init(&out, 10000);
	CHECK_EQ(stanza_write(&out, e, NS_CLIENT, NS_CLIENT, SLICE("a@b"), SLICE("c@d")), 0);
	full = buf_len(&out);
	buf_clear(&out);
	for (size_t max = 2; max < full + 2; max++) {
		buf_init(&out, max);
		CHECK_EQ(buf_add_str(&out, "12"), 0);
		CHECK_EQ(stanza_write(&out, e, NS_CLIENT, NS_CLIENT, SLICE("a@b"), SLICE("c@d")), -ERR_LIMIT);
		CHECK_EQ(buf_len(&out), 2);
		CHECK_EQ(stanza_write_error(&out, e, NS_CLIENT, "cancel", "conflict", "text text text"), -ERR_LIMIT);
		CHECK_EQ(buf_len(&out), 2);
		buf_clear(&out);
	}
}

static void test_write_full(void)
{
	struct events v;
	events_begin(&v, &wide);
	v.on_element = write_into_less;
	CHECK_EQ(events_feed_str(&v, EXTRA "<message id='&amp;'><x:y/></message>"), 0);
	CHECK_EQ(v.nr_elements, 1);
	events_end(&v);
}

static void test_kind(void)
{
	static const char *const names[] = {"message", "presence", "iq", "Message", "messages", ""};
	static const enum stanza_kind kinds[] = {STANZA_MESSAGE, STANZA_PRESENCE, STANZA_IQ, STANZA_NONE, STANZA_NONE, STANZA_NONE};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct xml_element e = {.head = {.ns = SLICE(NS_CLIENT), .name = slice_str(names[i])}};
		CHECK_EQ(stanza_kind(&e, NS_CLIENT), kinds[i]);
		CHECK_EQ(stanza_kind(&e, NS_SERVER), STANZA_NONE);
	}
}

/* ---- errors ---- */

static const char *error_wanted;

static void write_error(const struct xml_element *e)
{
	struct buf out;
	buf_init(&out, 10000);
	int err = stanza_write_error(&out, e, NS_CLIENT, "modify", "jid-malformed", "no <good>");
	if (error_wanted == NULL) {
		CHECK_EQ(err, -ERR_INVALID);
		CHECK_EQ(buf_len(&out), 0);
	} else {
		CHECK_EQ(err, 0);
		if (!slice_is(buf_slice(&out), error_wanted)) {
			check_bad_ = 1;
			fprintf(stderr, "wrote " SLICE_FMT "\n", SLICE_ARG(buf_slice(&out)));
		}
	}
	buf_clear(&out);
}

static void error_of(const char *stream, const char *want)
{
	struct events v;
	events_begin(&v, &wide);
	v.on_element = write_error;
	error_wanted = want;
	CHECK_EQ(events_feed_str(&v, stream), 0);
	CHECK_EQ(v.nr_elements, 1);
	events_end(&v);
}

#define ERROR_CHILD "<error type='modify'><jid-malformed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" \
		    "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>no &lt;good&gt;</text></error>"

static void test_error(void)
{
	error_of(C2S "<iq type='get' id='&quot;1' from='a@b/c' to='x'><q/></iq>",
		 "<iq xmlns='jabber:client' from='x' to='a@b/c' id='&quot;1' type='error'>" ERROR_CHILD "</iq>");
	error_of(S2S "<x:message xmlns:x='jabber:server'/>", "<message xmlns='jabber:client' type='error'>" ERROR_CHILD "</message>");
	error_of(C2S "<presence type='error' from='a'/>", NULL);
}

/* ---- stanzas given whole ---- */

static int nr_given;
static char given_raw[200], given_name[20];

static void given(void *arg, const struct xml_element *e)
{
	CHECK(arg == &nr_given);
	nr_given++;
	snprintf(given_raw, sizeof given_raw, SLICE_FMT, SLICE_ARG(e->raw));
	snprintf(given_name, sizeof given_name, SLICE_FMT, SLICE_ARG(e->head.name));
}

static int parse_whole(const char *s)
{
	nr_given = 0;
	return stanza_parse(slice_str(s), &wide, given, &nr_given);
}

static void test_parse(void)
{
	CHECK_EQ(parse_whole("<message xmlns='jabber:client' to='x'><body/></message>"), 0);
	CHECK_EQ(nr_given, 1);
	CHECK_STR(given_raw, "<message xmlns='jabber:client' to='x'><body/></message>");
	CHECK_EQ(parse_whole(" <c:iq xmlns:c='jabber:client'/>\n"), 0);
	CHECK_STR(given_name, "iq");
}

static void test_parse_refused(void)
{
	static const struct {
		const char *text;
		int err;
	} bad[] = {
		{"", -ERR_XML_NOT_WELL_FORMED},
		{"  ", -ERR_XML_NOT_WELL_FORMED},
		{"<message/>", -ERR_XML_NAMESPACE},
		{"<message xmlns='jabber:server'/>", -ERR_XML_NAMESPACE},
		{"<message xmlns='jabber:client'", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'>", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'/><message xmlns='jabber:client'/>", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'/>x", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'/><", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'/></x>", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'/></x><x>", -ERR_XML_NOT_WELL_FORMED},
		{"</x>", -ERR_XML_NOT_WELL_FORMED},
		{"</x><message xmlns='jabber:client'/>", -ERR_XML_NOT_WELL_FORMED},
		{"x<message xmlns='jabber:client'/>", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'></x>", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'><stream:error/></message>", -ERR_XML_NAMESPACE},
		{"<message xmlns='jabber:client'><!-- --></message>", -ERR_XML_RESTRICTED},
		{"<?xml version='1.0'?><message xmlns='jabber:client'/>", -ERR_XML_NOT_WELL_FORMED},
		{"<message xmlns='jabber:client'>&foo;</message>", -ERR_XML_RESTRICTED},
		{"<message xmlns='jabber:client'>\xff</message>", -ERR_XML_NOT_WELL_FORMED},
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_EQ(parse_whole(bad[i].text), bad[i].err);
		CHECK_EQ(nr_given, 0);
		if (check_bad_)
			fprintf(stderr, "case %zu: %s\n", i, bad[i].text);
		/* A refusal leaves nothing behind. */
		CHECK_EQ(parse_whole("<message xmlns='jabber:client'/>"), 0);
		CHECK_EQ(nr_given, 1);
	}
}

static void test_parse_limits(void)
{
	const struct xml_limits l = {.element_bytes = 60, .tag_bytes = 40, .depth_max = 2, .attrs_max = 2};
	CHECK_EQ(stanza_parse(SLICE("<message xmlns='jabber:client' a=''/>"), &l, given, &nr_given), 0);
	CHECK_EQ(stanza_parse(SLICE("<message xmlns='jabber:client' a='' b=''/>"), &l, given, &nr_given), -ERR_XML_LIMIT);
	CHECK_EQ(stanza_parse(SLICE("<message xmlns='jabber:client' abcdefghi=''/>"), &l, given, &nr_given), -ERR_XML_LIMIT);
	CHECK_EQ(stanza_parse(SLICE("<message xmlns='jabber:client'><a><b/></a></message>"), &l, given, &nr_given), -ERR_XML_LIMIT);
	CHECK_EQ(stanza_parse(SLICE("<message xmlns='jabber:client'>01234567890123456789</message>"), &l, given, &nr_given),
		 -ERR_XML_LIMIT);
	CHECK_EQ(parse_whole("<message xmlns='jabber:client'>01234567890123456789</message>"), 0);
}

static void parse_inside(void *arg, const struct xml_element *e)
{
	(void)arg;
	CHECK_EQ(parse_whole("<iq xmlns='jabber:client'/>"), 0);
	CHECK(slice_is(e->head.name, "message"));
}

static void test_parse_nested(void)
{
	CHECK_EQ(stanza_parse(SLICE("<message xmlns='jabber:client'/>"), &wide, parse_inside, NULL), 0);
	CHECK_STR(given_name, "iq");
}

/* A thread's parser goes with it (the leak checker looks). */
static void *parse_in_thread(void *arg)
{
	(void)arg;
	return parse_whole("<iq xmlns='jabber:client'/>") == 0 ? &nr_given : NULL;
}

static void test_parse_thread(void)
{
	pthread_t thread;
	void *result = NULL;
	CHECK_EQ(pthread_create(&thread, NULL, parse_in_thread, NULL), 0);
	CHECK_EQ(pthread_join(thread, &result), 0);
	CHECK(result == &nr_given);
}

int main(void)
{
	RUN(test_write_same);
	RUN(test_write_lang);
	RUN(test_write_meant);
	RUN(test_write_converted);
	RUN(test_write_inner_stays);
	RUN(test_write_stamped);
	RUN(test_write_full);
	RUN(test_kind);
	RUN(test_error);
	RUN(test_parse);
	RUN(test_parse_refused);
	RUN(test_parse_limits);
	RUN(test_parse_nested);
	RUN(test_parse_thread);
	return check_done("unit.xml.head");
}
