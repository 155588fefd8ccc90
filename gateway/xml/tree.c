/*
 * A tree of one element, in one arena. What plain.c can read is taken from there. Else the element is parsed between the tags of a
 * synthetic root that declares what is already in force. Text is kept in pieces while an element is open and joined once at its end, so
 * that no input costs more than linear time. Nothing recurses.
 */
#include "xml/tree.h"

#include <stdlib.h>

#include "common/err.h"
#include "xml/ns.h"
#include "xml/plain.h"
#include "xml/restrict.h"
#include "xml/writer.h"

#define BLOCK_BYTES 4096
/* The declarations of a stream header and of one more tag, escaped. */
#define WRAPPER_MAX ((size_t)512 << 10)

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(max_align_t) char bytes[];
};

struct piece {
	struct piece *next;
	size_t n;
	const char *text;
};

/* An element that is not closed yet. */
struct open_node {
	struct open_node *parent;
	struct xml_node *node, *last_child;
	struct piece *first, *last;
};

struct xml_tree {
	struct block *blocks;
	struct xml_node *root;
	/* While parsing. */
	struct xml_expat expat;
	const struct xml_limits *limits;
	struct slice xml;
	size_t wrapper_n;            /* bytes of the synthetic root's start tag */
	struct open_node *open;
	unsigned depth;              /* open elements, the synthetic root included */
	struct slice outer_ns;       /* the default namespace around it */
	size_t nr_decls;
	int64_t last_end;            /* of the last event */
	bool ending, closed;         /* the synthetic root: its end tag is fed, was seen */
	int err;
};

static void *arena_alloc(struct xml_tree *t, size_t n, size_t align)
{
	struct block *b = t->blocks;
	size_t at = b ? (b->used + align - 1) & ~(align - 1) : 0;
	if (b == NULL || at + n > b->size) {
		size_t size = n > BLOCK_BYTES ? n : BLOCK_BYTES;
		b = mem_alloc(sizeof *b + size);
		b->size = size;
		b->next = t->blocks;
		t->blocks = b;
		at = 0;
	}
	b->used = at + n;
	return b->bytes + at;
}

#define ARENA_NEW(t, type) ((type *)arena_alloc((t), sizeof(type), _Alignof(type)))

