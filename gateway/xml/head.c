/*
 * Stanzas on their way. The start tag is written anew (addresses, namespaces), the bytes inside pass as they came. What is written stands
 * on its own: every namespace that its bytes may use is declared on its start tag.
 */
#include "xml/head.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/err.h"
#include "xml/ns.h"
#include "xml/parser_int.h"
#include "xml/restrict.h"
#include "xml/writer.h"

enum { WRITTEN_MORE = 256 }; /* than the raw bytes: usual stamps and declarations */

static const char *const kind_names[] = {[STANZA_MESSAGE] = "message", [STANZA_PRESENCE] = "presence", [STANZA_IQ] = "iq"};

static enum stanza_kind kind_by_name(struct slice name)
{
	for (size_t i = STANZA_NONE + 1; i < ARRAY_LEN(kind_names); i++)
		if (slice_is(name, kind_names[i]))
			return (enum stanza_kind)i;
	return STANZA_NONE;
}

enum stanza_kind stanza_kind(const struct xml_element *e, const char *ns)
{
	return slice_is(e->head.ns, ns) ? kind_by_name(e->head.name) : STANZA_NONE;
}

/* ---- writing ---- */

/* A chain of additions with a sticky error. */
struct tag {
	struct buf *out;
	int err;
};

static void add(struct tag *t, struct slice s)
{
	if (!t->err)
		t->err = buf_add_slice(t->out, s);
}

static void add_qname(struct tag *t, struct slice prefix, struct slice name)
{
	if (prefix.n > 0) {
		add(t, prefix);
		add(t, SLICE(":"));
	}
	add(t, name);
}

static void add_attr(struct tag *t, struct slice prefix, struct slice name, struct slice value)
{
	add(t, SLICE(" "));
	add_qname(t, prefix, name);
	add(t, SLICE("="));
	if (!t->err)
		t->err = xml_quote(t->out, value);
}

static bool is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == ':' ||
	       (c & 0x80);
}

/* Whether "prefix:" occurs where a name may begin, in a text or a value too, which may mean it (type='xs:int'): one declaration too many
 * harms nobody. */
static bool prefix_occurs(struct slice raw, struct slice prefix)
{
	const char *p = raw.p, *end = raw.p + raw.n;
	for (; (p = memchr(p, ':', (size_t)(end - p))) != NULL; p++) { /* colons are rarer than what a prefix begins with */
		const char *name = p - raw.p > (ptrdiff_t)prefix.n ? p - prefix.n : NULL;
		if (name != NULL && memcmp(name, prefix.p, prefix.n) == 0 && !is_name_byte(name[-1]))
			return true;
	}
	return false;
}

static void add_decls(struct tag *t, const struct xml_element *e, const char *from_ns, const char *to_ns)
{
	size_t nr_header = e->nr_decls - e->nr_own;
	bool has_default = false;
	for (size_t i = 0; i < e->nr_decls; i++) {
		struct slice prefix = e->decls[i].prefix, uri = e->decls[i].uri;
		if (i < nr_header && prefix.n > 0 && (e->unprefixed || !prefix_occurs(e->raw, prefix)))
			continue;
		if (prefix.n == 0 && uri.n == 0)
			continue;
		has_default |= prefix.n == 0;
		if (slice_is(uri, from_ns))
			uri = slice_str(to_ns);
		if (prefix.n > 0)
			add_attr(t, SLICE("xmlns"), prefix, uri);
		else
			add_attr(t, SLICE_NONE, SLICE("xmlns"), uri);
	}
	/* What it holds in no namespace would fall into the next stream's default. */
	if (!has_default && e->head.prefix.n > 0)
		add_attr(t, SLICE_NONE, SLICE("xmlns"), SLICE(""));
}

/* The address that replaces an attribute's value: received, given, or none (n == 0 with p). */
static void add_attrs(struct tag *t, const struct xml_head *h, struct slice from, struct slice to)
{
	for (size_t i = 0; i < h->nr_attrs; i++) {
		const struct xml_attr *a = &h->attrs[i];
		struct slice value = a->value;
		struct slice *stamp = a->ns.n > 0 ? NULL : slice_is(a->name, "from") ? &from : slice_is(a->name, "to") ? &to : NULL;
		if (stamp != NULL && stamp->p != NULL) {
			value = *stamp;
			*stamp = SLICE_NONE; /* done */
			if (value.n == 0)
				continue;
		}
		add_attr(t, a->prefix, a->name, value);
	}
	if (from.n > 0)
		add_attr(t, SLICE_NONE, SLICE("from"), from);
	if (to.n > 0)
		add_attr(t, SLICE_NONE, SLICE("to"), to);
}

/* RFC 6120 section 8.1.5: what a stanza does not say itself is its stream's language, and the stream stays behind. */
static void add_lang(struct tag *t, const struct xml_element *e)
{
	if (e->lang.n > 0 && xml_attr_get_ns(&e->head, NS_XML, "lang").p == NULL)
		add_attr(t, SLICE("xml"), SLICE("lang"), e->lang);
}

