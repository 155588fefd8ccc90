#ifndef SERVICES_CTL_PRINT_H
#define SERVICES_CTL_PRINT_H

/* Rows as a table for people, or as JSON for scripts. */

#include <stdio.h>

#include "services/ctl/rows.h"

enum column_kind { COLUMN_TEXT, COLUMN_ID, COLUMN_NUMBER, COLUMN_BYTES, COLUMN_SECONDS, COLUMN_BOOL };

struct column {
	const char *name;        /* of the property, and in JSON */
	const char *title;       /* in the table; NULL: JSON only */
	enum column_kind kind;
};

/* Columns of equal width, titles first; what is not there is a dash. Peer text is made harmless for a terminal. */
void print_table(FILE *out, const struct rows *r, const struct column *columns, size_t nr);
/* An array of objects, one row in a line. Numbers and truths by the column's kind; a property that no column names is a string. */
void print_json(FILE *out, const struct rows *r, const struct column *columns, size_t nr);
void print_json_string(FILE *out, const char *text);

#endif
