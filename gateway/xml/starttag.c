/*
 * A start tag's copy, in three reused blocks. Slices point into `strings_`, so all of a tag's room is reserved before any is made.
 */
#include "xml/starttag.h"

#include <stdlib.h>

#include "xml/restrict.h"

struct slice xml_attr_get_ns(const struct xml_head *h, const char *ns, const char *name)
{
	for (size_t i = 0; i < h->nr_attrs; i++)
		if (slice_is(h->attrs[i].ns, ns) && slice_is(h->attrs[i].name, name))
			return h->attrs[i].value;
	return SLICE_NONE;
}

struct slice xml_attr_get(const struct xml_head *h, const char *name)
{
	return xml_attr_get_ns(h, "", name);
}

static void strings_reserve(struct xml_starttag *t, size_t n)
{
	if (t->strings_cap_ - t->strings_n_ >= n)
		return;
	size_t cap = t->strings_cap_ ? t->strings_cap_ : 256;
	while (cap - t->strings_n_ < n)
		cap *= 2;
	t->strings_ = mem_resize(t->strings_, cap);
	t->strings_cap_ = cap;
}

/* Room must have been reserved. */
static const char *strings_add(struct xml_starttag *t, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = t->strings_ + t->strings_n_;
	memcpy(to, s, n);
	t->strings_n_ += n;
	return to;
}

void xml_starttag_declare(struct xml_starttag *t, const char *prefix, const char *uri)
{
	prefix = prefix ? prefix : "";
	uri = uri ? uri : "";
	strings_reserve(t, strlen(prefix) + strlen(uri) + 2);
	strings_add(t, prefix);
	strings_add(t, uri);
	t->nr_own++;
}

static bool overridden(const struct xml_nsdecl *own, size_t nr_own, struct slice prefix)
{
	for (size_t i = 0; i < nr_own; i++)
		if (slice_eq(own[i].prefix, prefix))
			return true;
	return false;
}

/* Room for the tag's own declarations behind the outer ones, so that these can be compared with them. */
static struct xml_nsdecl *decls_reserve(struct xml_starttag *t, size_t nr_outer)
{
	if (t->decls_cap_ < nr_outer + t->nr_own) {
		t->decls_cap_ = nr_outer + t->nr_own;
		t->decls_ = mem_resize(t->decls_, t->decls_cap_ * sizeof *t->decls_);
	}
	return t->decls_ + nr_outer;
}

/* Of the outer ones what is not overridden, then the tag's own. */
static void decls_join(struct xml_starttag *t, const struct xml_nsdecl *outer, size_t nr_outer)
{
	const struct xml_nsdecl *own = t->decls_ + nr_outer;
	size_t n = 0;
	for (size_t i = 0; i < nr_outer; i++)
		if (!overridden(own, t->nr_own, outer[i].prefix))
			t->decls_[n++] = outer[i];
	memmove(t->decls_ + n, own, t->nr_own * sizeof *own);
	t->decls = t->decls_;
	t->nr_decls = n + t->nr_own;
}

static void decls_list(struct xml_starttag *t, const struct xml_nsdecl *outer, size_t nr_outer)
{
	t->decls = outer;
	t->nr_decls = nr_outer;
	if (t->nr_own == 0)
		return;
	struct xml_nsdecl *own = decls_reserve(t, nr_outer);
	const char *s = t->strings_;
	for (size_t i = 0; i < t->nr_own; i++) {
		own[i].prefix = slice_str(s);
		own[i].uri = slice_str(s + own[i].prefix.n + 1);
		s = own[i].uri.p + own[i].uri.n + 1;
	}
	decls_join(t, outer, nr_outer);
}

void xml_starttag_inherit(struct xml_starttag *t, struct slice own_default, const struct xml_nsdecl *outer, size_t nr_outer)
{
	t->decls = outer;
	t->nr_decls = nr_outer;
	t->nr_own = own_default.p != NULL;
	if (t->nr_own == 0)
		return;
	*decls_reserve(t, nr_outer) = (struct xml_nsdecl){.uri = own_default};
	decls_join(t, outer, nr_outer);
}

void xml_starttag_set(struct xml_starttag *t, const char *name, const char **atts, size_t nr_attrs, const struct xml_nsdecl *outer,
		      size_t nr_outer)
{
	size_t need = strlen(name) + 1;
	for (size_t i = 0; i < 2 * nr_attrs; i++)
		need += strlen(atts[i]) + 1;
	strings_reserve(t, need);
	if (t->attrs_cap_ < nr_attrs) {
		t->attrs_cap_ = nr_attrs < 8 ? 8 : nr_attrs;
		t->attrs_ = mem_resize(t->attrs_, t->attrs_cap_ * sizeof *t->attrs_);
	}
	struct xml_qname q = xml_expat_split(strings_add(t, name));
	t->head = (struct xml_head){.ns = q.ns, .name = q.name, .prefix = q.prefix, .attrs = t->attrs_, .nr_attrs = nr_attrs};
	for (size_t i = 0; i < nr_attrs; i++) {
		q = xml_expat_split(strings_add(t, atts[2 * i]));
		t->attrs_[i] = (struct xml_attr){.ns = q.ns, .name = q.name, .prefix = q.prefix};
		t->attrs_[i].value = slice_str(strings_add(t, atts[2 * i + 1]));
	}
	decls_list(t, outer, nr_outer);
}

void xml_starttag_forget(struct xml_starttag *t)
{
	t->strings_n_ = t->nr_own = t->nr_decls = 0;
	t->decls = NULL;
	t->head = (struct xml_head){.attrs = NULL};
}

void xml_starttag_clear(struct xml_starttag *t)
{
	free(t->attrs_);
	free(t->decls_);
	free(t->strings_);
	*t = (struct xml_starttag){.decls = NULL};
}
