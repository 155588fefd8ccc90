#include "stream/own.h"

#include <stdlib.h>

#include "stream/base64.h"

/*
 * SASL (RFC 6120 section 6, XEP-0440): the profile's XML, its base64 and its order of things; what the data means is the owner's business,
 * except that a server's authorization identity must be the domain that its stream header names. One exchange at a time; attempts are
 * counted.
 */

#define MECHANISM_MAX 40   /* RFC 4422 says 20; GS2 names come close */

struct sasl_offer {
	struct xml_writer *w;
	struct buf bindings;
	bool any, any_binding;
};

static void offer(struct stream *s, struct xml_writer *w)
{
	struct sasl_offer o = {.w = w};

	if (s->state != STREAM_WAIT_SASL)
		return;
	buf_init(&o.bindings, 1024);
	s->offer = &o;
	s->ops->mechanisms(s->arg, s);
	s->offer = NULL;
	if (o.any)
		xml_end(w, "mechanisms");
	if (o.any_binding) {
		xml_start(w, "sasl-channel-binding");
		xml_attr_str(w, "xmlns", NS_SASL_CB);
		xml_raw(w, buf_slice(&o.bindings));
		xml_end(w, "sasl-channel-binding");
	}
	buf_clear(&o.bindings);
	/* Without a mechanism these features would tell a client that it may go on as it is. */
	if (!o.any && s->role == STREAM_C2S)
		stream_close(s, CLOSE_INTERNAL);
}

void stream_offer_mechanism(struct stream *s, const char *mech)
{
	struct sasl_offer *o = s->offer;

	ASSERT(o != NULL);
	if (!o->any) {
		xml_start(o->w, "mechanisms");
		xml_attr_str(o->w, "xmlns", NS_SASL);
	}
	o->any = true;
	xml_start(o->w, "mechanism");
	xml_text(o->w, slice_str(mech));
	xml_end(o->w, "mechanism");
}

void stream_offer_binding(struct stream *s, const char *type)
{
	struct xml_writer w;

	ASSERT(s->offer != NULL);
	xml_writer_init(&w, &s->offer->bindings);
	xml_start(&w, "channel-binding");
	xml_attr_str(&w, "type", type);
	xml_end(&w, "channel-binding");
	ASSERT(xml_writer_done(&w) == 0);
	s->offer->any_binding = true;
}

/* Our certificate is tried first, and once. */
static bool consume(struct stream *s, const struct xml_node *features)
{
	const struct xml_node *m = xml_node_child(features, NS_SASL, "mechanisms");
	bool external = false;

	for (const struct xml_node *c = m ? m->child : NULL; c != NULL; c = c->next)
		external = external || (xml_node_is(c, NS_SASL, "mechanism") && strcmp(c->text, "EXTERNAL") == 0);
	if (!external || s->external_failed || !s->ops->own_certificate(s->arg))
		return false;
	stream_enter(s, STREAM_WAIT_SASL);
	return true;
}

/* "<name>base64</name>"; data.p NULL: none; empty: "=" (RFC 6120 6.4.2, 6.4.6). */
static void send_data(struct stream *s, const char *name, const char *mechanism, struct slice data)
{
	struct buf out, text;
	struct xml_writer w;
	int err;

	buf_init(&text, STREAM_OUT_MAX);
	buf_init(&out, STREAM_OUT_MAX);
	err = data.p != NULL && data.n == 0 ? buf_add_str(&text, "=") : base64_encode(&text, data);
	ASSERT(err == 0);
	xml_writer_init(&w, &out);
	xml_start(&w, name);
	xml_attr_str(&w, "xmlns", NS_SASL);
	xml_attr_str(&w, "mechanism", mechanism);
	xml_raw(&w, buf_slice(&text));
	xml_end(&w, name);
	buf_wipe(&text);
	stream_send_buf(s, &out, &w);
}

static bool consume_and_send(struct stream *s, const struct xml_node *features)
{
	if (!consume(s, features))
		return false;
	send_data(s, "auth", "EXTERNAL", slice_str(s->local));
	return true;
}

const struct feature feature_sasl = {.offer = offer, .consume = consume_and_send};

/* 6.4.5: so many attempts, then the stream ends. */
static enum gate_result fail(struct stream *s, const char *condition, const char *text)
{
	struct xml_writer w;
	struct buf out;

	buf_init(&out, STREAM_OUT_MAX);
	xml_writer_init(&w, &out);
	xml_start(&w, "failure");
	xml_attr_str(&w, "xmlns", NS_SASL);
	xml_start(&w, condition);
	xml_end(&w, condition);
	framing_write_text(&w, NULL, text);
	xml_end(&w, "failure");
	stream_send_buf(s, &out, &w);
	s->exchange = false;
	if (++s->nr_attempts >= s->limits->auth_attempts_max)
		return stream_refuse(s, CLOSE_TOO_MANY_ATTEMPTS);
	return GATE_NEXT;
}

enum gate_result sasl_before_tls(struct stream *s, const struct xml_element *e)
{
	(void)e;
	return fail(s, "encryption-required", NULL);
}

/* The data of an element, into `out`; NULL, or the condition of what is wrong with it. A base64 alphabet needs no references, so raw bytes
 * do. */
static const char *decode(const struct xml_element *e, struct buf *out, struct slice *data)
{
	*data = SLICE_NONE;
	if (e->nr_children > 0)
		return "malformed-request";
	if (e->inner.n == 0)
		return NULL;
	if (!slice_is(e->inner, "=") && base64_decode(out, e->inner) != 0)
		return "incorrect-encoding";
	*data = buf_len(out) > 0 ? buf_slice(out) : (struct slice){"", 0};
	return NULL;
}

