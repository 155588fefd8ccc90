#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "auth/extern.h"
#include "check.h"

#define XMPP_ADDR "otherName:1.3.6.1.5.5.7.8.5;UTF8:"
#define SRV_NAME "otherName:1.3.6.1.5.5.7.8.7;IA5:"

/* Unsigned: who signed it is not looked at here. */
static X509 *cert_with(const char *san)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"cn.example.org", -1, -1, 0);
	if (san) {
		X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);

		CHECK(ext && X509_add_ext(cert, ext, -1) == 1);
		X509_EXTENSION_free(ext);
	}
	return cert;
}

static bool speaks_for(const char *san, const char *domain)
{
	X509 *cert = cert_with(san);
	bool is = extern_cert_is_domain(cert, domain);

	X509_free(cert);
	return is;
}

static void test_dns(void)
{
	CHECK(speaks_for("DNS:example.org", "example.org"));
	CHECK(speaks_for("DNS:a.example,DNS:EXAMPLE.org", "example.org"));
	CHECK(!speaks_for("DNS:example.org", "x.example.org"));
	CHECK(!speaks_for("DNS:example.org.evil.example", "example.org"));
	CHECK(speaks_for("DNS:xn--bcher-kva.example", "bücher.example"));
	CHECK(!speaks_for("DNS:bucher.example", "bücher.example"));
}

static void test_common_name_means_nothing(void)
{
	CHECK(!speaks_for(NULL, "cn.example.org"));
	CHECK(!speaks_for("DNS:other.example", "cn.example.org"));
	CHECK(!speaks_for("email:a@cn.example.org", "cn.example.org"));
}

static void test_wildcards(void)
{
	CHECK(speaks_for("DNS:*.example.org", "x.example.org"));
	CHECK(!speaks_for("DNS:*.example.org", "example.org"));
	CHECK(!speaks_for("DNS:*.example.org", "a.b.example.org"));
	CHECK(!speaks_for("DNS:x*.example.org", "xy.example.org"));
	CHECK(!speaks_for("DNS:x.*.example.org", "x.y.example.org"));
	CHECK(!speaks_for("DNS:*.*.org", "x.example.org"));
	CHECK(!speaks_for("DNS:*.org", "example.org"));
	CHECK(!speaks_for("DNS:*", "org"));
	CHECK(!speaks_for(SRV_NAME "_xmpp-server.*.example.org", "x.example.org"));
	CHECK(!speaks_for(XMPP_ADDR "*.example.org", "x.example.org"));
}

static void test_other_names(void)
{
	CHECK(speaks_for(XMPP_ADDR "example.org", "example.org"));
	CHECK(!speaks_for(XMPP_ADDR "alice@example.org", "example.org"));
	CHECK(speaks_for(SRV_NAME "_xmpp-server.example.org", "example.org"));
	CHECK(!speaks_for(SRV_NAME "_xmpp-client.example.org", "example.org"));
	CHECK(!speaks_for("otherName:1.3.6.1.5.5.7.8.5;IA5:example.org", "example.org"));    /* not a UTF8String */
	CHECK(!speaks_for("otherName:1.2.3.4;UTF8:example.org", "example.org"));
}

static X509 *cert_with_name(GENERAL_NAME *name)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	X509 *cert = X509_new();

	sk_GENERAL_NAME_push(names, name);
	CHECK(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1);
	GENERAL_NAMES_free(names);
	return cert;
}

static X509 *cert_with_bytes(const char *p, int n)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	ASN1_STRING_set(text, p, n);
	GENERAL_NAME_set0_value(name, GEN_DNS, text);
	return cert_with_name(name);
}

static X509 *cert_with_addr(const char *p, int n)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_TYPE *value = ASN1_TYPE_new();
	ASN1_UTF8STRING *text = ASN1_UTF8STRING_new();

	ASN1_STRING_set(text, p, n);
	ASN1_TYPE_set(value, V_ASN1_UTF8STRING, text);
	GENERAL_NAME_set0_othername(name, OBJ_dup(OBJ_nid2obj(NID_XmppAddr)), value);
	return cert_with_name(name);
}

static void test_international_addr(void)
{
	X509 *cert = cert_with_addr("b\xc3\xbc" "cher.example", 15);

	CHECK(extern_cert_is_domain(cert, "b\xc3\xbc" "cher.example"));
	CHECK(!extern_cert_is_domain(cert, "bucher.example"));
	X509_free(cert);
	cert = cert_with_addr("alice@example.org\0x", 19);
	CHECK(extern_cert_jids(cert) == NULL);
	X509_free(cert);
}

static void test_embedded_nul(void)
{
	X509 *cert = cert_with_bytes("example.org\0.evil.example", 25);

	CHECK(!extern_cert_is_domain(cert, "example.org"));
	X509_free(cert);
	cert = cert_with_bytes("example.org", 11);
	CHECK(extern_cert_is_domain(cert, "example.org"));
	X509_free(cert);
}

