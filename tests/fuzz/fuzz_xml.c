/*
 * The parser against itself: a stream fed whole and fed in pieces, with stops and with its memory taken away, tells the same. Whole, most
 * elements and headers are told without expat (plain.c); in pieces that end inside them, by expat: so each is held against the other, and
 * so are the trees of an element. What
 * stanza_write() makes of each element holds the same information as the element in its stream, and stanza_parse() takes it. A tree is
 * given for what the parser takes, and only for that.
 *
 * The first byte picks limits and header, the second seeds the cuts.
 */
#include "../unit/xml/events.h"
#include "../unit/xml/sametree.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct xml_limits roomy = {.element_bytes = 65536, .tag_bytes = 16384, .depth_max = 100, .attrs_max = 64};
static const struct xml_limits tight = {.element_bytes = 200, .tag_bytes = 80, .depth_max = 3, .attrs_max = 3};

static const char *const headers[] = {
	"",
	C2S,
	"<s xmlns:p='jabber:client' xmlns:x=\"urn:'x&quot;\">",
	("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "
	 "xmlns:x='urn:x'>"),
};

#define ATTRS_MAX 1000

#define REQUIRE(cond)                                                     \
	do {                                                              \
		if (!(cond)) {                                            \
			fprintf(stderr, "violated: %s\n", #cond);         \
			abort();                                          \
		}                                                         \
	} while (0)

static void count(void *arg, const struct xml_element *e)
{
	(void)e;
	++*(int *)arg;
}

/* The stream's language comes to an element that has none of its own (RFC 6120 section 8.1.5), and nothing else does. */
static bool same_element(const struct xml_element *e, const struct xml_node *a, const struct xml_node *b)
{
	struct xml_tree_attr rest[ATTRS_MAX];
	struct xml_node without = *b;
	bool own = xml_attr_get_ns(&e->head, NS_XML, "lang").p != NULL;

	without.nr_attrs = 0;
	for (size_t i = 0; i < b->nr_attrs; i++) {
		bool lang = strcmp(b->attrs[i].ns, NS_XML) == 0 && strcmp(b->attrs[i].name, "lang") == 0;
		if (!lang || own)
			rest[without.nr_attrs++] = b->attrs[i];
		else
			REQUIRE(slice_is(e->lang, b->attrs[i].value));
	}
	REQUIRE(own || e->lang.n == 0 || without.nr_attrs + 1 == b->nr_attrs);
	without.attrs = rest;
	return same_tree(a, &without, NS_CLIENT, NS_CLIENT);
}

/* Written in its own namespaces it is the same element, and complete. */
static void check_rewritten(const struct xml_element *e, const char *from_ns, const char *to_ns)
{
	struct buf out;
	buf_init(&out, (size_t)4 << 20);
	REQUIRE(stanza_write(&out, e, from_ns, to_ns, SLICE_NONE, SLICE_NONE) == 0);
	struct slice written = buf_slice(&out);
	struct xml_limits more = roomy;
	more.attrs_max = ATTRS_MAX; /* declarations of the header may have come to it */
	more.tag_bytes = more.element_bytes = (size_t)1 << 20;
	struct xml_tree *a = xml_tree_parse(e->raw, &roomy, e->decls, e->nr_decls), *b = xml_tree_parse(written, &more, NULL, 0);
	REQUIRE(a != NULL && b != NULL);
	/* Conversion reaches what inherits the namespace, not what declares it anew: there only being well-formed is compared. */
	if (strcmp(from_ns, to_ns) == 0)
		REQUIRE(same_element(e, xml_tree_root(a), xml_tree_root(b)));
	int nr = 0;
	int err = stanza_parse(written, &more, count, &nr);
	REQUIRE(err == 0 ? nr == 1 : err == -ERR_XML_NAMESPACE && nr == 0);
	REQUIRE((err == 0) == (strcmp(xml_tree_root(b)->ns, NS_CLIENT) == 0));
	xml_tree_free(a);
	xml_tree_free(b);
	buf_clear(&out);
}

static void check_stamped(const struct xml_element *e)
{
	struct buf out;
	buf_init(&out, (size_t)4 << 20);
	REQUIRE(stanza_write(&out, e, NS_SERVER, NS_CLIENT, SLICE("a@b/<'&\">"), SLICE("")) == 0);
	struct xml_limits more = roomy;
	more.attrs_max = 1000;
	more.tag_bytes = more.element_bytes = (size_t)1 << 20;
	struct xml_tree *t = xml_tree_parse(buf_slice(&out), &more, NULL, 0);
	REQUIRE(t != NULL);
	REQUIRE(strcmp(xml_node_attr(xml_tree_root(t), "from"), "a@b/<'&\">") == 0);
	REQUIRE(xml_node_attr(xml_tree_root(t), "to") == NULL);
	xml_tree_free(t);
	buf_clear(&out);
}

static void check_element(const struct xml_element *e)
{
	check_rewritten(e, NS_CLIENT, NS_CLIENT);
	check_rewritten(e, NS_CLIENT, NS_SERVER);
	check_rewritten(e, NS_SERVER, NS_CLIENT);
	check_stamped(e);
}

static int feed_cut(struct events *v, const char *p, size_t n, uint32_t seed)
{
	int err = 0;
	for (size_t at = 0; at < n && !err;) {
		seed = seed * 1664525u + 1013904223u;
		size_t piece = 1 + (seed >> 8) % (seed & 0x80000000 ? 3 : 40);
		if (piece > n - at)
			piece = n - at;
		err = events_feed(v, p + at, piece);
		if (seed & 0x40000000)
			xml_parser_release(v->parser);
		at += piece;
	}
	return err;
}

static bool is_limit(int err)
{
	return err == -ERR_XML_LIMIT || err == -ERR_XML_BLANKS;
}

/* The header alone first: what comes with it is all expat's. */
static void check_stream(const char *p, size_t header_n, size_t n, const struct xml_limits *limits, size_t blanks_max, uint32_t seed)
{
	struct events whole, cut;
	events_begin(&whole, limits);
	events_begin(&cut, limits);
	whole.on_element = check_element;
	xml_parser_set_blanks_max(whole.parser, blanks_max);
	xml_parser_set_blanks_max(cut.parser, blanks_max);
	cut.stop_each = seed & 1;
	int a = events_feed(&whole, p, header_n), b = feed_cut(&cut, p, n, seed);
	if (!a)
		a = events_feed(&whole, p + header_n, n - header_n);
	/* A limit may be seen before a fault behind it, or after. */
	if (a == b)
		REQUIRE(slice_eq(buf_slice(&whole.log), buf_slice(&cut.log)));
	else
		REQUIRE(is_limit(a) || is_limit(b));
	events_end(&whole);
	events_end(&cut);
}

/* The tree of the input as one element, against the parser behind a header. */
static void check_tree(const char *p, size_t n)
{
	struct xml_tree *t = xml_tree_parse((struct slice){p, n}, &roomy, NULL, 0);
	struct events v;
	events_begin(&v, &roomy);
	REQUIRE(events_feed_str(&v, "<r>") == 0);
	int err = events_feed(&v, p, n);
	char *spaced = malloc(n + 1);
	memcpy(spaced, p, n);
	spaced[n] = ' ';
	struct xml_tree *by_expat = xml_tree_parse((struct slice){spaced, n + 1}, &roomy, NULL, 0);
	REQUIRE((t != NULL) == (by_expat != NULL) || n == roomy.element_bytes);
	if (t != NULL && by_expat != NULL)
		REQUIRE(same_tree(xml_tree_root(t), xml_tree_root(by_expat), "", ""));
	xml_tree_free(by_expat);
	free(spaced);
	bool one = !err && v.nr_elements == 1 && v.nr_footers == 0 && xml_parser_idle(v.parser);
	if (t != NULL)
		REQUIRE(one);
	else if (one)
		/* The parser lets white space by reference pass between elements, and so does the tree; what is left is an unfinished '\r'.
		 */
		REQUIRE(n > roomy.element_bytes);
	xml_tree_free(t);
	events_end(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const char *header = headers[data[0] & 3];
	const struct xml_limits *limits = data[0] & 4 ? &tight : &roomy;
	size_t header_n = strlen(header), n = header_n + size - 2;
	char *stream = malloc(n + 1);
	memcpy(stream, header, header_n);
	memcpy(stream + header_n, data + 2, size - 2);
	check_stream(stream, header_n, n, limits, data[0] & 8 ? 20 : SIZE_MAX, data[1]);
	if (size > 2)
		check_tree(stream + header_n, size - 2);
	free(stream);
	return 0;
}
