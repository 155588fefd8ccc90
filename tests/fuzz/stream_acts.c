#include "stream_owner_int.h"

#include "fuzz_marks.h"

/* What the owner says and does of itself, by the marks in the input. */

/* What was not asked for is said all the same, and changes nothing. */
static void answered(struct owner *o)
{
	o->exchange = o->exchange && !o->auth_asked;
	o->auth_asked = false;
}

static void auth_ok(struct owner *o)
{
	if (stream_state(o->s) == STREAM_WAIT_SASL && !stream_wants_input(o->s))
		o->let_in = true;
	answered(o);
	stream_auth_success(o->s, "alice", (o->random & 1) ? SLICE("data") : SLICE_NONE);
}

static void db_valid(struct owner *o, const char *from, const char *to)
{
	if (o->from != NULL)
		o->let_in = true;
	stream_db_result(o->s, from, to, true, NULL);
}

static void act_dialback(struct owner *o, char mark)
{
	const char *from = o->from ? o->from : "remote.example", *to = o->to ? o->to : "example.com";

	if (o->role == STREAM_S2S_OUT && mark == FUZZ_ASK_VERIFY)
		stream_send_db_verify(o->s, "here.example", "there.example", SLICE("<id>"), SLICE("key"));
	if (o->role == STREAM_S2S_OUT && mark == FUZZ_ASK_PAIR && !o->asked_pair)
		o->asked_pair = stream_ask_pair(o->s, "chat.here.example", "there.example");
	if (o->role == STREAM_C2S)
		return;
	switch (mark) {
	case FUZZ_DB_VALID:
		db_valid(o, from, to);
		break;
	case FUZZ_DB_INVALID:
		stream_db_result(o->s, from, to, false, NULL);
		break;
	case FUZZ_DB_ERROR:
		stream_db_result(o->s, from, to, false, "remote-server-not-found");
		break;
	case FUZZ_VERIFY:
		stream_db_verify_answer(o->s, from, to, o->id ? slice_str(o->id) : SLICE("1"),
					(enum stream_verdict)(o->random % 3));
		break;
	default:
		break;
	}
}

static void act_sm(struct owner *o, char mark)
{
	switch (mark) {
	case FUZZ_SM_ENABLED:
		stream_sm_enabled(o->s, o->role == STREAM_C2S ? "the-id" : NULL, 300);
		break;
	case FUZZ_SM_FAILED:
		stream_sm_failed(o->s, "item-not-found", (o->random & 1) ? &o->counts.h : NULL);
		break;
	case FUZZ_SM_RESUMED:
		stream_sm_resumed(o->s, "the-id", "alice@example.com/home", o->counts.h);
		break;
	case FUZZ_SM_H:
		o->counts.h += o->random & 3;
		stream_sm_grown(o->s);
		break;
	case FUZZ_SENT:
		if (!o->established || o->closed)
			break;
		o->counts.sent += stream_managed(o->s);
		o->counts.unhandled += stream_managed(o->s);
		stream_sent(o->s, o->random % 3000, o->now_ms);
		break;
	}
}

static void act_end(struct owner *o, char mark)
{
	switch (mark) {
	case FUZZ_CLOSE:
		stream_close(o->s, (enum close_reason)(o->random % CLOSE_MAX_));
		break;
	case FUZZ_CLOSE_WITH:
		stream_close_with(o->s, (o->random & 1) ? "conflict" : "<odd>", "a & b");
		break;
	case FUZZ_SEE_OTHER:
		stream_close_see_other_host(o->s, "other.example:5222");
		break;
	case FUZZ_LOST:
		stream_lost(o->s, CLOSE_LOST);
		break;
	default:
		break;
	}
}

void owner_act(struct owner *o, char mark)
{
	switch (mark) {
	case FUZZ_TLS:
		o->in_tls = false;
		stream_tls_done(o->s, o->now_ms);
		break;
	case FUZZ_AUTH_OK:
		auth_ok(o);
		break;
	case FUZZ_AUTH_CHALLENGE:
		o->auth_asked = false;
		stream_auth_challenge(o->s, SLICE("more"));
		break;
	case FUZZ_AUTH_FAIL:
		answered(o);
		stream_auth_failure(o->s, "not-authorized", NULL);
		break;
	case FUZZ_BIND_OK:
		stream_bound(o->s, "alice@example.com/home");
		break;
	case FUZZ_BIND_NO:
		stream_bind_refused(o->s, "cancel", "conflict", "taken");
		break;
	case FUZZ_TICK:
		o->now_ms += 1000 + o->random % 40000;
		break;
	case FUZZ_HOLD:
	case FUZZ_UNHOLD:
		stream_hold(o->s, mark == FUZZ_HOLD);
		break;
	default:
		act_dialback(o, mark);
		act_sm(o, mark);
		act_end(o, mark);
	}
}
