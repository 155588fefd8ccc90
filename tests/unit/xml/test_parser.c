/* The parser: events, restrictions, limits while parsing, cuts, stopping, resetting, giving memory back. */
/* lint: long file because the cases share one table of events */
#include <check.h>
#include <expat.h>
#include <malloc.h>

#include "events.h"
#include "xml/parser_int.h"

/* ---- any cut gives the same ---- */

struct document {
	const char *text;
	int err;
};

static const struct document documents[] = {
	{C2S "<message to='b'><body>hi</body></message></stream:stream>", 0},
	{"<?xml version='1.0'?>" C2S " <iq id='1'/>\n\n<presence/> </stream:stream> <trailing", 0},
	{"<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\r\n" C2S "\r\n<a/>\r\n\r\n<b></b>", 0},
	{"  \n" C2S "<a xmlns='urn:x' xmlns:y='urn:y' y:z='1' xml:lang='en' q='&lt;&#65;&quot;'><y:b><c/></y:b>t<d/></a>", 0},
	{C2S "<stream:features><x xmlns=''/></stream:features><stream:error/>", 0},
	{C2S "<a xmlns=''>\xf0\x9f\x98\x80 \xc3\xa9 ]] > <![CDATA[<&]]]]><![CDATA[>]]></a>", 0},
	{C2S "<a\n  b = 'c'\t d=\"e'e\"\r\n></a\n>&#32;&#10;<b/>", 0},
	{"<x:s xmlns:x='urn:s' xmlns:c='jabber:client'><c:message><c:body/></c:message><x:e xmlns:c='urn:other'><c:e/></x:e></x:s>", 0},
	{"<a/>", 0},
	{"<a/><b/>", 0},
	{"<a></a>", 0},
	{C2S "<a>&amp;&lt;&gt;&apos;&quot;&#x1F600;</a>", 0},
	{C2S "text", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a/>&amp;", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a/><![CDATA[ ]]>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a><b></a></b>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a b='1' b='2'/>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a b='<'/>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a>\x01</a>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a>&#1;</a>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a>&#xD800;</a>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a>\xc0\xaf</a>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a>\xed\xa0\x80</a>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a>\xff</a>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a>]]></a>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "</stream>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<a></stream:stream>", -ERR_XML_NOT_WELL_FORMED},
	{C2S "<?xml version='1.0'?>", -ERR_XML_NOT_WELL_FORMED},
	{"hello", -ERR_XML_NOT_WELL_FORMED},
	{"\xef\xbb\xbf" C2S, -ERR_XML_NOT_WELL_FORMED},
	{"<?xml version='1.1'?>" C2S, -ERR_XML_NOT_WELL_FORMED},
	{"<?xml encoding='UTF-8'?>" C2S, -ERR_XML_NOT_WELL_FORMED},
	{"GET / HTTP/1.1\r\n\r\n", -ERR_XML_NOT_WELL_FORMED},
	{"\x16\x03\x01\x02", -ERR_XML_NOT_WELL_FORMED},
	{"<?xml version='1.0' encoding='ISO-8859-1'?>" C2S, -ERR_XML_ENCODING},
	{"<?xml version='1.0' encoding='UTF-16'?>" C2S, -ERR_XML_ENCODING},
	{"<?xml version='1.0' encoding='US-ASCII'?>" C2S, -ERR_XML_ENCODING},
	{"\xfe\xff", -ERR_XML_ENCODING},
	{"\xff\xfe", -ERR_XML_ENCODING},
	{C2S "<!-- c -->", -ERR_XML_RESTRICTED},
	{C2S "<a><!-- c --></a>", -ERR_XML_RESTRICTED},
	{"<!-- c -->" C2S, -ERR_XML_RESTRICTED},
	{C2S "<?php x?>", -ERR_XML_RESTRICTED},
	{C2S "<a><?php x?></a>", -ERR_XML_RESTRICTED},
	{"<?xml version='1.0'?><?pi x?>" C2S, -ERR_XML_RESTRICTED},
	{"<!DOCTYPE a>" C2S, -ERR_XML_RESTRICTED},
	{"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>" C2S, -ERR_XML_RESTRICTED},
	{"<!DOCTYPE a [<!ENTITY x 'y'>]>" C2S "<a>&x;</a>", -ERR_XML_RESTRICTED},
	{"<!DOCTYPE a [<!ENTITY x 'lol'><!ENTITY y '&x;&x;&x;&x;'>]><a>&y;</a>", -ERR_XML_RESTRICTED},
	{C2S "<a>&nbsp;</a>", -ERR_XML_RESTRICTED},
	{C2S "<a b='&nbsp;'/>", -ERR_XML_RESTRICTED},
	{C2S "<x:a/>", -ERR_XML_NAMESPACE},
	{C2S "<a x:b='c'/>", -ERR_XML_NAMESPACE},
	{C2S "<a xmlns:x=''/>", -ERR_XML_NAMESPACE},
	{C2S "<a xmlns:xmlns='urn:x'/>", -ERR_XML_NAMESPACE},
	{C2S "<a xmlns:xml='urn:x'/>", -ERR_XML_NAMESPACE},
	{C2S "<a xmlns:y='http://www.w3.org/XML/1998/namespace'/>", -ERR_XML_NAMESPACE},
	{"<x:stream/>", -ERR_XML_NAMESPACE},
};

/* A repeatable generator: a failing seed can be run again. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Feeds in pieces of 1..max bytes, until an error. */
static int feed_cut(struct events *v, const char *p, size_t n, size_t max, uint32_t seed, bool release)
{
	size_t at = 0;
	while (at < n) {
		size_t piece = 1 + (max > 1 ? next_random(&seed) % max : 0);
		if (piece > n - at)
			piece = n - at;
		int err = events_feed(v, p + at, piece);
		if (err)
			return err;
		if (release)
			xml_parser_release(v->parser);
		at += piece;
	}
	return 0;
}

static bool same_log(const struct events *a, const struct events *b)
{
	return slice_eq(buf_slice(&a->log), buf_slice(&b->log));
}

static void check_cuts(const char *p, size_t n, int want)
{
	struct events whole;
	events_begin(&whole, &wide);
	CHECK_EQ(events_feed(&whole, p, n), want);
	for (uint32_t seed = 0; seed < 60; seed++) {
		struct events cut;
		events_begin(&cut, &wide);
		cut.stop_each = seed & 1;
		int err = feed_cut(&cut, p, n, seed < 4 ? 1 : 2 + seed, seed, seed & 2);
		CHECK_EQ(err, want);
		CHECK(same_log(&cut, &whole));
		if (check_bad_)
			fprintf(stderr, "document %.*s\nseed %u\n--- whole\n%.*s\n--- cut\n%.*s\n", (int)n, p, seed,
				SLICE_ARG(buf_slice(&whole.log)), SLICE_ARG(buf_slice(&cut.log)));
		events_end(&cut);
		if (check_bad_)
			break;
	}
	events_end(&whole);
}

static void test_cuts(void)
{
	for (size_t i = 0; i < ARRAY_LEN(documents); i++)
		check_cuts(documents[i].text, strlen(documents[i].text), documents[i].err);
}

static void test_cuts_utf16(void)
{
	static const char le[] = "<\0s\0/\0>\0", be[] = "\0<\0s\0/\0>";
	check_cuts(le, sizeof le - 1, -ERR_XML_ENCODING);
	check_cuts(be, sizeof be - 1, -ERR_XML_ENCODING);
}

/* ---- what the events say ---- */

static void test_events(void)
{
	struct events v;
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, "<?xml version='1.0'?>" C2S "<m xmlns:q='urn:q' q:a='&amp;' b=''><c/>x<d><e/></d></m>\n<stream:f/>"),
		 0);
	CHECK_EQ(v.nr_headers, 1);
	CHECK_EQ(v.nr_elements, 2);
	CHECK(events_has(&v, "HEADER ns=[http://etherx.jabber.org/streams] name=[stream] prefix=[stream] a.ns=[] a.prefix=[] a.name=[to] "
			     "a.value=[a.example] a.ns=[] a.prefix=[] a.name=[version] a.value=[1.0] default=[jabber:client]"));
	CHECK(events_has(&v, "ELEMENT ns=[jabber:client] name=[m] prefix=[] a.ns=[urn:q] a.prefix=[q] a.name=[a] a.value=[&] "
			     "a.ns=[] a.prefix=[] a.name=[b] a.value=[] raw=[<m xmlns:q='urn:q' q:a='&amp;' b=''><c/>x<d><e/></d></m>] "
			     "inner=[<c/>x<d><e/></d>] d.prefix=[] d.uri=[jabber:client] d.prefix=[stream] "
			     "d.uri=[http://etherx.jabber.org/streams] d.prefix=[q] d.uri=[urn:q] own=1 children=2 mixed=1"));
	CHECK(events_has(&v, "name=[f] prefix=[stream] raw=[<stream:f/>] inner=[]"));
	CHECK_EQ(v.nr_footers, 0);
	CHECK_EQ(events_feed_str(&v, "</stream:stream><<<"), 0);
	CHECK_EQ(v.nr_footers, 1);
	CHECK_EQ(events_feed_str(&v, "more\xff"), 0);
	CHECK_EQ(v.nr_elements, 2);
	events_end(&v);
}

