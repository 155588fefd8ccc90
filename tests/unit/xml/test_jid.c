/* Addresses: what is valid, what it becomes, and that prepared is prepared. */
#include <check.h>
#include <stdlib.h>

#include "common/err.h"
#include "xml/jid.h"

#define E_ACUTE "\xc3\xa9"

static void becomes(const char *text, size_t n, const char *want)
{
	struct jid j;
	int err = jid_parse(&j, (struct slice){text, n});
	if (want == NULL) {
		CHECK_EQ(err, -ERR_INVALID);
		CHECK(jid_empty(&j));
	} else {
		CHECK_EQ(err, 0);
		CHECK_STR(err ? NULL : j.full_, want);
	}
	if (check_bad_)
		fprintf(stderr, "address: %.*s\n", (int)n, text);
	jid_clear(&j);
}

static const struct {
	const char *text, *want;
} addresses[] = {
	{"example.com", "example.com"},
	{"Alice@Example.COM/Home", "alice@example.com/Home"},
	{"a@b/c/d@e", "a@b/c/d@e"},
	{"b/c@d", "b/c@d"},
	{"a@example.com.", "a@example.com"},
	{"a@example.com./r", "a@example.com/r"},
	{"localhost", "localhost"},
	{"a@127.0.0.1", "a@127.0.0.1"},
	{"a@[::1]/r", "a@[::1]/r"},
	{"a@[2001:DB8:0::1]", "a@[2001:db8::1]"},
	{"a@xn--bcher-kva.example", "a@b\xc3\xbc""cher.example"},
	{"a@XN--BCHER-KVA.example", "a@b\xc3\xbc""cher.example"},
	{"a@B\xc3\x9c""CHER.example", "a@b\xc3\xbc""cher.example"},
	{"a@bu\xcc\x88""cher.example", "a@b\xc3\xbc""cher.example"},
	{"a@ex\xe3\x80\x82""ample", "a@ex.ample"},
	{"a@example\xe3\x80\x82", "a@example"},
	{"a@\xef\xbd\x85xample", "a@example"},
	{"\xc3\x89lan@a", E_ACUTE "lan@a"},
	{"e\xcc\x81lan@a", E_ACUTE "lan@a"},
	{"stra\xc3\x9f""e@a", "strasse@a"},
	{"\xef\xbc\xa1@a", "a@a"},
	{"a@b/ x y ", "a@b/ x y "},
	{"a@b/\xe2\x85\xa7", "a@b/VIII"},
	{"a@b/\xc3\x89", "a@b/\xc3\x89"},
	{"a@b/\xf0\x9f\x93\xb1", "a@b/\xf0\x9f\x93\xb1"},
	{"a.b-c_d+e=f!#$%*?^`{|}~@b", "a.b-c_d+e=f!#$%*?^`{|}~@b"},
	{"", NULL},
	{"@", NULL},
	{"/", NULL},
	{"@b", NULL},
	{"a@", NULL},
	{"b/", NULL},
	{"a@b/", NULL},
	{"a@/c", NULL},
	{"/c", NULL},
	{"a@b@c", NULL},
	{"a b@c", NULL},
	{"a@b c", NULL},
	{"a\"@b", NULL},
	{"a&@b", NULL},
	{"a'@b", NULL},
	{"a:@b", NULL},
	{"a<@b", NULL},
	{"a>@b", NULL},
	{"a\x7f@b", NULL},
	{"a\n@b", NULL},
	{"a@b/c\n", NULL},
	{"a@b/\x7f", NULL},
	{".", NULL},
	{"a@.", NULL},
	{"a@b..", NULL},
	{"a@b..c", NULL},
	{"a@.b", NULL},
	{"a@-b", NULL},
	{"a@b-", NULL},
	{"a@b_c", NULL},
	{"a@b:5222", NULL},
	{"a@b?c", NULL},
	{"a@[::1", NULL},
	{"a@[]", NULL},
	{"a@[::1]x", NULL},
	{"a@[fe80::1%eth0]", NULL},
	{"a@[127.0.0.1]", NULL},
	{"a@[v1.x]", NULL},
	{"a@xn--a", NULL},
	{"a@xn--", NULL},
	{"a@xn--bcher-kva8445foa.example", NULL},
	{"a@xn--bcher-kva8446foa", NULL},        /* libidn2 itself lets that A-label pass */
	{"a@b\xe2\x84\x80""c", NULL},            /* U+2100 holds a '/' once normalised */
	{"a@b\xef\xbc\x8f""c", NULL},            /* a fullwidth '/' */
	{"a@b\xef\xbc\xa0""c", NULL},            /* a fullwidth '@' */
	{"a\xef\xbc\xa0""b@c", NULL},
	{"a\xef\xbc\x8f""b@c", NULL},
	{"a@\xf0\x9f\x93\xb1.example", NULL},    /* no emoji in IDNA2008 */
	{"\xff@b", NULL},
	{"a@\xff", NULL},
	{"a@b/\xff", NULL},
	{"a@b/\xc3", NULL},
	{"a@b/\xed\xa0\x80", NULL},
	{"a@b/\xc0\x80", NULL},
	{"a@b/\xe2\x80\x8e", NULL},              /* left-to-right mark */
	{"\xc2\xad@b", NULL},                    /* a soft hyphen prepares to nothing */
	{"a@b/\xc2\xad", NULL},
	{"\xd8\xa7" "a@b", NULL},                /* right-to-left mixed with left-to-right */
};

