/*
 * A score from a fixed hash of instance and key, so that who chooses needs nobody's leave. An attacker who picks JIDs can only choose his
 * own instance.
 */
#include "svcproto/choose.h"

#include <math.h>

/* FNV-1a and a strong finisher: stable across processes and machines. */
static uint64_t hash_pair(const uint8_t *instance, const char *key, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < 16; i++)
		h = (h ^ instance[i]) * UINT64_C(0x100000001b3);
	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)key[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ (h >> 33);
}

double choose_score(const uint8_t instance[16], uint32_t weight, const char *key, size_t n)
{
	/* (0, 1): 53 bits, never exactly 0 or 1 */
	double u = ((double)(hash_pair(instance, key, n) >> 11) + 0.5) / 9007199254740992.0;

	return -(double)weight / log(u);
}
