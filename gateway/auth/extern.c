#include "auth/extern.h"

#include <idn2.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* Names of certificates: subjectAltName alone decides, the common name never does. */

#define OID_XMPP_ADDR "1.3.6.1.5.5.7.8.5"
#define OID_SRV_NAME "1.3.6.1.5.5.7.8.7"

static struct slice asn1_slice(const ASN1_STRING *s)
{
	return (struct slice){(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)};
}

static bool same_name(struct slice a, const char *b)
{
	return a.n == strlen(b) && memchr(a.p, 0, a.n) == NULL && strncasecmp(a.p, b, a.n) == 0;
}

/* RFC 9525 section 6.3: a wildcard is the whole left-most label and stands for exactly one. */
static bool dns_matches(struct slice id, const char *domain)
{
	const char *dot;

	if (id.n > 2 && id.p[0] == '*' && id.p[1] == '.') {
		dot = strchr(domain, '.');
		return dot != NULL && dot != domain && memchr(id.p + 2, '*', id.n - 2) == NULL && memchr(id.p + 2, '.', id.n - 2) != NULL &&
		       same_name((struct slice){id.p + 2, id.n - 2}, dot + 1);
	}
	return same_name(id, domain);
}

/* The text of an otherName of this type, or nothing. */
static struct slice other_name(const GENERAL_NAME *g, const char *oid, int asn1_type)
{
	char text[64];

	if (g->type != GEN_OTHERNAME || OBJ_obj2txt(text, sizeof text, g->d.otherName->type_id, 1) <= 0 || strcmp(text, oid) != 0 ||
	    g->d.otherName->value->type != asn1_type)
		return SLICE_NONE;
	return asn1_slice(g->d.otherName->value->value.asn1_string);
}

static bool name_is(const GENERAL_NAME *g, const char *ascii, const char *domain)
{
	static const char prefix[] = "_xmpp-server.";
	struct slice s;

	if (g->type == GEN_DNS)
		return dns_matches(asn1_slice(g->d.dNSName), ascii);
	s = other_name(g, OID_XMPP_ADDR, V_ASN1_UTF8STRING);
	if (s.n > 0)
		return same_name(s, domain);
	s = other_name(g, OID_SRV_NAME, V_ASN1_IA5STRING);
	return s.n > sizeof prefix - 1 && strncasecmp(s.p, prefix, sizeof prefix - 1) == 0 &&
	       same_name((struct slice){s.p + sizeof prefix - 1, s.n - (sizeof prefix - 1)}, ascii);
}

bool extern_cert_is_domain(X509 *cert, const char *domain)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char *ascii = NULL;
	bool found = false;

	if (names != NULL && idn2_to_ascii_8z(domain, &ascii, IDN2_NONTRANSITIONAL) == IDN2_OK) {
		for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++)
			found = name_is(sk_GENERAL_NAME_value(names, i), ascii, domain);
	}
	idn2_free(ascii);
	GENERAL_NAMES_free(names);
	return found;
}

char **extern_cert_jids(X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char **jids = NULL;
	size_t nr = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		struct slice s = other_name(sk_GENERAL_NAME_value(names, i), OID_XMPP_ADDR, V_ASN1_UTF8STRING);

		if (s.n == 0 || memchr(s.p, 0, s.n) != NULL || memchr(s.p, '@', s.n) == NULL)
			continue;
		jids = mem_resize(jids, (nr + 2) * sizeof *jids);
		jids[nr++] = mem_slicedup(s);
		jids[nr] = NULL;
	}
	GENERAL_NAMES_free(names);
	return jids;
}

void extern_jids_free(char **jids)
{
	for (size_t i = 0; jids != NULL && jids[i] != NULL; i++)
		free(jids[i]);
	free(jids);
}

static void to_hex(const unsigned char *in, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", in[i]);
}

void dialback_key(const unsigned char *secret, size_t secret_n, const char *receiving, const char *originating, struct slice stream_id, char *out)
{
	unsigned char hash[SHA256_DIGEST_LENGTH], mac[SHA256_DIGEST_LENGTH];
	size_t n = strlen(receiving) + strlen(originating) + stream_id.n + 2;
	char hex[2 * SHA256_DIGEST_LENGTH + 1], *text = mem_alloc(n + 1);
	unsigned mac_n = sizeof mac;

	SHA256(secret, secret_n, hash);
	to_hex(hash, sizeof hash, hex);
	snprintf(text, n + 1, "%s %s " SLICE_FMT, receiving, originating, SLICE_ARG(stream_id));
	ASSERT(HMAC(EVP_sha256(), hex, (int)strlen(hex), (const unsigned char *)text, strlen(text), mac, &mac_n) != NULL);
	to_hex(mac, sizeof mac, out);
	mem_wipe(hex, sizeof hex);
	mem_wipe(hash, sizeof hash);
	free(text);
}

bool dialback_key_matches(const char *key, struct slice given)
{
	return given.n == strlen(key) && CRYPTO_memcmp(key, given.p, given.n) == 0;
}