/* Many names, the last of which is the domain's. */
static X509 *cert_with_names(int nr)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	X509 *cert = X509_new();

	for (int i = 1; i <= nr; i++) {
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_IA5STRING *text = ASN1_IA5STRING_new();

		ASN1_STRING_set(text, i < nr ? "other.example" : "example.org", -1);
		GENERAL_NAME_set0_value(name, GEN_DNS, text);
		sk_GENERAL_NAME_push(names, name);
	}
	CHECK(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1);
	GENERAL_NAMES_free(names);
	return cert;
}

static void test_very_many_names(void)
{
	X509 *enough = cert_with_names(1000), *more = cert_with_names(1001);

	CHECK(extern_cert_is_domain(enough, "example.org"));
	CHECK(!extern_cert_is_domain(more, "example.org"));
	X509_free(enough);
	X509_free(more);
}

static void test_addresses_and_nothing(void)
{
	CHECK(!speaks_for("IP:192.0.2.1,DNS:192.0.2.1", "192.0.2.1"));
	CHECK(!speaks_for("DNS:example.org", ""));
	CHECK(!extern_cert_is_domain(NULL, "example.org"));
	CHECK(extern_cert_jids(NULL) == NULL);
}

static void test_jids(void)
{
	X509 *cert = cert_with(XMPP_ADDR "example.org," XMPP_ADDR "alice@example.org," XMPP_ADDR
					 "alice@example.org/home,DNS:example.org," XMPP_ADDR "bob@b.example");
	char **jids = extern_cert_jids(cert);

	CHECK(jids != NULL);
	if (jids) {
		CHECK_STR(jids[0], "alice@example.org");
		CHECK_STR(jids[1], "bob@b.example");
		CHECK(jids[2] == NULL);
	}
	extern_jids_free(jids);
	X509_free(cert);
	cert = cert_with("DNS:example.org");
	CHECK(extern_cert_jids(cert) == NULL);
	X509_free(cert);
}

/* XEP-0185's own example. */
static void test_dialback(void)
{
	static const char secret[] = "s3cr3tf0rd14lb4ck";
	char key[65], other[65];

	dialback_key((const unsigned char *)secret, strlen(secret), "xmpp.example.com", "example.org", SLICE("D60000229F"), key);
	CHECK_STR(key, "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643");
	CHECK(dialback_key_matches(key, slice_str(key)));
	CHECK(!dialback_key_matches(key, SLICE("37c6")));
	CHECK(!dialback_key_matches(key, SLICE_NONE));
	dialback_key((const unsigned char *)secret, strlen(secret), "xmpp.example.com", "example.org", SLICE("D60000229E"), other);
	CHECK(!dialback_key_matches(key, slice_str(other)));
	dialback_key((const unsigned char *)secret, strlen(secret), "example.org", "xmpp.example.com", SLICE("D60000229F"), other);
	CHECK(!dialback_key_matches(key, slice_str(other)));
}

/* A key made in one slot of time verifies in the next, at whatever gateway. */
static void test_dialback_slots(void)
{
	struct dialback_secrets before = {.nr = 2, .secret = {"two", "one"}}, after = {.nr = 2, .secret = {"three", "two"}},
				later = {.nr = 2, .secret = {"four", "three"}}, none = {.nr = 0};
	char key[65];

	CHECK(dialback_make(&before, "r.example", "o.example", SLICE("id"), key));
	CHECK(dialback_is_ours(&before, "r.example", "o.example", SLICE("id"), slice_str(key)));
	CHECK(dialback_is_ours(&after, "r.example", "o.example", SLICE("id"), slice_str(key)));
	CHECK(!dialback_is_ours(&later, "r.example", "o.example", SLICE("id"), slice_str(key)));
	CHECK(!dialback_is_ours(&after, "r.example", "o.example", SLICE("other"), slice_str(key)));
	CHECK(!dialback_is_ours(&after, "o.example", "r.example", SLICE("id"), slice_str(key)));
	CHECK(!dialback_make(&none, "r.example", "o.example", SLICE("id"), key));
	CHECK(!dialback_is_ours(&none, "r.example", "o.example", SLICE("id"), slice_str(key)));
}

int main(void)
{
	RUN(test_dns);
	RUN(test_common_name_means_nothing);
	RUN(test_wildcards);
	RUN(test_other_names);
	RUN(test_international_addr);
	RUN(test_embedded_nul);
	RUN(test_very_many_names);
	RUN(test_addresses_and_nothing);
	RUN(test_jids);
	RUN(test_dialback);
	RUN(test_dialback_slots);
	return check_done("unit.auth.extern");
}
