/*
 * What a certificate says of domains and accounts: DNS-ID, SRV-ID and XmppAddr of the subjectAltName (RFC 6120 section 13.7.1.2, RFC 9525),
 * never the common name. Domains are compared as A-labels, in ASCII; a name with a NUL or other oddity in it matches nothing. Whether the
 * certificate itself is to be trusted was decided before.
 */
#include <arpa/inet.h>
#include <idn2.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "auth/extern.h"

#define NAMES_MAX 1000          /* looked at: whoever made the certificate put in as many as he liked, and authorities far fewer */
#define JIDS_MAX 16
#define JID_MAX 2047            /* localpart@domainpart, RFC 7622 */
#define SRV_SERVER "_xmpp-server."

/* An owned copy, or NULL when it is empty or holds what no name may hold. */
static char *text_of(const ASN1_STRING *s)
{
	const unsigned char *p = ASN1_STRING_get0_data(s);
	int n = ASN1_STRING_length(s);

	if (n <= 0 || n > JID_MAX)
		return NULL;
	for (int i = 0; i < n; i++)
		if (p[i] <= ' ' || p[i] == 0x7f)
			return NULL;
	return mem_slicedup((struct slice){(const char *)p, (size_t)n});
}

/* A domain as A-labels in lower case, owned; NULL when it can't be. */
static char *ascii_of(const char *domain)
{
	char *out = NULL, *copy;

	if (idn2_to_ascii_8z(domain, &out, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return NULL;
	copy = mem_strdup(out);
	idn2_free(out);
	return copy;
}

static bool matches_exactly(const char *presented, const char *ascii)
{
	return strcasecmp(presented, ascii) == 0;
}

/* RFC 9525 section 6.3: a wildcard is the whole left-most label and stands for exactly one. One that would cover a whole top-level domain
 * is not believed. */
static bool matches_dns(const char *presented, const char *ascii)
{
	const char *rest;

	if (strncmp(presented, "*.", 2) != 0)
		return !strchr(presented, '*') && matches_exactly(presented, ascii);
	rest = strchr(ascii, '.');
	return rest && rest != ascii && !strchr(presented + 1, '*') && strchr(rest + 1, '.') && strcasecmp(presented + 1, rest) == 0;
}

static bool dns_name_is(const GENERAL_NAME *name, const char *ascii)
{
	char *text = text_of(name->d.dNSName);
	bool is = text && matches_dns(text, ascii);

	free(text);
	return is;
}

static char *other_name(const GENERAL_NAME *name, int nid, int type)
{
	const OTHERNAME *other = name->d.otherName;

	if (OBJ_obj2nid(other->type_id) != nid || !other->value || other->value->type != type)
		return NULL;
	return text_of(other->value->value.asn1_string);
}

static bool srv_name_is(const GENERAL_NAME *name, const char *ascii)
{
	char *text = other_name(name, NID_SRVName, V_ASN1_IA5STRING);
	size_t n = sizeof SRV_SERVER - 1;
	bool is = text && strncasecmp(text, SRV_SERVER, n) == 0 && matches_exactly(text + n, ascii);

	free(text);
	return is;
}

static bool xmpp_addr_is(const GENERAL_NAME *name, const char *ascii)
{
	char *text = other_name(name, NID_XmppAddr, V_ASN1_UTF8STRING), *own = text ? ascii_of(text) : NULL;
	bool is = own && matches_exactly(own, ascii);

	free(own);
	free(text);
	return is;
}

static bool name_is(const GENERAL_NAME *name, const char *ascii)
{
	if (name->type == GEN_DNS)
		return dns_name_is(name, ascii);
	return name->type == GEN_OTHERNAME && (srv_name_is(name, ascii) || xmpp_addr_is(name, ascii));
}

static bool is_address(const char *domain)
{
	unsigned char a[16];

	return domain[0] == '[' || inet_pton(AF_INET, domain, a) == 1;
}

static GENERAL_NAMES *names_of(X509 *cert)
{
	return X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);   /* NULL too when there are two such extensions */
}

bool extern_cert_is_domain(X509 *cert, const char *domain)
{
	GENERAL_NAMES *names;
	char *ascii;
	bool is = false;

	if (!cert || !domain || !*domain || is_address(domain))   /* a domainpart that is an address has no name to prove */
		return false;
	ascii = ascii_of(domain);
	names = names_of(cert);
	for (int i = 0; ascii && !is && i < NAMES_MAX && i < sk_GENERAL_NAME_num(names); i++)
		is = name_is(sk_GENERAL_NAME_value(names, i), ascii);
	GENERAL_NAMES_free(names);
	free(ascii);
	return is;
}

static char *bare_jid(const GENERAL_NAME *name)
{
	char *text = name->type == GEN_OTHERNAME ? other_name(name, NID_XmppAddr, V_ASN1_UTF8STRING) : NULL;
	const char *at = text ? strchr(text, '@') : NULL;

	if (at && at != text && at[1] && !strchr(text, '/') && !strchr(at + 1, '@'))
		return text;
	free(text);
	return NULL;
}

char **extern_cert_jids(X509 *cert)
{
	GENERAL_NAMES *names = cert ? names_of(cert) : NULL;
	char **jids = NULL;
	size_t nr = 0;

	for (int i = 0; nr < JIDS_MAX && i < NAMES_MAX && i < sk_GENERAL_NAME_num(names); i++) {
		char *jid = bare_jid(sk_GENERAL_NAME_value(names, i));

		if (!jid)
			continue;
		if (!jids)
			jids = mem_alloc((JIDS_MAX + 1) * sizeof *jids);
		jids[nr++] = jid;
	}
	GENERAL_NAMES_free(names);
	return jids;
}

void extern_jids_free(char **jids)
{
	for (char **jid = jids; jid && *jid; jid++)
		free(*jid);
	free(jids);
}
