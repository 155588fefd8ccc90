#include "stream/gate.h"

#include "stream/own.h"

/*
 * The table of all that a peer may say. The first row that matches wins; but for closing streams no two match the same element. A row
 * names the roles and states it holds for; `need` repeats what the states imply, so that a state entered by mistake does not open a door.
 */

const char gate_content[] = "";

enum { NEED_TLS = 1, NEED_PLAIN = 2, NEED_AUTH = 4, NEED_BIDI = 8 };

#define R(role) (1u << STREAM_##role)
#define S(state) (1u << STREAM_##state)
#define ACCEPTING (R(C2S) | R(S2S_IN))
#define ANY_ROLE (ACCEPTING | R(S2S_OUT))
#define ALIVE (S(WAIT_FEATURES) | S(WAIT_TLS) | S(WAIT_SASL) | S(WAIT_BIND) | S(WAIT_DIALBACK) | S(ESTABLISHED))
#define SECURED (S(WAIT_SASL) | S(WAIT_BIND) | S(ESTABLISHED))
#define PAIRING (S(WAIT_SASL) | S(ESTABLISHED))

static const struct gate_rule rules[] = {
	/* what comes most, and is nothing that another row means */
	{ ACCEPTING, S(ESTABLISHED), GATE_CONTENT, "message", NEED_TLS | NEED_AUTH, stream_take_stanza },   /* 8.2.1 */
	{ ACCEPTING, S(ESTABLISHED), GATE_CONTENT, "presence", NEED_TLS | NEED_AUTH, stream_take_stanza },  /* 8.2.2 */
	{ ACCEPTING, S(ESTABLISHED), GATE_CONTENT, "iq", NEED_TLS | NEED_AUTH, stream_take_stanza },        /* 8.2.3 */
	{ R(S2S_OUT), S(ESTABLISHED), GATE_CONTENT, "message", NEED_TLS | NEED_AUTH | NEED_BIDI, stream_take_stanza },   /* XEP-0288 */
	{ R(S2S_OUT), S(ESTABLISHED), GATE_CONTENT, "presence", NEED_TLS | NEED_AUTH | NEED_BIDI, stream_take_stanza },  /* XEP-0288 */
	{ R(S2S_OUT), S(ESTABLISHED), GATE_CONTENT, "iq", NEED_TLS | NEED_AUTH | NEED_BIDI, stream_take_stanza },        /* XEP-0288 */

	{ R(S2S_OUT) | R(S2S_IN), S(CLOSING), GATE_CONTENT, NULL, NEED_TLS | NEED_AUTH | NEED_BIDI, bidi_last },  /* RFC 6120 4.4 */
	{ ANY_ROLE, S(CLOSING), NULL, NULL, 0, stream_ignore },                                    /* RFC 6120 4.4 */
	{ ANY_ROLE, ALIVE, NS_STREAMS, "error", 0, stream_take_error },                            /* 4.9.1.1 */

	{ ACCEPTING, S(WAIT_TLS), NS_TLS, "starttls", NEED_PLAIN, tls_starttls },                  /* 5.4.2.1 */
	{ ACCEPTING, SECURED, NS_TLS, "starttls", NEED_TLS, tls_starttls_again },                  /* 5.4.2.2 */
	{ ACCEPTING, S(WAIT_TLS), NS_SASL, "auth", NEED_PLAIN, sasl_before_tls },                  /* 6.5.4 */
	{ R(S2S_IN), S(WAIT_TLS), NS_DIALBACK, NULL, NEED_PLAIN, tls_required },                   /* XEP-0220 2.4.2 */

	{ ACCEPTING, S(WAIT_SASL), NS_SASL, "auth", NEED_TLS, sasl_auth },                         /* 6.4.2 */
	{ ACCEPTING, S(WAIT_SASL), NS_SASL, "response", NEED_TLS, sasl_response },                 /* 6.4.3 */
	{ ACCEPTING, S(WAIT_SASL), NS_SASL, "abort", NEED_TLS, sasl_abort },                       /* 6.4.4 */

	{ R(C2S), S(WAIT_BIND), GATE_CONTENT, "iq", NEED_TLS | NEED_AUTH, bind_iq },               /* 7.6, 7.7 */

	{ R(C2S), S(WAIT_BIND), NS_SM, "resume", NEED_TLS | NEED_AUTH, sm_resume },                /* XEP-0198 5 */
	{ R(C2S), S(WAIT_BIND), NS_SM, "enable", NEED_TLS | NEED_AUTH, sm_unexpected },            /* XEP-0198 3: after bind only */
	{ R(C2S), S(ESTABLISHED), NS_SM, "resume", NEED_TLS | NEED_AUTH, sm_unexpected },          /* XEP-0198 5: before bind only */
	{ R(S2S_IN), S(ESTABLISHED), NS_SM, "resume", NEED_TLS | NEED_AUTH, sm_no_resume },        /* XEP-0198 5 */
	{ ACCEPTING, S(ESTABLISHED), NS_SM, "enable", NEED_TLS | NEED_AUTH, sm_enable },           /* XEP-0198 3 */
	{ R(S2S_OUT), S(ESTABLISHED), NS_SM, "enabled", NEED_TLS | NEED_AUTH, sm_out_enabled },    /* XEP-0198 3 */
	{ R(S2S_OUT), S(ESTABLISHED), NS_SM, "failed", NEED_TLS | NEED_AUTH, sm_out_failed },      /* XEP-0198 3 */
	{ ANY_ROLE, S(ESTABLISHED), NS_SM, "r", NEED_TLS | NEED_AUTH, sm_request },                /* XEP-0198 4 */
	{ ANY_ROLE, S(ESTABLISHED), NS_SM, "a", NEED_TLS | NEED_AUTH, sm_answer },                 /* XEP-0198 4 */

	{ R(S2S_IN), S(WAIT_SASL), NS_BIDI, "bidi", NEED_TLS, bidi_enable },                       /* XEP-0288 2.2 */

	{ R(S2S_IN), PAIRING, NS_DIALBACK, "result", NEED_TLS, dialback_result },                  /* XEP-0220 2.2.1 */
	{ R(S2S_IN), PAIRING, NS_DIALBACK, "verify", NEED_TLS, dialback_verify },                  /* XEP-0220 2.2.2 */

	{ R(S2S_OUT), S(WAIT_FEATURES), NS_STREAMS, "features", 0, stream_out_features },          /* 4.3.2 */
	{ R(S2S_OUT), S(WAIT_TLS), NS_TLS, "proceed", NEED_PLAIN, tls_proceed },                   /* 5.4.2.3 */
	{ R(S2S_OUT), S(WAIT_TLS), NS_TLS, "failure", NEED_PLAIN, tls_failure },                   /* 5.4.2.2 */
	{ R(S2S_OUT), S(WAIT_SASL), NS_SASL, "success", NEED_TLS, sasl_out_success },              /* 6.4.6 */
	{ R(S2S_OUT), S(WAIT_SASL), NS_SASL, "failure", NEED_TLS, sasl_out_failure },              /* 6.4.5 */
	{ R(S2S_OUT), S(WAIT_SASL), NS_SASL, "challenge", NEED_TLS, sasl_out_challenge },          /* 6.4.3 */
	{ R(S2S_OUT), S(WAIT_DIALBACK) | S(ESTABLISHED), NS_DIALBACK, "result", NEED_TLS, dialback_out_result }, /* XEP-0220 2.1.1, 2.6 */
	{ R(S2S_OUT), S(ESTABLISHED), NS_DIALBACK, "verify", NEED_TLS, dialback_out_verify },      /* XEP-0220 2.1.2 */
};

const struct gate_rule *gate_rules(size_t *nr)
{
	*nr = ARRAY_LEN(rules);
	return rules;
}

/* But for its roles and states. */
static bool matches(const struct gate_rule *r, const struct stream *s, const struct xml_head *h)
{
	const char *ns = r->ns == GATE_CONTENT ? stream_content_ns(s) : r->ns;

	return (ns == NULL || slice_is(h->ns, ns)) &&
	       (r->name == NULL || slice_is(h->name, r->name)) && (!(r->need & NEED_TLS) || s->secure) &&
	       (!(r->need & NEED_PLAIN) || !s->secure) && (!(r->need & NEED_AUTH) || s->authed) && (!(r->need & NEED_BIDI) || s->bidi);
}

const struct gate_rule *gate_find(const struct stream *s, const struct xml_element *e)
{
	unsigned role = 1u << s->role, state = 1u << s->state;

	for (const struct gate_rule *r = rules; r < rules + ARRAY_LEN(rules); r++) {
		if ((r->roles & role) && (r->states & state) && matches(r, s, &e->head))
			return r;
	}
	return NULL;
}
