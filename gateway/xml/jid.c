/*
 * Addresses (RFC 6122, RFC 7622). What comes out is prepared, and two addresses are the same exactly when the prepared bytes are.
 *
 * Code points that Unicode 3.2, stringprep's, does not know are let through, as RFC 3454 section 7 has it for queries: a gateway looks
 * addresses up and compares them, it assigns none, and people do put newer characters (emoji) in their resources. Such a character prepares
 * to itself.
 */
#include "xml/jid.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include <stringprep.h>

#include "common/err.h"
#include "xml/chars.h"
#include "xml/utf8.h"

#define PART_MAX 1023
/* Preparation may shorten (composition, characters mapped to nothing); this much is looked at. */
#define UNPREPARED_MAX (3 * PART_MAX)
#define LABEL_MAX 63
#define DNS_NAME_MAX 253

static bool is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static char *lowered(struct slice s)
{
	char *text = mem_slicedup(s);
	for (char *p = text; *p; p++)
		*p = lower(*p);
	return text;
}

/* ---- localpart and resourcepart: nearly all are ASCII, and are looked at once ---- */

/* Once more until nothing changes: normalisation can bring forth what an earlier step would have changed, and what is prepared must stay.
 */
static char *run_stringprep(struct slice s, const Stringprep_profile *profile)
{
	char text[UNPREPARED_MAX + 1], before[UNPREPARED_MAX + 1];
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	for (int round = 0; round < 4; round++) {
		memcpy(before, text, strlen(text) + 1);
		if (stringprep(text, sizeof text, 0, profile) != STRINGPREP_OK)
			return NULL;
		if (strcmp(before, text) == 0)
			return text[0] != '\0' && strlen(text) <= PART_MAX ? mem_strdup(text) : NULL;
	}
	return NULL;
}

static bool part_possible(struct slice s)
{
	return s.n > 0 && s.n <= UNPREPARED_MAX && memchr(s.p, '\0', s.n) == NULL && utf8_valid(s);
}

/* What is not ASCII alone; of that, all that may be was taken before. */
static char *prep_other(struct slice text, const Stringprep_profile *profile)
{
	return part_possible(text) && !is_ascii(text) ? run_stringprep(text, profile) : NULL;
}

char *jid_prep_local(struct slice text)
{
	if (text.n > 0 && text.n <= PART_MAX && chars_all(text, CHAR_LOCAL))
		return lowered(text);
	return prep_other(text, stringprep_xmpp_nodeprep);
}

char *jid_prep_resource(struct slice text)
{
	if (text.n > 0 && text.n <= PART_MAX && chars_all(text, CHAR_PRINTED))
		return mem_slicedup(text);
	return prep_other(text, stringprep_xmpp_resourceprep);
}

/* ---- domainpart ---- */

/* Labels of letters, digits and inner hyphens (RFC 1123), as a DNS name has them. Says whether there are A-labels. */
static bool ldh_name(struct slice s, bool *a_labels)
{
	*a_labels = false;
	for (size_t i = 0;; i++) {
		const char *p = s.p + i;
		size_t n = 0;
		while (i + n < s.n && char_is(p[n], CHAR_LABEL))
			n++;
		if (n == 0 || n > LABEL_MAX || p[0] == '-' || p[n - 1] == '-')
			return false;
		if (n >= 4 && lower(p[0]) == 'x' && lower(p[1]) == 'n' && p[2] == '-' && p[3] == '-')
			*a_labels = true;
		i += n;
		if (i == s.n)
			break;
		if (s.p[i] != '.')
			return false;
	}
	return s.n <= DNS_NAME_MAX;
}

/* "[IPv6 address]" in its canonical form (RFC 5952). An IPv4 address is a name of digits like any other. */
static char *prep_literal(struct slice s)
{
	char text[INET6_ADDRSTRLEN], out[INET6_ADDRSTRLEN + 2];
	struct in6_addr address;
	if (s.n < 3 || s.p[s.n - 1] != ']' || s.n - 2 >= sizeof text)
		return NULL;
	memcpy(text, s.p + 1, s.n - 2);
	text[s.n - 2] = '\0';
	if (inet_pton(AF_INET6, text, &address) != 1)
		return NULL;
	out[0] = '[';
	if (inet_ntop(AF_INET6, &address, out + 1, INET6_ADDRSTRLEN) == NULL)
		return NULL;
	size_t n = strlen(out);
	out[n] = ']';
	return mem_slicedup((struct slice){out, n + 1});
}

/* To A-labels and back: both forms of a name end as the same U-labels, and what IDNA2008 does not permit ends here. */
static char *idna_ascii(struct slice s)
{
	char *text = mem_slicedup(s);
	uint8_t *ascii = NULL;
	/* Not IDN2_USE_STD3_ASCII_RULES, which drops forbidden characters silently ("b/c", once normalised, would be "bc"): ldh_name()
	 * refuses them. */
	int rc = idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	free(text);
	if (rc != IDN2_OK)
		return NULL;
	char *mine = mem_strdup((const char *)ascii);
	idn2_free(ascii);
	size_t n = strlen(mine);
	if (n > 0 && mine[n - 1] == '.')
		mine[--n] = '\0'; /* it was another of IDNA's full stops */
	bool a_labels;
	if (ldh_name((struct slice){mine, n}, &a_labels))
		return mine;
	free(mine);
	return NULL;
}

