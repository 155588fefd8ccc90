/*
 * Tables and JSON. Everything that is printed may come from a peer (resources, domains): control characters never reach a terminal, and
 * JSON is escaped by its own rules.
 */
#include "services/ctl/print.h"

#include <inttypes.h>
#include <stdlib.h>

#define CELL_MAX 160

static const struct column *column_of(const char *name, const struct column *columns, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		if (strcmp(columns[i].name, name) == 0)
			return &columns[i];
	}
	return NULL;
}

/* --- table ---------------------------------------------------------------- */

static void scaled(char *out, size_t size, uint64_t n)
{
	static const char units[] = "BKMGT";
	double v = (double)n;
	size_t i = 0;

	while (v >= 1000 && i + 2 < sizeof units) {
		v /= 1024;
		i++;
	}
	snprintf(out, size, i == 0 || v >= 100 ? "%.0f%c" : "%.1f%c", v, units[i]);
}

static void duration(char *out, size_t size, uint64_t s)
{
	if (s < 60)
		snprintf(out, size, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(out, size, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, size, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(out, size, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
}

/* C0, DEL and C1 (in UTF-8: c2 80 to c2 9f) become question marks. */
static void harmless(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++) {
		unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];

		if (c == 0xc2 && next >= 0x80 && next < 0xa0)
			text++;
		out[n++] = c < ' ' || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0) ? '?' : *text;
	}
	out[n] = '\0';
}

static void cell(char *out, size_t size, const struct row *r, const struct column *c)
{
	const char *text = row_get(r, c->name);
	uint64_t n = row_number(r, c->name);

	if (text == NULL || text[0] == '\0')
		snprintf(out, size, "-");
	else if (c->kind == COLUMN_BYTES)
		scaled(out, size, n);
	else if (c->kind == COLUMN_SECONDS)
		duration(out, size, n);
	else if (c->kind == COLUMN_ID)
		snprintf(out, size, "%.8s", text);
	else
		harmless(out, size, text);
}

/* Characters, not bytes. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static bool is_right(const struct column *c)
{
	return c->kind == COLUMN_NUMBER || c->kind == COLUMN_BYTES || c->kind == COLUMN_SECONDS;
}

static void put_cell(FILE *out, const char *text, const struct column *c, size_t wide, bool last)
{
	size_t w = width(text);
	int pad = w < wide ? (int)(wide - w) : 0;

	if (is_right(c))
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : "  ", out);
}

static size_t widest(const struct rows *r, const struct column *c)
{
	size_t most = width(c->title);
	char text[CELL_MAX];

	for (size_t i = 0; i < r->nr; i++) {
		cell(text, sizeof text, &r->v[i], c);
		most = width(text) > most ? width(text) : most;
	}
	return most;
}

void print_table(FILE *out, const struct rows *r, const struct column *columns, size_t nr)
{
	size_t *wide = mem_alloc(nr * sizeof *wide), last = 0;
	char text[CELL_MAX];

	for (size_t c = 0; c < nr; c++) {
		wide[c] = columns[c].title != NULL ? widest(r, &columns[c]) : 0;
		last = columns[c].title != NULL ? c : last;
	}
	for (size_t c = 0; c < nr; c++) {
		if (columns[c].title != NULL)
			put_cell(out, columns[c].title, &columns[c], wide[c], c == last);
	}
	for (size_t i = 0; i < r->nr; i++) {
		for (size_t c = 0; c < nr; c++) {
			if (columns[c].title == NULL)
				continue;
			cell(text, sizeof text, &r->v[i], &columns[c]);
			put_cell(out, text, &columns[c], wide[c], c == last);
		}
	}
	free(wide);
}

/* --- JSON ----------------------------------------------------------------- */

void print_json_string(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			putc(c, out);
	}
	putc('"', out);
}

static bool is_number(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n <= 20 && strspn(text, "0123456789") == n && (n == 1 || text[0] != '0');
}

static void json_value(FILE *out, const char *text, const struct column *c)
{
	enum column_kind kind = c != NULL ? c->kind : COLUMN_TEXT;

	if (kind == COLUMN_BOOL)
		fputs(strcmp(text, "yes") == 0 ? "true" : "false", out);
	else if (kind != COLUMN_TEXT && kind != COLUMN_ID && is_number(text))
		fputs(text, out);
	else
		print_json_string(out, text);
}

void print_json(FILE *out, const struct rows *r, const struct column *columns, size_t nr)
{
	putc('[', out);
	for (size_t i = 0; i < r->nr; i++) {
		fputs(i > 0 ? ",\n {" : "\n {", out);
		for (size_t k = 0; k < r->v[i].nr; k++) {
			const struct svcproto_property *p = &r->v[i].v[k];

			fputs(k > 0 ? ", " : "", out);
			print_json_string(out, p->name);
			fputs(": ", out);
			json_value(out, p->value, column_of(p->name, columns, nr));
		}
		putc('}', out);
	}
	fputs(r->nr > 0 ? "\n]\n" : "]\n", out);
}
