#include "stream/own.h"

#include <stdlib.h>

/*
 * Server dialback (XEP-0220). S2S_IN is the receiving server (db:result) and the authoritative one (db:verify); S2S_OUT the initiating
 * server, and the receiving one that asks; with XEP-0288 the other two as well. Keys are the owner's: here they are bytes. Questions don't
 * stop the stream, since other pairs go on (2.2.1); a domain that isn't ours is an error inside dialback, not of the stream (2.4.2).
 */

#define KEY_MAX 255

/* What a dialback element holds; the strings are owned. */
struct db {
	char *from, *to;
	struct slice id, type, key;
};

bool dialback_allowed(const struct stream *s, const char *domain)
{
	if (s->role == STREAM_C2S)
		return false;
	return domain == NULL || s->ops->dialback_allowed == NULL || s->ops->dialback_allowed(s->arg, domain);
}

static void offer(struct stream *s, struct xml_writer *w)
{
	if (s->role != STREAM_S2S_IN || s->state == STREAM_WAIT_TLS || !dialback_allowed(s, s->local))
		return;
	xml_start(w, "dialback");
	xml_attr_str(w, "xmlns", NS_DIALBACK_FEATURE);
	xml_start(w, "errors");
	xml_end(w, "errors");
	xml_end(w, "dialback");
}

static bool consume(struct stream *s, const struct xml_node *features)
{
	(void)features;
	return dialback_out_start(s);
}

const struct feature feature_dialback = {.offer = offer, .consume = consume};

static struct slice trim(struct slice t)
{
	while (t.n > 0 && strchr(" \t\r\n", t.p[0]) != NULL)
		t = (struct slice){t.p + 1, t.n - 1};
	while (t.n > 0 && strchr(" \t\r\n", t.p[t.n - 1]) != NULL)
		t.n--;
	return t;
}

static void clear(struct db *d)
{
	free(d->from);
	free(d->to);
}

/* False when the addresses are missing or none (4.9.3.7 of RFC 6120). */
static bool read_element(const struct xml_element *e, struct db *d)
{
	*d = (struct db){
		.from = jid_prep_domain(xml_attr_get(&e->head, "from")),
		.to = jid_prep_domain(xml_attr_get(&e->head, "to")),
		.id = xml_attr_get(&e->head, "id"),
		.type = xml_attr_get(&e->head, "type"),
		.key = trim(e->inner),
	};
	if (d->from != NULL && d->to != NULL)
		return true;
	clear(d);
	return false;
}

static bool key_ok(const struct db *d)
{
	return d->key.n > 0 && d->key.n <= KEY_MAX && memchr(d->key.p, '<', d->key.n) == NULL && memchr(d->key.p, '&', d->key.n) == NULL;
}

/* type NULL: a request, with its key. error: a stanza error condition, with type "error". */
static void send_element(struct stream *s, const char *name, const char *from, const char *to, struct slice id, const char *type,
			 const char *error, struct slice key)
{
	struct xml_writer w;
	struct buf out;

	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, name);
	if (!s->dialback_declared)
		xml_attr_str(&w, "xmlns:db", NS_DIALBACK);
	xml_attr_str(&w, "from", from);
	xml_attr_str(&w, "to", to);
	xml_attr(&w, "id", id);
	xml_attr_str(&w, "type", type);
	if (error != NULL) {
		xml_start(&w, "error");
		xml_attr_str(&w, "type", "cancel");
		xml_start(&w, error);
		xml_attr_str(&w, "xmlns", NS_STANZA_ERRORS);
		xml_end(&w, error);
		xml_end(&w, "error");
	}
	xml_text(&w, key);
	xml_end(&w, name);
	stream_send_buf(s, &out, &w);
}

/* --- S2S_IN: receiving server ----------------------------------------------- */

static void answer_result(struct stream *s, const char *from, const char *to, const char *type, const char *error)
{
	send_element(s, "db:result", to, from, SLICE_NONE, type, error, SLICE_NONE);
}

static enum gate_result ask_result(struct stream *s, const struct db *d)
{
	/* Answers have a type; without XEP-0288 nothing was asked here that could be answered. */
	if (d->type.p != NULL || !key_ok(d))
		return stream_refuse(s, CLOSE_INVALID_XML);
	if (!s->ops->host_known(s->arg, d->to)) {
		answer_result(s, d->from, d->to, "error", "item-not-found");
		return GATE_NEXT;
	}
	switch (pairs_get(&s->pairs, d->from, d->to)) {
	case PAIR_OK:
		answer_result(s, d->from, d->to, "valid", NULL);
		return GATE_NEXT;
	case PAIR_PENDING: /* the first question's answer will do */
		return GATE_NEXT;
	case PAIR_NONE:
		break;
	}
	/* Stream management counts one pair's stanzas (XEP-0198). The domain may come on a stream of its own. */
	if (stream_managed(s)) {
		answer_result(s, d->from, d->to, "error", "policy-violation");
		return GATE_NEXT;
	}
	if (pairs_put(&s->pairs, d->from, d->to, PAIR_PENDING) != 0)
		answer_result(s, d->from, d->to, "error", "resource-constraint");
	else
		s->ops->db_result(s->arg, d->from, d->to, d->key);
	return GATE_NEXT;
}