static void test_parse(void)
{
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
		becomes(addresses[i].text, strlen(addresses[i].text), addresses[i].want);
	becomes("a\0b@c", 5, NULL);
	becomes("a@b\0c", 5, NULL);
	becomes("a@b/c\0d", 7, NULL);
	becomes("a@b/\0", 5, NULL);
}

static void test_prepared_stays(void)
{
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
		if (addresses[i].want != NULL)
			becomes(addresses[i].want, strlen(addresses[i].want), addresses[i].want);
}

static void test_parts(void)
{
	struct jid j, copy;
	CHECK_EQ(jid_parse(&j, SLICE("A@B/C")), 0);
	CHECK(slice_is(j.local, "a") && slice_is(j.domain, "b") && slice_is(j.resource, "C"));
	CHECK(slice_is(j.bare, "a@b") && slice_is(j.full, "a@b/C"));
	CHECK_EQ(jid_copy(&copy, &j), 0);
	jid_clear(&j);
	CHECK(jid_empty(&j) && !jid_empty(&copy));
	CHECK(slice_is(copy.local, "a") && slice_is(copy.bare, "a@b") && slice_is(copy.full, "a@b/C"));
	CHECK(copy.local.p == copy.full_);
	jid_clear(&copy);
	CHECK_EQ(jid_copy(&copy, &j), 0);
	CHECK(jid_empty(&copy));
	CHECK_EQ(jid_parse(&j, SLICE("b")), 0);
	CHECK(slice_empty(j.local) && slice_empty(j.resource) && slice_is(j.bare, "b") && slice_is(j.full, "b"));
	jid_clear(&j);
	CHECK_EQ(jid_make(&j, SLICE("X"), SLICE("Y."), SLICE("z@/")), 0);
	CHECK(slice_is(j.full, "x@y/z@/") && slice_is(j.bare, "x@y"));
	jid_clear(&j);
	CHECK_EQ(jid_make(&j, SLICE_NONE, SLICE("y"), SLICE("z")), 0);
	CHECK(slice_is(j.full, "y/z") && slice_is(j.bare, "y"));
	jid_clear(&j);
	CHECK_EQ(jid_make(&j, SLICE("a@b"), SLICE("c"), SLICE_NONE), -ERR_INVALID);
	CHECK_EQ(jid_make(&j, SLICE("a"), SLICE("b/c"), SLICE_NONE), -ERR_INVALID);
	CHECK_EQ(jid_make(&j, SLICE("a"), SLICE_NONE, SLICE_NONE), -ERR_INVALID);
	CHECK_EQ(jid_parse(&j, SLICE_NONE), -ERR_INVALID);
}

static bool prepares(char *(*prep)(struct slice), const char *unit, size_t times, const char *end)
{
	size_t n = strlen(unit);
	char *s = malloc(n * times + strlen(end));
	for (size_t i = 0; i < times; i++)
		memcpy(s + n * i, unit, n);
	memcpy(s + n * times, end, strlen(end));
	char *prepared = prep((struct slice){s, n * times + strlen(end)});
	bool ok = prepared != NULL;
	if (ok && strlen(prepared) > 1023)
		CHECK(!"longer than RFC 7622 permits");
	free(prepared);
	free(s);
	return ok;
}

static void test_lengths(void)
{
	CHECK(prepares(jid_prep_local, "a", 1023, "") && !prepares(jid_prep_local, "a", 1024, ""));
	CHECK(prepares(jid_prep_resource, "a", 1023, "") && !prepares(jid_prep_resource, "a", 1024, ""));
	CHECK(prepares(jid_prep_local, E_ACUTE, 511, "a") && !prepares(jid_prep_local, E_ACUTE, 512, ""));
	CHECK(prepares(jid_prep_resource, E_ACUTE, 511, "a") && !prepares(jid_prep_resource, E_ACUTE, 512, ""));
	/* It is the prepared form that counts, either way. */
	CHECK(prepares(jid_prep_local, "e\xcc\x81", 511, "a"));
	CHECK(!prepares(jid_prep_resource, "\xef\xb7\xba", 100, "")); /* one character, 18 when normalised */
	CHECK(!prepares(jid_prep_local, "a\xc2\xad", 100000, ""));
	CHECK(prepares(jid_prep_domain, "a", 63, "") && !prepares(jid_prep_domain, "a", 64, ""));
	CHECK(prepares(jid_prep_domain, "a.", 126, "b") && !prepares(jid_prep_domain, "a.", 127, "b"));
	CHECK(!prepares(jid_prep_domain, "\xc3\xbc", 100, ""));
	CHECK(!prepares(jid_prep_domain, "\xc3\xbc.", 500, "a"));
}

