/*
 * The text of authorized_keys -> two sorted arrays: keys with their roles, and rules (pattern, key, types). A look-up asks for the domain
 * itself, then for "*.parent" upwards, then for "*": the first pattern that anybody holds decides.
 */
#include "svcproto/keyset.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "svcproto/keys.h"

#define DOMAIN_MAX 1023u

struct rule {
	char *pattern;
	char key[41];
	unsigned types;
};

struct known {
	char key[41];
	enum directory_role role;
};

struct keyset {
	uint64_t serial;
	struct known *keys;
	size_t nr_keys, cap_keys;
	struct rule *rules;
	size_t nr_rules, cap_rules;
};

struct reader {
	struct keyset *k;
	unsigned line;
	bool serial_seen;
	char *why;
	size_t why_size;
};

struct word {
	const char *p;
	size_t n;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct reader *r, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(r->why, r->why_size, "line %u: ", r->line);

	if (n < 0 || (size_t)n >= r->why_size)
		return false;
	va_start(ap, fmt);
	vsnprintf(r->why + n, r->why_size - (size_t)n, fmt, ap);
	va_end(ap);
	return false;
}

static bool is(struct word w, const char *text)
{
	return w.n == strlen(text) && memcmp(w.p, text, w.n) == 0;
}

/* The next word of a line, "" at its end. */
static struct word next_word(const char **p, const char *end)
{
	struct word w;

	while (*p < end && (**p == ' ' || **p == '\t' || **p == '\r'))
		(*p)++;
	w.p = *p;
	while (*p < end && **p != ' ' && **p != '\t' && **p != '\r')
		(*p)++;
	w.n = (size_t)(*p - w.p);
	return w;
}

/* Room for one more of an array. */
static bool grow(void *array, size_t nr, size_t *cap, size_t size)
{
	size_t want = *cap == 0 ? 16 : *cap * 2;
	void **v = array, *more;

	if (nr < *cap)
		return true;
	more = realloc(*v, want * size);
	if (more == NULL)
		return false;
	*v = more;
	*cap = want;
	return true;
}

bool keyset_domain_ok(const char *p, size_t n)
{
	bool literal = n > 0 && p[0] == '['; /* an IPv6 address */

	if (n == 0 || n > DOMAIN_MAX || p[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c <= ' ' || c == 0x7f || (c >= 'A' && c <= 'Z') || c == '*' || c == '/' || c == '@' || c == ',' ||
		    (c == ':' && !literal))
			return false;
	}
	return true;
}

static bool read_types(struct reader *r, struct word w, unsigned *types)
{
	*types = 0;
	while (w.n > 0) {
		const char *comma = memchr(w.p, ',', w.n);
		struct word one = { w.p, comma != NULL ? (size_t)(comma - w.p) : w.n };

		if (is(one, "client"))
			*types |= SVCPROTO_CLIENT;
		else if (is(one, "server"))
			*types |= SVCPROTO_SERVER;
		else
			return fail(r, "\"%.*s\" is no type: write client, server or client,server", (int)(one.n < 40 ? one.n : 40), one.p);
		w.p += one.n + (comma != NULL);
		w.n -= one.n + (comma != NULL);
	}
	return *types != 0 || fail(r, "a domain needs its types: write DOMAIN:client,server");
}

static bool pattern_ok(struct word w)
{
	if (is(w, "*"))
		return true;
	if (w.n > 2 && w.p[0] == '*' && w.p[1] == '.')
		return keyset_domain_ok(w.p + 2, w.n - 2);
	return keyset_domain_ok(w.p, w.n);
}

