#include "secrets.h"

/* A ring of three slots by number. The registry's clock decides which is the present one; ours only counts what was left of it. */

static struct secret_slot *place(struct secrets *s, uint64_t number)
{
	return &s->slot_[number % SECRETS_VALID_MAX];
}

static bool holds(const struct secrets *s, uint64_t number)
{
	const struct secret_slot *at = &s->slot_[number % SECRETS_VALID_MAX];

	return at->known && at->number == number;
}

static bool same_slot(const struct secret_slot *a, const struct reg_slot *in)
{
	return a->known && a->number == in->number && memcmp(a->dialback_key, in->dialback_key, sizeof a->dialback_key) == 0 &&
	       memcmp(a->ticket_keys, in->ticket_keys, sizeof a->ticket_keys) == 0;
}

enum secrets_change secrets_take(struct secrets *s, unsigned source, const struct reg_slot *in, uint64_t now_ms)
{
	struct secret_slot *at = place(s, in->number);
	bool changed;

	if (s->known && memcmp(s->salt_key, in->salt_key, sizeof s->salt_key) != 0) {
		if (source != s->source_)
			return SECRETS_CONTRADICTED;
		secrets_wipe(s);
	}
	changed = !s->known || s->current_ != in->current || !same_slot(at, in);
	if (!s->known)
		s->source_ = source;
	s->known = true;
	s->current_ = in->current;
	s->ends_at_ms_ = in->left_ms < UINT64_MAX - now_ms ? now_ms + in->left_ms : UINT64_MAX;
	memcpy(s->salt_key, in->salt_key, sizeof s->salt_key);
	at->known = true;
	at->number = in->number;
	memcpy(at->dialback_key, in->dialback_key, sizeof at->dialback_key);
	memcpy(at->ticket_keys, in->ticket_keys, sizeof at->ticket_keys);
	return changed ? SECRETS_CHANGED : SECRETS_SAME;
}

bool secrets_advance(struct secrets *s, uint64_t now_ms)
{
	if (!s->known || now_ms < s->ends_at_ms_)
		return false;
	s->ends_at_ms_ = UINT64_MAX; /* only a registry knows when the next one ends */
	if (!holds(s, s->current_ + 1))
		return false;
	s->current_++;
	return true;
}

unsigned secrets_valid(const struct secrets *s, const struct secret_slot *out[SECRETS_VALID_MAX])
{
	const uint64_t order[] = {s->current_, s->current_ - 1, s->current_ + 1};
	unsigned nr = 0;

	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (holds(s, order[i]))
			out[nr++] = &s->slot_[order[i] % SECRETS_VALID_MAX];
	return nr;
}

static void set_ticket_key(struct tls_ticket_key *k, const unsigned char *keys)
{
	memcpy(k->name, keys, sizeof k->name);
	memcpy(k->cipher, keys + sizeof k->name, sizeof k->cipher);
	memcpy(k->mac, keys + sizeof k->name + sizeof k->cipher, sizeof k->mac);
}

void secrets_lend(const struct secrets *s, struct dialback_secrets *dialback, struct tls_tickets *tickets)
{
	const struct secret_slot *valid[SECRETS_VALID_MAX];
	unsigned nr = secrets_valid(s, valid);

	_Static_assert(DIALBACK_SECRETS_MAX >= SECRETS_VALID_MAX && TLS_TICKETS_MAX >= SECRETS_VALID_MAX, "all slots fit");
	_Static_assert(sizeof(struct tls_ticket_key) == REG_TICKET, "a ticket's keys are as long here as in the protocol");
	for (unsigned i = 0; i < nr; i++) {
		memcpy(dialback->secret[i], valid[i]->dialback_key, sizeof dialback->secret[i]);
		set_ticket_key(&tickets->key[i], valid[i]->ticket_keys);
	}
	dialback->nr = tickets->nr = nr;
}

void secrets_wipe(struct secrets *s)
{
	mem_wipe(s, sizeof *s);
}
