/* Elements and stream headers that are told without expat: which they are, and that expat would have told the same. */

#include <check.h>

#include "events.h"
#include "sametree.h"
#include "xml/parser_int.h"

static const struct xml_limits narrow = {.element_bytes = 200, .tag_bytes = 60, .depth_max = 3, .attrs_max = 3};

#define DEEP_32 "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>"

/* Told without expat. */
static const char *const plain[] = {
	"<a/>",
	"<a />",
	"<a></a>",
	"<a\n\tb='c'\r\n d=\"e\" ></a>",
	"<message to='bob@b.example/x' id='1' type='chat' xmlns='jabber:client'><body>Hello, how are you? 12345678</body></message>",
	"<presence xml:lang='de'><show>away</show><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' ver='a+/='/></presence>",
	"<iq type='get' id='x'><query xmlns='jabber:iq:roster'/></iq>",
	"<a b='\"' c=\"'\" d='>'>&lt;&gt;&amp;&quot;&apos;</a>",
	"<a><b c='&amp;&lt;x'/></a>",
	"<a>\n <b/>\t</a>",
	"<a> x<b>y</b>z </a>",
	"<a>]] > ]>]]]x</a>",
	"<a>gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbd\x7f</a>",
	"<a b='\xc3\xbc\xf0\x9f\x98\x80'/>",
	"<_a-b.c9 _='' A.-1='x'/>",
	"<a xmlns='urn:x'><a xmlns='jabber:client'/></a>",
	"<a xmlnsx='1' lang='b' xml='c'/>",
	"<a>\r\n\r</a>",
};

/* For expat to look at, and well-formed or not by its word. */
static const char *const others[] = {
	"<stream:a/>",
	"<a stream:b='c'/>",
	"<a><x:b xmlns:x='urn:x'/></a>",
	"<a xmlns:x='urn:x'/>",
	"<a xmlns=''/>",
	"<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
	"<a xmlns='http://www.w3.org/2000/xmlns/'/>",
	"<a xmlns='urn:&amp;'/>",
	"<a xml:space='preserve'/>",
	"<a xml:language='x'/>",
	"<a xml:lang='x' xml:lang='y'/>",
	"<a b='1' b='2'/>",
	"<a xmlns='urn:x' xmlns='urn:x'/>",
	"<a b='&amp;'/>",
	"<a b='x\ty'/>",
	"<a b='x\ny'/>",
	"<a b='<'/>",
	"<a b=c/>",
	"<a b/>",
	"<a b = 'c'/>",
	"<a b='c'd='e'/>",
	"<a/ >",
	"<a></a >",
	"<a></b>",
	"<a></ab>",
	"<ab></a>",
	"<a><b></a></b>",
	"<a>&nbsp;</a>",
	"<a>&#65;</a>",
	"<a>&amp</a>",
	"<a>&</a>",
	"<a>]]></a>",
	"<a>12345]]></a>",
	"<a><![CDATA[x]]></a>",
	"<a><!-- x --></a>",
	"<a><?x y?></a>",
	"<a>\x01</a>",
	"<a>1234567\x1f</a>",
	"<a b='\x02'/>",
	"<a>\xc3</a>",
	"<a>\xc0\xaf</a>",
	"<a>\xed\xa0\x80</a>",
	"<a>\xef\xbf\xbe</a>",
	"<a>\xef\xbf\xbf</a>",
	"<a>\xf4\x90\x80\x80</a>",
	"<a>\xff</a>",
	"<a b='\xef\xbf\xbf'/>",
	"<\xc3\xbc/>",
	"<1/>",
	"<-/>",
	"<:/>",
	"< a/>",
	"</a>",
	"<!a>",
	"x",
	"<a b='1' c='2' d='3' e='4' f='5' g='6' h='7' i='8' j='9' k='10' l='11' m='12' n='13' o='14' p='15' q='16' r='17'/>",
	"<a>" DEEP_32 "<a/>",
};

