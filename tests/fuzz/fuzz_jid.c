/* Addresses: what is prepared stays as it is, whole and in parts, in both forms of its domain, and is clean UTF-8 within the lengths. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "xml/jid.h"
#include "xml/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                     \
	do {                                                              \
		if (!(cond)) {                                            \
			fprintf(stderr, "violated: %s\n", #cond);         \
			abort();                                          \
		}                                                         \
	} while (0)

static void check_part(char *(*prep)(struct slice), struct slice part)
{
	if (part.n == 0)
		return;
	char *again = prep(part);
	REQUIRE(again != NULL && slice_is(part, again));
	REQUIRE(part.n <= 1023);
	free(again);
}

/* Nothing may be read into a domain that its text did not show. */
static void check_domain(struct slice domain)
{
	for (size_t i = 0; i < domain.n; i++)
		REQUIRE(memchr("@/ \"'<>&\\", domain.p[i], 9) == NULL && (domain.p[i] & 0x80 || domain.p[i] > ' '));
	char *ascii = jid_domain_ascii(domain);
	REQUIRE(ascii != NULL);
	char *back = jid_prep_domain(slice_str(ascii));
	REQUIRE(back != NULL && slice_is(domain, back));
	free(back);
	free(ascii);
}

static void check_whole(struct slice text)
{
	struct jid j, again;
	if (jid_parse(&j, text) < 0) {
		REQUIRE(jid_empty(&j));
		return;
	}
	REQUIRE(utf8_valid(j.full) && strlen(j.full_) == j.full.n && j.domain.n > 0);
	REQUIRE(jid_parse(&again, j.full) == 0 && slice_eq(again.full, j.full) && slice_eq(again.bare, j.bare));
	jid_clear(&again);
	REQUIRE(jid_make(&again, j.local, j.domain, j.resource) == 0 && slice_eq(again.full, j.full));
	jid_clear(&again);
	check_part(jid_prep_local, j.local);
	check_part(jid_prep_domain, j.domain);
	check_part(jid_prep_resource, j.resource);
	check_domain(j.domain);
	jid_clear(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as large, so that reading past it shows. */
	char *text = malloc(size ? size : 1);
	if (size > 0)
		memcpy(text, data, size);
	check_whole((struct slice){text, size});
	free(text);
	return 0;
}