static void lower(char *p)
{
	for (; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
}

/* DOMAIN:types for one key. */
static bool read_rule(struct reader *r, struct word w, const char *key)
{
	const char *colon = memrchr(w.p, ':', w.n);
	struct rule *rule;

	if (colon == NULL)
		return fail(r, "\"%.*s\" has no types: write DOMAIN:client,server", (int)(w.n < 60 ? w.n : 60), w.p);
	if (!grow(&r->k->rules, r->k->nr_rules, &r->k->cap_rules, sizeof(*rule)))
		return fail(r, "out of memory");
	rule = &r->k->rules[r->k->nr_rules];
	if (!read_types(r, (struct word){ colon + 1, w.n - (size_t)(colon + 1 - w.p) }, &rule->types))
		return false;
	rule->pattern = strndup(w.p, (size_t)(colon - w.p));
	if (rule->pattern == NULL)
		return fail(r, "out of memory");
	r->k->nr_rules++;
	memcpy(rule->key, key, sizeof(rule->key));
	lower(rule->pattern);
	if (!pattern_ok((struct word){ rule->pattern, strlen(rule->pattern) }))
		return fail(r, "\"%.60s\" is no domain: write example.org, *.example.org or *", rule->pattern);
	return true;
}

static enum directory_role read_role(struct word w)
{
	return is(w, "service") ? DIR_ROLE_SERVICE : is(w, "admin") ? DIR_ROLE_ADMIN : is(w, "gateway") ? DIR_ROLE_GATEWAY : DIR_ROLE_NONE;
}

static bool read_key_line(struct reader *r, struct word key, const char *p, const char *end)
{
	struct known known = { .role = DIR_ROLE_NONE };
	struct word w = next_word(&p, end);

	if (key.n == 40)
		memcpy(known.key, key.p, 40);
	if (!svc_key_text_ok(known.key))
		return fail(r, "\"%.*s\" is no key: a CURVE public key has 40 characters of Z85", (int)(key.n < 50 ? key.n : 50), key.p);
	known.role = read_role(w);
	if (known.role == DIR_ROLE_NONE)
		return fail(r, "\"%.*s\" is no role: write service, admin or gateway", (int)(w.n < 40 ? w.n : 40), w.p);
	if (!grow(&r->k->keys, r->k->nr_keys, &r->k->cap_keys, sizeof(known)))
		return fail(r, "out of memory");
	r->k->keys[r->k->nr_keys++] = known;
	for (w = next_word(&p, end); w.n > 0 && w.p[0] != '#'; w = next_word(&p, end)) {
		if (known.role != DIR_ROLE_SERVICE)
			return fail(r, "only a service has domains");
		if (!read_rule(r, w, known.key))
			return false;
	}
	return true;
}

/* "# serial 12" counts, every other comment does not. */
static bool read_comment(struct reader *r, const char *p, const char *end)
{
	struct word w = next_word(&p, end);
	uint64_t v = 0;

	if (!is(w, "serial"))
		return true;
	w = next_word(&p, end);
	for (size_t i = 0; i < w.n; i++) {
		if (w.p[i] < '0' || w.p[i] > '9' || v > UINT64_MAX / 10 - 1)
			return fail(r, "\"%.*s\" is no serial: write a whole number", (int)(w.n < 40 ? w.n : 40), w.p);
		v = v * 10 + (uint64_t)(w.p[i] - '0');
	}
	if (w.n == 0 || r->serial_seen)
		return fail(r, r->serial_seen ? "a second serial" : "the serial has no number");
	r->serial_seen = true;
	r->k->serial = v;
	return true;
}

static bool read_line(struct reader *r, const char *p, const char *end)
{
	struct word w = next_word(&p, end);

	if (w.n == 0)
		return true;
	if (w.p[0] == '#') /* a letter of Z85, but 84 * 85^4 is above 2^32: no key begins with it */
		return read_comment(r, w.p + 1, end);
	return read_key_line(r, w, p, end);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct known *)a)->key, ((const struct known *)b)->key);
}

static int by_pattern(const void *a, const void *b)
{
	return strcmp(((const struct rule *)a)->pattern, ((const struct rule *)b)->pattern);
}

/* Sorts, and refuses a key with two roles. */
static bool finish(struct keyset *k, char *why, size_t why_size)
{
	size_t nr = 0;

	if (k->nr_rules > 0)
		qsort(k->rules, k->nr_rules, sizeof(*k->rules), by_pattern);
	if (k->nr_keys > 0)
		qsort(k->keys, k->nr_keys, sizeof(*k->keys), by_key);
	for (size_t i = 0; i < k->nr_keys; i++) {
		if (nr == 0 || strcmp(k->keys[nr - 1].key, k->keys[i].key) != 0) {
			k->keys[nr++] = k->keys[i];
		} else if (k->keys[nr - 1].role != k->keys[i].role) {
			snprintf(why, why_size, "key %s has two roles", k->keys[i].key);
			return false;
		}
	}
	k->nr_keys = nr;
	return true;
}