/* Where the limits are the reason. */
static const char *const too_much[] = {
	"<a><b><c><d/></c></b></a>",
	"<a b='1' c='2' d='3' e='4'/>",
	"<a xmlns='u' b='1' c='2' d='3'/>",
	"<a b='0123456789012345678901234567890123456789012345678901234567890'/>",
	("<a>0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	 "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789</a>"),
};

#define STREAMS "xmlns:stream='http://etherx.jabber.org/streams'"

static const char *const plain_headers[] = {
	C2S,
	"<?xml version='1.0'?>" C2S,
	"<?xml version=\"1.0\"?>\r\n" C2S,
	"<?xml version='1.0' encoding='UTF-8'?>" C2S,
	"<?xml version=\"1.0\" encoding=\"utf-8\"?> " C2S,
	" \n" C2S,
	"<stream:stream from=\"j\xc3\xbcrgen@a.example\" to='a.example' xml:lang='de' version='1.0' " STREAMS " xmlns='jabber:client'>",
	"<stream:stream\n" STREAMS "\txmlns:db='jabber:server:dialback' xmlns='jabber:server' >",
	"<stream xmlns='http://etherx.jabber.org/streams'>",
	"<s>",
	"<s a='1' b='2' c='>'>",
	"<a:s xmlns:b='urn:b' xmlns:a='urn:a'>",
	"<a:s xmlns:b='urn:a' xmlns:a='urn:a'>",
	"<s xmlns:xmla='urn:a' xmlnsx='1'>",
};

static const char *const other_headers[] = {
	"<?xml version='1.1'?>" C2S,
	"<?xml version='1.0' encoding='UTF-16'?>" C2S,
	"<?xml version='1.0' encoding='Utf-8'?>" C2S,
	"<?xml version='1.0' standalone='yes'?>" C2S,
	"<?xml version='1.0'?><?xml version='1.0'?>" C2S,
	"<!-- x -->" C2S,
	"<!DOCTYPE s>" C2S,
	"\xef\xbb\xbf" C2S,
	"x" C2S,
	"<s/>",
	"<s xmlns='urn:s'></s>",
	"<stream:stream xmlns='jabber:client'>",
	"<:s>",
	"<a:>",
	"<a:b:s xmlns:a='urn:a'>",
	"<a:s xmlns:a='urn:a' a:b='1'>",
	"<xml:s>",
	"<xmlns:s>",
	"<s xmlns:xml='http://www.w3.org/XML/1998/namespace'>",
	"<s xmlns:xml='urn:x'>",
	"<s xmlns:xmlns='urn:x'>",
	"<s xmlns:a='http://www.w3.org/2000/xmlns/'>",
	"<s xmlns:a=''>",
	"<s xmlns=''>",
	"<s xmlns:='urn:x'>",
	"<s xmlns:a='urn:&amp;'>",
	"<s xmlns:a='urn:a' xmlns:a='urn:b'>",
	"<s xmlns='urn:a' xmlns='urn:a'>",
	"<s a='1' a='1'>",
	"<s a='&lt;'>",
	"<s a='\t'>",
	"<s a='<'>",
	"<s a='1'b='2'>",
	"<s xmlns:a='1' xmlns:b='1' xmlns:c='1' xmlns:d='1' xmlns:e='1' xmlns:f='1' xmlns:g='1' xmlns:h='1' xmlns:i='1'>",
	"<\xc3\xbc>",
};

static const char *const too_much_header[] = {
	"<s a='1' b='2' xmlns:c='3' xmlns='4'>",
	"<s a='0123456789012345678901234567890123456789012345678901234567890'>",
	"<?xml version='1.0'?>                                        <s>",
};

static bool has_expat(const struct events *v)
{
	return v->parser->work != NULL && v->parser->work->expat.parser != NULL;
}

/* Behind a header, with no expat yet: was one needed? */
static bool needs_expat(const char *text, const struct xml_limits *limits, struct events *v)
{
	struct xml_limits wider = *limits;
	wider.tag_bytes = wide.tag_bytes;   /* for the header */
	wider.attrs_max = wide.attrs_max;
	events_begin(v, &wider);
	CHECK_EQ(events_feed_str(v, C2S), 0);
	xml_parser_set_limits(v->parser, limits);
	xml_parser_release(v->parser);
	CHECK(!has_expat(v));
	int err = events_feed_str(v, text);
	return err != 0 || has_expat(v);
}

static void feed_bytes(struct events *v, const char *text)
{
	for (; *text; text++)
		CHECK_EQ(events_feed(v, text, 1), 0);
}

static void check_same(const struct events *whole, const struct events *bytes)
{
	if (slice_eq(buf_slice(&whole->log), buf_slice(&bytes->log)))
		return;
	check_bad_ = 1;
	fprintf(stderr, "--- plain\n" SLICE_FMT "\n--- expat\n" SLICE_FMT "\n", SLICE_ARG(buf_slice(&whole->log)),
		SLICE_ARG(buf_slice(&bytes->log)));
}

static void test_plain(void)
{
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		struct events whole, bytes;
		if (needs_expat(plain[i], &wide, &whole))
			CHECK_STR("expat was needed", plain[i]);
		events_begin(&bytes, &wide);
		CHECK_EQ(events_feed_str(&bytes, C2S), 0);
		feed_bytes(&bytes, plain[i]);
		CHECK(has_expat(&bytes));
		CHECK_EQ(whole.nr_elements, 1);
		check_same(&whole, &bytes);
		events_end(&whole);
		events_end(&bytes);
	}
}