static bool mechanism_name_ok(struct slice m)
{
	for (size_t i = 0; i < m.n; i++) {
		char c = m.p[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return m.n > 0 && m.n <= MECHANISM_MAX;
}

/* XEP-0178: a server's authorization identity is empty or the domain that its stream header names. */
static bool authzid_ok(const struct stream *s, struct slice data)
{
	char *domain;
	bool ok;

	if (s->role != STREAM_S2S_IN || data.n == 0)
		return true;
	domain = jid_prep_domain(data);
	ok = domain != NULL && s->peer != NULL && strcmp(domain, s->peer) == 0;
	free(domain);
	return ok;
}

enum gate_result sasl_auth(struct stream *s, const struct xml_element *e)
{
	struct slice mech = xml_attr_get(&e->head, "mechanism"), data;
	enum gate_result r = GATE_WAIT;
	const char *wrong;
	struct buf out;

	/* A second <auth/> inside an exchange is no retry: nothing defines it. */
	if (s->exchange)
		return stream_refuse(s, CLOSE_NOT_AUTHORIZED);
	if (!mechanism_name_ok(mech))
		return fail(s, "invalid-mechanism", NULL);
	buf_init(&out, s->limits->before_auth.element_bytes);
	wrong = decode(e, &out, &data);
	if (wrong == NULL && !authzid_ok(s, data))
		wrong = "invalid-authzid";
	if (wrong != NULL) {
		r = fail(s, wrong, NULL);
	} else {
		s->exchange = s->asked = true;
		s->ops->auth_start(s->arg, mech, data);
	}
	buf_wipe(&out);
	return r;
}

/* The client ended the exchange, or spoiled it. The owner's ends first: the next may begin in this input, and there is one at a time. */
static enum gate_result give_up(struct stream *s, const char *condition)
{
	s->ops->auth_abort(s->arg);
	return s->state < STREAM_CLOSING ? fail(s, condition, NULL) : GATE_CLOSE;
}

enum gate_result sasl_response(struct stream *s, const struct xml_element *e)
{
	enum gate_result r = GATE_WAIT;
	const char *wrong;
	struct slice data;
	struct buf out;

	if (!s->exchange)
		return fail(s, "malformed-request", NULL);
	buf_init(&out, s->limits->before_auth.element_bytes);
	wrong = decode(e, &out, &data);
	if (wrong == NULL && !authzid_ok(s, data))
		wrong = "invalid-authzid";
	if (data.p == NULL)
		data = (struct slice){"", 0};
	if (wrong != NULL) {
		r = give_up(s, wrong);
	} else {
		s->asked = true;
		s->ops->auth_step(s->arg, data);
	}
	buf_wipe(&out);
	return r;
}

enum gate_result sasl_abort(struct stream *s, const struct xml_element *e)
{
	(void)e;
	return s->exchange ? give_up(s, "aborted") : fail(s, "aborted", NULL);
}

/* --- the owner's answers --------------------------------------------------- */

static bool answers(struct stream *s)
{
	bool open = s->state == STREAM_WAIT_SASL && s->asked;

	if (open)
		s->asked = false;
	return open;
}

void stream_auth_challenge(struct stream *s, struct slice data)
{
	if (answers(s))
		send_data(s, "challenge", NULL, data.p ? data : (struct slice){"", 0});
}

void stream_auth_failure(struct stream *s, const char *condition, const char *text)
{
	const char *known = close_sasl_condition(condition);

	if (answers(s))
		(void)fail(s, strcmp(known, "undefined-condition") == 0 ? "not-authorized" : known, text);
}

/* Who it is from now on; false when the owner's word can't be used. */
static bool take_identity(struct stream *s, const char *user)
{
	if (s->role == STREAM_C2S)
		return jid_make(&s->jid, slice_str(user), slice_str(s->local), SLICE_NONE) == 0;
	if (s->peer == NULL)
		return false;
	/* Questions about other pairs belong to the stream that ends here. */
	pairs_clear(&s->pairs);
	return pairs_put(&s->pairs, s->peer, s->local, PAIR_OK) == 0;
}

void stream_auth_success(struct stream *s, const char *user, struct slice data)
{
	if (!answers(s))
		return;
	if (!take_identity(s, user)) {
		(void)fail(s, "not-authorized", NULL);
		return;
	}
	s->exchange = false;
	s->sasl_done = true;
	stream_authenticated(s);
	send_data(s, "success", NULL, data);
	stream_restart(s);
}

/* --- S2S_OUT: EXTERNAL (XEP-0178) ------------------------------------------- */

enum gate_result sasl_out_success(struct stream *s, const struct xml_element *e)
{
	(void)e;
	s->sasl_done = true;
	stream_restart(s);
	stream_out_begin(s);
	return GATE_RESTART;
}

/* A server that asks in spite of the initial response gets it again, once. */
enum gate_result sasl_out_challenge(struct stream *s, const struct xml_element *e)
{
	(void)e;
	if (s->external_answered)
		return stream_refuse(s, CLOSE_REFUSED);
	s->external_answered = true;
	send_data(s, "response", NULL, slice_str(s->local));
	return GATE_NEXT;
}

enum gate_result sasl_out_failure(struct stream *s, const struct xml_element *e)
{
	struct xml_tree *t = stream_tree(s, e);
	const char *condition = t ? stream_condition_of(xml_tree_root(t), NS_SASL) : NULL;

	s->detail = close_sasl_condition(condition);
	xml_tree_free(t);
	s->external_failed = true;
	return dialback_out_start(s) ? GATE_NEXT : stream_refuse(s, CLOSE_REFUSED);
}