static void check_attrs(const struct xml_element *e)
{
	struct slice empty = xml_attr_get(&e->head, "b"), none = xml_attr_get(&e->head, "a");
	CHECK(empty.p != NULL && empty.n == 0);
	CHECK(none.p == NULL && none.n == 0);
	CHECK(slice_is(xml_attr_get_ns(&e->head, "urn:q", "a"), "&"));
	CHECK(slice_is(xml_attr_get_ns(&e->head, NS_XML, "lang"), "de"));
}

static void test_attr_get(void)
{
	struct events v;
	events_begin(&v, &wide);
	v.on_element = check_attrs;
	CHECK_EQ(events_feed_str(&v, C2S "<m xmlns:q='urn:q' q:a='&amp;' b='' xml:lang='de'/>"), 0);
	CHECK_EQ(v.nr_elements, 1);
	events_end(&v);
}

static void test_decls_in_force(void)
{
	struct events v;
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, "<s xmlns='urn:d' xmlns:a='urn:a' xmlns:b='urn:b'><m xmlns:a='urn:own' xmlns=''/>"), 0);
	CHECK(events_has(&v, "d.prefix=[b] d.uri=[urn:b] d.prefix=[a] d.uri=[urn:own] d.prefix=[] d.uri=[] own=2") ||
	      events_has(&v, "d.prefix=[b] d.uri=[urn:b] d.prefix=[] d.uri=[] d.prefix=[a] d.uri=[urn:own] own=2"));
	events_end(&v);
}

