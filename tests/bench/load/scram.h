#ifndef AMBROSIA_BENCH_SCRAM_H
#define AMBROSIA_BENCH_SCRAM_H

#include <stddef.h>

#include "common/slice.h"

/* The client's side of SCRAM (RFC 5802) without channel binding. The costly derivation is done once for each user, as a client that keeps
 * its keys does. */
struct scram_keys {
	char salt[128];
	unsigned iterations;
	unsigned char client[32], server[32];
};

struct scram {
	const char *digest;   /* OpenSSL's name */
	char first_bare[160], proof_for[640];
	struct scram_keys *keys;
};

/* The initial response into out (at least 200 bytes); user is a localpart that needs no escaping. */
void scram_first(struct scram *s, const char *digest, const char *user, struct scram_keys *keys, char *out);
/* The answer to the server's first message (decoded) into out; false: it makes no sense. */
bool scram_final(struct scram *s, struct slice challenge, const char *password, char *out, size_t size);
/* Whether the server's last message proves that it knows the key. */
bool scram_proven(const struct scram *s, struct slice success);

#endif
