#include "play_int.h"

#include <stdlib.h>

/* What the owner does, in words: answers, and acts of its own. */

static struct slice data_of(struct buf *b, const char *word)
{
	if (word == NULL || strcmp(word, "-") == 0)
		return SLICE_NONE;
	if (strcmp(word, "=") != 0)
		play_unescape(b, slice_str(word));
	return buf_len(b) > 0 ? buf_slice(b) : (struct slice){"", 0};
}

static bool act_auth(struct play *p, char **w, unsigned nr)
{
	struct buf b;
	bool known = true;

	buf_init(&b, 1 << 20);
	p->exchange = p->exchange && (nr < 2 || strcmp(w[1], "challenge") == 0);
	if (nr < 2)
		known = false;
	else if (strcmp(w[1], "challenge") == 0)
		stream_auth_challenge(p->s, data_of(&b, nr > 2 ? w[2] : NULL));
	else if (strcmp(w[1], "ok") == 0)
		stream_auth_success(p->s, nr > 2 ? w[2] : NULL, data_of(&b, nr > 3 ? w[3] : NULL));
	else if (strcmp(w[1], "fail") == 0 && nr > 2)
		stream_auth_failure(p->s, w[2], nr > 3 ? w[3] : NULL);
	else
		known = false;
	buf_clear(&b);
	return known;
}

static bool act_bind(struct play *p, char **w, unsigned nr)
{
	if (nr == 3 && strcmp(w[1], "ok") == 0)
		stream_bound(p->s, w[2]);
	else if (nr >= 4 && strcmp(w[1], "no") == 0)
		stream_bind_refused(p->s, w[2], w[3], nr > 4 ? w[4] : NULL);
	else
		return false;
	return true;
}

/* db valid|invalid FROM TO, db error FROM TO CONDITION */
static bool act_db(struct play *p, char **w, unsigned nr)
{
	if (nr < 4)
		return false;
	stream_db_result(p->s, w[2], w[3], strcmp(w[1], "valid") == 0, nr > 4 ? w[4] : NULL);
	return true;
}

static enum close_reason reason_of(const char *word)
{
	for (unsigned r = 0; r < CLOSE_MAX_; r++) {
		if (strcmp(close_word((enum close_reason)r), word) == 0)
			return (enum close_reason)r;
	}
	return CLOSE_MAX_;
}

static bool act_close(struct play *p, char **w, unsigned nr)
{
	if (nr == 2 && strcmp(w[0], "close") == 0 && reason_of(w[1]) != CLOSE_MAX_)
		stream_close(p->s, reason_of(w[1]));
	else if (nr == 2 && strcmp(w[0], "give-up") == 0 && reason_of(w[1]) != CLOSE_MAX_)
		stream_give_up(p->s, reason_of(w[1]));
	else if (nr == 2 && strcmp(w[0], "lost") == 0 && reason_of(w[1]) != CLOSE_MAX_)
		stream_lost(p->s, reason_of(w[1]));
	else if (nr >= 2 && strcmp(w[0], "close-with") == 0)
		stream_close_with(p->s, strcmp(w[1], "-") == 0 ? NULL : w[1], nr > 2 ? w[2] : NULL);
	else if (nr == 2 && strcmp(w[0], "see-other") == 0)
		stream_close_see_other_host(p->s, w[1]);
	else
		return false;
	return true;
}

/* sm enabled ID|- SECONDS, sm resumed ID JID H, sm failed CONDITION [H], sm too-high H, sm h N: the service handled so many, sm sent N: so
 * many went to the client */