/* ---- nothing is held back ---- */

static const char ping[] = "<iq id='1' type='get' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>";

static void count_end(void *arg, const char *name)
{
	(void)name;
	++*(int *)arg;
}

/* How often expat, as it comes, holds the ping back. */
static int stock_expat_late(void)
{
	int late = 0;
	size_t n = sizeof ping - 1;
	for (size_t a = 1; a < n; a++)
		for (size_t b = a + 1; b < n; b++) {
			int ended = 0;
			XML_Parser p = XML_ParserCreate("UTF-8");
			XML_SetElementHandler(p, NULL, count_end);
			XML_SetUserData(p, &ended);
			(void)XML_Parse(p, C2S, (int)strlen(C2S), 0);
			(void)XML_Parse(p, ping, (int)a, 0);
			(void)XML_Parse(p, ping + a, (int)(b - a), 0);
			(void)XML_Parse(p, ping + b, (int)(n - b), 0);
			late += ended != 2;
			XML_ParserFree(p);
		}
	return late;
}

static void test_no_deferral(void)
{
	size_t n = sizeof ping - 1;
	for (size_t a = 1; a < n; a++)
		for (size_t b = a + 1; b < n; b++) {
			struct events v;
			events_begin(&v, &wide);
			CHECK_EQ(events_feed_str(&v, C2S), 0);
			CHECK_EQ(events_feed(&v, ping, a), 0);
			CHECK_EQ(events_feed(&v, ping + a, b - a), 0);
			CHECK_EQ(v.nr_elements, 0);
			CHECK_EQ(events_feed(&v, ping + b, n - b), 0);
			CHECK_EQ(v.nr_elements, 1);
			events_end(&v);
			if (check_bad_)
				return;
		}
}

/* The same after a reset and after memory was given back, where expat begins anew. */
static void test_no_deferral_later(void)
{
	struct events v;
	events_begin(&v, &wide);
	for (int i = 0; i < 3; i++) {
		xml_parser_reset(v.parser);
		v.nr_elements = 0;
		CHECK_EQ(events_feed_str(&v, C2S), 0);
		xml_parser_release(v.parser);
		CHECK_EQ(events_feed_str(&v, "<presence><c xmlns='http://jabber.org/protocol/caps' ha"), 0);
		CHECK_EQ(events_feed_str(&v, "sh='sha-1' node='http://psi-im.org' ver='q07IKJEyjvHSyhy"), 0);
		CHECK_EQ(events_feed_str(&v, "//CH0CxmKi8w8='/></presence>"), 0);
		CHECK_EQ(v.nr_elements, 1);
	}
	events_end(&v);
}

