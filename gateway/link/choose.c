#include "link/choose.h"

#include <math.h>
#include <string.h>

/*
 * Rendezvous hashing: every candidate gets a score from a fixed, unkeyed hash of (instance, key), so that all gateways agree; the highest
 * wins. Round robin: the counter runs over the sum of weights. Never looks at load: that is the policy's business elsewhere.
 */

/* FNV-1a and a strong finisher: stable across processes and machines, which SipHash under a process's key is not. An attacker who picks
 * JIDs can only choose his own instance. */
static uint64_t hash_pair(const unsigned char *instance, struct slice key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < 16; i++)
		h = (h ^ instance[i]) * 0x100000001b3u;
	for (size_t i = 0; i < key.n; i++)
		h = (h ^ (unsigned char)key.p[i]) * 0x100000001b3u;
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdu;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53u;
	return h ^ (h >> 33);
}

size_t choose_hash(const struct choose_candidate *v, size_t nr, struct slice key)
{
	size_t best = nr;
	double best_score = 0;

	for (size_t i = 0; i < nr; i++) {
		/* (0, 1): 53 bits, never exactly 0 or 1 */
		double u = ((double)(hash_pair(v[i].instance, key) >> 11) + 0.5) / 9007199254740992.0;
		double score = -(double)v[i].weight / log(u);

		if (best == nr || score > best_score ||
		    (!(score < best_score) && memcmp(v[i].instance, v[best].instance, 16) > 0)) {
			best = i;
			best_score = score;
		}
	}
	return best;
}

size_t choose_round_robin(const struct choose_candidate *v, size_t nr, uint64_t *counter)
{
	uint64_t total = 0, turn;

	if (nr == 0)
		return nr;
	for (size_t i = 0; i < nr; i++)
		total += v[i].weight;
	turn = (*counter)++ % total;
	/* The candidate whose weights, summed over those with a smaller id, cover the turn. */
	for (size_t i = 0; i < nr; i++) {
		uint64_t before = 0;

		for (size_t j = 0; j < nr; j++) {
			if (memcmp(v[j].instance, v[i].instance, 16) < 0)
				before += v[j].weight;
		}
		if (turn >= before && turn < before + v[i].weight)
			return i;
	}
	return 0;
}
