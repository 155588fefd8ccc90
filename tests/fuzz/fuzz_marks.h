#ifndef AMBROSIA_TESTS_FUZZ_MARKS_H
#define AMBROSIA_TESTS_FUZZ_MARKS_H

/*
 * Inputs of fuzz_c2s and fuzz_s2s: one byte of options, then what the peer says, with acts of the owner between: FUZZ_MARK (which no UTF-8
 * text holds) and a letter. FUZZ_MARK twice is the byte itself.
 */

#define FUZZ_MARK '\xff'

enum {
	FUZZ_OUT = 1,
	FUZZ_DIRECT = 2,
	FUZZ_VERIFY_ONLY = 4,
	FUZZ_CERTIFICATE = 8,
	FUZZ_ANSWER_INSIDE = 16,
	FUZZ_CUT = 32,
	FUZZ_CERTIFICATES_ONLY = 64,
};

enum {
	FUZZ_TLS = 't',
	FUZZ_START = 's',
	FUZZ_AUTH_OK = 'a',
	FUZZ_AUTH_CHALLENGE = 'c',
	FUZZ_AUTH_FAIL = 'f',
	FUZZ_BIND_OK = 'b',
	FUZZ_BIND_NO = 'n',
	FUZZ_DB_VALID = 'v',
	FUZZ_DB_INVALID = 'i',
	FUZZ_DB_ERROR = 'e',
	FUZZ_VERIFY = 'y',
	FUZZ_TICK = 'k',
	FUZZ_ASK_VERIFY = 'q',
	FUZZ_ASK_PAIR = 'p',
	FUZZ_HOLD = 'h',
	FUZZ_UNHOLD = 'u',
	FUZZ_CLOSE = 'x',
	FUZZ_CLOSE_WITH = 'w',
	FUZZ_SEE_OTHER = 'o',
	FUZZ_LOST = 'l',
	FUZZ_SM_ENABLED = 'E',
	FUZZ_SM_FAILED = 'F',
	FUZZ_SM_RESUMED = 'R',
	FUZZ_SM_H = 'H',
	FUZZ_SENT = 'S',
};

#endif
