#ifndef GATEWAY_ROLE_COUNTS_H
#define GATEWAY_ROLE_COUNTS_H

/* What the indexes of the sets of counters in common/stat.def mean. No label comes from a peer. */

#include "common/stat.h"
#include "net/resolve.h"
#include "role/s2s_out.h"
#include "stream/stream.h"

/* STAT_streams: a gauge for each role and state. */
static inline enum stat_id count_stream(enum stream_role role, enum stream_state state)
{
	return (enum stat_id)(STAT_streams + (unsigned)role * (STREAM_CLOSED + 1) + (unsigned)state);
}

/* STAT_managed: a gauge for each role. */
static inline enum stat_id count_stream_managed(enum stream_role role)
{
	return (enum stat_id)(STAT_managed + (unsigned)role);
}

/* STAT_closes: by reason. */
static inline enum stat_id count_close(enum close_reason r)
{
	return (enum stat_id)(STAT_closes + (unsigned)r);
}

static inline enum stat_id count_lookup(enum resolve_status s)
{
	return (enum stat_id)(STAT_lookups + (unsigned)s);
}

static inline enum stat_id count_s2s_out(enum s2s_out_result r)
{
	return (enum stat_id)(STAT_s2s_out + (unsigned)r);
}

/* STAT_logins: by mechanism, of those that we may offer, and result; the last is for all other names. */
#define COUNT_MECHANISMS_MAX 16u
const char *count_mechanism_name(unsigned i);       /* NULL: the list is over */
enum stat_id count_login(const char *mechanism, bool ok);
enum stat_id count_login_at(unsigned i, bool ok);

#endif
