#include "check.h"
#include "events.h"

#include "xml/parser_int.h"

#define STREAM(attrs) "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " attrs ">"

static void begin(struct events *v, const char *header)
{
	events_begin(v, &wide);
	CHECK_EQ(events_feed_str(v, header), 0);
}

/* Only what is in force for stanzas tells headers apart. */
static void test_shared(void)
{
	static const struct {
		const char *header;
		bool same;
	} cases[] = {
		{STREAM("from='other@a.example' to='a.example' version='1.0'"), true},
		{STREAM("id='1'"), true},
		{STREAM("xml:lang='en'"), false},
		{STREAM("xmlns:x='jabber:client'"), false},
		{"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>", false},
		{"<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'>", false},
	};
	struct events first, v;

	begin(&first, STREAM("from='user@a.example'"));
	const struct xml_header *h = first.parser->header;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin(&v, cases[i].header);
		CHECK((v.parser->header == h) == cases[i].same);
		CHECK_EQ(h->refs, cases[i].same ? 2 : 1);
		events_end(&v);
		CHECK_EQ(h->refs, 1);
	}
	events_end(&first);
}

/* The first to have it may be the first to go; and what is gone is not found again. */
static void test_any_order(void)
{
	struct events a, b, c;

	begin(&a, C2S);
	begin(&b, C2S);
	events_end(&a);
	xml_parser_release(b.parser);
	CHECK_EQ(events_feed_str(&b, "<stream:features/>"), 0);
	CHECK_EQ(b.nr_elements, 1);
	events_end(&b);
	begin(&c, C2S);
	CHECK_EQ(c.parser->header->refs, 1);
	events_end(&c);
}

/* More kinds of header than are remembered: each is kept right, shared or not. */
static void test_many(void)
{
	enum { N = 300 };
	static struct events v[N];
	char text[200];

	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof text, "<s:stream xmlns:s='urn:s' xmlns='urn:%d'>", i / 2);
		begin(&v[i], text);
		xml_parser_release(v[i].parser);
	}
	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof text, "urn:%d", i / 2);
		CHECK_EQ(events_feed_str(&v[i], "<a/>"), 0);
		CHECK_EQ(v[i].nr_elements, 1);
		CHECK(events_has(&v[i], text));
		events_end(&v[i]);
	}
}

/* The tag that is replayed is written anew: what needs escaping in a namespace's name survives, and the footer still fits. */
static void test_rewritten(void)
{
	static const char *const headers[] = {
		"<a:b.c xmlns:a='x&amp;&lt;&quot;&apos;&#10;&#9;y>' xmlns='' to='&amp;'>",
		"<a:b.c\n xmlns:a = \"x'y\" >",
	};
	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		struct events kept, released;

		begin(&kept, headers[i]);
		begin(&released, headers[i]);
		xml_parser_release(released.parser);
		CHECK(released.parser->work == NULL);
		CHECK(released.parser->header->tag.n <= strlen(headers[i]));
		CHECK_EQ(events_feed_str(&kept, "<a:d e='f'/></a:b.c>"), 0);
		CHECK_EQ(events_feed_str(&released, "<a:d e='f'/></a:b.c>"), 0);
		CHECK(slice_eq(buf_slice(&kept.log), buf_slice(&released.log)));
		CHECK_EQ(released.nr_elements, 1);
		events_end(&kept);
		events_end(&released);
	}
}

int main(void)
{
	RUN(test_shared);
	RUN(test_any_order);
	RUN(test_many);
	RUN(test_rewritten);
	return check_done("unit.xml.header");
}
