/* The writer: escaping, and that whatever text goes in, XML that parses back to it comes out. */
#include <check.h>

#include "common/err.h"
#include "xml/tree.h"
#include "xml/writer.h"

static const struct xml_limits limits = {.element_bytes = 262144, .tag_bytes = 65536, .depth_max = 100, .attrs_max = 64};

static const char *text_of(struct buf *b)
{
	if (buf_add(b, "", 1) < 0)
		return NULL;
	const char *p = buf_slice(b).p;
	buf_truncate(b, buf_len(b) - 1);
	return p;
}

static void test_elements(void)
{
	struct buf b;
	struct xml_writer w;
	buf_init(&b, 1000);
	xml_writer_init(&w, &b);
	xml_start(&w, "stream:stream");
	xml_attr_str(&w, "xmlns", "jabber:client");
	xml_attr_str(&w, "to", NULL);
	xml_attr(&w, "from", SLICE_NONE);
	xml_attr(&w, "id", SLICE(""));
	xml_leave_open(&w);
	xml_start(&w, "a");
	xml_start(&w, "b");
	xml_end(&w, "b");
	xml_text(&w, SLICE("x<y"));
	xml_raw(&w, SLICE("<c/>"));
	xml_end(&w, "a");
	xml_start(&w, "d");
	xml_text(&w, SLICE_NONE);
	xml_raw(&w, SLICE_NONE);
	xml_end(&w, "d");
	xml_start(&w, "e");
	xml_raw(&w, SLICE("<f/>"));
	xml_end(&w, "e");
	CHECK_EQ(xml_writer_done(&w), 0);
	CHECK_STR(text_of(&b), "<stream:stream xmlns='jabber:client' id=''><a><b/>x&lt;y<c/></a><d/><e><f/></e>");
	buf_clear(&b);
}

static void test_escape(void)
{
	struct buf b;
	buf_init(&b, 1000);
	CHECK_EQ(xml_escape(&b, SLICE("a&b<c>d\"e'f\tg\nh\ri\x01j\xffk\xed\xa0\x80l\xef\xbf\xbfm\xc3\xa9n\x7fo\xc3")), 0);
	CHECK_STR(text_of(&b),
		  "a&amp;b&lt;c&gt;d&quot;e&apos;f&#9;g&#10;h&#13;i\xef\xbf\xbdj\xef\xbf\xbdk\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdl"
		  "\xef\xbf\xbdm\xc3\xa9n\x7fo\xef\xbf\xbd");
	buf_reset(&b);
	struct xml_writer w;
	xml_writer_init(&w, &b);
	xml_text(&w, SLICE("a&b<c>d\"e'f\tg\nh\ri"));
	CHECK_EQ(xml_writer_done(&w), 0);
	CHECK_STR(text_of(&b), "a&amp;b&lt;c&gt;d\"e'f\tg\nh&#13;i");
	buf_reset(&b);
	CHECK_EQ(xml_quote(&b, SLICE("a'b\"c'>\n<")), 0);
	CHECK_STR(text_of(&b), "\"a'b&quot;c'>&#10;&lt;\"");
	buf_clear(&b);
}

static void test_nul(void)
{
	struct buf b;
	buf_init(&b, 1000);
	CHECK_EQ(xml_escape(&b, SLICE("a\0b")), 0);
	CHECK_STR(text_of(&b), "a\xef\xbf\xbd""b");
	buf_clear(&b);
}

static void test_full(void)
{
	struct buf b;
	for (size_t max = 0; max < 28; max++) {
		buf_init(&b, max);
		struct xml_writer w;
		xml_writer_init(&w, &b);
		xml_start(&w, "a");
		xml_attr_str(&w, "b", "&&&");
		xml_text(&w, SLICE("x"));
		xml_end(&w, "a");
		CHECK_EQ(xml_writer_done(&w), -ERR_LIMIT);
		CHECK(buf_len(&b) <= max);
		buf_clear(&b);
	}
	buf_init(&b, 12);
	CHECK_EQ(buf_add_str(&b, "0123456"), 0);
	CHECK_EQ(xml_escape(&b, SLICE("a&b")), -ERR_LIMIT);
	CHECK_EQ(buf_len(&b), 7);
	CHECK_EQ(xml_quote(&b, SLICE("a&b")), -ERR_LIMIT);
	CHECK_EQ(buf_len(&b), 7);
	buf_clear(&b);
}

/* With one byte too few it fails, and what is there is the beginning of it; with no byte to spare it does not. */
static void fills(const char *value, const char *element, const char *quoted)
{
	for (size_t max = 0; max <= strlen(element); max++) {
		struct xml_writer w;
		struct buf b;

		buf_init(&b, max);
		xml_writer_init(&w, &b);
		xml_start(&w, "a");
		xml_attr_str(&w, "b", value);
		xml_end(&w, "a");
		CHECK_EQ(xml_writer_done(&w), max < strlen(element) ? -ERR_LIMIT : 0);
		CHECK(max < strlen(element) || buf_len(&b) == max);
		CHECK(buf_len(&b) <= max && slice_eq(buf_slice(&b), (struct slice){element, buf_len(&b)}));
		buf_clear(&b);
	}
	for (size_t max = 0; max <= strlen(quoted); max++) {
		struct buf b;

		buf_init(&b, max);
		CHECK_EQ(xml_quote(&b, slice_str(value)), max < strlen(quoted) ? -ERR_LIMIT : 0);
		CHECK(slice_is(buf_slice(&b), max < strlen(quoted) ? "" : quoted));
		buf_clear(&b);
	}
}

