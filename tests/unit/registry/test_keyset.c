/* The grammar of authorized_keys, and who owns a domain. */
#include "check.h"
#include "sample.h"

#include <stdlib.h>

static void refused(const char *text, const char *want)
{
	char why[200] = "";
	struct keyset *k = keyset_parse(text, strlen(text), why, sizeof(why));

	CHECK(k == NULL);
	CHECK(strstr(why, want) != NULL);
	if (k != NULL || strstr(why, want) == NULL)
		fprintf(stderr, "  %s -> %s\n", text, why);
	keyset_free(k);
}

static void test_roles(void)
{
	struct keyset *k = sample_keys("# a comment\n# serial 12\n\n" KEY_A "  service example.org:client,server\r\n" KEY_G
				       "\tgateway\n" KEY_X " admin # it\n");
	enum directory_role role;

	CHECK(k != NULL);
	CHECK_EQ(keyset_serial(k), 12);
	CHECK_EQ(keyset_role(k, KEY_A), DIR_ROLE_SERVICE);
	CHECK_EQ(keyset_role(k, KEY_G), DIR_ROLE_GATEWAY);
	CHECK_EQ(keyset_role(k, KEY_X), DIR_ROLE_ADMIN); /* '#' is a letter of Z85: no comment begins within a key */
	CHECK_EQ(keyset_role(k, KEY_B), DIR_ROLE_NONE);
	CHECK_EQ(keyset_role(k, "short"), DIR_ROLE_NONE);
	CHECK_EQ(keyset_nr_keys(k), 3);
	CHECK_STR(keyset_key(k, 2, &role), KEY_X);
	CHECK_EQ(role, DIR_ROLE_ADMIN);
	keyset_free(k);
}

static void test_most_specific_line_owns(void)
{
	struct keyset *k = sample_keys(KEY_A " service *:client,server example.org:client\n" KEY_B
					     " service *.example.org:server x.example.org:client\n");

	CHECK(keyset_may(k, KEY_A, "other.net", SVCPROTO_CLIENT | SVCPROTO_SERVER));
	CHECK(!keyset_may(k, KEY_B, "other.net", SVCPROTO_CLIENT));
	CHECK(keyset_may(k, KEY_A, "example.org", SVCPROTO_CLIENT));
	CHECK(!keyset_may(k, KEY_A, "example.org", SVCPROTO_SERVER)); /* the line for it says client only */
	CHECK(!keyset_may(k, KEY_A, "example.org", SVCPROTO_CLIENT | SVCPROTO_SERVER));
	CHECK(keyset_may(k, KEY_B, "a.example.org", SVCPROTO_SERVER));
	CHECK(keyset_may(k, KEY_B, "b.a.example.org", SVCPROTO_SERVER));
	CHECK(!keyset_may(k, KEY_A, "a.example.org", SVCPROTO_SERVER)); /* not by its bare star */
	CHECK(!keyset_may(k, KEY_B, "x.example.org", SVCPROTO_SERVER));
	CHECK(!keyset_may(k, KEY_B, "notexample.org", SVCPROTO_SERVER));
	CHECK(!keyset_may(k, KEY_A, "other.net", 0));
	CHECK(keyset_names(k, "example.org"));
	CHECK(keyset_names(k, "deep.a.example.org"));
	CHECK(!keyset_names(k, "other.net"));
	CHECK(!keyset_may(k, KEY_A, "Other.net", SVCPROTO_CLIENT)); /* names come prepared */
	keyset_free(k);
}

static void test_two_keys_share_a_domain(void)
{
	struct keyset *k = sample_keys(KEY_A " service example.org:client\n" KEY_B " service EXAMPLE.org:server\n" KEY_B
					     " service b.example:client\n");

	CHECK(keyset_may(k, KEY_A, "example.org", SVCPROTO_CLIENT));
	CHECK(!keyset_may(k, KEY_A, "example.org", SVCPROTO_SERVER));
	CHECK(keyset_may(k, KEY_B, "example.org", SVCPROTO_SERVER));
	CHECK(keyset_may(k, KEY_B, "b.example", SVCPROTO_CLIENT));
	CHECK_EQ(keyset_nr_keys(k), 2);
	keyset_free(k);
}

static void test_errors_name_the_line(void)
{
	refused("\n\nnonsense service\n", "line 3: \"nonsense\" is no key");
	refused(KEY_A " boss\n", "line 1: \"boss\" is no role");
	refused(KEY_A "\n", "line 1: \"\" is no role");
	refused(KEY_A " gateway example.org:client\n", "line 1: only a service has domains");
	refused(KEY_A " service example.org\n", "has no types");
	refused(KEY_A " service example.org:\n", "needs its types");
	refused(KEY_A " service example.org:client,peer\n", "\"peer\" is no type");
	refused("# serial 1\n" KEY_A " service a*b:client\n", "line 2: \"a*b\" is no domain");
	refused(KEY_A " service *.*.org:client\n", "is no domain");
	refused("# serial x\n", "line 1: \"x\" is no serial");
	refused("# serial\n", "the serial has no number");
	refused("# serial 1\n# serial 2\n", "line 2: a second serial");
	refused(KEY_A " gateway\n" KEY_A " admin\n", "has two roles");
	refused("# serial 99999999999999999999999\n", "is no serial");
}

static void test_nothing(void)
{
	struct keyset *k = sample_keys("");

	CHECK(k != NULL);
	CHECK(!keyset_may(k, KEY_A, "example.org", SVCPROTO_CLIENT));
	CHECK(!keyset_may(NULL, KEY_A, "example.org", SVCPROTO_CLIENT));
	CHECK_EQ(keyset_role(NULL, KEY_A), DIR_ROLE_NONE);
	CHECK(!keyset_names(NULL, "example.org"));
	keyset_free(k);
	CHECK(keyset_parse("a\0b", 3, (char[80]){ 0 }, 80) == NULL);
}

static void test_domains(void)
{
	CHECK(keyset_domain_ok("example.org", 11));
	CHECK(keyset_domain_ok("b\xc3\xbc" "cher.example", 14));
	CHECK(keyset_domain_ok("[2001:db8::1]", 13));
	CHECK(!keyset_domain_ok("", 0));
	CHECK(!keyset_domain_ok("a b", 3));
	CHECK(!keyset_domain_ok("a@b", 3));
	CHECK(!keyset_domain_ok("a/b", 3));
	CHECK(!keyset_domain_ok("a:1", 3));
	CHECK(!keyset_domain_ok("A", 1));
	CHECK(!keyset_domain_ok(".a", 2));
	CHECK(!keyset_domain_ok("a\nb", 3));
}

static void test_lost_keys(void)
{
	struct keyset *two = sample_keys(KEY_A " admin\n" KEY_B " gateway\n"), *one = sample_keys(KEY_B " service *:client\n");

	CHECK(keyset_loses_key(two, one));
	CHECK(!keyset_loses_key(one, two)); /* another role is a matter of permission, not of admission */
	CHECK(!keyset_loses_key(two, two));
	CHECK(keyset_loses_key(one, NULL));
	CHECK(!keyset_loses_key(NULL, one));
	keyset_free(one);
	keyset_free(two);
}

int main(void)
{
	RUN(test_roles);
	RUN(test_most_specific_line_owns);
	RUN(test_two_keys_share_a_domain);
	RUN(test_errors_name_the_line);
	RUN(test_nothing);
	RUN(test_domains);
	RUN(test_lost_keys);
	return check_done("registry.keyset");
}
