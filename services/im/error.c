/* Stanza errors (RFC 6120 section 8.3): which type goes with a condition, and which stanzas are never answered. */
#include "services/im/core.h"

static const struct { const char *condition, *type; } types[] = {
	{"bad-request", "modify"},
	{"forbidden", "auth"},
	{"internal-server-error", "cancel"},
	{"item-not-found", "cancel"},
	{"jid-malformed", "modify"},
	{"not-acceptable", "modify"},
	{"not-allowed", "cancel"},
	{"policy-violation", "modify"},
	{"recipient-unavailable", "wait"},
	{"remote-server-not-found", "cancel"},
	{"remote-server-timeout", "wait"},
	{"resource-constraint", "wait"},
	{"service-unavailable", "cancel"},
};

static const char *error_type(const char *condition)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strcmp(types[i].condition, condition) == 0)
			return types[i].type;
	}
	return "cancel";
}

/* Never an error for an error or a result; headlines that can't be delivered and mere availability are dropped (RFC 6121 section 8.5). */
static bool answerable(enum stanza_kind kind, struct slice type)
{
	if (kind == STANZA_NONE || slice_is(type, "error") || slice_is(type, "result"))
		return false;
	if (kind == STANZA_MESSAGE)
		return !slice_is(type, "headline");
	return kind == STANZA_IQ || !slice_is(type, "unavailable");
}

static void answer(struct im *im, const struct xml_element *e, const struct jid *from, const struct jid *to, const char *type,
		   const char *condition, struct im_work *w)
{
	struct buf out;
	buf_init(&out, IM_STANZA_MAX);
	if (stanza_write_error(&out, e, NS_CLIENT, type ? type : error_type(condition), condition, NULL) == 0)
		send_answer(im, to, from, buf_slice(&out), w);
	buf_clear(&out);
}

void error_reply(struct stanza *st, const char *condition)
{
	if (!answerable(st->kind, st->type))
		return;
	answer(st->im, st->e, st->from, &st->to, NULL, condition, st->work);
}

struct bounce {
	struct im *im;
	const char *type, *condition;
	struct im_work *work;
};

static void bounce_element(void *arg, const struct xml_element *e)
{
	struct bounce *b = arg;
	struct jid from, to;
	if (!answerable(stanza_kind(e, NS_CLIENT), xml_attr_get(&e->head, "type")))
		return;
	if (jid_parse(&from, xml_attr_get(&e->head, "from")) < 0)
		return;
	if (jid_parse(&to, stanza_to(e, &from)) == 0) {
		answer(b->im, e, &from, &to, b->type, b->condition, b->work);
		jid_clear(&to);
	}
	jid_clear(&from);
}

void error_bounce(struct im *im, struct slice xml, const char *condition, struct im_work *w)
{
	error_bounce_as(im, xml, NULL, condition, w);
}

void error_bounce_as(struct im *im, struct slice xml, const char *type, const char *condition, struct im_work *w)
{
	struct bounce b = {im, type, condition, w};
	if (stanza_parse(xml, &im_xml_limits, bounce_element, &b) < 0)
		return; /* it was a stanza when it came: only a store that was written by others gets here */
}
