/*
 * One pass over one element: ASCII names without prefixes (but for xml:lang), values and text in UTF-8 with no other references than the
 * five that XML predefines. No comments, sections, instructions or declarations, no white space inside an end tag or around '='. Values of
 * the first tag hold no references, so that they are what their bytes say. Who is told of what is inside gets none at all, and no line end
 * that XML would change.
 *
 * Likewise over a stream header, whose own name and declarations may have prefixes. It keeps nothing.
 */
#include "xml/plain.h"

#include "xml/chars.h"
#include "xml/eight.h"
#include "xml/ns.h"
#include "xml/restrict.h"
#include "xml/utf8.h"

enum {
	DEPTH_MAX = 32,
	/* Expat keeps each name, and each namespace for a while, and has at least 1 MiB for them (restrict.c). It judges what is more. */
	KEPT_MAX = 768 << 10,
	KEPT_EACH = 256,     /* beside the bytes, which it may keep twice */
};

struct reader {
	const char *p, *end;
	const struct xml_limits *limits;
	struct xml_plain *out;
	const struct xml_plain_sink *sink;   /* may be NULL */
	void *arg;
	struct slice open[DEPTH_MAX];
	unsigned depth;
	size_t kept;         /* what expat would keep of it, if no name came twice */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Bytes of a reference to a predefined entity; 0: another one. */
static size_t reference(const char *p, const char *end)
{
	static const struct slice known[] = {{"&lt;", 4}, {"&gt;", 4}, {"&amp;", 5}, {"&quot;", 6}, {"&apos;", 6}};
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if ((size_t)(end - p) >= known[i].n && memcmp(p, known[i].p, known[i].n) == 0)
			return known[i].n;
	return 0;
}

/* Bytes of a character that is not ASCII; 0: not one of XML's. */
static size_t character(const char *p, const char *end)
{
	uint32_t code = 0;
	size_t n = utf8_decode((struct slice){p, (size_t)(end - p)}, &code);
	return code == 0xfffe || code == 0xffff ? 0 : n;
}

/* To the first byte that needs a look, if eight are left where it stands: all but printable ASCII without '<', '&' and that one. */
static inline const char *skip_quiet(const char *p, const char *end, char that)
{
	while (end - p >= 8) {
		uint64_t w = eight_load(p), found = eight_found(eight_odd(w) | eight_is(w, '<') | eight_is(w, '&') | eight_is(w, that));
		if (found != 0)
			return p + eight_before(found);
		p += 8;
	}
	return p;
}

/* Up to the next tag. */
static bool read_text(struct reader *r)
{
	const char *p = r->p, *end = r->end;
	while (p < end) {
		p = skip_quiet(p, end, ']');
		if (p == end)
			return false;
		unsigned char c = (unsigned char)*p;
		size_t n = 1;
		if (c == '<') {
			r->p = p;
			return true;
		} else if (c == '&') {
			n = r->sink == NULL ? reference(p, end) : 0;
		} else if (c >= 0x80) {
			n = character(p, end);
		} else if ((c == '\r' && r->sink != NULL) || (c < 0x20 && !is_space((char)c)) ||
			   (c == ']' && end - p >= 3 && p[1] == ']' && p[2] == '>')) {
			n = 0;
		}
		if (n == 0)
			return false;
		p += n;
	}
	return false;
}

static bool keep(struct reader *r, struct slice s)
{
	r->kept += KEPT_EACH + 2 * s.n;
	return r->kept <= KEPT_MAX;
}

/* Empty: none, or one too many. */
static struct slice read_name(struct reader *r)
{
	const char *p = r->p;
	if (p < r->end && char_is(*p, CHAR_NAME_BEGIN))
		while (p < r->end && char_is(*p, CHAR_NAME))
			p++;
	struct slice name = {r->p, (size_t)(p - r->p)};
	r->p = p;
	return keep(r, name) ? name : SLICE_NONE;
}

/* In quotes. White space other than ' ' would be changed by the reader of an attribute. */
static bool read_value(struct reader *r, bool references, struct slice *value)
{
	const char *p = r->p, *end = r->end;
	if (p == end || (*p != '\'' && *p != '"'))
		return false;
	char quote = *p++;
	value->p = p;
	while ((p = skip_quiet(p, end, quote)) < end && *p != quote) {
		unsigned char c = (unsigned char)*p;
		size_t n = c < 0x20 || c == '<' ? 0 : 1;
		if (c >= 0x80)
			n = character(p, end);
		else if (c == '&')
			n = references ? reference(p, end) : 0;
		if (n == 0)
			return false;
		p += n;
	}
	value->n = (size_t)(p - value->p);
	r->p = p + 1;
	return p < end;
}

/* No undoing ('') and none of the reserved names. */
static bool namespace_ok(struct slice uri)
{
	const struct slice reserved = SLICE("http://www.w3.org/");
	return uri.n > 0 && memchr(uri.p, '&', uri.n) == NULL && (uri.n < reserved.n || memcmp(uri.p, reserved.p, reserved.n) != 0);
}

/* A tag's attributes; of the first tag they are what is reported. */
struct attrs {
	struct xml_attr *list;
	size_t nr;
	struct slice ns;
	struct xml_plain_header *header;   /* NULL: no stream header's */
};

static bool add_attr(struct attrs *a, const struct xml_attr *attr)
{
	if (a->nr == XML_PLAIN_ATTRS)
		return false;
	for (size_t i = 0; i < a->nr; i++)
		if (slice_eq(a->list[i].name, attr->name) && a->list[i].prefix.n == attr->prefix.n)
			return false;
	a->list[a->nr++] = *attr;
	return true;
}

static bool begins(const struct reader *r, struct slice with)
{
	return (size_t)(r->end - r->p) > with.n && memcmp(r->p, with.p, with.n) == 0;
}

static bool declare(struct reader *r, struct xml_plain_header *h, struct slice prefix, struct slice uri)
{
	if (h->nr_decls == XML_PLAIN_DECLS || !namespace_ok(uri) || !keep(r, uri))
		return false;
	for (size_t i = 0; i < h->nr_decls; i++)
		if (slice_eq(h->decls[i].prefix, prefix))
			return false;
	h->decls[h->nr_decls++] = (struct xml_nsdecl){prefix, uri};
	return true;
}

/* Behind "xmlns:". */
static bool read_declaration(struct reader *r, struct xml_plain_header *h)
{
	struct slice prefix = read_name(r), uri;
	return prefix.n > 0 && !slice_is(prefix, "xml") && !slice_is(prefix, "xmlns") && r->p < r->end && *r->p++ == '=' &&
	       read_value(r, false, &uri) && declare(r, h, prefix, uri);
}

static bool read_attr(struct reader *r, struct attrs *a)
{
	const struct slice lang = SLICE("xml:lang"), xmlns = SLICE("xmlns:");
	struct xml_attr attr = {.ns = SLICE_NONE};
	bool special = r->p < r->end && *r->p == 'x';   /* few begin so */
	if (special && a->header != NULL && begins(r, xmlns)) {
		r->p += xmlns.n;
		return read_declaration(r, a->header);
	}
	if (special && begins(r, lang) && r->p[lang.n] == '=') {
		attr.ns = SLICE(NS_XML);
		attr.prefix = SLICE("xml");
		attr.name = SLICE("lang");
		r->p += lang.n;
	} else {
		attr.name = read_name(r);
	}
	if (attr.name.n == 0 || r->p == r->end || *r->p++ != '=' || !read_value(r, r->depth > 0 && r->sink == NULL, &attr.value))
		return false;
	if (!special || !slice_is(attr.name, "xmlns"))
		return add_attr(a, &attr);
	if (a->header != NULL)
		return declare(r, a->header, SLICE(""), attr.value);
	if (a->ns.p != NULL || !namespace_ok(attr.value) || !keep(r, attr.value))
		return false;
	a->ns = attr.value;
	return true;
}

/* From behind a tag's name to behind its '>'. */
static bool read_attrs(struct reader *r, struct attrs *a, bool *empty)
{
	while (r->p < r->end) {
		bool space = is_space(*r->p);
		while (r->p < r->end && is_space(*r->p))
			r->p++;
		*empty = r->end - r->p >= 2 && r->p[0] == '/' && r->p[1] == '>';
		if (*empty || (r->p < r->end && *r->p == '>')) {
			r->p += *empty ? 2 : 1;
			return true;
		}
		if (!space || !read_attr(r, a))
			return false;
	}
	return false;
}

static bool read_start(struct reader *r)
{
	struct xml_attr inner[XML_PLAIN_ATTRS];
	struct xml_element *e = &r->out->element;
	struct attrs a = {.list = r->depth == 0 ? r->out->attrs : inner};
	const char *at = r->p++;
	bool empty;
	struct slice name = read_name(r);
	if (name.n == 0 || !read_attrs(r, &a, &empty))
		return false;
	if ((size_t)(r->p - at) > r->limits->tag_bytes || r->depth >= r->limits->depth_max || r->depth == DEPTH_MAX ||
	    a.nr + (a.ns.p != NULL) > r->limits->attrs_max)
		return false;
	if (r->depth == 0) {
		e->head = (struct xml_head){.name = name, .attrs = a.list, .nr_attrs = a.nr};
		e->inner.p = r->p;
		r->out->ns = a.ns;
	}
	e->nr_children += r->depth == 1;
	if (r->sink != NULL)
		r->sink->start(r->arg, &(struct xml_plain_tag){.at = at, .name = name, .ns = a.ns, .attrs = a.list, .nr_attrs = a.nr});
	if (!empty)
		r->open[r->depth++] = name;
	else if (r->sink != NULL)
		r->sink->end(r->arg, r->p);
	return true;
}

static bool read_end(struct reader *r)
{
	struct slice name = r->open[--r->depth];
	if (r->depth == 0)
		r->out->element.inner.n = (size_t)(r->p - r->out->element.inner.p);
	r->p += 2;
	if ((size_t)(r->end - r->p) <= name.n || memcmp(r->p, name.p, name.n) != 0 || r->p[name.n] != '>')
		return false;
	r->p += name.n + 1;
	if (r->sink != NULL)
		r->sink->end(r->arg, r->p);
	return true;
}

/* Nothing of `open` is set: it is large. */
static void reader_init(struct reader *r, struct slice in, const struct xml_limits *limits)
{
	r->p = in.p;
	r->end = in.p + (in.n < limits->element_bytes ? in.n : limits->element_bytes);
	r->limits = limits;
	r->sink = NULL;
	r->kept = 0;
	r->depth = 0;
}

size_t xml_plain_walk(struct xml_plain *out, struct slice in, const struct xml_limits *limits, const struct xml_plain_sink *sink, void *arg)
{
	struct reader r;
	reader_init(&r, in, limits);
	r.out = out;
	r.sink = sink;
	r.arg = arg;
	out->element = (struct xml_element){.nr_children = 0};
	if (r.p == r.end || *r.p != '<' || !read_start(&r))
		return 0;
	while (r.depth > 0) {
		const char *text = r.p;
		if (!read_text(&r))
			return 0;
		if (sink != NULL && r.p > text)
			sink->text(arg, (struct slice){text, (size_t)(r.p - text)});
		if (r.depth == 1 && !out->element.mixed_text)
			out->element.mixed_text = !xml_is_space((struct slice){text, (size_t)(r.p - text)});
		if (!(r.end - r.p >= 2 && r.p[1] == '/' ? read_end(&r) : read_start(&r)))
			return 0;
	}
	if (out->element.inner.n == 0)
		out->element.inner = SLICE_NONE;
	out->element.raw = (struct slice){in.p, (size_t)(r.p - in.p)};
	return out->element.raw.n;
}

size_t xml_plain_read(struct xml_plain *out, struct slice in, const struct xml_limits *limits)
{
	return xml_plain_walk(out, in, limits, NULL, NULL);
}

/* "<?xml ...?>" as everybody writes it, and white space. */
static void skip_declaration(struct reader *r)
{
	static const char *const known[] = {
		"<?xml version='1.0'?>",
		"<?xml version=\"1.0\"?>",
		"<?xml version='1.0' encoding='UTF-8'?>",
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
		"<?xml version='1.0' encoding='utf-8'?>",
		"<?xml version=\"1.0\" encoding=\"utf-8\"?>",
	};
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (begins(r, slice_str(known[i]))) {
			r->p += strlen(known[i]);
			break;
		}
	}
	while (r->p < r->end && is_space(*r->p))
		r->p++;
}

