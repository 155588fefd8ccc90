#ifndef AMBROSIA_TESTS_NET_DNS_FAKE_H
#define AMBROSIA_TESTS_NET_DNS_FAKE_H

/* A DNS server of a few lines, on loopback, on the test's loop. */

#include "common/loop.h"

struct fake_record {
	const char *name;         /* lower case */
	unsigned type;
	const char *data; /* "192.0.2.1", "2001:db8::1", "PRIORITY WEIGHT PORT TARGET" (SRV), "TARGET" (CNAME, 5); NULL: the name exists
			     with nothing of that type */
	int rcode;                /* not 0: this code for every type of the name; -1: no answer at all */
};

struct fake;

struct fake *fake_new(struct loop *l, const struct fake_record *zone);   /* ends with a NULL name */
void fake_free(struct fake *f);
const char *fake_address(const struct fake *f);                          /* "127.0.0.1:PORT" */
unsigned fake_asked(const struct fake *f, const char *name, unsigned type);

#endif