/* An A-label that comes in is not looked into by libidn2: its U-label must be one that leads back to it. */
static bool leads_back(const char *unicode, const char *ascii)
{
	char *again = idna_ascii(slice_str(unicode));
	bool same = again != NULL && strcmp(again, ascii) == 0;
	free(again);
	return same;
}

static char *prep_idna(struct slice s)
{
	char *ascii = idna_ascii(s), *unicode = NULL, *prepared = NULL;
	if (ascii == NULL)
		return NULL;
	if (idn2_to_unicode_8z8z(ascii, &unicode, 0) == IDN2_OK) {
		if (strlen(unicode) <= PART_MAX && leads_back(unicode, ascii))
			prepared = mem_strdup(unicode);
		idn2_free(unicode);
	}
	free(ascii);
	return prepared;
}

char *jid_prep_domain(struct slice text)
{
	struct slice name = text;
	bool a_labels;
	if (text.n == 0)
		return NULL;
	if (text.p[text.n - 1] == '.')
		name.n--; /* RFC 7622 section 3.2: the root's, stripped */
	if (ldh_name(name, &a_labels)) /* nearly always, and then this was the only look */
		return a_labels ? prep_idna(name) : lowered(name);
	if (!part_possible(text))
		return NULL;
	if (text.p[0] == '[')
		return prep_literal(text);
	return is_ascii(name) ? NULL : prep_idna(name);
}

char *jid_domain_ascii(struct slice domain)
{
	char *prepared = jid_prep_domain(domain);
	if (prepared == NULL || is_ascii(slice_str(prepared)))
		return prepared;
	char *ascii = idna_ascii(slice_str(prepared));
	free(prepared);
	return ascii;
}

/* ---- whole addresses ---- */

void jid_init(struct jid *j)
{
	*j = (struct jid){.full_ = NULL};
}

void jid_clear(struct jid *j)
{
	free(j->full_);
	jid_init(j);
}

bool jid_empty(const struct jid *j)
{
	return j->full_ == NULL;
}

static struct slice append(char **to, struct slice s)
{
	struct slice placed = {*to, s.n};
	if (s.n > 0)
		memcpy(*to, s.p, s.n);
	*to += s.n;
	return placed;
}

/* From prepared parts. */
static void put_together(struct jid *j, struct slice local, struct slice domain, struct slice resource)
{
	jid_init(j);
	char *to = j->full_ = mem_alloc(local.n + 1 + domain.n + 1 + resource.n + 1);
	if (local.n > 0) {
		j->local = append(&to, local);
		*to++ = '@';
	}
	j->domain = append(&to, domain);
	j->bare = (struct slice){j->full_, (size_t)(to - j->full_)};
	if (resource.n > 0) {
		*to++ = '/';
		j->resource = append(&to, resource);
	}
	j->full = (struct slice){j->full_, (size_t)(to - j->full_)};
}

int jid_make(struct jid *j, struct slice local, struct slice domain, struct slice resource)
{
	jid_init(j);
	char *l = local.n ? jid_prep_local(local) : NULL;
	char *r = resource.n ? jid_prep_resource(resource) : NULL;
	char *d = jid_prep_domain(domain);
	bool ok = d != NULL && (l != NULL || local.n == 0) && (r != NULL || resource.n == 0);
	if (ok)
		put_together(j, slice_str(l), slice_str(d), slice_str(r));
	free(l);
	free(d);
	free(r);
	return ok ? 0 : -ERR_INVALID;
}

int jid_parse(struct jid *j, struct slice text)
{
	struct slice local = SLICE_NONE, domain = text, resource = SLICE_NONE;
	jid_init(j);
	if (text.n == 0)
		return -ERR_INVALID;
	const char *slash = memchr(text.p, '/', text.n);
	if (slash != NULL) {
		domain.n = (size_t)(slash - text.p);
		resource = (struct slice){slash + 1, text.n - domain.n - 1};
	}
	const char *at = domain.n ? memchr(domain.p, '@', domain.n) : NULL;
	if (at != NULL) {
		local = (struct slice){domain.p, (size_t)(at - domain.p)};
		domain = (struct slice){at + 1, domain.n - local.n - 1};
	}
	/* A separator with nothing beside it is no address. */
	if ((slash != NULL && resource.n == 0) || (at != NULL && local.n == 0))
		return -ERR_INVALID;
	return jid_make(j, local, domain, resource);
}

int jid_copy(struct jid *to, const struct jid *from)
{
	if (jid_empty(from))
		jid_init(to);
	else
		put_together(to, from->local, from->domain, from->resource);
	return 0;
}