static char *arena_dup(struct xml_tree *t, struct slice s)
{
	char *p = arena_alloc(t, s.n + 1, 1);
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

static void fail(void *arg, int err)
{
	struct xml_tree *t = arg;
	if (!t->err)
		t->err = err;
	xml_expat_halt(&t->expat);
}

static void on_declare(void *arg, const char *prefix, const char *uri)
{
	struct xml_tree *t = arg;
	(void)prefix, (void)uri;
	t->nr_decls++;
}

static void add_attrs(struct xml_tree *t, struct xml_node *n, const char **atts)
{
	struct xml_tree_attr *list = arena_alloc(t, n->nr_attrs * sizeof *list, _Alignof(struct xml_tree_attr));
	for (size_t i = 0; i < n->nr_attrs; i++) {
		struct xml_qname q = xml_expat_split(atts[2 * i]);
		list[i].ns = arena_dup(t, q.ns);
		list[i].name = arena_dup(t, q.name);
		list[i].value = arena_dup(t, slice_str(atts[2 * i + 1]));
	}
	n->attrs = list;
}

static void link_node(struct xml_tree *t, struct xml_node *n)
{
	struct open_node *o = ARENA_NEW(t, struct open_node), *parent = t->open;
	*o = (struct open_node){.parent = parent, .node = n};
	if (parent == NULL)
		t->root = n;
	else if (parent->last_child == NULL)
		parent->node->child = n;
	else
		parent->last_child->next = n;
	if (parent != NULL)
		parent->last_child = n;
	t->open = o;
}

static void on_start(void *arg, const char *name, const char **atts)
{
	struct xml_tree *t = arg;
	if (t->err)
		return;
	size_t nr_attrs = 0;
	while (atts[2 * nr_attrs] != NULL)
		nr_attrs++;
	size_t nr_decls = t->nr_decls;
	int64_t at = xml_expat_at(&t->expat), end = xml_expat_end(&t->expat);
	t->nr_decls = 0;
	t->last_end = end;
	if (t->depth++ == 0)
		return;
	if (t->depth - 1 > t->limits->depth_max || (size_t)(end - at) > t->limits->tag_bytes ||
	    nr_attrs + nr_decls > t->limits->attrs_max) {
		fail(t, -ERR_XML_LIMIT);
		return;
	}
	if (t->open == NULL && t->root != NULL) {
		fail(t, -ERR_XML_NOT_WELL_FORMED);
		return;
	}
	struct xml_qname q = xml_expat_split(name);
	struct xml_node *n = ARENA_NEW(t, struct xml_node);
	*n = (struct xml_node){.ns = arena_dup(t, q.ns), .name = arena_dup(t, q.name), .text = "", .nr_attrs = nr_attrs};
	n->raw.p = t->xml.p + ((size_t)at - t->wrapper_n);
	if (nr_attrs > 0)
		add_attrs(t, n, atts);
	link_node(t, n);
}

static void join_text(struct xml_tree *t, struct open_node *o)
{
	if (o->first == NULL)
		return;
	size_t n = 0;
	for (const struct piece *p = o->first; p != NULL; p = p->next)
		n += p->n;
	char *to = arena_alloc(t, n + 1, 1);
	o->node->text = to;
	o->node->text_n = n;
	for (const struct piece *p = o->first; p != NULL; p = p->next) {
		memcpy(to, p->text, p->n);
		to += p->n;
	}
	*to = '\0';
}

static void close_node(struct xml_tree *t, const char *end)
{
	struct open_node *o = t->open;
	o->node->raw.n = (size_t)(end - o->node->raw.p);
	if (o->first != NULL && o->first->next == NULL) {
		o->node->text = o->first->text;
		o->node->text_n = o->first->n;
	} else {
		join_text(t, o);
	}
	t->open = o->parent;
}

static void on_end(void *arg, const char *name)
{
	struct xml_tree *t = arg;
	(void)name;
	if (t->err)
		return;
	if (--t->depth == 0) {
		t->closed = t->ending;
		if (!t->ending)
			fail(t, -ERR_XML_NOT_WELL_FORMED); /* "</r>" in the input itself */
		return;
	}
	t->last_end = xml_expat_end(&t->expat);
	close_node(t, t->xml.p + ((size_t)t->last_end - t->wrapper_n));
}

/* More of the piece before, when that lies at the arena's end. */
static bool extend_piece(struct xml_tree *t, struct piece *p, const char *text, size_t n)
{
	struct block *b = t->blocks;
	if (p == NULL || p->text + p->n + 1 != b->bytes + b->used || n > b->size - b->used)
		return false;
	char *to = b->bytes + b->used - 1;
	memcpy(to, text, n);
	to[n] = '\0';
	b->used += n;
	p->n += n;
	return true;
}

static void add_text(struct xml_tree *t, struct slice s)
{
	struct open_node *o = t->open;
	if (extend_piece(t, o->last, s.p, s.n))
		return;
	struct piece *p = ARENA_NEW(t, struct piece);
	*p = (struct piece){.n = s.n, .text = arena_dup(t, s)};
	if (o->last == NULL)
		o->first = p;
	else
		o->last->next = p;
	o->last = p;
}

static void on_text(void *arg, const char *text, int n)
{
	struct xml_tree *t = arg;
	if (t->err)
		return;
	struct slice s = {text, (size_t)n};
	t->last_end = xml_expat_end(&t->expat);
	if (t->open == NULL) {
		if (!xml_is_space(s))
			fail(t, -ERR_XML_NOT_WELL_FORMED);
		return;
	}
	add_text(t, s);
}

static void on_cdata(void *arg)
{
	struct xml_tree *t = arg;
	t->last_end = xml_expat_end(&t->expat);
	if (!t->err && t->open == NULL)
		fail(t, -ERR_XML_NOT_WELL_FORMED);
}

static char *declaration_name(struct slice prefix)
{
	char *name = mem_alloc(sizeof "xmlns:" + prefix.n);
	memcpy(name, "xmlns:", prefix.n ? 6 : 5);
	if (prefix.n > 0)
		memcpy(name + 6, prefix.p, prefix.n);
	return name;
}

/* The synthetic root's start tag. "r" needs no declaration of its own. */
static int wrapper_write(struct buf *out, const struct xml_nsdecl *decls, size_t nr_decls)
{
	struct xml_writer w;
	xml_writer_init(&w, out);
	xml_start(&w, "r");
	for (size_t i = 0; i < nr_decls; i++) {
		if (decls[i].prefix.n == 0 && decls[i].uri.n == 0)
			continue; /* no default namespace */
		char *name = declaration_name(decls[i].prefix);
		xml_attr(&w, name, decls[i].uri);
		free(name);
	}
	xml_leave_open(&w);
	return xml_writer_done(&w);
}

static int feed(struct xml_tree *t, struct slice s)
{
	int64_t fed = t->last_end;
	while (s.n > 0) {
		size_t n = s.n < XML_PORTION ? s.n : XML_PORTION;
		if (xml_expat_feed(&t->expat, s.p, n) != XML_STATUS_OK)
			return t->err ? t->err : xml_expat_error(&t->expat);
		fed += (int64_t)n;
		if (fed - t->last_end > (int64_t)t->limits->tag_bytes)
			return -ERR_XML_LIMIT;
		s = (struct slice){s.p + n, s.n - n};
	}
	return 0;
}

static int parse(struct xml_tree *t, struct slice wrapper)
{
	t->wrapper_n = wrapper.n;
	if (xml_expat_feed(&t->expat, wrapper.p, wrapper.n) != XML_STATUS_OK)
		return xml_expat_error(&t->expat);
	int err = feed(t, t->xml);
	if (err)
		return err;
	/* What is left open or unfinished shows when the end follows. */
	t->ending = true;
	if (t->root == NULL || t->open != NULL || xml_expat_feed(&t->expat, "</r>", 4) != XML_STATUS_OK || !t->closed)
		return -ERR_XML_NOT_WELL_FORMED;
	return 0;
}

static void expat_start(struct xml_tree *t)
{
	xml_expat_open(&t->expat, t->limits, fail, t);
	XML_Parser parser = t->expat.parser;
	XML_SetElementHandler(parser, on_start, on_end);
	XML_SetCharacterDataHandler(parser, on_text);
	XML_SetCdataSectionHandler(parser, on_cdata, on_cdata);
	XML_SetStartNamespaceDeclHandler(parser, on_declare);
}

static int parse_with_expat(struct xml_tree *t, const struct xml_nsdecl *decls, size_t nr_decls)
{
	struct buf wrapper;
	buf_init(&wrapper, WRAPPER_MAX);
	expat_start(t);
	int err = wrapper_write(&wrapper, decls, nr_decls);
	if (!err)
		err = parse(t, buf_slice(&wrapper));
	xml_expat_close(&t->expat);
	buf_clear(&wrapper);
	return err;
}

/* ---- without expat ---- */

static void plain_start(void *arg, const struct xml_plain_tag *tag)
{
	struct xml_tree *t = arg;
	struct xml_node *n = ARENA_NEW(t, struct xml_node);
	*n = (struct xml_node){.name = arena_dup(t, tag->name), .text = "", .nr_attrs = tag->nr_attrs};
	if (tag->ns.p == NULL && t->open != NULL)
		n->ns = t->open->node->ns;   /* no name has a prefix */
	else
		n->ns = arena_dup(t, tag->ns.p != NULL ? tag->ns : t->outer_ns);
	n->raw.p = tag->at;
	if (tag->nr_attrs > 0) {
		struct xml_tree_attr *list = arena_alloc(t, tag->nr_attrs * sizeof *list, _Alignof(struct xml_tree_attr));
		for (size_t i = 0; i < tag->nr_attrs; i++) {
			const struct xml_attr *a = &tag->attrs[i];
			list[i].ns = a->ns.n > 0 ? NS_XML : "";
			list[i].name = arena_dup(t, a->name);
			list[i].value = arena_dup(t, a->value);
		}
		n->attrs = list;
	}
	link_node(t, n);
}

static void plain_text(void *arg, struct slice text)
{
	add_text(arg, text);
}

static void plain_end(void *arg, const char *behind)
{
	close_node(arg, behind);
}

static bool parse_plain(struct xml_tree *t, const struct xml_nsdecl *decls, size_t nr_decls)
{
	static const struct xml_plain_sink sink = {.start = plain_start, .text = plain_text, .end = plain_end};
	struct xml_plain plain;
	for (size_t i = 0; i < nr_decls; i++)
		if (decls[i].prefix.n == 0)
			t->outer_ns = decls[i].uri;
	return xml_plain_walk(&plain, t->xml, t->limits, &sink, t) == t->xml.n;
}

/* ---- life ---- */

static struct xml_tree *tree_new(struct slice xml, const struct xml_limits *limits)
{
	struct xml_tree *t = NEW(struct xml_tree);
	t->xml = xml;
	t->limits = limits;
	return t;
}

struct xml_tree *xml_tree_parse(struct slice xml, const struct xml_limits *limits, const struct xml_nsdecl *decls, size_t nr_decls)
{
	if (xml.n == 0 || xml.n > limits->element_bytes)
		return NULL;
	struct xml_tree *t = tree_new(xml, limits);
	if (!parse_plain(t, decls, nr_decls)) {
		xml_tree_free(t);
		t = tree_new(xml, limits);
		if (parse_with_expat(t, decls, nr_decls) != 0) {
			xml_tree_free(t);
			return NULL;
		}
	}
	t->limits = NULL; /* borrowed until here */
	return t;
}

struct xml_node *xml_tree_root(struct xml_tree *t)
{
	return t->root;
}

void xml_tree_free(struct xml_tree *t)
{
	if (t == NULL)
		return;
	struct block *next;
	for (struct block *b = t->blocks; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	free(t);
}

const char *xml_node_attr(const struct xml_node *n, const char *name)
{
	for (size_t i = 0; i < n->nr_attrs; i++)
		if (n->attrs[i].ns[0] == '\0' && strcmp(n->attrs[i].name, name) == 0)
			return n->attrs[i].value;
	return NULL;
}

bool xml_node_is(const struct xml_node *n, const char *ns, const char *name)
{
	return (ns == NULL || strcmp(n->ns, ns) == 0) && (name == NULL || strcmp(n->name, name) == 0);
}

struct xml_node *xml_node_child(const struct xml_node *n, const char *ns, const char *name)
{
	for (struct xml_node *c = n->child; c != NULL; c = c->next)
		if (xml_node_is(c, ns, name))
			return c;
	return NULL;
}