enum gate_result dialback_result(struct stream *s, const struct xml_element *e)
{
	enum gate_result r;
	struct db d;

	if (!read_element(e, &d))
		return stream_refuse(s, CLOSE_IMPROPER_ADDRESSING);
	r = ask_result(s, &d);
	clear(&d);
	return r;
}

void stream_db_result(struct stream *s, const char *from, const char *to, bool valid, const char *error_condition)
{
	ASSERT(s->role != STREAM_C2S);
	if ((s->state != STREAM_WAIT_SASL && s->state != STREAM_ESTABLISHED) || pairs_get(&s->pairs, from, to) != PAIR_PENDING)
		return;
	if (valid) {
		ASSERT(pairs_put(&s->pairs, from, to, PAIR_OK) == 0);
		answer_result(s, from, to, "valid", NULL);
		if (s->role == STREAM_S2S_IN)
			stream_establish(s);
		return;
	}
	pairs_drop(&s->pairs, from, to);
	/* 2.1.2: what we send on our own stream does not suffer for it. */
	if (error_condition == NULL && s->role == STREAM_S2S_OUT)
		error_condition = "forbidden";
	if (error_condition != NULL) {
		answer_result(s, from, to, "error", close_stanza_condition(error_condition));
		return;
	}
	/* 2.2.1: somebody claims a domain that isn't his. */
	answer_result(s, from, to, "invalid", NULL);
	stream_close(s, CLOSE_DIALBACK_INVALID);
}

/* --- S2S_IN: authoritative server ------------------------------------------- */

static enum gate_result ask_verify(struct stream *s, const struct db *d)
{
	if (d->type.p != NULL || !key_ok(d) || slice_empty(d->id))
		return stream_refuse(s, CLOSE_INVALID_XML);
	if (!s->ops->host_known(s->arg, d->to))
		send_element(s, "db:verify", d->to, d->from, d->id, "error", "item-not-found", SLICE_NONE);
	else
		s->ops->db_verify(s->arg, d->from, d->to, d->id, d->key);
	return GATE_NEXT;
}

enum gate_result dialback_verify(struct stream *s, const struct xml_element *e)
{
	enum gate_result r;
	struct db d;

	if (!read_element(e, &d))
		return stream_refuse(s, CLOSE_IMPROPER_ADDRESSING);
	r = ask_verify(s, &d);
	clear(&d);
	return r;
}

/* Error: we can't tell now. It denies nothing (2.4.2), so that the other server may ask again. */
void stream_db_verify_answer(struct stream *s, const char *from, const char *to, struct slice id, enum stream_verdict v)
{
	ASSERT(s->role != STREAM_C2S);
	if (s->state == STREAM_WAIT_SASL || s->state == STREAM_ESTABLISHED)
		send_element(s, "db:verify", to, from, id, v == STREAM_DB_VALID ? "valid" : v == STREAM_DB_INVALID ? "invalid" : "error",
			     v == STREAM_DB_ERROR ? "internal-server-error" : NULL, SLICE_NONE);
}

/* --- S2S_OUT ------------------------------------------------------------------ */

bool dialback_out_start(struct stream *s)
{
	char key[65];

	if (!s->dialback_offered || !s->secure || !dialback_allowed(s, s->local))
		return false;
	/* The key is made for the peer's stream id. */
	if (s->id == NULL) {
		stream_close(s, CLOSE_BAD_FORMAT);
		return true;
	}
	if (!s->ops->make_key(s->arg, s->local, s->peer, slice_str(s->id), key))
		return false;
	ASSERT(pairs_put(&s->asked_for, s->local, s->peer, PAIR_PENDING) == 0);
	stream_enter(s, STREAM_WAIT_DIALBACK);
	send_element(s, "db:result", s->local, s->peer, SLICE_NONE, NULL, NULL, (struct slice){key, 64});
	return true;
}

