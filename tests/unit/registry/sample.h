#ifndef TESTS_REGISTRY_SAMPLE_H
#define TESTS_REGISTRY_SAMPLE_H

/* Keys and entries that several tests use. The keys are 40 letters of Z85, no more. */

#include <string.h>

#include "svcproto/keyset.h"
#include "svcproto/regmsg.h"

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define KEY_G "gggggggggggggggggggggggggggggggggggggggg"
#define KEY_X "x#xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static inline struct keyset *sample_keys(const char *text)
{
	char why[200];
	struct keyset *k = keyset_parse(text, strlen(text), why, sizeof(why));

	if (k == NULL)
		fprintf(stderr, "%s\n", why);
	return k;
}

static inline struct entry sample_registration(const char *key, uint8_t owner, const char *domain, unsigned types, uint64_t version)
{
	struct entry e = { .kind = DIR_REGISTRATION, .incarnation = 7, .version = version, .name = domain, .types = types, .weight = 1,
			   .lease_ms = REG_LEASE_MS, .policy = entry_policy("hash", 4) };

	memset(e.owner.b, owner, sizeof(e.owner.b));
	memcpy(e.key, key, sizeof(e.key));
	return e;
}

static inline struct entry sample_redirect(const char *key, const char *name, const char *host, uint64_t version)
{
	struct entry e = { .kind = DIR_REDIRECT, .version = version, .name = name, .host = host, .gone = host == NULL, .lease_ms = 60000 };

	memcpy(e.key, key, sizeof(e.key));
	return e;
}

static inline struct entry sample_gateway(const char *key, uint8_t owner, const char *endpoint, uint64_t version)
{
	struct entry e = {.kind = DIR_GATEWAY,
			  .incarnation = 7,
			  .version = version,
			  .name = endpoint,
			  .public_host = "gw.example",
			  .client_port = 15222,
			  .load = 3,
			  .lease_ms = REG_LEASE_MS};

	memset(e.owner.b, owner, sizeof(e.owner.b));
	memcpy(e.key, key, sizeof(e.key));
	return e;
}

#endif
