#include "stream/close.h"

#include "stream/stream.h"

/* Why streams end, and the conditions that the RFCs define: peer text becomes one of these constants or "undefined-condition", so that it
 * can be logged and kept. */

static const struct { const char *condition, *text, *word; } reasons[] = {
#define CLOSE(name, condition, text, word) [CLOSE_##name] = {condition, text, word},
#include "stream/close.def"
#undef CLOSE
};

const char *close_condition(enum close_reason r)
{
	ASSERT((unsigned)r < CLOSE_MAX_);
	return reasons[r].condition;
}

const char *close_text(enum close_reason r)
{
	ASSERT((unsigned)r < CLOSE_MAX_);
	return reasons[r].text;
}

const char *close_word(enum close_reason r)
{
	ASSERT((unsigned)r < CLOSE_MAX_);
	return reasons[r].word;
}

/* RFC 6120 section 4.9.3 */
static const char *const stream_conditions[] = {
	"bad-format",
	"bad-namespace-prefix",
	"conflict",
	"connection-timeout",
	"host-gone",
	"host-unknown",
	"improper-addressing",
	"internal-server-error",
	"invalid-from",
	"invalid-namespace",
	"invalid-xml",
	"not-authorized",
	"not-well-formed",
	"policy-violation",
	"remote-connection-failed",
	"reset",
	"resource-constraint",
	"restricted-xml",
	"see-other-host",
	"system-shutdown",
	"undefined-condition",
	"unsupported-encoding",
	"unsupported-feature",
	"unsupported-stanza-type",
	"unsupported-version",
	NULL,
};

/* RFC 6120 section 6.5 */
static const char *const sasl_conditions[] = {
	"aborted", "account-disabled", "credentials-expired", "encryption-required", "incorrect-encoding", "invalid-authzid",
	"invalid-mechanism", "malformed-request", "mechanism-too-weak", "not-authorized", "temporary-auth-failure", NULL,
};

/* RFC 6120 section 8.3.3 */
static const char *const stanza_conditions[] = {
	"bad-request",
	"conflict",
	"feature-not-implemented",
	"forbidden",
	"gone",
	"internal-server-error",
	"item-not-found",
	"jid-malformed",
	"not-acceptable",
	"not-allowed",
	"not-authorized",
	"policy-violation",
	"recipient-unavailable",
	"redirect",
	"registration-required",
	"remote-connection-failed",
	"remote-server-not-found",
	"remote-server-timeout",
	"resource-constraint",
	"service-unavailable",
	"subscription-required",
	"undefined-condition",
	"unexpected-request",
	NULL,
};

static const char *find(const char *const *list, const char *name)
{
	for (; *list != NULL; list++) {
		if (name != NULL && strcmp(*list, name) == 0)
			return *list;
	}
	return "undefined-condition";
}

const char *close_stream_condition(const char *name)
{
	return find(stream_conditions, name);
}

const char *close_sasl_condition(const char *name)
{
	return find(sasl_conditions, name);
}

const char *close_stanza_condition(const char *name)
{
	return find(stanza_conditions, name);
}
