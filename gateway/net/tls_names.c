/*
 * Names are taken to choose among our own certificates, not to believe anybody: what a peer's certificate proves is decided elsewhere, and
 * more strictly. What cannot be a domain as it stands in SNI (other characters, U-labels) is passed over.
 */
#include "net/tls_names.h"

#include <openssl/x509v3.h>

enum { NAME_MAX_BYTES = 253 };

static bool is_name(struct slice s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

	if (s.n > 2 && s.p[0] == '*' && s.p[1] == '.')
		s = (struct slice){s.p + 2, s.n - 2};
	if (s.n == 0 || s.n > NAME_MAX_BYTES || s.p[0] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\0' || strchr(allowed, s.p[i]) == NULL)
			return false;
	}
	return true;
}

static void add(struct tls_names *to, struct slice s)
{
	if (!is_name(s))
		return;
	char *name = mem_slicedup(s);

	for (char *c = name; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c;
	for (size_t i = 0; i < to->nr; i++) {
		if (strcmp(to->v[i], name) == 0) {
			free(name);
			return;
		}
	}
	to->v = mem_resize(to->v, (to->nr + 1) * sizeof *to->v);
	to->v[to->nr++] = name;
}

static struct slice text(const ASN1_STRING *s)
{
	return (struct slice){(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)};
}

static bool has_prefix(struct slice s, struct slice prefix)
{
	return s.n > prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static void add_srv(struct tls_names *to, struct slice s)
{
	static const struct slice services[] = {
		{"_xmpp-client.", sizeof "_xmpp-client." - 1}, {"_xmpp-server.", sizeof "_xmpp-server." - 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		if (has_prefix(s, services[i]))
			add(to, (struct slice){s.p + services[i].n, s.n - services[i].n});
	}
}

static void add_other(struct tls_names *to, const OTHERNAME *o)
{
	char oid[64];

	OBJ_obj2txt(oid, sizeof oid, o->type_id, 1);
	if (strcmp(oid, "1.3.6.1.5.5.7.8.7") == 0 && o->value->type == V_ASN1_IA5STRING)
		add_srv(to, text(o->value->value.ia5string));
	else if (strcmp(oid, "1.3.6.1.5.5.7.8.5") == 0 && o->value->type == V_ASN1_UTF8STRING)
		add(to, text(o->value->value.utf8string)); /* a user's address has an @, which is no name */
}

static void add_common_name(struct tls_names *to, const X509 *cert)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	if (at >= 0)
		add(to, text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
}

void tls_names_of(const X509 *cert, struct tls_names *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	*out = (struct tls_names){0};
	if (names == NULL && X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) < 0)
		add_common_name(out, cert);
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

		if (n->type == GEN_DNS)
			add(out, text(n->d.dNSName));
		else if (n->type == GEN_OTHERNAME)
			add_other(out, n->d.otherName);
	}
	GENERAL_NAMES_free(names);
}

void tls_names_clear(struct tls_names *n)
{
	for (size_t i = 0; i < n->nr; i++)
		free(n->v[i]);
	free(n->v);
	*n = (struct tls_names){0};
}

const char *tls_names_wildcard(const char *name, char *out, size_t size)
{
	const char *dot = strchr(name, '.');

	if (dot == NULL || dot == name || dot[1] == '\0' || strlen(dot) + 2 > size)
		return NULL;
	snprintf(out, size, "*%s", dot);
	return out;
}
