/*
 * The only place that builds XML. Whatever text comes in, well-formed UTF-8 XML goes out: what XML 1.0 forbids becomes U+FFFD. Names and
 * xml_raw() are trusted: they come from this program's source or from a parser.
 */
#include "xml/writer.h"

#include "common/err.h"
#include "xml/eight.h"
#include "xml/utf8.h"

static const char replacement[] = "\xef\xbf\xbd";

/* In an attribute within either quote, or within that one; or in content. */
enum where { IN_TEXT, IN_ATTR, IN_SINGLE, IN_DOUBLE };

/* What stands for a byte; NULL: itself. Attributes also guard what a parser would normalise to spaces (XML 1.0 section 3.3.3). */
static const char *substitute(unsigned char c, enum where where)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return where == IN_TEXT || where == IN_ATTR ? "&gt;" : NULL;
	case '\r':
		return "&#13;";
	case '"':
		return where == IN_ATTR || where == IN_DOUBLE ? "&quot;" : NULL;
	case '\'':
		return where == IN_ATTR || where == IN_SINGLE ? "&apos;" : NULL;
	case '\n':
		return where != IN_TEXT ? "&#10;" : NULL;
	case '\t':
		return where != IN_TEXT ? "&#9;" : NULL;
	default:
		return c < 0x20 ? replacement : NULL;
	}
}

/* A character that passes as it is wherever it stands: nearly all of them, and looked up once for each stanza's byte. */
static bool plain_anywhere(unsigned char c)
{
	static const uint64_t odd[4] = {UINT64_C(0xffffffff) | UINT64_C(1) << '"' | UINT64_C(1) << '&' | UINT64_C(1) << '\'' |
					    UINT64_C(1) << '<' | UINT64_C(1) << '>',
					0, UINT64_MAX, UINT64_MAX};

	return (odd[c >> 6] >> (c & 63) & 1) == 0;
}

/* What of eight characters is not. */
static inline uint64_t eight_special(uint64_t w)
{
	return eight_found(eight_odd(w) | eight_is(w, '<') | eight_is(w, '>') | eight_is(w, '&') | eight_is(w, '\'') | eight_is(w, '"'));
}

/* Characters from there on that pass anywhere. */
static size_t plain_run(struct slice text, size_t from)
{
	size_t n = from;
	for (; text.n - n >= 8; n += 8) {
		uint64_t special = eight_special(eight_load(text.p + n));
		if (special != 0)
			return n + eight_before(special) - from;
	}
	if (text.n < 8) {
		while (n < text.n && plain_anywhere((unsigned char)text.p[n]))
			n++;
	} else if (n < text.n) {   /* the last eight, with spaces behind in place of those that were looked at */
		size_t left = text.n - n;
		uint64_t w = eight_load(text.p + text.n - 8) >> 8 * (8 - left) | EIGHT_ONES * ' ' << 8 * left;
		uint64_t special = eight_special(w);
		n += special ? eight_before(special) : left;
	}
	return n - from;
}

/* Bytes at the front that may pass as they are. */
static size_t plain_prefix(struct slice text, enum where where)
{
	size_t n = 0;
	while (n < text.n) {
		n += plain_run(text, n);
		if (n == text.n)
			break;
		unsigned char c = (unsigned char)text.p[n];
		if (c < 0x80) {
			if (substitute(c, where) != NULL)
				break;
			n++;
			continue;
		}
		uint32_t code;
		size_t length = utf8_decode((struct slice){text.p + n, text.n - n}, &code);
		if (length == 0 || code == 0xfffe || code == 0xffff)
			break;
		n += length;
	}
	return n;
}

static int add_escaped(struct buf *out, struct slice text, enum where where)
{
	while (text.n > 0) {
		size_t plain = plain_prefix(text, where);
		int err = plain ? buf_add(out, text.p, plain) : 0;
		if (err)
			return err;
		text = (struct slice){text.p + plain, text.n - plain};
		if (text.n == 0)
			break;
		unsigned char c = (unsigned char)text.p[0];
		uint32_t code;
		size_t length = c < 0x80 ? 1 : utf8_decode(text, &code);
		err = buf_add_str(out, c < 0x80 ? substitute(c, where) : replacement);
		if (err)
			return err;
		if (length == 0)
			length = 1;
		text = (struct slice){text.p + length, text.n - length};
	}
	return 0;
}

int xml_escape(struct buf *out, struct slice text)
{
	size_t len = buf_len(out);
	int err = add_escaped(out, text, IN_ATTR);
	if (err)
		buf_truncate(out, len);
	return err;
}

static size_t count(struct slice s, char c)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

int xml_quote(struct buf *out, struct slice value)
{
	bool single = value.n == 0 || memchr(value.p, '\'', value.n) == NULL || count(value, '\'') <= count(value, '"');
	size_t len = buf_len(out);
	int err = buf_add_str(out, single ? "'" : "\"");
	if (!err)
		err = add_escaped(out, value, single ? IN_SINGLE : IN_DOUBLE);
	if (!err)
		err = buf_add_str(out, single ? "'" : "\"");
	if (err)
		buf_truncate(out, len);
	return err;
}

void xml_writer_init(struct xml_writer *w, struct buf *out)
{
	*w = (struct xml_writer){.out = out};
}

static void put(struct xml_writer *w, const char *s)
{
	if (!w->err)
		w->err = buf_add_str(w->out, s);
}

/* What this file writes around a name, in one piece with it. */
static void put_around(struct xml_writer *w, struct slice before, const char *name, struct slice behind)
{
	size_t n = strlen(name), all = before.n + n + behind.n;
	char *to;

	if (w->err)
		return;
	to = buf_reserve(w->out, all);
	if (to == NULL) {
		w->err = -ERR_LIMIT;
		return;
	}
	memcpy(to, before.p, before.n);
	memcpy(to + before.n, name, n);
	memcpy(to + before.n + n, behind.p, behind.n);
	buf_commit(w->out, all);
}

static void close_start_tag(struct xml_writer *w)
{
	if (w->open_)
		put(w, ">");
	w->open_ = false;
}

void xml_start(struct xml_writer *w, const char *name)
{
	put_around(w, w->open_ ? SLICE("><") : SLICE("<"), name, SLICE(""));
	w->open_ = true;
}

void xml_attr(struct xml_writer *w, const char *name, struct slice value)
{
	ASSERT(w->open_);
	if (value.p == NULL)
		return;
	put_around(w, SLICE(" "), name, SLICE("='"));
	if (!w->err)
		w->err = add_escaped(w->out, value, IN_ATTR);
	put(w, "'");
}

void xml_attr_str(struct xml_writer *w, const char *name, const char *value)
{
	xml_attr(w, name, slice_str(value));
}

void xml_text(struct xml_writer *w, struct slice text)
{
	if (text.n == 0)
		return;
	close_start_tag(w);
	if (!w->err)
		w->err = add_escaped(w->out, text, IN_TEXT);
}

void xml_raw(struct xml_writer *w, struct slice xml)
{
	if (xml.n == 0)
		return;
	close_start_tag(w);
	if (!w->err)
		w->err = buf_add_slice(w->out, xml);
}

void xml_end(struct xml_writer *w, const char *name)
{
	if (w->open_) {
		put(w, "/>");
		w->open_ = false;
		return;
	}
	put_around(w, SLICE("</"), name, SLICE(">"));
}

void xml_leave_open(struct xml_writer *w)
{
	close_start_tag(w);
}

int xml_writer_done(struct xml_writer *w)
{
	ASSERT(w->err || !w->open_);
	return w->err;
}
