/* Rows of texts. Small lists of columns: looking for a name is a walk. */
#include "services/ctl/rows.h"

#include <stdio.h>
#include <stdlib.h>

struct row *rows_add(struct rows *r)
{
	if (r->nr == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 16;
		r->v = mem_resize(r->v, r->cap * sizeof *r->v);
	}
	r->v[r->nr] = (struct row){0};
	return &r->v[r->nr++];
}

static struct svcproto_property *find(const struct row *r, const char *name)
{
	for (size_t i = 0; i < r->nr; i++) {
		if (strcmp(r->v[i].name, name) == 0)
			return &r->v[i];
	}
	return NULL;
}

void row_put(struct row *r, const char *name, const char *value)
{
	struct svcproto_property *p = find(r, name);

	if (p != NULL) {
		free((char *)p->value);
		p->value = mem_strdup(value);
		return;
	}
	r->v = mem_resize(r->v, (r->nr + 1) * sizeof *r->v);
	r->v[r->nr++] = (struct svcproto_property){mem_strdup(name), mem_strdup(value)};
}

void row_put_number(struct row *r, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	row_put(r, name, text);
}

const char *row_get(const struct row *r, const char *name)
{
	const struct svcproto_property *p = find(r, name);

	return p != NULL ? p->value : NULL;
}

uint64_t row_number(const struct row *r, const char *name)
{
	const char *text = row_get(r, name);

	return text != NULL ? strtoull(text, NULL, 10) : 0;
}

static int compare(const void *a, const void *b, void *name)
{
	const char *x = row_get(a, name), *y = row_get(b, name);

	return strcmp(x ? x : "", y ? y : "");
}

/* glibc's qsort_r merges, and so is stable, as long as memory lasts. */
void rows_sort(struct rows *r, const char *name)
{
	if (r->nr > 1)
		qsort_r(r->v, r->nr, sizeof *r->v, compare, (void *)name);
}

void rows_clear(struct rows *r)
{
	for (size_t i = 0; i < r->nr; i++) {
		for (size_t k = 0; k < r->v[i].nr; k++) {
			free((char *)r->v[i].v[k].name);
			free((char *)r->v[i].v[k].value);
		}
		free(r->v[i].v);
	}
	free(r->v);
	*r = (struct rows){0};
}
