#ifndef REGISTRY_SECRETS_H
#define REGISTRY_SECRETS_H

/*
 * What the gateways of a cluster share, derived from one master (HKDF with SHA-256, RFC 5869; PROTOCOL.md section 19): keys for a
 * slot of time, and the salt key, which never changes: a salt that did would give away who does not exist.
 */

#include "common/obj.h"
#include "svcproto/regmsg.h"

#define SECRETS_SLOT_MS (UINT64_C(2) * 3600 * 1000)
#define SECRETS_MASTER_MIN 32u
#define SECRETS_MASTER_MAX 4096u

struct secrets_master {
	unsigned char bytes[SECRETS_MASTER_MAX];
	size_t n;
};

struct secrets_slot {
	unsigned char salt_key[REG_SECRET], dialback_key[REG_SECRET], ticket_keys[REG_TICKET];
};

/* The file's bytes, all of them; 0600 or 0400, ours or root's. make: a fresh one where none is. -1 with a line in why. Blocks. */
MUST_CHECK int secrets_master_load(struct secrets_master *m, const char *path, bool make, char *why, size_t why_size);
void secrets_master_wipe(struct secrets_master *m);
uint64_t secrets_slot_at(uint64_t wall_ms);
/* -1: OpenSSL refuses. */
MUST_CHECK int secrets_derive(const struct secrets_master *m, uint64_t slot, struct secrets_slot *out);
void secrets_slot_wipe(struct secrets_slot *s);
/* The slot before wall_ms's, that one, and the next: fn for each, its bytes borrowed until it returns. */
MUST_CHECK int secrets_each(const struct secrets_master *m, uint64_t wall_ms, void (*fn)(void *arg, const struct reg_slot *s), void *arg);

#endif