static void test_exactly_full(void)
{
	fills("x", "<a b='x'/>", "'x'");
	fills("abc", "<a b='abc'/>", "'abc'");
	fills("nothing in it", "<a b='nothing in it'/>", "'nothing in it'");
	fills("a&b", "<a b='a&amp;b'/>", "'a&amp;b'");
	fills("", "<a b=''/>", "''");
}

/* Writes text as an attribute in both ways and as content, and reads it back. */
static void round_trip(struct slice text, const char *want)
{
	struct buf b;
	struct xml_writer w;
	buf_init(&b, 100000);
	xml_writer_init(&w, &b);
	xml_start(&w, "a");
	xml_attr(&w, "b", text);
	if (buf_add_str(&b, " c=") < 0 || xml_quote(&b, text) < 0)
		CHECK(!"room");
	xml_text(&w, text);
	xml_end(&w, "a");
	CHECK_EQ(xml_writer_done(&w), 0);
	struct xml_tree *t = xml_tree_parse(buf_slice(&b), &limits, NULL, 0);
	CHECK(t != NULL);
	if (t != NULL) {
		CHECK_STR(xml_node_attr(xml_tree_root(t), "b"), want);
		CHECK_STR(xml_node_attr(xml_tree_root(t), "c"), want);
		CHECK_STR(xml_tree_root(t)->text, want);
	}
	xml_tree_free(t);
	buf_clear(&b);
}

static void test_round_trip(void)
{
	static const char all[] =
		"\t\n\r "
		"!\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`{|}~\x7f]]>&amp;&#65;\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbd\xf0\x90\x80\x80"
		"\xf4\x8f\xbf\xbf";
	round_trip(SLICE(all), all);
	round_trip(SLICE("\n\n  \t x \r\n"), "\n\n  \t x \r\n");
	round_trip(SLICE("\xc0\x80\xf8\x01\xe0\x80\xaf"),
		   "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

/* What is to become of a text where these characters are escaped, byte by byte. No byte beyond ASCII is a character by itself. */
static void add_as(struct buf *want, struct slice text, const char *escaped)
{
	static const char *const as[] = {['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['\''] = "&apos;", ['"'] = "&quot;",
					 ['\t'] = "&#9;", ['\n'] = "&#10;", ['\r'] = "&#13;"};

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		int err;

		if (c != '\0' && strchr(escaped, c) != NULL)
			err = buf_add_str(want, as[c]);
		else if ((c < ' ' && c != '\t' && c != '\n') || c >= 0x80)
			err = buf_add_str(want, "\xef\xbf\xbd");
		else
			err = buf_add(want, text.p + i, 1);
		CHECK_EQ(err, 0);
	}
}

static size_t count(struct slice text, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == c;
	return n;
}

/* As an attribute, as content, and quoted. */
static void writes(struct slice text)
{
	bool single = count(text, '\'') == 0 || count(text, '\'') <= count(text, '"');
	struct xml_writer w;
	struct buf got, want;

	buf_init(&got, 2000);
	buf_init(&want, 2000);
	xml_writer_init(&w, &got);
	xml_start(&w, "a");
	xml_attr(&w, "b", text);
	xml_text(&w, text);
	xml_end(&w, "a");
	CHECK_EQ(xml_writer_done(&w), 0);
	CHECK_EQ(xml_quote(&got, text), 0);
	CHECK_EQ(buf_add_str(&want, "<a b='"), 0);
	add_as(&want, text, "&<>'\"\t\n\r");
	CHECK_EQ(buf_add_str(&want, "'>"), 0);
	add_as(&want, text, "&<>\r");
	CHECK_EQ(buf_add_str(&want, single ? "</a>'" : "</a>\""), 0);
	add_as(&want, text, single ? "&<'\t\n\r" : "&<\"\t\n\r");
	CHECK_EQ(buf_add_str(&want, single ? "'" : "\""), 0);
	CHECK_STR(text_of(&got), text_of(&want));
	buf_clear(&got);
	buf_clear(&want);
}

/* What is looked at in eights, and less at the end, finds what is to be escaped wherever it stands: each byte there is. */
static void test_every_place(void)
{
	for (int c = 0; c < 256; c++) {
		for (size_t n = 1; n < 26; n++) {
			for (size_t at = 0; at < n && !check_bad_; at++) {
				char text[26];

				memset(text, 'x', sizeof text);
				text[at] = (char)c;
				writes((struct slice){text, n});
			}
		}
	}
}

/* Nor does what is found hide what stands behind it, in the same eight or the next. */
static void test_neighbours(void)
{
	for (int c = 0; c < 128; c++) {
		for (int d = 0; d < 128; d++) {
			for (size_t at = 0; at < 8 && !check_bad_; at++) {
				char text[17];

				memset(text, 'x', sizeof text);
				text[at] = (char)c;
				text[at + 1] = (char)d;
				writes((struct slice){text, sizeof text});
			}
		}
	}
}

int main(void)
{
	RUN(test_elements);
	RUN(test_escape);
	RUN(test_nul);
	RUN(test_full);
	RUN(test_exactly_full);
	RUN(test_round_trip);
	RUN(test_every_place);
	RUN(test_neighbours);
	return check_done("unit.xml.writer");
}
