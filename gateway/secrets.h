#ifndef GATEWAY_SECRETS_H
#define GATEWAY_SECRETS_H

/*
 * The cluster's secrets as a gateway holds them, in memory only: keys for the present slot of time, which new things are made with, and for
 * its neighbours, which are accepted too. Pure.
 */

#include "auth/extern.h"
#include "common/obj.h"
#include "net/tls_tickets.h"
#include "svcproto/regmsg.h"

#define SECRETS_VALID_MAX 3u

struct secret_slot {
	uint64_t number;
	bool known;
	unsigned char dialback_key[REG_SECRET], ticket_keys[REG_TICKET];
};

/* Embedded: private fields end in _. */
struct secrets {
	unsigned char salt_key[REG_SECRET];
	bool known;                     /* anything at all */
	unsigned source_;               /* which registry's master they are of */
	struct secret_slot slot_[SECRETS_VALID_MAX];
	uint64_t current_, ends_at_ms_;
};

enum secrets_change { SECRETS_SAME, SECRETS_CHANGED, SECRETS_CONTRADICTED };

/* A slot as a registry gave it. CONTRADICTED: another registry has another master; what is held stays. A registry may change its own. */
enum secrets_change secrets_take(struct secrets *s, unsigned source, const struct reg_slot *in, uint64_t now_ms);
/* Time passes. True: another slot is the present one. */
bool secrets_advance(struct secrets *s, uint64_t now_ms);
/* The slots that are valid, the present one first; their number, 0: none is known. If no registry has told for so long that the present one
 * is not known, the last one known goes on: nothing fails for a registry that is gone. */
unsigned secrets_valid(const struct secrets *s, const struct secret_slot *out[SECRETS_VALID_MAX]);
/* Those keys where they are used, in the same order. */
void secrets_lend(const struct secrets *s, struct dialback_secrets *dialback, struct tls_tickets *tickets);
void secrets_wipe(struct secrets *s);

#endif