/* ---- limits ---- */

static int feed_repeated(struct events *v, const char *piece, size_t times, size_t *fed)
{
	size_t n = strlen(piece);
	for (size_t i = 0; i < times; i++) {
		int err = events_feed(v, piece, n);
		*fed += n;
		if (err)
			return err;
	}
	return 0;
}

static void test_limit_element(void)
{
	const struct xml_limits limits = {.element_bytes = 10000, .tag_bytes = 4096, .depth_max = 10, .attrs_max = 10};
	struct events v;
	size_t fed = 0;
	events_begin(&v, &limits);
	CHECK_EQ(events_feed_str(&v, C2S "<m>"), 0);
	CHECK_EQ(feed_repeated(&v, "0123456789", 5000, &fed), -ERR_XML_LIMIT);
	CHECK(fed <= 10010);
	CHECK_EQ(events_feed_str(&v, "<a/>"), -ERR_XML_LIMIT); /* dead until reset */
	xml_parser_reset(v.parser);
	fed = 0;
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	CHECK_EQ(feed_repeated(&v, "<m>0123456789</m> ", 5000, &fed), 0);
	CHECK_EQ(v.nr_elements, 5000);
	/* Exactly as much passes, one byte more does not, whole and cut. */
	static char exact[10001 + 1];
	for (int more = 0; more < 2; more++)
		for (int cut = 0; cut < 2; cut++) {
			size_t n = 10000 + (size_t)more;
			memset(exact, 'x', sizeof exact);
			memcpy(exact, "<m>", 3);
			memcpy(exact + n - 4, "</m>", 4);
			xml_parser_reset(v.parser);
			CHECK_EQ(events_feed_str(&v, C2S), 0);
			CHECK_EQ(feed_cut(&v, exact, n, cut ? 1 : n, 1, false), more ? -ERR_XML_LIMIT : 0);
		}
	events_end(&v);
}

static void test_limit_tag(void)
{
	const struct xml_limits limits = {.element_bytes = 100000, .tag_bytes = 4096, .depth_max = 10, .attrs_max = 10};
	struct events v;
	size_t fed = 0;
	events_begin(&v, &limits);
	/* The stream header is a tag too. */
	CHECK_EQ(events_feed_str(&v, "<stream:stream x='"), 0);
	CHECK_EQ(feed_repeated(&v, "y", 50000, &fed), -ERR_XML_LIMIT);
	CHECK(fed <= 4096);
	/* So are white space before it, and a declaration. */
	xml_parser_reset(v.parser);
	CHECK_EQ(events_feed_str(&v, "<?xml version='1.0'?>"), 0);
	CHECK_EQ(feed_repeated(&v, " ", 50000, &fed), -ERR_XML_LIMIT);
	xml_parser_reset(v.parser);
	fed = 0;
	CHECK_EQ(events_feed_str(&v, C2S "<m a='"), 0);
	CHECK_EQ(feed_repeated(&v, "y", 50000, &fed), -ERR_XML_LIMIT);
	CHECK(fed <= 4096);
	/* Deeper, and an end tag. */
	xml_parser_reset(v.parser);
	CHECK_EQ(events_feed_str(&v, C2S "<m>text<n>text</n "), 0);
	CHECK_EQ(feed_repeated(&v, " ", 50000, &fed), -ERR_XML_LIMIT);
	/* Whole in one read. */
	static char big[6000];
	memset(big, 'y', sizeof big);
	memcpy(big, "<m a='", 6);
	memcpy(big + sizeof big - 3, "'/>", 3);
	xml_parser_reset(v.parser);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	CHECK_EQ(events_feed(&v, big, sizeof big), -ERR_XML_LIMIT);
	CHECK_EQ(v.nr_elements, 0);
	events_end(&v);
}

