/* Names of the failure conditions, and what the codes of Cyrus SASL mean to a client (RFC 6120 section 6.5). */
#include "auth/auth_pool.h"

const char *auth_failure_name(enum auth_failure f)
{
	switch (f) {
	case AUTH_ACCOUNT_DISABLED: return "account-disabled";
	case AUTH_CREDENTIALS_EXPIRED: return "credentials-expired";
	case AUTH_ENCRYPTION_REQUIRED: return "encryption-required";
	case AUTH_INCORRECT_ENCODING: return "incorrect-encoding";
	case AUTH_INVALID_AUTHZID: return "invalid-authzid";
	case AUTH_INVALID_MECHANISM: return "invalid-mechanism";
	case AUTH_MALFORMED_REQUEST: return "malformed-request";
	case AUTH_MECHANISM_TOO_WEAK: return "mechanism-too-weak";
	case AUTH_NOT_AUTHORIZED: return "not-authorized";
	case AUTH_TEMPORARY_FAILURE: return "temporary-auth-failure";
	}
	return "temporary-auth-failure";
}

/* A code that is not here is trouble on our side of the wire. */
enum auth_failure exchange_failure(int code)
{
	switch (code) {
	case SASL_NOUSER:
	case SASL_BADAUTH:
	case SASL_BADBINDING:
	case SASL_NOVERIFY:
	case SASL_TRANS:        /* the user has no secret for this mechanism */
	case SASL_WEAKPASS:
	case SASL_NOUSERPASS:
		return AUTH_NOT_AUTHORIZED;
	case SASL_NOAUTHZ:
		return AUTH_INVALID_AUTHZID;
	case SASL_BADPROT:
	case SASL_BADPARAM:
	case SASL_BADVERS:
	case SASL_BADMAC:
	case SASL_NOTDONE:
		return AUTH_MALFORMED_REQUEST;
	case SASL_NOMECH:
		return AUTH_INVALID_MECHANISM;
	case SASL_TOOWEAK:
		return AUTH_MECHANISM_TOO_WEAK;
	case SASL_ENCRYPT:
		return AUTH_ENCRYPTION_REQUIRED;
	case SASL_EXPIRED:
		return AUTH_CREDENTIALS_EXPIRED;
	case SASL_DISABLED:
	case SASL_PWLOCK:
		return AUTH_ACCOUNT_DISABLED;
	default:
		return AUTH_TEMPORARY_FAILURE;
	}
}
