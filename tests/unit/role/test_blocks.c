/* Who is blocked: ranges, domains and what is below them, the bound, and blocks that end. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "check.h"
#include "common/err.h"
#include "role/blocks.h"
#include "role/counts.h"

static struct blocks *b;

static int add(const char *target)
{
	return blocks_add(b, slice_str(target), UINT64_MAX, 0);
}

static bool has(const char *text)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return blocks_address(b, (const struct sockaddr *)&four, 0);
	CHECK_EQ(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return blocks_address(b, (const struct sockaddr *)&six, 0);
}

static void test_ranges(void)
{
	b = blocks_new();
	CHECK(!has("192.0.2.1"));
	CHECK_EQ(add("192.0.2.0/24"), 0);
	CHECK_EQ(add("2001:db8::/32"), 0);
	CHECK_EQ(add("198.51.100.7"), 0);
	CHECK(has("192.0.2.1") && has("::ffff:192.0.2.255") && has("2001:db8:1::1") && has("198.51.100.7"));
	CHECK(!has("192.0.3.1") && !has("2001:db9::1") && !has("198.51.100.8"));
	CHECK(!blocks_domain(b, "192.0.2.1", 0));
	blocks_free(b);
}

static void test_domains(void)
{
	b = blocks_new();
	CHECK_EQ(add("Spam.Example"), 0);
	CHECK_EQ(add("*.worse.example"), 0);
	CHECK(blocks_domain(b, "spam.example", 0));
	CHECK(!blocks_domain(b, "a.spam.example", 0) && !blocks_domain(b, "pam.example", 0));
	CHECK(blocks_domain(b, "a.worse.example", 0) && blocks_domain(b, "a.b.worse.example", 0));
	CHECK(!blocks_domain(b, "worse.example", 0) && !blocks_domain(b, "noworse.example", 0));
	CHECK_EQ(add("b\xc3\xbc" "cher.example"), 0);
	CHECK(blocks_domain(b, "b\xc3\xbc" "cher.example", 0));
	blocks_free(b);
}

static void test_what_is_no_target(void)
{
	static const char *const v[] = {"", "10", "word", "192.0.2.1/24", "192.0.2.0/33", "2001:db8::/129", "a@b.example", "b.example/r",
					"*.", "*.*.example", "..", "192.0.2"};

	b = blocks_new();
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		CHECK_EQ(add(v[i]), -ERR_INVALID);
		CHECK_EQ(blocks_remove(b, slice_str(v[i])), -ERR_INVALID);
	}
	CHECK_EQ(blocks_nr(b, 0), 0);
	blocks_free(b);
}

static void test_removal(void)
{
	b = blocks_new();
	CHECK_EQ(add("10.0.0.0/8"), 0);
	CHECK_EQ(add("spam.example"), 0);
	CHECK_EQ(add("10.0.0.0/8"), 0); /* once */
	CHECK_EQ(blocks_nr(b, 0), 2);
	CHECK_EQ(blocks_remove(b, SLICE("10.0.0.0/9")), -ERR_NOTFOUND);
	CHECK_EQ(blocks_remove(b, SLICE("::ffff:10.0.0.0/104")), 0); /* the same range */
	CHECK_EQ(blocks_remove(b, SLICE("SPAM.example")), 0);
	CHECK_EQ(blocks_nr(b, 0), 0);
	blocks_free(b);
}

static void test_blocks_end(void)
{
	b = blocks_new();
	CHECK_EQ(blocks_add(b, SLICE("spam.example"), 100, 0), 0);
	CHECK(blocks_domain(b, "spam.example", 99));
	CHECK_EQ(blocks_add(b, SLICE("spam.example"), 200, 99), 0);
	CHECK(blocks_domain(b, "spam.example", 150));
	CHECK(!blocks_domain(b, "spam.example", 200));
	CHECK_EQ(blocks_nr(b, 200), 0);
	blocks_free(b);
}

static void test_bound(void)
{
	char target[40];

	b = blocks_new();
	for (unsigned i = 0; i < BLOCKS_MAX; i++) {
		snprintf(target, sizeof target, "10.%u.%u.0/24", i / 256, i % 256);
		CHECK_EQ(add(target), 0);
	}
	CHECK_EQ(add("one.more.example"), -ERR_LIMIT);
	CHECK_EQ(add("10.0.0.0/24"), 0); /* is there already */
	CHECK(has("10.3.255.9") && !has("10.4.0.1"));
	CHECK_EQ(blocks_remove(b, SLICE("10.1.1.0/24")), 0);
	CHECK_EQ(add("one.more.example"), 0);
	blocks_free(b);
}

/* Names that clients choose are counted as "other": no new series. */
static void test_mechanisms(void)
{
	unsigned n = 0;

	while (count_mechanism_name(n) != NULL)
		n++;
	CHECK(n <= COUNT_MECHANISMS_MAX);
	CHECK_STR(count_mechanism_name(n - 1), "other");
	CHECK_EQ(count_login("PLAIN", true), count_login_at(0, true));
	CHECK(count_login("PLAIN", true) != count_login("PLAIN", false));
	CHECK_EQ(count_login("X-MINE", true), count_login_at(n - 1, true));
	CHECK_EQ(count_login(NULL, false), count_login_at(n - 1, false));
}

int main(void)
{
	RUN(test_ranges);
	RUN(test_domains);
	RUN(test_what_is_no_target);
	RUN(test_removal);
	RUN(test_blocks_end);
	RUN(test_bound);
	RUN(test_mechanisms);
	return check_done("unit.role.blocks");
}
