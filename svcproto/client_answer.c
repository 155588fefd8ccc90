/*
 * Answers that are made of the stanza itself: sent back, or refused with an error. The start tag alone is read, which the gateway's parser
 * has found well-formed; anything that does not look as it should gives no answer. Attribute values are copied as they stand, quotes and
 * references included.
 */
#include "svcproto/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STANZAS_NS "urn:ietf:params:xml:ns:xmpp-stanzas"

struct text {
	const char *p;
	size_t n;
};

struct tag {
	struct text name, to, from, id, type; /* values with their quotes; p NULL: absent */
};

static bool is(struct text t, const char *s)
{
	return t.p != NULL && t.n == strlen(s) && memcmp(t.p, s, t.n) == 0;
}

static bool value_is(struct text quoted, const char *s)
{
	return quoted.p != NULL && is((struct text){ quoted.p + 1, quoted.n - 2 }, s);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct text read_name(const char **p, const char *end)
{
	struct text t = { *p, 0 };

	while (*p < end && !is_space(**p) && **p != '=' && **p != '>' && **p != '/' && **p != '<' && **p != '\'' && **p != '"')
		(*p)++;
	t.n = (size_t)(*p - t.p);
	return t;
}

static void skip_space(const char **p, const char *end)
{
	while (*p < end && is_space(**p))
		(*p)++;
}

/* name = "value"; false: there is none. */
static bool read_attribute(const char **p, const char *end, struct text *name, struct text *value)
{
	const char *close;

	*name = read_name(p, end);
	skip_space(p, end);
	if (name->n == 0 || *p >= end || **p != '=')
		return false;
	(*p)++;
	skip_space(p, end);
	if (*p >= end || (**p != '\'' && **p != '"'))
		return false;
	close = memchr(*p + 1, **p, (size_t)(end - *p - 1));
	if (close == NULL || memchr(*p, '<', (size_t)(close - *p)) != NULL)
		return false;
	*value = (struct text){ *p, (size_t)(close + 1 - *p) };
	*p = close + 1;
	return true;
}

static bool read_tag(const char *p, size_t n, struct tag *t)
{
	const char *end = p + n;
	struct text name, value;

	memset(t, 0, sizeof(*t));
	if (n == 0 || *p++ != '<')
		return false;
	t->name = read_name(&p, end);
	for (;;) {
		skip_space(&p, end);
		if (p >= end)
			return false;
		if (*p == '>' || *p == '/')
			return true;
		if (!read_attribute(&p, end, &name, &value))
			return false;
		if (is(name, "to"))
			t->to = value;
		else if (is(name, "from"))
			t->from = value;
		else if (is(name, "id"))
			t->id = value;
		else if (is(name, "type"))
			t->type = value;
	}
}

static void put_escaped(FILE *f, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '&')
			fputs("&amp;", f);
		else if (*s == '<')
			fputs("&lt;", f);
		else if (*s == '\'')
			fputs("&apos;", f);
		else
			fputc(*s, f);
	}
}

static bool answerable(const struct tag *t)
{
	if (value_is(t->type, "error"))
		return false; /* RFC 6120 section 8.3.1: no error for an error */
	if (is(t->name, "iq"))
		return value_is(t->type, "get") || value_is(t->type, "set");
	return is(t->name, "message") || is(t->name, "presence");
}

/* An address that is given, or the quoted one that the stanza came from. */
static void put_to(FILE *f, const char *to, struct text from)
{
	if (to == NULL) {
		fprintf(f, " to=%.*s", (int)from.n, from.p);
		return;
	}
	fputs(" to='", f);
	put_escaped(f, to);
	fputc('\'', f);
}

char *client_error_stanza(const char *xml, size_t n, const char *to, const char *type, const char *condition, size_t *out_n)
{
	struct tag t;
	char *out = NULL;
	FILE *f;

	if (!read_tag(xml, n, &t) || !answerable(&t) || (to == NULL && t.from.p == NULL))
		return NULL;
	f = open_memstream(&out, out_n);
	if (f == NULL)
		return NULL;
	fprintf(f, "<%.*s xmlns='jabber:client' type='error'", (int)t.name.n, t.name.p);
	put_to(f, to, t.from);
	if (t.to.p != NULL)
		fprintf(f, " from=%.*s", (int)t.to.n, t.to.p);
	if (t.id.p != NULL)
		fprintf(f, " id=%.*s", (int)t.id.n, t.id.p);
	fprintf(f, "><error type='%s'><%s xmlns='" STANZAS_NS "'/></error></%.*s>", type != NULL ? type : "cancel",
		condition != NULL ? condition : "not-acceptable", (int)t.name.n, t.name.p);
	if (fclose(f) == 0)
		return out;
	free(out);
	return NULL;
}