static void test_limit_attrs(void)
{
	const struct xml_limits limits = {.element_bytes = 10000, .tag_bytes = 4096, .depth_max = 10, .attrs_max = 3};
	static const struct document cases[] = {
		{"<m a='' b='' c=''/>", 0},
		{"<m a='' b='' c='' d=''/>", -ERR_XML_LIMIT},
		{"<m xmlns='x' xmlns:b='x' c='' d=''/>", -ERR_XML_LIMIT},
		{"<m><n a='' b='' c='' d=''/></m>", -ERR_XML_LIMIT},
		{"<m><n xmlns:a='x' xmlns:b='x' xmlns:c='x' xmlns:d='x'/></m>", -ERR_XML_LIMIT},
		{"<m a='' b='' c=''><n a='' b='' c=''/></m>", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct events v;
		events_begin(&v, &limits);
		CHECK_EQ(events_feed_str(&v, "<s xmlns='u'>"), 0);
		CHECK_EQ(events_feed_str(&v, cases[i].text), cases[i].err);
		events_end(&v);
	}
	struct events v;
	events_begin(&v, &limits);
	CHECK_EQ(events_feed_str(&v, "<s a='' b='' c='' d=''>"), -ERR_XML_LIMIT);
	CHECK_EQ(v.nr_headers, 0);
	events_end(&v);
}

static void test_limit_depth(void)
{
	const struct xml_limits limits = {.element_bytes = 1000000, .tag_bytes = 4096, .depth_max = 3, .attrs_max = 10};
	struct events v;
	events_begin(&v, &limits);
	CHECK_EQ(events_feed_str(&v, C2S "<a><b><c/></b></a>"), 0);
	CHECK_EQ(events_feed_str(&v, "<a><b><c><d/></c></b></a>"), -ERR_XML_LIMIT);
	size_t fed = 0;
	xml_parser_reset(v.parser);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	CHECK_EQ(feed_repeated(&v, "<a>", 20000, &fed), -ERR_XML_LIMIT);
	CHECK_EQ(fed, 12);
	/* The whole bomb in one read. */
	static char bomb[60000];
	for (size_t i = 0; i < sizeof bomb; i += 3)
		memcpy(bomb + i, "<a>", 3);
	xml_parser_reset(v.parser);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	CHECK_EQ(events_feed(&v, bomb, sizeof bomb), -ERR_XML_LIMIT);
	events_end(&v);
}

/* ---- stopping, resetting, giving memory back ---- */

static void test_stop_used(void)
{
	struct events v;
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	v.stop_each = true;
	static const char two[] = " <a/> <b>x</b>";
	size_t used;
	CHECK_EQ(xml_parser_feed(v.parser, SLICE(two), &used), -ERR_AGAIN);
	CHECK_EQ(used, 5);
	CHECK_EQ(v.nr_elements, 1);
	/* Less than it was given before: */
	CHECK_EQ(xml_parser_feed(v.parser, (struct slice){two + 5, 3}, &used), 0);
	CHECK_EQ(used, 3);
	CHECK_EQ(xml_parser_feed(v.parser, SLICE(">x</b><c/>"), &used), -ERR_AGAIN);
	CHECK_EQ(used, 6);
	CHECK(events_has(&v, "raw=[<b>x</b>]"));
	/* More than before: */
	CHECK_EQ(xml_parser_feed(v.parser, SLICE("<c/><d/>"), &used), -ERR_AGAIN);
	CHECK_EQ(used, 4);
	CHECK_EQ(xml_parser_feed(v.parser, SLICE("<d/>"), &used), -ERR_AGAIN);
	CHECK_EQ(used, 4);
	CHECK_EQ(xml_parser_feed(v.parser, SLICE_NONE, &used), 0);
	CHECK_EQ(v.nr_elements, 4);
	xml_parser_release(v.parser);
	CHECK_EQ(xml_parser_feed(v.parser, SLICE("<e/>"), &used), -ERR_AGAIN);
	CHECK_EQ(v.nr_elements, 5);
	events_end(&v);
}

static void test_stop_at_empty_header(void)
{
	struct events v;
	size_t used;
	events_begin(&v, &wide);
	v.stop_at_header = true;
	CHECK_EQ(xml_parser_feed(v.parser, SLICE("<s/>"), &used), -ERR_AGAIN);
	CHECK_EQ(used, 4);
	CHECK_EQ(v.nr_footers, 0);
	CHECK(!xml_parser_idle(v.parser));
	CHECK_EQ(xml_parser_feed(v.parser, SLICE_NONE, &used), 0);
	CHECK_EQ(v.nr_footers, 1);
	events_end(&v);
}

static void test_reset_inside(void)
{
	struct events v;
	events_begin(&v, &wide);
	v.reset_at_element = true;
	CHECK_EQ(events_feed_str(&v, C2S "<auth/><dropped/>" C2S), 0);
	CHECK_EQ(v.nr_elements, 1);
	v.reset_at_element = false;
	CHECK_EQ(events_feed_str(&v, "\n<?xml version='1.0'?>" C2S "<iq/>"), 0);
	CHECK_EQ(v.nr_headers, 2);
	CHECK_EQ(v.nr_elements, 2);
	xml_parser_reset(v.parser);
	v.reset_at_header = true;
	CHECK_EQ(events_feed_str(&v, "<s/>"), 0);
	CHECK_EQ(events_feed_str(&v, "<s xmlns='urn:a'><a/></s>"), 0);
	CHECK_EQ(v.nr_headers, 4);
	CHECK_EQ(v.nr_footers, 0);
	events_end(&v);
}

/* What is held of something that has begun: its bytes and expat's memory, which many names make grow. */
static void test_unfinished(void)
{
	struct events v;
	size_t half, more;

	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, "<s xmlns='urn:s'>"), 0);
	CHECK_EQ(xml_parser_unfinished(v.parser), 0);
	CHECK_EQ(events_feed_str(&v, "<a><b/></a>"), 0);
	CHECK_EQ(xml_parser_unfinished(v.parser), 0);
	CHECK_EQ(events_feed_str(&v, "<a><b>x"), 0);
	half = xml_parser_unfinished(v.parser);
	CHECK(half > 1024 && half < 32768); /* expat alone has that */
	for (unsigned i = 0; i < 1000; i++)
		CHECK_EQ(events_feed_str(&v, "0123456789"), 0);
	more = xml_parser_unfinished(v.parser);
	CHECK(more >= half + 10000 && more < half + 32768);
	for (unsigned i = 0; i < 1000; i++) {
		char tag[32];

		snprintf(tag, sizeof tag, "<c%u/>", i);
		CHECK_EQ(events_feed_str(&v, tag), 0);
	}
	CHECK(xml_parser_unfinished(v.parser) > more + 50000); /* of 7 KB */
	CHECK_EQ(events_feed_str(&v, "</b></a>"), 0);
	CHECK_EQ(xml_parser_unfinished(v.parser), 0);
	events_end(&v);
}