int stanza_write(struct buf *out, const struct xml_element *e, const char *from_ns, const char *to_ns, struct slice from, struct slice to)
{
	struct tag t = {.out = out};
	size_t len = buf_len(out);
	(void)buf_reserve(out, e->raw.n + WRITTEN_MORE); /* at once, where there is so much room */
	add(&t, SLICE("<"));
	add_qname(&t, e->head.prefix, e->head.name);
	add_decls(&t, e, from_ns, to_ns);
	add_attrs(&t, &e->head, from, to);
	add_lang(&t, e);
	if (e->inner.n > 0) {
		add(&t, SLICE(">"));
		add(&t, e->inner);
		add(&t, SLICE("</"));
		add_qname(&t, e->head.prefix, e->head.name);
		add(&t, SLICE(">"));
	} else {
		add(&t, SLICE("/>"));
	}
	if (t.err)
		buf_truncate(out, len);
	return t.err;
}

static void write_error_element(struct xml_writer *w, const char *type, const char *condition, const char *text)
{
	xml_start(w, "error");
	xml_attr_str(w, "type", type);
	xml_start(w, condition);
	xml_attr_str(w, "xmlns", NS_STANZA_ERRORS);
	xml_end(w, condition);
	if (text != NULL) {
		xml_start(w, "text");
		xml_attr_str(w, "xmlns", NS_STANZA_ERRORS);
		xml_attr_str(w, "xml:lang", "en");
		xml_text(w, slice_str(text));
		xml_end(w, "text");
	}
	xml_end(w, "error");
}

int stanza_write_error(struct buf *out, const struct xml_element *e, const char *ns, const char *type, const char *condition,
		       const char *text)
{
	enum stanza_kind kind = kind_by_name(e->head.name);
	ASSERT(kind != STANZA_NONE);
	if (slice_is(xml_attr_get(&e->head, "type"), "error"))
		return -ERR_INVALID;
	size_t len = buf_len(out);
	struct xml_writer w;
	xml_writer_init(&w, out);
	xml_start(&w, kind_names[kind]);
	xml_attr_str(&w, "xmlns", ns);
	xml_attr(&w, "from", xml_attr_get(&e->head, "to"));
	xml_attr(&w, "to", xml_attr_get(&e->head, "from"));
	xml_attr(&w, "id", xml_attr_get(&e->head, "id"));
	xml_attr_str(&w, "type", "error");
	write_error_element(&w, type, condition, text);
	xml_end(&w, kind_names[kind]);
	int err = xml_writer_done(&w);
	if (err)
		buf_truncate(out, len);
	return err;
}

/* ---- reading one given whole ---- */

/* What is between the tags of the synthetic header. Each thread keeps one with its parser, as making a parser costs more than a stanza. */
struct whole {
	struct xml_parser *parser;
	struct slice xml;
	void (*fn)(void *arg, const struct xml_element *e);
	void *arg;
	bool seen;
	int err;                 /* until the element was seen to be all there is: -ERR_XML_NOT_WELL_FORMED */
};

static _Thread_local struct whole *kept;
static pthread_key_t kept_key;   /* only for its destructor */
static pthread_once_t kept_once = PTHREAD_ONCE_INIT;

static void on_header(void *arg, const struct xml_head *h, struct slice default_ns)
{
	(void)arg, (void)h, (void)default_ns;
}

static void on_element(void *arg, const struct xml_element *e)
{
	struct whole *w = arg;
	const char *end = e->raw.p + e->raw.n;
	bool first = !w->seen;
	w->seen = true;
	if (!first || !xml_is_space((struct slice){end, (size_t)(w->xml.p + w->xml.n - end)}))
		return;
	w->err = slice_is(e->head.ns, NS_CLIENT) ? 0 : -ERR_XML_NAMESPACE;
	if (!w->err)
		w->fn(w->arg, e);
}

static void on_footer(void *arg)
{
	(void)arg; /* the element was not all there is, as on_element() saw; or there was none */
}

static const struct xml_parser_ops whole_ops = {.header = on_header, .element = on_element, .footer = on_footer};

static void whole_free(void *arg)
{
	struct whole *w = arg;
	xml_parser_free(w->parser);
	free(w);
}

static void kept_key_make(void)
{
	if (pthread_key_create(&kept_key, whole_free) != 0)
		abort();
}

static struct whole *whole_new(const struct xml_limits *limits)
{
	struct whole *w = NEW(struct whole);
	w->parser = xml_parser_new(limits, &whole_ops, w);
	xml_parser_begin_inside(w->parser, SLICE("<x>"));
	return w;
}

/* The kept one is taken while it is used: fn may come here again. */
static struct whole *whole_take(const struct xml_limits *limits)
{
	struct whole *w = kept;
	if (w == NULL)
		return whole_new(limits);
	kept = NULL;
	(void)pthread_setspecific(kept_key, NULL);
	xml_parser_set_limits(w->parser, limits);
	return w;
}

static void whole_give(struct whole *w, bool clean)
{
	(void)pthread_once(&kept_once, kept_key_make);
	if (!clean || kept != NULL || pthread_setspecific(kept_key, w) != 0)
		whole_free(w);
	else
		kept = w;
}

int stanza_parse(struct slice xml, const struct xml_limits *limits, void (*fn)(void *arg, const struct xml_element *e), void *arg)
{
	struct whole *w = whole_take(limits);
	w->xml = xml;
	w->fn = fn;
	w->arg = arg;
	w->seen = false;
	w->err = -ERR_XML_NOT_WELL_FORMED;
	size_t used;
	int err = xml_parser_feed(w->parser, xml, &used);
	if (!err)
		err = w->err;
	whole_give(w, !err && xml_parser_idle(w->parser));
	return err;
}
