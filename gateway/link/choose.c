#include "link/choose.h"

#include <string.h>

#include "svcproto/choose.h"

/*
 * Rendezvous hashing: every candidate gets a score from a fixed, unkeyed hash of (instance, key), so that all gateways agree; the highest
 * wins. Round robin: the counter runs over the sum of weights. Never looks at load: that is the policy's business elsewhere.
 */

size_t choose_hash(const struct choose_candidate *v, size_t nr, struct slice key)
{
	size_t best = nr;
	double best_score = 0;

	for (size_t i = 0; i < nr; i++) {
		double score = choose_score(v[i].instance, v[i].weight, key.p, key.n);

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