static void test_idle(void)
{
	struct events v;
	events_begin(&v, &wide);
	CHECK(xml_parser_idle(v.parser));
	CHECK_EQ(events_feed_str(&v, "<s"), 0);
	CHECK(!xml_parser_idle(v.parser));
	CHECK_EQ(events_feed_str(&v, " xmlns='urn:s'>"), 0);
	CHECK(xml_parser_idle(v.parser));
	CHECK_EQ(events_feed_str(&v, " \r"), 0);
	CHECK(xml_parser_idle(v.parser));
	CHECK_EQ(events_feed_str(&v, "<"), 0);
	CHECK(!xml_parser_idle(v.parser));
	xml_parser_release(v.parser); /* refused: nothing is lost */
	CHECK_EQ(events_feed_str(&v, "a>"), 0);
	CHECK(!xml_parser_idle(v.parser));
	CHECK_EQ(events_feed_str(&v, "</a>"), 0);
	CHECK(xml_parser_idle(v.parser));
	CHECK(events_has(&v, "raw=[<a></a>]"));
	events_end(&v);
}

/* A stream that sleeps holds a few hundred bytes, and a keepalive does not wake its parser up. */
static void test_release_memory(void)
{
	enum { N = 200 };
	static struct events v[N];
	size_t before = mallinfo2().uordblks;

	for (int i = 0; i < N; i++) {
		events_begin(&v[i], &wide);
		CHECK_EQ(events_feed_str(&v[i], C2S "<a><b/></a>"), 0);
		xml_parser_release(v[i].parser);
		CHECK_EQ(events_feed_str(&v[i], " \n"), 0);
		buf_clear(&v[i].log);
	}
	size_t each = (mallinfo2().uordblks - before) / N;
	CHECK(!CHECK_OWN_MALLOC || each < 256);
	for (int i = 0; i < N; i++) {
		CHECK_EQ(events_feed_str(&v[i], "<c xmlns:d='urn:d'/>"), 0);
		CHECK(events_has(&v[i], "ns=[jabber:client] name=[c]"));
		events_end(&v[i]);
	}
}