static bool act_sm(struct play *p, char **w, unsigned nr)
{
	uint32_t n = nr > 2 ? (uint32_t)strtoul(w[nr - 1], NULL, 10) : 0;

	if (nr == 4 && strcmp(w[1], "enabled") == 0)
		stream_sm_enabled(p->s, strcmp(w[2], "-") == 0 ? NULL : w[2], n);
	else if (nr == 5 && strcmp(w[1], "resumed") == 0)
		stream_sm_resumed(p->s, w[2], w[3], p->counts.h = n);
	else if (nr == 3 && strcmp(w[1], "failed") == 0)
		stream_sm_failed(p->s, w[2], NULL);
	else if (nr == 4 && strcmp(w[1], "failed") == 0)
		stream_sm_failed(p->s, w[2], &n);
	else if (nr == 3 && strcmp(w[1], "too-high") == 0)
		stream_sm_too_high(p->s, n, p->counts.sent);
	else if (nr == 3 && strcmp(w[1], "h") == 0)
		p->counts.h = n;
	else if (nr == 3 && strcmp(w[1], "sent") == 0)
		p->counts.sent = n;
	else
		return false;
	if (strcmp(w[1], "h") == 0)
		stream_sm_grown(p->s);
	return true;
}

/* sent [NUMBER [BYTES]]: the owner writes so many stanzas of so many bytes each. */
static bool act_sent(struct play *p, char **w, unsigned nr)
{
	unsigned long n = nr > 1 ? strtoul(w[1], NULL, 10) : 1;
	size_t bytes = nr > 2 ? strtoul(w[2], NULL, 10) : 100;

	for (unsigned long i = 0; i < n; i++) {
		p->counts.sent++;
		p->counts.unhandled++;
		stream_sent(p->s, bytes, p->now_ms);
	}
	return nr <= 3;
}

static bool act(struct play *p, char **w, unsigned nr)
{
	if (strcmp(w[0], "auth") == 0)
		return act_auth(p, w, nr);
	if (strcmp(w[0], "bind") == 0)
		return act_bind(p, w, nr);
	if (strcmp(w[0], "db") == 0)
		return act_db(p, w, nr);
	if (strcmp(w[0], "sm") == 0 && nr > 2)
		return act_sm(p, w, nr);
	if (strcmp(w[0], "sent") == 0)
		return act_sent(p, w, nr);
	if (strcmp(w[0], "tls") == 0 && nr == 1)
		stream_tls_done(p->s, p->now_ms);
	else if (strcmp(w[0], "peer-known") == 0 && nr == 1)
		stream_peer_known(p->s);
	else if (strcmp(w[0], "peer-max") == 0 && nr == 2)
		return stream_peer_max_bytes(p->s) == strtoul(w[1], NULL, 10);
	else if (strcmp(w[0], "start") == 0 && nr == 1)
		stream_start(p->s, p->now_ms);
	else if (strcmp(w[0], "tick") == 0 && nr == 2)
		p->now_ms += strtoull(w[1], NULL, 10);
	else if (strcmp(w[0], "put-off") == 0 && nr == 2)
		stream_put_off(p->s, strtoull(w[1], NULL, 10));
	else if (strcmp(w[0], "hold") == 0 && nr == 2)
		stream_hold(p->s, strcmp(w[1], "on") == 0);
	else if (strcmp(w[0], "verify") == 0 && nr == 5)
		stream_db_verify_answer(p->s, w[2], w[3], slice_str(strcmp(w[4], "-") == 0 ? p->verify_id : w[4]), play_verdict(w[1]));
	else if (strcmp(w[0], "ask-pair") == 0 && (nr == 3 || nr == 4))
		return stream_ask_pair(p->s, w[1], w[2]) == (nr == 3);
	else if (strcmp(w[0], "ask-verify") == 0 && nr == 5)
		stream_send_db_verify(p->s, w[1], w[2], slice_str(w[3]), slice_str(w[4]));
	else
		return act_close(p, w, nr);
	return true;
}

bool play_act(struct play *p, char **words, unsigned nr)
{
	bool known = nr > 0 && act(p, words, nr);

	play_pump(p);
	return known;
}

void play_act_inside(struct play *p, char **words, unsigned nr)
{
	ASSERT(p->nr_inside == 0 && nr <= PLAY_WORDS);
	for (unsigned i = 0; i < nr; i++)
		p->inside[i] = mem_strdup(words[i]);
	p->nr_inside = nr;
}

bool play_has_inside(const struct play *p)
{
	return p->nr_inside > 0;
}
