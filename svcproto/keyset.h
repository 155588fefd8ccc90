#ifndef SVCPROTO_KEYSET_H
#define SVCPROTO_KEYSET_H

/*
 * authorized_keys, parsed (DESIGN.md section 3.1): pure, immutable once made. The same text is the registry's file and what it publishes:
 *
 *     # serial 12
 *     KEY service example.org:client,server *.example.org:server
 *     KEY gateway
 *     KEY admin
 */

#include "svcproto/directory.h"

struct keyset;

#define KEYSET_BYTES_MAX (4u << 20)

/* NULL with one line in why ("line 3: ..."). Two lines may name one key if the role is the same. */
struct keyset *keyset_parse(const char *text, size_t n, char *why, size_t why_size);
void keyset_free(struct keyset *k);
uint64_t keyset_serial(const struct keyset *k);
/* All functions below take k == NULL for "no set". */
enum directory_role keyset_role(const struct keyset *k, const char *key);
/* May this key take the domain as this type (all bits of it)? The most specific pattern that matches owns the domain. */
bool keyset_may(const struct keyset *k, const char *key, const char *domain, unsigned types);
/* Does a line other than a bare `*` name this domain? */
bool keyset_names(const struct keyset *k, const char *domain);
size_t keyset_nr_keys(const struct keyset *k);
const char *keyset_key(const struct keyset *k, size_t i, enum directory_role *role);
/* Is a key of `before` unknown to `after`? */
bool keyset_loses_key(const struct keyset *before, const struct keyset *after);

/* A domain as entries and lines carry it: 1 to 1023 bytes, no capital ASCII letter, space, control character, '*', '/', '@' or ':'
 * outside brackets. */
bool keyset_domain_ok(const char *domain, size_t n);

#endif
