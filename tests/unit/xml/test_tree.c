/* The tree: shape, text, namespaces in force, limits, and input that tries to leave its wrapper. */
#include <check.h>
#include <stdlib.h>

#include "xml/ns.h"
#include "xml/tree.h"

static const struct xml_limits limits = {.element_bytes = 1 << 20, .tag_bytes = 4096, .depth_max = 50, .attrs_max = 16};

static struct xml_tree *parse(const char *s)
{
	return xml_tree_parse(slice_str(s), &limits, NULL, 0);
}

static void test_shape(void)
{
	static const char text[] =
		"<iq xmlns='jabber:client' type='set' id='a&amp;b' xml:lang='en'>one<bind xmlns='urn:b'><resource>r</resource>"
		"</bind>two<x/>&lt;three<![CDATA[<&]]></iq>";
	struct xml_tree *t = parse(text);
	CHECK(t != NULL);
	if (t == NULL)
		return;
	struct xml_node *n = xml_tree_root(t);
	CHECK(xml_node_is(n, NS_CLIENT, "iq") && !xml_node_is(n, NS_SERVER, "iq") && !xml_node_is(n, NULL, "i") &&
	      xml_node_is(n, NULL, NULL));
	CHECK_STR(xml_node_attr(n, "id"), "a&b");
	CHECK(xml_node_attr(n, "lang") == NULL && xml_node_attr(n, "x") == NULL);
	CHECK_EQ(n->nr_attrs, 3);
	CHECK_STR(n->attrs[2].ns, NS_XML);
	CHECK_STR(n->text, "onetwo<three<&");
	CHECK_EQ(n->text_n, strlen(n->text));
	CHECK(slice_is(n->raw, text));
	struct xml_node *bind = xml_node_child(n, "urn:b", "bind");
	CHECK(bind != NULL && bind == n->child);
	CHECK(slice_is(bind->raw, "<bind xmlns='urn:b'><resource>r</resource></bind>"));
	CHECK_STR(xml_node_child(bind, "urn:b", "resource")->text, "r");
	CHECK(xml_node_child(n, NS_CLIENT, "bind") == NULL);
	CHECK(xml_node_child(n, NULL, "x") == bind->next);
	CHECK(slice_is(bind->next->raw, "<x/>"));
	CHECK_STR(bind->next->text, "");
	CHECK(bind->next->next == NULL && bind->next->child == NULL);
	xml_tree_free(t);
	xml_tree_free(NULL);
}

static void test_decls(void)
{
	const struct xml_nsdecl decls[] = {{SLICE(""), SLICE("urn:d'&")}, {SLICE("p"), SLICE("urn:p")}};
	struct xml_tree *t = xml_tree_parse(SLICE("<a><p:b p:c=''/></a>"), &limits, decls, 2);
	CHECK(t != NULL);
	if (t == NULL)
		return;
	CHECK(xml_node_is(xml_tree_root(t), "urn:d'&", "a"));
	CHECK(xml_node_is(xml_tree_root(t)->child, "urn:p", "b"));
	CHECK_STR(xml_tree_root(t)->child->attrs[0].ns, "urn:p");
	CHECK(xml_node_attr(xml_tree_root(t)->child, "c") == NULL);
	CHECK(slice_is(xml_tree_root(t)->child->raw, "<p:b p:c=''/>"));
	xml_tree_free(t);
	CHECK(parse("<a><p:b/></a>") == NULL);
	const struct xml_nsdecl none[] = {{SLICE(""), SLICE("")}};
	t = xml_tree_parse(SLICE("<a/>"), &limits, none, 1);
	CHECK(t != NULL);
	CHECK_STR(xml_tree_root(t)->ns, "");
	xml_tree_free(t);
}

