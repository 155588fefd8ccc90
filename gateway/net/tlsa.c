/* Digests have one length each: a record with another could match nothing, and is none. */
#include "net/tlsa.h"

enum { USAGE_LAST = 3, SELECTOR_LAST = 1, FULL = 0, SHA_256 = 1, SHA_512 = 2, FIELDS = 3 };

static bool length_fits(unsigned type, size_t n)
{
	switch (type) {
	case FULL:
		return n > 0;
	case SHA_256:
		return n == 32;
	case SHA_512:
		return n == 64;
	default:
		return false;
	}
}

void tlsa_add(struct tlsa_set *t, struct slice rdata)
{
	const unsigned char *p = (const unsigned char *)rdata.p;
	size_t n = rdata.n < FIELDS ? 0 : rdata.n - FIELDS;

	if (rdata.n < FIELDS || p[0] > USAGE_LAST || p[1] > SELECTOR_LAST || !length_fits(p[2], n))
		return;
	if (t->nr == TLSA_RECORDS_MAX || n > TLSA_BYTES_MAX - t->nr_bytes)
		return;
	t->v[t->nr].usage = p[0];
	t->v[t->nr].selector = p[1];
	t->v[t->nr].type = p[2];
	t->v[t->nr].at = (uint16_t)t->nr_bytes;
	t->v[t->nr++].n = (uint16_t)n;
	memcpy(t->bytes + t->nr_bytes, p + FIELDS, n);
	t->nr_bytes += n;
}
