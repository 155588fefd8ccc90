#include "role/counts.h"

/* Names that clients choose become an index here, or "other": nobody makes us count without bound. */

static const char *const mechanisms[] = {
	"PLAIN",
	"SCRAM-SHA-1",
	"SCRAM-SHA-1-PLUS",
	"SCRAM-SHA-224",
	"SCRAM-SHA-224-PLUS",
	"SCRAM-SHA-256",
	"SCRAM-SHA-256-PLUS",
	"SCRAM-SHA-384",
	"SCRAM-SHA-384-PLUS",
	"SCRAM-SHA-512",
	"SCRAM-SHA-512-PLUS",
	"EXTERNAL",
	"GSSAPI",
	"other",
};

_Static_assert(ARRAY_LEN(mechanisms) <= COUNT_MECHANISMS_MAX, "as many as the table has room for");
_Static_assert(STAT_logins + 2 * COUNT_MECHANISMS_MAX <= STAT_logins_last_ + 1, "a counter for each mechanism and result");
_Static_assert((STREAM_S2S_OUT + 1) * (STREAM_CLOSED + 1) <= STAT_streams_last_ - STAT_streams + 1, "a gauge for each role and state");
_Static_assert(CLOSE_MAX_ <= STAT_closes_last_ - STAT_closes + 1, "a counter for each reason");
_Static_assert(RESOLVE_CROWDED <= STAT_lookups_last_ - STAT_lookups, "a counter for each result of a look-up");
_Static_assert(S2S_OUT_CROWDED <= STAT_s2s_out_last_ - STAT_s2s_out, "a counter for each result of a server stream");

const char *count_mechanism_name(unsigned i)
{
	return i < ARRAY_LEN(mechanisms) ? mechanisms[i] : NULL;
}

enum stat_id count_login_at(unsigned i, bool ok)
{
	return (enum stat_id)(STAT_logins + 2 * i + ok);
}

enum stat_id count_login(const char *mechanism, bool ok)
{
	unsigned i = 0;

	while (i < ARRAY_LEN(mechanisms) - 1 && (mechanism == NULL || strcmp(mechanisms[i], mechanism) != 0))
		i++;
	return count_login_at(i, ok);
}