/* RFC 7622 section 3.3.1, and no spaces; section 3.4; labels as in RFC 1123. What is printed nowhere is nowhere. */
static void test_every_ascii_character(void)
{
	for (int c = 0; c < 128; c++) {
		char text[] = {'x', (char)c, 'y'};
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool printed = c >= ' ' && c <= '~';
		bool label = letter || (c >= '0' && c <= '9') || c == '-' || c == '.';
		bool local = printed && strchr("\"&'/:<>@ ", c) == NULL;
		char *l = jid_prep_local((struct slice){text, 3}), *r = jid_prep_resource((struct slice){text, 3});
		char *d = jid_prep_domain((struct slice){text, 3});

		CHECK_EQ(l != NULL, local);
		CHECK_EQ(r != NULL, printed);
		CHECK_EQ(d != NULL, label);
		CHECK(l == NULL || (l[1] == (letter ? c | 0x20 : c) && strlen(l) == 3));
		CHECK(r == NULL || memcmp(r, text, 3) == 0);
		CHECK(d == NULL || (d[1] == (letter ? c | 0x20 : c) && strlen(d) == 3));
		if (check_bad_)
			fprintf(stderr, "character %d\n", c);
		free(l);
		free(r);
		free(d);
	}
	CHECK(jid_prep_local(SLICE_NONE) == NULL && jid_prep_resource(SLICE_NONE) == NULL && jid_prep_domain(SLICE_NONE) == NULL);
	CHECK(jid_prep_domain(SLICE(".")) == NULL && jid_prep_domain(SLICE("a..")) == NULL && jid_prep_domain(SLICE(".a")) == NULL);
}

static void ascii_is(const char *domain, const char *want)
{
	char *ascii = jid_domain_ascii(slice_str(domain));
	if (want == NULL)
		CHECK(ascii == NULL);
	else
		CHECK_STR(ascii, want);
	free(ascii);
}

static void test_ascii(void)
{
	ascii_is("Example.com.", "example.com");
	ascii_is("b\xc3\xbc""cher.example", "xn--bcher-kva.example");
	ascii_is("xn--bcher-kva.example", "xn--bcher-kva.example");
	ascii_is("stra\xc3\x9f""e.example", "xn--strae-oqa.example");
	ascii_is("[::1]", "[::1]");
	ascii_is("192.0.2.1", "192.0.2.1");
	ascii_is("a b", NULL);
	ascii_is("", NULL);
}

static size_t utf8_encode(uint32_t c, char *to)
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		to[i] = (char)(0x80 | (c & 0x3f));
	to[0] = (char)(lead[n] | c);
	return n;
}

/* Whatever the libraries' tables hold: nothing prepares to something that prepares otherwise, and no character turns into a separator or a
 * quote. */
static void test_every_character(void)
{
	char *(*const preps[])(struct slice) = {jid_prep_local, jid_prep_domain, jid_prep_resource};
	static const char *const never[] = {"\"&'/:<>@ ", "\"&'/:<>@ \\", ""};
	for (uint32_t c = 1; c < 0x20000 && !check_bad_; c++) {
		char text[8] = "x";
		struct slice s = {text, 1 + utf8_encode(c, text + 1)};
		if (c >= 0xd800 && c < 0xe000)
			continue;
		text[s.n++] = 'y';
		for (size_t i = 0; i < ARRAY_LEN(preps); i++) {
			char *once = preps[i](s);
			if (once == NULL)
				continue;
			char *twice = preps[i](slice_str(once));
			CHECK_STR(twice, once);
			CHECK(strpbrk(once, never[i]) == NULL);
			if (check_bad_)
				fprintf(stderr, "U+%04X in part %zu\n", (unsigned)c, i);
			free(once);
			free(twice);
		}
	}
}

int main(void)
{
	RUN(test_parse);
	RUN(test_prepared_stays);
	RUN(test_parts);
	RUN(test_lengths);
	RUN(test_every_ascii_character);
	RUN(test_ascii);
	RUN(test_every_character);
	return check_done("unit.xml.jid");
}