/* The namespace of the header's own name. */
static bool resolve(struct xml_plain_header *h)
{
	for (size_t i = 0; i < h->nr_decls; i++)
		if (slice_eq(h->decls[i].prefix, h->head.prefix)) {
			h->head.ns = h->decls[i].uri;
			return true;
		}
	return h->head.prefix.n == 0;
}

size_t xml_plain_header(struct xml_plain_header *out, struct slice in, const struct xml_limits *limits)
{
	struct attrs a = {.list = out->attrs, .header = out};
	struct reader r;
	bool empty = false;
	reader_init(&r, in, limits);
	out->nr_decls = 0;
	skip_declaration(&r);
	if (r.p == r.end || *r.p++ != '<')
		return 0;
	struct slice prefix = SLICE_NONE, name = read_name(&r);
	if (r.p < r.end && *r.p == ':') {
		r.p++;
		prefix = name;
		name = read_name(&r);
		if (prefix.n == 0 || slice_is(prefix, "xml") || slice_is(prefix, "xmlns"))
			return 0;
	}
	/* what comes before the tag counts, too: expat would not have shown anything until its end */
	if (name.n == 0 || !read_attrs(&r, &a, &empty) || empty || (size_t)(r.p - in.p) > limits->tag_bytes ||
	    a.nr + out->nr_decls > limits->attrs_max)
		return 0;
	out->head = (struct xml_head){.name = name, .prefix = prefix, .attrs = a.list, .nr_attrs = a.nr};
	return resolve(out) ? (size_t)(r.p - in.p) : 0;
}

void xml_plain_complete(struct xml_plain *out, const struct xml_header *header, struct xml_starttag *tag)
{
	struct xml_element *e = &out->element;
	xml_starttag_inherit(tag, out->ns, header->decls, header->nr_decls);
	e->decls = tag->decls;
	e->nr_decls = tag->nr_decls;
	e->nr_own = tag->nr_own;
	e->lang = header->lang;
	e->unprefixed = !header->more_prefixes;   /* others may be meant in a text or a value */
	for (size_t i = 0; i < e->nr_decls; i++)
		if (e->decls[i].prefix.n == 0 && e->decls[i].uri.n > 0)
			e->head.ns = e->decls[i].uri;
}
