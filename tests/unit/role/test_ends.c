/* Each reason for which a client's stream ends: whose doing that is for its login, and whether its session is left to come back to. */
#include "check.h"
#include "role/ends.h"

static bool is_in(enum close_reason r, const enum close_reason *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] == r)
			return true;
	return false;
}

#define IS_IN(r, v) is_in(r, v, ARRAY_LEN(v))

static void wrong_for(enum close_reason r)
{
	if (check_bad_)
		fprintf(stderr, "reason %s\n", close_word(r));
}

/* It counts against the client's address: so only what the client does. To be late is its doing unless it waits for us, which auth knows.
 * CLOSE_UNFINISHED is our want of room, and counts all the same: whoever fills that room himself would have look-ups for nothing. */
static void test_whose_doing(void)
{
	static const enum close_reason ours[] = {
		CLOSE_SHUTDOWN,         /* the gateway drains, and has nowhere to send it */
		CLOSE_MOVED,            /* it has */
		CLOSE_SERVICE_CLOSED,   /* kicked */
	};

	for (enum close_reason r = 0; r < CLOSE_MAX_ && !check_bad_; r++) {
		if (r == CLOSE_TIMEOUT_NEGOTIATION)
			CHECK_EQ(ends_whose_doing(r), AUTH_LATE);
		else
			CHECK_EQ(ends_whose_doing(r), IS_IN(r, ours) ? AUTH_OURS : AUTH_LEFT);
		wrong_for(r);
	}
}

static void test_may_come_back(void)
{
	static const enum close_reason back[] = {
		CLOSE_EOF, CLOSE_LOST, CLOSE_TLS_FAILED,                            /* the network's doing */
		CLOSE_TIMEOUT_IDLE, CLOSE_TIMEOUT_ACK, CLOSE_TIMEOUT_STANZA,        /* it may be */
		CLOSE_STALLED, CLOSE_SLOW_READER,
		CLOSE_SHUTDOWN, CLOSE_MOVED,                                        /* to another gateway */
		CLOSE_SERVICE_STALLED, CLOSE_UNFINISHED, CLOSE_TIMEOUT_NEGOTIATION, /* our want of room, or of time */
	};

	for (enum close_reason r = 0; r < CLOSE_MAX_ && !check_bad_; r++) {
		CHECK_EQ(ends_may_come_back(r), IS_IN(r, back));
		wrong_for(r);
	}
}

int main(void)
{
	RUN(test_whose_doing);
	RUN(test_may_come_back);
	return check_done("unit.role.ends");
}
