/*
 * The error stanza for a stanza that a gateway refused. It reads the start tag only, which the gateway's parser has found well-formed;
 * anything that does not look as it should gives no answer. Attribute values are copied as they stand, quotes and references included.
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
	struct text name, to, id, type; /* values with their quotes; p NULL: absent */
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

char *client_error_stanza(const char *xml, size_t n, const char *to, const char *type, const char *condition, size_t *out_n)
{
	struct tag t;
	char *out = NULL;
	FILE *f;

	if (!read_tag(xml, n, &t) || !answerable(&t))
		return NULL;
	f = open_memstream(&out, out_n);
	if (f == NULL)
		return NULL;
	fprintf(f, "<%.*s xmlns='jabber:client' type='error' to='", (int)t.name.n, t.name.p);
	put_escaped(f, to);
	fputc('\'', f);
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
