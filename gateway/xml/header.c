/*
 * Stream headers, shared. The table below holds no references: a header takes its place when it is made and leaves it when it is freed, so
 * that peers who send many different ones push each other out and cost no more than if nothing was shared.
 */
#include "xml/header.h"

#include <stdlib.h>

#include "common/hash.h"
#include "xml/ns.h"
#include "xml/writer.h"

enum {
	LANG_MAX = 35, /* what RFC 5646 section 4.4.1 wants to be kept; more would be repeated on each stanza */
	PLACES = 64,
};

static _Thread_local struct xml_header *known[PLACES];

static struct slice put(char **to, struct slice s)
{
	if (s.n > 0)
		memcpy(*to, s.p, s.n);
	struct slice placed = {*to, s.n};
	*to += s.n;
	return placed;
}

static struct xml_header *make(struct slice tag, struct slice lang, const struct xml_nsdecl *decls, size_t nr_decls)
{
	size_t bytes = tag.n + lang.n;
	for (size_t i = 0; i < nr_decls; i++)
		bytes += decls[i].prefix.n + decls[i].uri.n;
	struct xml_header *h = mem_alloc(sizeof *h + nr_decls * sizeof decls[0] + bytes);
	char *to = (char *)&h->decls[nr_decls];
	h->refs = 1;
	h->nr_decls = nr_decls;
	h->more_prefixes = false;
	h->tag = put(&to, tag);
	h->lang = put(&to, lang);
	for (size_t i = 0; i < nr_decls; i++) {
		h->decls[i].prefix = put(&to, decls[i].prefix);
		h->decls[i].uri = put(&to, decls[i].uri);
	}
	return h;
}

static void add(struct buf *out, struct slice s)
{
	int err = buf_add_slice(out, s);
	ASSERT(err == 0);
}

/* Other attributes are left out: they are the header's callback's affair. */
static void write_tag(struct buf *out, const struct xml_starttag *t)
{
	struct slice prefix = t->head.prefix;
	add(out, SLICE("<"));
	add(out, prefix);
	add(out, prefix.n > 0 ? SLICE(":") : SLICE_NONE);
	add(out, t->head.name);
	for (size_t i = 0; i < t->nr_decls; i++) {
		prefix = t->decls[i].prefix;
		add(out, prefix.n > 0 ? SLICE(" xmlns:") : SLICE(" xmlns"));
		add(out, prefix);
		add(out, SLICE("="));
		int err = xml_quote(out, t->decls[i].uri);
		ASSERT(err == 0);
	}
	add(out, SLICE(">"));
}

static bool declares_more(const struct xml_starttag *t)
{
	for (size_t i = 0; i < t->nr_decls; i++)
		if (t->decls[i].prefix.n > 0 && !slice_eq(t->decls[i].prefix, t->head.prefix))
			return true;
	return false;
}

struct xml_header *xml_header_of(const struct xml_starttag *t)
{
	struct slice lang = xml_attr_get_ns(&t->head, NS_XML, "lang");
	struct buf text;

	buf_init(&text, BUF_MAX);
	write_tag(&text, t);
	struct slice tag = buf_slice(&text);
	if (lang.n > LANG_MAX)
		lang = SLICE_NONE;
	uint64_t hash = hash_bytes(tag);
	struct xml_header **place = &known[hash % PLACES], *h = *place;
	if (h != NULL && h->hash == hash && slice_eq(h->tag, tag) && slice_eq(h->lang, lang)) {
		h->refs++;
	} else {
		*place = h = make(tag, lang, t->decls, t->nr_decls);
		h->hash = hash;
		h->more_prefixes = declares_more(t);
	}
	buf_clear(&text);
	return h;
}

struct xml_header *xml_header_of_tag(struct slice tag)
{
	return make(tag, SLICE_NONE, NULL, 0);
}

void xml_header_unref(struct xml_header *h)
{
	if (h == NULL || --h->refs > 0)
		return;
	if (known[h->hash % PLACES] == h)
		known[h->hash % PLACES] = NULL;
	free(h);
}
