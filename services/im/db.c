/* What the two databases share: the statements, and how a failure is remembered. */
#include "services/im/db.h"

const struct db_statement db_statements[DB_STMT_MAX_] = {
#define STMT(name, kinds, sql) [STMT_##name] = {kinds, sql},
#include "services/im/store.def"
#undef STMT
};

bool db_fail(struct db *d, const char *why)
{
	if (!d->failed)
		snprintf(d->why, sizeof d->why, "%s", why);
	d->failed = true;
	return false;
}
