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

/* What of eight characters may not pass somewhere, and '#': the quotes, it and '&' differ in two bits, '<' and '>' in one. */
static inline uint64_t eight_special(uint64_t w)
{
	return eight_found(eight_odd(w) | eight_is(w | EIGHT_ONES * ('"' ^ '\''), '\'') | eight_is(w | EIGHT_ONES * ('<' ^ '>'), '>'));
}

/* Characters from there on that pass anywhere; one may be left that does. */
static size_t plain_run(struct slice text, size_t from)
{
	size_t n = from;
	for (; text.n - n >= 8; n += 8) {
		uint64_t special = eight_special(eight_load(text.p + n));
		if (special != 0)
			return n + eight_before(special) - from;
	}
	if (n < text.n) {   /* the rest: if nothing in it, the zeros behind it are what is found */
		size_t left = text.n - n;
		uint64_t w = text.n < 8 ? eight_load_less(text.p + n, left) : eight_load(text.p + text.n - 8) >> 8 * (8 - left);
		n += eight_before(eight_special(w));
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

/* The value and its quotes, in which it has nothing to escape. */
static int add_quoted(struct buf *out, struct slice value)
{
	char *to = buf_reserve(out, value.n + 2);

	if (to == NULL)
		return -ERR_LIMIT;
	to[0] = '\'';
	memcpy(to + 1, value.p, value.n);
	to[value.n + 1] = '\'';
	buf_commit(out, value.n + 2);
	return 0;
}

int xml_quote(struct buf *out, struct slice value)
{
	if (value.n > 0 && plain_prefix(value, IN_ATTR) == value.n)
		return add_quoted(out, value);
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

/* Room for so much in one piece, to be committed; NULL: it has failed. */
static char *reserve(struct xml_writer *w, size_t n)
{
	char *to = w->err ? NULL : buf_reserve(w->out, n);

	if (to == NULL && !w->err)
		w->err = -ERR_LIMIT;
	return to;
}

static void close_start_tag(struct xml_writer *w)
{
	if (w->open_)
		put(w, ">");
	w->open_ = false;
}

void xml_start(struct xml_writer *w, const char *name)
{
	size_t n = strlen(name), all = n + 1 + w->open_;
	char *to = reserve(w, all);

	if (to != NULL) {
		if (w->open_)
			*to++ = '>';
		*to++ = '<';
		memcpy(to, name, n);
		buf_commit(w->out, all);
	}
	w->open_ = true;
}

void xml_attr(struct xml_writer *w, const char *name, struct slice value)
{
	size_t n = strlen(name), plain, all;
	bool whole;
	char *to;

	ASSERT(w->open_);
	if (value.p == NULL)
		return;
	plain = plain_prefix(value, IN_ATTR);
	whole = plain == value.n; /* nearly always: then the attribute is one piece */
	all = n + plain + strlen(" ='") + whole;
	to = reserve(w, all);
	if (to == NULL)
		return;
	*to++ = ' ';
	memcpy(to, name, n);
	to += n;
	*to++ = '=';
	*to++ = '\'';
	memcpy(to, value.p, plain);
	if (whole)
		to[plain] = '\'';
	buf_commit(w->out, all);
	if (whole)
		return;
	w->err = add_escaped(w->out, (struct slice){value.p + plain, value.n - plain}, IN_ATTR);
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
	size_t n = strlen(name), all = n + strlen("</>");
	char *to = reserve(w, all);

	if (to == NULL)
		return;
	*to++ = '<';
	*to++ = '/';
	memcpy(to, name, n);
	to[n] = '>';
	buf_commit(w->out, all);
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
