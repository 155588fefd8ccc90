/*
 * A score from a fixed hash of instance and key, so that who chooses needs nobody's leave. An attacker who picks JIDs can only choose his
 * own instance.
 */
#include "svcproto/choose.h"

#include <math.h>
#include <string.h>

/* FNV-1a and a strong finisher: stable across processes and machines. */
static uint64_t hash_more(uint64_t h, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t hash_begin(const uint8_t id[16])
{
	return hash_more(UINT64_C(0xcbf29ce484222325), id, 16);
}

static uint64_t hash_end(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ (h >> 33);
}

double choose_score(const uint8_t instance[16], uint32_t weight, const char *key, size_t n)
{
	uint64_t h = hash_end(hash_more(hash_begin(instance), key, n));
	/* (0, 1): 53 bits, never exactly 0 or 1 */
	double u = ((double)(h >> 11) + 0.5) / 9007199254740992.0;

	return -(double)weight / log(u);
}

uint64_t choose_gateway_score(const uint8_t gateway[16], const char *from, const char *to)
{
	/* with the NUL between them, so that no two pairs read the same */
	return hash_end(hash_more(hash_more(hash_begin(gateway), from, strlen(from) + 1), to, strlen(to)));
}
