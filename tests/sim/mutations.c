/* Which fault the engine of this program has. */
#include <string.h>

#include "svcproto/mutate.h"

enum mutation mutation;

static const struct {
	const char *text;
	enum mutation m;
} all[] = {
#define MUTATION(name, text) { text, MUTATION_##name },
#include "svcproto/mutations.def"
};

bool mutate_by_name(const char *text)
{
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].text, text) == 0)
			return mutation = all[i].m, true;
	return false;
}
