#ifndef SERVICES_CTL_ROWS_H
#define SERVICES_CTL_ROWS_H

/* What came back: rows of named texts, in the order they came. */

#include <ambrosia/svcproto.h>

#include "common/obj.h"

struct row {
	struct svcproto_property *v;   /* names and values owned */
	size_t nr;
};

struct rows {
	struct row *v;
	size_t nr, cap;
};

struct row *rows_add(struct rows *r);                 /* empty; valid until the next rows_add */
void row_put(struct row *r, const char *name, const char *value);   /* copied; replaces what was there */
void row_put_number(struct row *r, const char *name, uint64_t value);
const char *row_get(const struct row *r, const char *name);         /* NULL: not there */
uint64_t row_number(const struct row *r, const char *name);         /* 0: not there, or no number */
void rows_sort(struct rows *r, const char *name);     /* by that value, as text; stable */
void rows_clear(struct rows *r);

#endif
