/* What may stand in see-other-host, and what may not. */
#include "svcproto/otherhost.h"

#include <string.h>

#include "tests/unit/check.h"

static void values(void)
{
	static const char *const good[] = {
		"example.org", "example.org:5222", "a", "192.0.2.7", "192.0.2.7:1", "[2001:db8::1]", "[2001:db8::1]:65535",
		"[::ffff:192.0.2.7]:5222", "xn--bcher-kva.example", ("b\xc3\xbc" "cher.example:9"), "gw-1.a_b.example",
	};
	static const char *const bad[] = {
		"", ":5222", "[]", "[2001:db8::1", "2001:db8::1", "2001:db8::1:5222", "[2001:db8::1]5222", "[192.0.2.7]",
		"[fe80::1%eth0]", "example.org:", "example.org:0", "example.org:05222", "example.org:65536", "example.org:123456",
		"example.org:-1", "example.org:5222 ", " example.org", "example..org", ".example.org", "example.org.",
		"xmpp://example.org", "example.org/x", "user@example.org", "a\xff", "a b", "a\nb", "[::1]:5222:1", "<a/>",
	};
	char longest[OTHER_HOST_MAX + 1];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!other_host_ok(good[i]))
			fprintf(stderr, "refused: %s\n", good[i]);
		CHECK(other_host_ok(good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (other_host_ok(bad[i]))
			fprintf(stderr, "taken: %s\n", bad[i]);
		CHECK(!other_host_ok(bad[i]));
	}
	CHECK(!other_host_ok(NULL));
	memset(longest, 'a', sizeof(longest));
	longest[1023] = '\0';
	CHECK(other_host_ok(longest));
	longest[1023] = 'a';
	longest[1024] = '\0';
	CHECK(!other_host_ok(longest));
}

static void making(void)
{
	char out[64];

	CHECK(other_host_make(out, sizeof(out), "gw2.example.org", 5222));
	CHECK_STR(out, "gw2.example.org");
	CHECK(other_host_make(out, sizeof(out), "gw2.example.org", 15222));
	CHECK_STR(out, "gw2.example.org:15222");
	CHECK(other_host_make(out, sizeof(out), "2001:db8::1", 0));
	CHECK_STR(out, "[2001:db8::1]");
	CHECK(other_host_make(out, sizeof(out), "[2001:db8::1]", 443));
	CHECK_STR(out, "[2001:db8::1]:443");
	CHECK(other_host_make(out, sizeof(out), "192.0.2.7", 443));
	CHECK_STR(out, "192.0.2.7:443");
	CHECK(!other_host_make(out, sizeof(out), "192.0.2.7", 65536));
	CHECK(!other_host_make(out, sizeof(out), "two words", 1));
	CHECK(!other_host_make(out, sizeof(out), "", 0));
	CHECK(!other_host_make(out, sizeof(out), NULL, 0));
	CHECK(!other_host_make(out, 8, "gw2.example.org", 0));
}

static void sameness(void)
{
	CHECK(other_host_same("gw.example", "GW.example:5222"));
	CHECK(other_host_same("[2001:db8::1]:5222", "[2001:db8::1]"));
	CHECK(!other_host_same("[2001:db8::5222]", "[2001:db8]"));
	CHECK(!other_host_same("gw.example:15222", "gw.example"));
	CHECK(!other_host_same("gw.example", "gw.exampl"));
}

int main(void)
{
	RUN(values);
	RUN(making);
	RUN(sameness);
	return check_done("svcproto/otherhost");
}
