#ifndef SVCPROTO_MUTATE_H
#define SVCPROTO_MUTATE_H

/*
 * Faults that can be switched on, in the simulator's build of the engine only: each must be found there (tests/sim). In every other build
 * MUTATED() is false, and the compiler removes what it guards.
 */

#ifdef SVC_MUTATIONS
#include <stdbool.h>

enum mutation {
	MUTATION_NONE,
#define MUTATION(name, text) MUTATION_##name,
#include "svcproto/mutations.def"
};
extern enum mutation mutation;
bool mutate_by_name(const char *text);
#define MUTATED(name) (mutation == MUTATION_##name)
#else
#define MUTATED(name) 0
#endif

#endif
