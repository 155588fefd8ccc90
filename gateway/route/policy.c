/*
 * Who may say what in whose name. Nothing passes from one side of the gateway to the other but through here. What comes in from the
 * network, and what goes to servers, was written anew by stanza_write(), with prepared addresses; what a service has for a client goes as
 * the bytes that were checked, as long as they mean the same in the client's stream.
 *
 * Which fault is whose (RFC 6120): a false `from` is a stream error (4.9.3.9), and so are missing or malformed addresses between servers
 * (4.9.3.7) and a first-level element that is no stanza (4.9.3.24). A client's malformed `to` (8.3.3.8) and an iq or presence that breaks
 * its own rules (8.2.3, RFC 6121 section 4.7.1) cost their sender that stanza only.
 */
#include "route/policy.h"

#include <stdlib.h>

#include "common/err.h"
#include "xml/ns.h"

static struct policy_result close_stream(const char *condition)
{
	return (struct policy_result){.verdict = POLICY_CLOSE, .condition = condition};
}

static struct policy_result reject(const char *type, const char *condition)
{
	return (struct policy_result){.verdict = POLICY_REJECT, .type = type, .condition = condition};
}

static bool is_one_of(struct slice s, const char *const *names)
{
	for (; *names != NULL; names++)
		if (slice_is(s, *names))
			return true;
	return false;
}

/* RFC 6120 section 8.2.3. Results and errors pass whatever they hold: nobody may answer them. */
static bool iq_ok(const struct xml_element *e)
{
	static const char *const answers[] = {"result", "error", NULL}, *const requests[] = {"get", "set", NULL};
	struct slice type = xml_attr_get(&e->head, "type");
	if (slice_empty(xml_attr_get(&e->head, "id")))
		return false;
	return is_one_of(type, answers) || (is_one_of(type, requests) && e->nr_children == 1);
}

/* RFC 6121 section 4.7.1. */
static bool presence_ok(const struct xml_element *e)
{
	static const char *const types[] = {"unavailable",  "subscribe", "subscribed", "unsubscribe",
					    "unsubscribed", "probe",     "error",      NULL};
	struct slice type = xml_attr_get(&e->head, "type");
	return type.p == NULL || is_one_of(type, types);
}

/* What the stanza's own kind demands. An unknown type of message counts as "normal" (RFC 6121 section 5.2.2) and passes as it is. */
static struct policy_result judge_kind(const struct xml_element *e, enum stanza_kind kind)
{
	bool ok = kind == STANZA_IQ ? iq_ok(e) : kind == STANZA_PRESENCE ? presence_ok(e) : true;
	return ok ? (struct policy_result){.verdict = POLICY_PASS} : reject("modify", "bad-request");
}

/* RFC 6120 section 8.1.2.1: absent, or the bare or full address that the stream was bound to. */
static bool client_from_ok(const struct xml_element *e, const struct jid *full)
{
	struct slice from = xml_attr_get(&e->head, "from");
	struct jid j;
	if (from.p == NULL || slice_eq(from, full->full))
		return true;
	if (jid_parse(&j, from) < 0)
		return false;
	bool ok = slice_eq(j.full, full->full) || slice_eq(j.full, full->bare);
	jid_clear(&j);
	return ok;
}

struct policy_result policy_from_client(const struct xml_element *e, const struct jid *full, struct buf *out)
{
	enum stanza_kind kind = stanza_kind(e, NS_CLIENT);
	if (kind == STANZA_NONE)
		return close_stream("unsupported-stanza-type");
	if (!client_from_ok(e, full))
		return close_stream("invalid-from");
	struct policy_result r = judge_kind(e, kind);
	struct slice to = xml_attr_get(&e->head, "to");
	struct jid j;
	jid_init(&j);
	if (to.p != NULL && jid_parse(&j, to) < 0)
		r = reject("modify", "jid-malformed");
	/* Without an address of its own, or with a malformed one, `to` stays as it came. */
	if (stanza_write(out, e, NS_CLIENT, NS_CLIENT, full->full, j.full) < 0)
		r = close_stream("policy-violation");
	jid_clear(&j);
	return r;
}

/* Prepared into j; absent, empty and malformed are the same. */
static bool server_address(struct jid *j, const struct xml_element *e, const char *name)
{
	return jid_parse(j, xml_attr_get(&e->head, name)) == 0;
}

struct policy_result policy_from_server(const struct xml_element *e, struct buf *out, char **from_domain, char **to_domain)
{
	*from_domain = *to_domain = NULL;
	enum stanza_kind kind = stanza_kind(e, NS_SERVER);
	if (kind == STANZA_NONE)
		return close_stream("unsupported-stanza-type");
	struct jid from, to;
	jid_init(&to);
	struct policy_result r;
	if (!server_address(&from, e, "from") || !server_address(&to, e, "to"))
		r = close_stream("improper-addressing");
	else if (stanza_write(out, e, NS_SERVER, NS_CLIENT, from.full, to.full) < 0)
		r = close_stream("policy-violation");
	else
		r = judge_kind(e, kind);
	if (r.verdict != POLICY_CLOSE) {
		*from_domain = mem_slicedup(from.domain);
		*to_domain = mem_slicedup(to.domain);
	}
	jid_clear(&from);
	jid_clear(&to);
	return r;
}

/* ---- from services ---- */

struct inward {
	struct buf *room;
	struct slice out;
	int err;
};

/* It was parsed behind nothing, so what it needs to be understood is in its bytes; but what one with a prefix holds in no namespace would
 * be in the client's default one. */
static void pass_to_client(void *arg, const struct xml_element *e)
{
	struct inward *i = arg;
	i->err = stanza_kind(e, NS_CLIENT) == STANZA_NONE ? -ERR_INVALID : 0;
	i->out = e->raw;
	if (i->err || e->head.prefix.n == 0)
		return;
	i->err = stanza_write(i->room, e, NS_CLIENT, NS_CLIENT, SLICE_NONE, SLICE_NONE);
	i->out = buf_slice(i->room);
}

int policy_to_client(struct slice xml, const struct xml_limits *limits, struct buf *room, struct slice *out)
{
	struct inward i = {.room = room};
	int err = stanza_parse(xml, limits, pass_to_client, &i);
	if (!err)
		err = i.err;
	*out = err ? SLICE_NONE : i.out;
	return err;
}

struct outward {
	struct buf *out;
	struct slice from_domain, to_domain;
	int err;
};

static void write_to_server(void *arg, const struct xml_element *e)
{
	struct outward *o = arg;
	struct jid from, to;
	o->err = stanza_kind(e, NS_CLIENT) == STANZA_NONE ? -ERR_INVALID : -ERR_DENIED;
	if (o->err == -ERR_INVALID || !server_address(&from, e, "from"))
		return;
	jid_init(&to);
	if (server_address(&to, e, "to") && slice_eq(to.domain, o->to_domain) &&
	    (slice_empty(o->from_domain) || slice_eq(from.domain, o->from_domain)))
		o->err = stanza_write(o->out, e, NS_CLIENT, NS_SERVER, from.full, to.full);
	jid_clear(&from);
	jid_clear(&to);
}

int policy_to_server(struct slice xml, const struct xml_limits *limits, struct slice from_domain, struct slice to_domain,
		     struct buf *out)
{
	struct outward o = {.out = out, .from_domain = from_domain, .to_domain = to_domain};
	int err = stanza_parse(xml, limits, write_to_server, &o);
	return err ? err : o.err;
}
