#ifndef AMBROSIA_TESTS_SVCPROTO_FAIL_H
#define AMBROSIA_TESTS_SVCPROTO_FAIL_H

/* Memory that runs out, for programs linked with --wrap=malloc,--wrap=calloc,--wrap=realloc: only their own calls, the engine's and the
 * bench's. */

#include <stdbool.h>

extern long fail_countdown; /* allocations until the one that fails; -1: none does */
extern bool fail_for_good;  /* and all after it */
extern bool fail_happened;

#endif