/* Names never seen before, without end: expat keeps them all, so it is renewed. In one element they come to an end. */
static void test_names_retired(void)
{
	struct events v;
	char text[64];
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	for (int i = 0; i < 20000; i++) {
		/* Never at an element's end: the next has begun when the feed returns. */
		int n = snprintf(text, sizeof text, "%s<n%d a%d=''/><", i ? "" : "<", i, i);
		CHECK_EQ(events_feed(&v, text + (i ? 1 : 1), (size_t)n - 1), 0);
		buf_reset(&v.log);
	}
	CHECK_EQ(v.nr_elements, 20000);
	events_end(&v);
}

static void test_names_in_one_element(void)
{
	const struct xml_limits limits = {.element_bytes = (size_t)8 << 20, .tag_bytes = 4096, .depth_max = 10, .attrs_max = 10};
	struct events v;
	char text[64];
	int err = 0, i;
	events_begin(&v, &limits);
	CHECK_EQ(events_feed_str(&v, C2S "<m>"), 0);
	for (i = 0; i < 200000 && !err; i++) {
		int n = snprintf(text, sizeof text, "<n%d/>", i);
		err = events_feed(&v, text, (size_t)n);
	}
	CHECK_EQ(err, -ERR_XML_LIMIT);
	CHECK(i > 3000);
	events_end(&v);
}

/* A large element in small pieces stays linear and comes out whole. */
static void test_large_element(void)
{
	const struct xml_limits limits = {.element_bytes = (size_t)5 << 20, .tag_bytes = 4096, .depth_max = 10, .attrs_max = 10};
	struct events v;
	size_t fed = 0;
	events_begin(&v, &limits);
	CHECK_EQ(events_feed_str(&v, C2S "<m>"), 0);
	CHECK_EQ(feed_repeated(&v, "<x y='z'>text</x>", 250000, &fed), 0);
	CHECK_EQ(events_feed_str(&v, "</m><n/>"), 0);
	CHECK_EQ(v.nr_elements, 2);
	CHECK(buf_len(&v.log) > 2 * fed);
	CHECK(events_has(&v, "</x></m>] inner=["));
	events_end(&v);
}

/* Of what follows an element that was cut, expat sees nothing; unless the element has very many tags. */
static void test_plain_behind_a_cut(void)
{
	struct events v;
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, C2S "<a><b>x"), 0);
	int64_t seen = v.parser->work->fed;
	CHECK_EQ(events_feed_str(&v, "y</b>z</a><c>1</c> <d/><e>2</"), 0);
	CHECK_EQ(v.nr_elements, 3);
	CHECK_EQ(v.parser->work->fed - seen, strlen("y</b>z</a>") + strlen("<e>2</"));
	CHECK_EQ(events_feed_str(&v, "e><f/>"), 0);
	CHECK_EQ(v.parser->work->fed - seen, strlen("y</b>z</a>") + strlen("<e>2</e>"));
	CHECK(events_has(&v, "raw=[<a><b>xy</b>z</a>]"));
	CHECK(events_has(&v, "raw=[<e>2</e>]"));
	CHECK(events_has(&v, "raw=[<f/>]"));
	events_end(&v);
}

/* A '>' in an attribute's value ends no tag: expat is not made to begin the tag anew for each of them. */
static void test_tag_ends_in_a_value(void)
{
	static const char tail[] = ">>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>";
	struct events v;
	char in[12000];
	memset(in, 'y', sizeof in);
	memcpy(in, "<a><b x='", 9);
	memcpy(in + sizeof in - (sizeof tail - 1), tail, sizeof tail - 1);
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	CHECK_EQ(events_feed(&v, in, sizeof in), 0);
	CHECK(v.parser->work->nr_tags <= 2);
	CHECK_EQ(events_feed_str(&v, "'/></a>"), 0);
	CHECK_EQ(v.nr_elements, 1);
	events_end(&v);
}