/* Then elements inherit the same, told either way. */
static void test_plain_headers(void)
{
	static const char inside[] = "<a/><b xmlns='urn:b'>&#65;</b><c xmlns:d='urn:d'/>";
	for (size_t i = 0; i < ARRAY_LEN(plain_headers); i++) {
		struct events whole, bytes;
		events_begin(&whole, &wide);
		CHECK_EQ(events_feed_str(&whole, plain_headers[i]), 0);
		CHECK_EQ(whole.nr_headers, 1);
		if (has_expat(&whole))
			CHECK_STR("expat was needed", plain_headers[i]);
		events_begin(&bytes, &wide);
		feed_bytes(&bytes, plain_headers[i]);
		CHECK(has_expat(&bytes));
		CHECK_EQ(xml_parser_blanks(whole.parser), xml_parser_blanks(bytes.parser));
		CHECK_EQ(events_feed_str(&whole, inside), 0);
		feed_bytes(&bytes, inside);
		check_same(&whole, &bytes);
		events_end(&whole);
		events_end(&bytes);
	}
}

static void test_other_headers(void)
{
	for (size_t i = 0; i < ARRAY_LEN(other_headers); i++) {
		struct events v;
		events_begin(&v, &wide);
		int err = events_feed_str(&v, other_headers[i]);
		if (err == 0 && !has_expat(&v) && v.nr_footers == 0)
			CHECK_STR("expat was not asked", other_headers[i]);
		events_end(&v);
	}
}

static void test_header_limits(void)
{
	for (size_t i = 0; i < ARRAY_LEN(too_much_header); i++) {
		struct events v;
		events_begin(&v, &wide);
		CHECK_EQ(events_feed_str(&v, too_much_header[i]), 0);
		CHECK(!has_expat(&v));
		events_end(&v);
		events_begin(&v, &narrow);
		CHECK(events_feed_str(&v, too_much_header[i]) != 0 || has_expat(&v));
		events_end(&v);
	}
}

/* In the header's callback, with a whole stream behind it. */
static void test_header_stopped(void)
{
	struct events v;
	events_begin(&v, &wide);
	v.stop_at_header = true;
	CHECK_EQ(events_feed_str(&v, C2S "<a/>"), 0);
	CHECK_EQ(v.nr_headers + v.nr_elements, 2);
	xml_parser_reset(v.parser);
	v.reset_at_header = true;
	CHECK_EQ(events_feed_str(&v, C2S "<a/>"), 0);   /* what is left of the input is dropped */
	CHECK_EQ(v.nr_elements, 1);
	CHECK_EQ(events_feed_str(&v, "<?xml version='1.0'?>" C2S), 0);
	CHECK_EQ(v.nr_headers, 3);
	events_end(&v);
}

static void test_others(void)
{
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct events v;
		if (!needs_expat(others[i], &wide, &v))
			CHECK_STR("expat was not asked", others[i]);
		events_end(&v);
	}
}

static void test_limits(void)
{
	for (size_t i = 0; i < ARRAY_LEN(too_much); i++) {
		struct events v;
		CHECK(!needs_expat(too_much[i], &wide, &v));
		events_end(&v);
		CHECK(needs_expat(too_much[i], &narrow, &v));
		CHECK_EQ(v.nr_elements, 0);
		events_end(&v);
	}
}

/* Expat's memory is bounded: where names are many enough for it to refuse them, it is asked. */
static void test_many_names(void)
{
	static const int many[] = {1000, 20000};
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		struct events whole, bytes;
		struct buf text;
		buf_init(&text, wide.element_bytes);
		CHECK_EQ(buf_add_str(&text, "<a>"), 0);
		for (int k = 0; k < many[i]; k++)
			CHECK_EQ(buf_printf(&text, "<b%d/>", k), 0);
		CHECK_EQ(buf_add(&text, "</a>", sizeof "</a>"), 0);
		const char *p = buf_slice(&text).p;
		CHECK_EQ(needs_expat(p, &wide, &whole), i > 0);
		events_begin(&bytes, &wide);
		CHECK_EQ(events_feed_str(&bytes, C2S "<a>"), 0);
		CHECK_EQ(events_feed_str(&bytes, p + 3), i > 0 ? -ERR_XML_LIMIT : 0);
		CHECK_EQ(whole.nr_elements, bytes.nr_elements);
		events_end(&whole);
		events_end(&bytes);
		buf_clear(&text);
	}
}