static void test_refused(void)
{
	static const char *const bad[] = {"",
					  " ",
					  "<a>",
					  "<a/><b/>",
					  "<a/>x",
					  "x<a/>",
					  "<a/></r>",
					  "</r><r><a/>",
					  "<a/></r><r>",
					  "</r>",
					  "<a></r>",
					  "<a/><b",
					  "<a/><!-- x",
					  "<a/><!-- x -->",
					  "<a><?p x?></a>",
					  "<!DOCTYPE a><a/>",
					  "<a>&x;</a>",
					  "<a/>&#65;",
					  "<a/><![CDATA[]]>",
					  "<a/><![CDATA[",
					  "<a b='1' b='2'/>",
					  "<a>\xff</a>",
					  "<a/>\xc3",
					  "<?xml version='1.0'?><a/>",
					  "\xef\xbb\xbf<a/>"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct xml_tree *t = parse(bad[i]);
		CHECK(t == NULL);
		if (t != NULL)
			fprintf(stderr, "accepted: %s\n", bad[i]);
		xml_tree_free(t);
	}
	struct xml_tree *t = parse(" \n<a/>\r\n");
	CHECK(t != NULL);
	CHECK(t == NULL || slice_is(xml_tree_root(t)->raw, "<a/>"));
	xml_tree_free(t);
}

static bool accepted(const char *s, size_t n, const struct xml_limits *l)
{
	struct xml_tree *t = xml_tree_parse((struct slice){s, n}, l, NULL, 0);
	xml_tree_free(t);
	return t != NULL;
}

static void test_limits(void)
{
	const struct xml_limits small = {.element_bytes = 100, .tag_bytes = 30, .depth_max = 2, .attrs_max = 2};
	static char bomb[60000];
	for (size_t i = 0; i < sizeof bomb; i += 3)
		memcpy(bomb + i, "<a>", 3);
	CHECK(!accepted(bomb, sizeof bomb, &limits));
	CHECK(accepted("<a><b/></a>", 11, &small));
	CHECK(!accepted("<a><b><c/></b></a>", 18, &small));
	CHECK(accepted("<a b='' c=''/>", 14, &small));
	CHECK(!accepted("<a b='' c='' d=''/>", 19, &small));
	CHECK(!accepted("<a xmlns='u' c='' d=''/>", 24, &small));
	CHECK(!accepted("<a b='0123456789012345678901234567890'/>", 40, &small));
	memset(bomb, 'x', sizeof bomb);
	memcpy(bomb, "<a>", 3);
	memcpy(bomb + 96, "</a>", 4);
	CHECK(accepted(bomb, 100, &small));
	memcpy(bomb + 96, "x</a>", 5);
	CHECK(!accepted(bomb, 101, &small));
}

/* Text in many pieces is joined once. */
static void test_many_pieces(void)
{
	size_t nr = 100000, n = 0;
	char *s = malloc(nr * 6 + 16);
	n += (size_t)snprintf(s, 16, "<a>");
	for (size_t i = 0; i < nr; i++, n += 5)
		memcpy(s + n, "x<b/>", 5);
	memcpy(s + n, "</a>", 4);
	struct xml_tree *t = xml_tree_parse((struct slice){s, n + 4}, &limits, NULL, 0);
	CHECK(t != NULL);
	if (t != NULL)
		CHECK_EQ(xml_tree_root(t)->text_n, nr);
	xml_tree_free(t);
	free(s);
}

/* One text that expat gives in several calls, across its own and the arena's borders. */
static void test_long_text(void)
{
	static char s[200000], want[200000];
	size_t n = 3, w = 0;
	memcpy(s, "<a>", 3);
	for (int i = 0; i < 15000; i++) {
		memcpy(s + n, "ab\n&lt;cd", 9);
		memcpy(want + w, "ab\n<cd", 6);
		n += 9;
		w += 6;
	}
	memcpy(s + n, "</a>", 4);
	struct xml_tree *t = xml_tree_parse((struct slice){s, n + 4}, &limits, NULL, 0);
	CHECK(t != NULL);
	if (t != NULL)
		CHECK_STR(xml_tree_root(t)->text, want);
	xml_tree_free(t);
}

int main(void)
{
	RUN(test_shape);
	RUN(test_decls);
	RUN(test_refused);
	RUN(test_limits);
	RUN(test_many_pieces);
	RUN(test_long_text);
	return check_done("unit.xml.tree");
}