struct keyset *keyset_parse(const char *text, size_t n, char *why, size_t why_size)
{
	struct reader r = { .k = calloc(1, sizeof(struct keyset)), .line = 1, .why = why, .why_size = why_size };
	const char *p = text, *end = text + n;
	bool ok = r.k != NULL && n <= KEYSET_BYTES_MAX && (n == 0 || memchr(text, '\0', n) == NULL);

	if (!ok)
		snprintf(why, why_size, "%s", r.k == NULL ? "out of memory" : n > KEYSET_BYTES_MAX ? "larger than 4 MiB" : "not a text");
	for (; ok && p < end; r.line++) {
		const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl != NULL ? nl : end;

		ok = read_line(&r, p, stop);
		p = stop + (nl != NULL);
	}
	if (ok && finish(r.k, why, why_size))
		return r.k;
	keyset_free(r.k);
	return NULL;
}

void keyset_free(struct keyset *k)
{
	if (k == NULL)
		return;
	for (size_t i = 0; i < k->nr_rules; i++)
		free(k->rules[i].pattern);
	free(k->rules);
	free(k->keys);
	free(k);
}

uint64_t keyset_serial(const struct keyset *k)
{
	return k != NULL ? k->serial : 0;
}

enum directory_role keyset_role(const struct keyset *k, const char *key)
{
	const struct known *found;
	struct known want = { .role = DIR_ROLE_NONE };

	if (k == NULL || k->nr_keys == 0 || strnlen(key, 41) != 40)
		return DIR_ROLE_NONE;
	memcpy(want.key, key, sizeof(want.key));
	found = bsearch(&want, k->keys, k->nr_keys, sizeof(want), by_key);
	return found != NULL ? found->role : DIR_ROLE_NONE;
}

/* The rules of one pattern: the first of them and their number. */
static size_t rules_of(const struct keyset *k, const char *pattern, const struct rule **first)
{
	size_t lo = 0, hi = k->nr_rules, n = 0;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (strcmp(k->rules[mid].pattern, pattern) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo + n < k->nr_rules && strcmp(k->rules[lo + n].pattern, pattern) == 0)
		n++;
	*first = k->rules + lo;
	return n;
}

/* The rules of the most specific pattern that matches; bare: also "*". */
static size_t owners(const struct keyset *k, const char *domain, bool bare, const struct rule **first)
{
	char pattern[DOMAIN_MAX + 2];
	size_t n;

	if (k == NULL || k->nr_rules == 0 || !keyset_domain_ok(domain, strnlen(domain, DOMAIN_MAX + 1)))
		return 0;
	if ((n = rules_of(k, domain, first)) > 0)
		return n;
	for (const char *dot = strchr(domain, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
		snprintf(pattern, sizeof(pattern), "*%s", dot);
		if ((n = rules_of(k, pattern, first)) > 0)
			return n;
	}
	return bare ? rules_of(k, "*", first) : 0;
}

bool keyset_may(const struct keyset *k, const char *key, const char *domain, unsigned types)
{
	const struct rule *first;
	size_t n = owners(k, domain, true, &first);
	unsigned has = 0;

	for (size_t i = 0; i < n; i++)
		if (strcmp(first[i].key, key) == 0)
			has |= first[i].types;
	return types != 0 && (types & ~has) == 0;
}

bool keyset_names(const struct keyset *k, const char *domain)
{
	const struct rule *first;

	return owners(k, domain, false, &first) > 0;
}

size_t keyset_nr_keys(const struct keyset *k)
{
	return k != NULL ? k->nr_keys : 0;
}

const char *keyset_key(const struct keyset *k, size_t i, enum directory_role *role)
{
	*role = k->keys[i].role;
	return k->keys[i].key;
}

bool keyset_loses_key(const struct keyset *before, const struct keyset *after)
{
	for (size_t i = 0; i < keyset_nr_keys(before); i++)
		if (keyset_role(after, before->keys[i].key) == DIR_ROLE_NONE)
			return true;
	return false;
}