/* However an element is cut short, nothing is told of it. */
static void test_unfinished(void)
{
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		for (size_t n = 0; n < strlen(plain[i]); n++) {
			struct events v;
			events_begin(&v, &wide);
			CHECK_EQ(events_feed_str(&v, C2S), 0);
			CHECK_EQ(events_feed(&v, plain[i], n), 0);
			CHECK_EQ(v.nr_elements, 0);
			CHECK_EQ(events_feed_str(&v, plain[i] + n), 0);
			CHECK_EQ(v.nr_elements, 1);
			events_end(&v);
		}
	}
}

/* One that is expat's between others, stopped at each. */
static void test_mixed(void)
{
	static const char text[] = "<a/> <b>&#65;</b>\r<c>x</c>\n<stream:d/><e/>";
	struct events v;
	for (int stop = 0; stop < 2; stop++) {
		events_begin(&v, &wide);
		CHECK_EQ(events_feed_str(&v, C2S), 0);
		v.stop_each = stop;
		CHECK_EQ(events_feed_str(&v, text), 0);
		CHECK_EQ(v.nr_elements, 5);
		CHECK_EQ(events_feed_str(&v, text), 0);
		CHECK_EQ(v.nr_elements, 10);
		CHECK_EQ(events_feed_str(&v, "</stream:stream>"), 0);
		CHECK_EQ(v.nr_footers, 1);
		events_end(&v);
	}
}

static void test_reset_inside(void)
{
	struct events v;
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	v.reset_at_element = true;
	CHECK_EQ(events_feed_str(&v, "<a/><b/>"), 0);
	CHECK_EQ(v.nr_elements, 1);
	CHECK_EQ(events_feed_str(&v, C2S), 0);
	CHECK_EQ(v.nr_headers, 2);
	events_end(&v);
}

static void test_footer(void)
{
	static const struct {
		const char *text;
		int err;
	} no_ends[] = {{"</stream:stream ", 0},
		       {"</stream:streams>", -ERR_XML_NOT_WELL_FORMED},
		       {"</stream:strea>", -ERR_XML_NOT_WELL_FORMED},
		       {"</stream>", -ERR_XML_NOT_WELL_FORMED},
		       {"</>", -ERR_XML_NOT_WELL_FORMED}};
	struct events v;
	for (size_t i = 0; i < ARRAY_LEN(no_ends); i++) {
		events_begin(&v, &wide);
		CHECK_EQ(events_feed_str(&v, C2S), 0);
		CHECK_EQ(events_feed_str(&v, no_ends[i].text), no_ends[i].err);
		CHECK_EQ(v.nr_footers, 0);
		CHECK_EQ(events_feed_str(&v, ">"), no_ends[i].err);
		CHECK_EQ(v.nr_footers, no_ends[i].err == 0);
		events_end(&v);
	}
	events_begin(&v, &wide);
	CHECK_EQ(events_feed_str(&v, C2S "<a/> </stream:stream><b/>"), 0);
	CHECK(!has_expat(&v));
	CHECK_EQ(v.nr_elements, 1);
	CHECK_EQ(v.nr_footers, 1);
	CHECK_EQ(events_feed_str(&v, "<c/>"), 0);
	CHECK_EQ(v.nr_elements, 1);
	events_end(&v);
}

/* A space behind the element makes it expat's. */
static void test_trees(void)
{
	static const struct xml_nsdecl decls[] = {{SLICE("stream"), SLICE("urn:s")}, {SLICE_NONE, SLICE("jabber:client")}};
	for (size_t nr = 0; nr <= ARRAY_LEN(decls); nr += ARRAY_LEN(decls))
		for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
			struct buf text;
			buf_init(&text, wide.element_bytes);
			CHECK_EQ(buf_printf(&text, "%s ", plain[i]), 0);
			struct slice both = buf_slice(&text);
			struct xml_tree *a = xml_tree_parse((struct slice){both.p, both.n - 1}, &wide, decls, nr);
			struct xml_tree *b = xml_tree_parse(both, &wide, decls, nr);
			CHECK(a != NULL && b != NULL);
			CHECK(same_tree(xml_tree_root(a), xml_tree_root(b), "", ""));
			CHECK_EQ(xml_tree_root(a)->raw.n, both.n - 1);
			CHECK_EQ(xml_tree_root(b)->raw.n, both.n - 1);
			xml_tree_free(a);
			xml_tree_free(b);
			buf_clear(&text);
		}
}

int main(void)
{
	RUN(test_plain);
	RUN(test_others);
	RUN(test_plain_headers);
	RUN(test_other_headers);
	RUN(test_header_limits);
	RUN(test_header_stopped);
	RUN(test_footer);
	RUN(test_trees);
	RUN(test_limits);
	RUN(test_many_names);
	RUN(test_unfinished);
	RUN(test_mixed);
	RUN(test_reset_inside);
	return check_done("unit.xml.plain");
}
