#ifndef TESTS_UNIT_IM_SHARED_H
#define TESTS_UNIT_IM_SHARED_H

/* Databases named "shared=PATH" are shared by all cores of this process that open them; one that is closed counts as dead. */

#include "services/im/db.h"

enum { SHARED_MAX = 256 };

void shared_reset(void);   /* when none is open: forgets all instances */
size_t shared_nr_started(enum db_stmt id);   /* how often, by all, since the process began */

#endif