bool stream_ask_pair(struct stream *s, const char *from, const char *to)
{
	char key[65];

	ASSERT(s->role == STREAM_S2S_OUT);
	/* The namespace alone is declared by many who then don't answer. */
	if (s->state != STREAM_ESTABLISHED || !s->dialback_feature || s->id == NULL || stream_managed(s) || !dialback_allowed(s, from))
		return false;
	if (pairs_get(&s->asked_for, from, to) != PAIR_NONE || !s->ops->make_key(s->arg, from, to, slice_str(s->id), key) ||
	    pairs_put(&s->asked_for, from, to, PAIR_PENDING) != 0)
		return false;
	send_element(s, "db:result", from, to, SLICE_NONE, NULL, NULL, (struct slice){key, 64});
	return true;
}

void stream_pair_taken(struct stream *s)
{
	/* The first ones of their kinds. */
	ASSERT(pairs_put(&s->asked_for, s->local, s->peer, PAIR_OK) == 0);
	ASSERT(bidi_pair(s, s->local, s->peer));
}

bool stream_pair_given(const struct stream *s, const char *from, const char *to)
{
	return pairs_get(&s->asked_for, from, to) == PAIR_OK;
}

static const char *error_of(struct stream *s, const struct xml_element *e)
{
	struct xml_tree *t = stream_tree(s, e);
	const struct xml_node *error = t ? xml_node_child(xml_tree_root(t), NULL, "error") : NULL;
	const char *condition = close_stanza_condition(error ? stream_condition_of(error, NS_STANZA_ERRORS) : NULL);

	xml_tree_free(t);
	return condition;
}

/* The answer for the pair that the stream was made for. */
static enum gate_result take_first(struct stream *s, const struct xml_element *e, struct slice type)
{
	if (slice_is(type, "valid")) {
		stream_pair_taken(s);
		stream_establish(s);
		return GATE_NEXT;
	}
	if (!slice_is(type, "error"))
		return stream_refuse(s, CLOSE_KEY_REFUSED);
	s->detail = error_of(s, e);
	return stream_refuse(s, CLOSE_REFUSED);
}

/* The answer for one more: an error is that pair's alone, while "invalid" ends the stream (2.1.1), which the peer must do as well. */
static enum gate_result take_further(struct stream *s, const struct xml_element *e, const struct db *d)
{
	if (slice_is(d->type, "valid") && bidi_pair(s, d->to, d->from)) {
		ASSERT(pairs_put(&s->asked_for, d->to, d->from, PAIR_OK) == 0);
		s->ops->pair_answered(s->arg, d->to, d->from, STREAM_DB_VALID, NULL);
		return GATE_NEXT;
	}
	pairs_drop(&s->asked_for, d->to, d->from);
	if (slice_is(d->type, "valid") || slice_is(d->type, "error")) {
		s->ops->pair_answered(s->arg, d->to, d->from, STREAM_DB_ERROR, error_of(s, e));
		return GATE_NEXT;
	}
	s->ops->pair_answered(s->arg, d->to, d->from, STREAM_DB_INVALID, NULL);
	return stream_refuse(s, CLOSE_KEY_REFUSED);
}

static enum gate_result take_result(struct stream *s, const struct xml_element *e, const struct db *d)
{
	/* XEP-0288 2.2: the peer may have more domains, too. */
	if (s->bidi && s->state == STREAM_ESTABLISHED && d->type.p == NULL)
		return ask_result(s, d);
	/* 2.1.1: an answer to something that was not asked on this stream, or not any more. */
	if (pairs_get(&s->asked_for, d->to, d->from) != PAIR_PENDING)
		return stream_refuse(s, CLOSE_INVALID_FROM);
	return s->state == STREAM_ESTABLISHED ? take_further(s, e, d) : take_first(s, e, d->type);
}

enum gate_result dialback_out_result(struct stream *s, const struct xml_element *e)
{
	enum gate_result r;
	struct db d;

	if (!read_element(e, &d))
		return stream_refuse(s, CLOSE_IMPROPER_ADDRESSING);
	r = take_result(s, e, &d);
	clear(&d);
	return r;
}

enum gate_result dialback_out_verify(struct stream *s, const struct xml_element *e)
{
	enum gate_result r = GATE_NEXT;
	struct db d;

	if (!read_element(e, &d))
		return stream_refuse(s, CLOSE_IMPROPER_ADDRESSING);
	if (s->bidi && d.type.p == NULL)
		r = ask_verify(s, &d);
	else
		s->ops->db_verified(s->arg, d.from, d.to, d.id,
				    slice_is(d.type, "valid")   ? STREAM_DB_VALID
				    : slice_is(d.type, "error") ? STREAM_DB_ERROR
								: STREAM_DB_INVALID);
	clear(&d);
	return r;
}

void stream_send_db_verify(struct stream *s, const char *from, const char *to, struct slice id, struct slice key)
{
	ASSERT(s->role == STREAM_S2S_OUT);
	if (s->state == STREAM_ESTABLISHED)
		send_element(s, "db:verify", from, to, id, NULL, NULL, key);
}
