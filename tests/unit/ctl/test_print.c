/* What ambrosiactl prints: tables that line up, numbers for people, JSON for scripts, and nothing that a peer could do to a terminal. */
#include <stdlib.h>

#include "check.h"
#include "services/ctl/print.h"

static const struct column columns[] = {
	{"name", "NAME", COLUMN_TEXT},      {"id", "ID", COLUMN_ID},     {"n", "N", COLUMN_NUMBER}, {"bytes", "BYTES", COLUMN_BYTES},
	{"age", "AGE", COLUMN_SECONDS}, {"on", NULL, COLUMN_BOOL},
};

static char *out;
static size_t out_n;

static void put(struct rows *r, const char *name, const char *n, const char *bytes, const char *age)
{
	struct row *row = rows_add(r);

	row_put(row, "name", name);
	row_put(row, "id", "0123456789abcdef");
	row_put(row, "n", n);
	row_put(row, "bytes", bytes);
	row_put(row, "age", age);
}

static void table(const struct rows *r, const char *want)
{
	FILE *f = open_memstream(&out, &out_n);

	print_table(f, r, columns, ARRAY_LEN(columns));
	fclose(f);
	CHECK_STR(out, want);
	free(out);
}

static void json(const struct rows *r, const char *want)
{
	FILE *f = open_memstream(&out, &out_n);

	print_json(f, r, columns, ARRAY_LEN(columns));
	fclose(f);
	CHECK_STR(out, want);
	free(out);
}

static void test_table(void)
{
	struct rows r = {0};

	put(&r, "na\xc3\xafve", "7", "999", "59");
	put(&r, "x", "1000000", "1536", "3661");
	put(&r, "longer name", "0", "123456789012", "90000");
	row_put(&r.v[1], "name", "");
	table(&r, "NAME         ID              N  BYTES    AGE\n"
		  "na\xc3\xafve        01234567        7   999B    59s\n"
		  "-            01234567  1000000   1.5K  1h01m\n"
		  "longer name  01234567        0   115G  1d01h\n");
	rows_clear(&r);
	table(&r, "NAME  ID  N  BYTES  AGE\n");
}

static void test_harmless(void)
{
	struct rows r = {0};

	row_put(rows_add(&r), "name", "a\x1b[2J\x07\xc2\x9b" "b\nc");
	table(&r, "NAME        ID  N  BYTES  AGE\na?[2J??b?c  -   -      -    -\n");
	rows_clear(&r);
}

static void test_json(void)
{
	struct rows r = {0};
	struct row *row = rows_add(&r);

	row_put(row, "name", "say \"\\\x1b\n\xc3\xaf");
	row_put(row, "n", "42");
	row_put(row, "on", "yes");
	row_put(row, "new", "42"); /* no column: a string */
	row = rows_add(&r);
	row_put(row, "n", "many");
	row_put(row, "on", "no");
	row_put(row, "id", "12");
	json(&r, "[\n {\"name\": \"say \\\"\\\\\\u001b\\u000a\xc3\xaf\", \"n\": 42, \"on\": true, \"new\": \"42\"},\n"
		 " {\"n\": \"many\", \"on\": false, \"id\": \"12\"}\n]\n");
	rows_clear(&r);
	json(&r, "[]\n");
}

static void test_rows(void)
{
	struct rows r = {0};
	struct row *row;

	for (int i = 0; i < 40; i++) {
		row = rows_add(&r);
		row_put_number(row, "n", (uint64_t)i);
		row_put(row, "name", i % 2 ? "a" : "b");
	}
	row_put(&r.v[3], "name", "c");
	CHECK_STR(row_get(&r.v[3], "name"), "c");
	CHECK(row_get(&r.v[3], "none") == NULL && row_number(&r.v[3], "name") == 0);
	rows_sort(&r, "name");
	CHECK_EQ(row_number(&r.v[0], "n"), 1);
	CHECK_EQ(row_number(&r.v[1], "n"), 5); /* stable, and 3 went to the end */
	CHECK_EQ(row_number(&r.v[39], "n"), 3);
	rows_clear(&r);
}

int main(void)
{
	RUN(test_table);
	RUN(test_harmless);
	RUN(test_json);
	RUN(test_rows);
	return check_done("unit.ctl.print");
}