static char *put(char *out, const char *from, const char *to)
{
	return (char *)memcpy(out, from, (size_t)(to - from)) + (to - from);
}

char *client_turn_around(const char *xml, size_t n, size_t *out_n)
{
	static const char from[] = "from", to[] = "to";
	char *out, *q;
	const char *end = xml + n, *p = xml + 1, *copied = xml;
	struct text name, value;
	struct tag t;

	if (!read_tag(xml, n, &t) || !answerable(&t))
		return NULL;
	out = q = malloc(n + 2); /* `to` alone becomes `from` */
	if (out == NULL)
		return NULL;
	read_name(&p, end);
	for (skip_space(&p, end); read_attribute(&p, end, &name, &value); skip_space(&p, end)) {
		if (!is(name, "to") && !is(name, "from"))
			continue;
		q = put(q, copied, name.p);
		q = is(name, "to") ? put(q, from, from + sizeof(from) - 1) : put(q, to, to + sizeof(to) - 1);
		copied = name.p + name.n;
	}
	q = put(q, copied, end);
	*out_n = (size_t)(q - out);
	return out;
}

/* By the way it came. */
static int send_answer(struct svcproto *sp, struct svcproto_session *s, const struct svcproto_stanza *st, char *answer, size_t n,
		       uint64_t cookie)
{
	int rc = SVCPROTO_E_INVALID;

	if (answer != NULL && s != NULL)
		rc = svcproto_send(s, answer, n, cookie);
	else if (answer != NULL && st->remote_domain != NULL)
		rc = svcproto_send_server(sp, st->local_domain, st->remote_domain, answer, n, cookie);
	return rc;
}

bool svcproto_stanza_is(const struct svcproto_stanza *st, const char *name)
{
	struct tag t;

	return read_tag(st->xml, st->length, &t) && is(t.name, name);
}

int svcproto_send_back(struct svcproto *sp, struct svcproto_session *s, const struct svcproto_stanza *st, uint64_t cookie)
{
	size_t n = 0;
	char *answer = client_turn_around(st->xml, st->length, &n);
	int rc = send_answer(sp, s, st, answer, n, cookie);

	free(answer);
	return rc;
}

int svcproto_send_error(struct svcproto *sp, struct svcproto_session *s, const struct svcproto_stanza *st, const char *type,
			const char *condition, uint64_t cookie)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz-";
	char *answer;
	size_t n = 0;
	int rc;

	if (strspn(type, letters) < strlen(type) || condition[0] == '\0' || strspn(condition, letters) < strlen(condition))
		return SVCPROTO_E_INVALID;
	answer = client_error_stanza(st->xml, st->length, NULL, type, condition, &n);
	rc = send_answer(sp, s, st, answer, n, cookie);
	if (rc == SVCPROTO_E_FULL && s != NULL)
		rc = client_late_add(s, answer, n, cookie);
	free(answer);
	return rc;
}

/* ---- what came back ---- */

static bool is_type(const char *type)
{
	static const char *const types[] = { "auth", "cancel", "continue", "modify", "wait" };

	for (size_t i = 0; type != NULL && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i], type) == 0)
			return true;
	return false;
}

/* For a condition that came without: as RFC 6120 section 8.3.3 has it. */
static const char *type_of(const char *condition)
{
	static const struct { const char *condition, *type; } types[] = {
		{ "forbidden", "auth" },
		{ "policy-violation", "modify" },
		{ "recipient-unavailable", "wait" },
		{ "remote-server-timeout", "wait" },
		{ "resource-constraint", "wait" },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].condition, condition) == 0)
			return types[i].type;
	return "cancel";
}

void client_give_back(struct svcproto *sp, uint64_t cookie, const char *type, const char *condition, const char *xml, size_t n)
{
	if (cookie != 0 && sp->cb->undeliverable != NULL)
		sp->cb->undeliverable(sp->arg, cookie, is_type(type) ? type : type_of(condition), condition, xml, n);
}