/* Expat, which tells of each line end by itself, sees nothing of what is poured between elements. */
static void test_blanks_pass_by(void)
{
	static const char *const pieces[] = {" ", "\n", "\r", "\r\n", "\n\r \t"};
	static const char *const before[] = {C2S, C2S "<a/>", C2S "<a/>\r"};
	for (size_t i = 0; i < ARRAY_LEN(pieces) * ARRAY_LEN(before); i++) {
		struct events v;
		size_t fed = 0;
		events_begin(&v, &wide);
		CHECK_EQ(events_feed_str(&v, before[i % ARRAY_LEN(before)]), 0);
		int64_t seen = v.parser->work->fed;
		CHECK_EQ(feed_repeated(&v, pieces[i / ARRAY_LEN(before)], 5000, &fed), 0);
		CHECK(v.parser->work->fed == seen || v.parser->work->fed == 0); /* or there is none any more */
		CHECK_EQ(events_feed_str(&v, "\n<b>\n\n</b>\r"), 0);
		CHECK(events_has(&v, "raw=[<b>\n\n</b>]"));
		events_end(&v);
	}
}

/* Counted to the byte, however the stream is cut and whatever is forgotten in between. */
static void test_blanks_limit(void)
{
	static const char stream[] = "\n" C2S "\r\n <a> \n </a>\r\r<b/>\t\n\n\r<c/>\n";
	enum { BLANKS = 11 };
	for (uint32_t seed = 0; seed < 200; seed++) {
		struct events v;
		events_begin(&v, &wide);
		size_t max = BLANKS - seed % 3;
		xml_parser_set_blanks_max(v.parser, max);
		v.stop_each = seed & 1;
		int err = feed_cut(&v, stream, sizeof stream - 1, seed < 8 ? 1 : sizeof stream, seed, seed & 2);
		CHECK_EQ(err, max < BLANKS ? -ERR_XML_BLANKS : 0);
		CHECK_EQ(v.nr_elements, max < BLANKS - 1 ? 2 : 3);
		events_end(&v);
	}
}

/* What a stopped expat has of the next elements is no white space: it is fed again. */
static void test_blanks_suspended(void)
{
	const struct slice in = SLICE("<b>&#65;</b>\n<c>&#65;</c>");
	struct events v;
	size_t used;
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	xml_parser_set_blanks_max(v.parser, 10);
	v.stop_each = true;
	CHECK_EQ(xml_parser_feed(v.parser, in, &used), -ERR_AGAIN);
	CHECK_EQ(used, strlen("<b>&#65;</b>"));
	xml_parser_release(v.parser);
	CHECK_EQ(xml_parser_blanks(v.parser), 0);
	CHECK_EQ(events_feed(&v, in.p + used, in.n - used), 0);
	CHECK_EQ(xml_parser_blanks(v.parser), 1);
	CHECK_EQ(v.nr_elements, 2);
	events_end(&v);
}

/* What a stream used up is no burden for the next one on the same parser. */
static void test_blanks_reset(void)
{
	struct events v;
	events_begin(&v, &wide);
	xml_parser_set_blanks_max(v.parser, 3);
	CHECK_EQ(events_feed_str(&v, C2S "\n\n\n<a/>"), 0);
	xml_parser_reset(v.parser);
	CHECK_EQ(events_feed_str(&v, "\n" C2S "\n\n<a/>"), 0);
	xml_parser_set_blanks_max(v.parser, SIZE_MAX);
	CHECK_EQ(events_feed_str(&v, "\n\n\n\n<a/>"), 0);
	CHECK_EQ(v.nr_elements, 3);
	events_end(&v);
}

int main(void)
{
	/* Differs between builds of expat, and is what our settings are for. */
	printf("stock %s holds a ping back in %d of its cuts in three\n", XML_ExpatVersion(), stock_expat_late());
	RUN(test_cuts);
	RUN(test_cuts_utf16);
	RUN(test_events);
	RUN(test_attr_get);
	RUN(test_decls_in_force);
	RUN(test_no_deferral);
	RUN(test_no_deferral_later);
	RUN(test_limit_element);
	RUN(test_limit_tag);
	RUN(test_limit_attrs);
	RUN(test_limit_depth);
	RUN(test_stop_used);
	RUN(test_stop_at_empty_header);
	RUN(test_reset_inside);
	RUN(test_unfinished);
	RUN(test_idle);
	RUN(test_release_memory);
	RUN(test_names_retired);
	RUN(test_names_in_one_element);
	RUN(test_large_element);
	RUN(test_plain_behind_a_cut);
	RUN(test_tag_ends_in_a_value);
	RUN(test_blanks_pass_by);
	RUN(test_blanks_limit);
	RUN(test_blanks_suspended);
	RUN(test_blanks_reset);
	return check_done("unit.xml.parser");
}
