/*
 * Property lists <-> the structs of link.h. Ranges are checked here, so that the engine sees sound values only; texts are copied to the
 * caller's struct message_text to end in NUL.
 */
#include "svcproto/message.h"

#include <string.h>

int message_parse(const struct wire_frame *f, struct props_value v[PROP_COUNT])
{
	const struct wire_rule *r = wire_rule(f->type);

	return r == NULL ? WIRE_E_TYPE : props_parse(f->body, f->length, r->required, r->allowed, v);
}

const char *message_text(struct message_text *t, const struct props_value *v)
{
	char *p = t->b + t->n;

	if (v->p == NULL)
		return NULL;
	memcpy(p, v->p, v->n);
	p[v->n] = '\0';
	t->n += v->n + 1;
	return p;
}

static void copy_text(char *to, size_t max, const struct props_value *v)
{
	size_t n = v->p == NULL ? 0 : v->n < max - 1 ? v->n : max - 1;

	if (n > 0)
		memcpy(to, v->p, n);
	to[n] = '\0';
}

bool message_flag(const struct props_value *v)
{
	return v->p != NULL && v->p[0] == 1;
}

static void put_limits(struct props_writer *w, const struct svc_hello *h)
{
	props_put_id(w, PROP_INSTANCE, &h->instance);
	props_put_u64(w, PROP_INCARNATION, h->incarnation);
	if (h->name[0] != '\0')
		props_put_text(w, PROP_NAME, h->name);
	props_put_u32(w, PROP_STANZA_BYTES_MAX, h->stanza_bytes_max);
	props_put_u32(w, PROP_STREAM_WINDOW_BYTES, h->stream_window_bytes);
	props_put_u32(w, PROP_UNACKED_STANZAS_MAX, h->unacked_stanzas_max);
	props_put_u32(w, PROP_UNACKED_BYTES_MAX, h->unacked_bytes_max);
	props_put_u32(w, PROP_STREAMS_MAX, h->streams_max);
}

static bool between(uint32_t v, uint32_t min, uint32_t max)
{
	return v >= min && v <= max;
}

bool message_limits_ok(const struct svc_hello *h)
{
	return between(h->stanza_bytes_max, MESSAGE_STANZA_MIN, MESSAGE_BYTES_MAX) &&
	       between(h->stream_window_bytes, MESSAGE_WINDOW_MIN, MESSAGE_BYTES_MAX) &&
	       between(h->unacked_stanzas_max, 1, MESSAGE_UNACKED_MAX) && between(h->unacked_bytes_max, 1, UINT32_MAX) &&
	       between(h->streams_max, 1, MESSAGE_BYTES_MAX);
}

static int get_limits(const struct props_value v[PROP_COUNT], struct svc_hello *h)
{
	memcpy(h->instance.b, v[PROP_INSTANCE].p, sizeof(h->instance.b));
	h->incarnation = props_u64(&v[PROP_INCARNATION]);
	copy_text(h->name, sizeof(h->name), &v[PROP_NAME]);
	h->stanza_bytes_max = props_u32(&v[PROP_STANZA_BYTES_MAX]);
	h->stream_window_bytes = props_u32(&v[PROP_STREAM_WINDOW_BYTES]);
	h->unacked_stanzas_max = props_u32(&v[PROP_UNACKED_STANZAS_MAX]);
	h->unacked_bytes_max = props_u32(&v[PROP_UNACKED_BYTES_MAX]);
	h->streams_max = props_u32(&v[PROP_STREAMS_MAX]);
	return message_limits_ok(h) ? WIRE_OK : WIRE_E_VALUE;
}

void message_put_hello(struct props_writer *w, const struct message_hello *m)
{
	props_put_u32(w, PROP_VERSION_MIN, m->version_min);
	props_put_u32(w, PROP_VERSION_MAX, m->version_max);
	put_limits(w, &m->who);
	if (m->reason[0] != '\0')
		props_put_text(w, PROP_REASON, m->reason);
}

int message_get_hello(const struct wire_frame *f, struct message_hello *m)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	m->version_min = props_u32(&v[PROP_VERSION_MIN]);
	m->version_max = props_u32(&v[PROP_VERSION_MAX]);
	copy_text(m->reason, sizeof(m->reason), &v[PROP_REASON]);
	if (m->version_min < 1 || m->version_max < m->version_min || m->version_max > UINT8_MAX)
		return WIRE_E_VALUE;
	return get_limits(v, &m->who);
}

void message_put_welcome(struct props_writer *w, const struct message_welcome *m)
{
	if (m->refused[0] != '\0') {
		props_put_text(w, PROP_REFUSED, m->refused);
		return;
	}
	props_put_u32(w, PROP_VERSION, m->version);
	put_limits(w, &m->who);
	if (m->streams_held > 0)
		props_put_u32(w, PROP_STREAMS_HELD, m->streams_held);
}

int message_get_welcome(const struct wire_frame *f, struct message_welcome *m)
{
	static const enum prop_name needed[] = {PROP_VERSION,
						PROP_INSTANCE,
						PROP_INCARNATION,
						PROP_STANZA_BYTES_MAX,
						PROP_STREAM_WINDOW_BYTES,
						PROP_UNACKED_STANZAS_MAX,
						PROP_UNACKED_BYTES_MAX,
						PROP_STREAMS_MAX};
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	memset(m, 0, sizeof(*m));
	copy_text(m->refused, sizeof(m->refused), &v[PROP_REFUSED]);
	if (v[PROP_REFUSED].p != NULL)
		return m->refused[0] != '\0' ? WIRE_OK : WIRE_E_VALUE;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (v[needed[i]].p == NULL)
			return WIRE_E_MISSING;
	m->version = props_u32(&v[PROP_VERSION]);
	if (m->version < 1 || m->version > UINT8_MAX)
		return WIRE_E_VALUE;
	m->streams_held = v[PROP_STREAMS_HELD].p != NULL ? props_u32(&v[PROP_STREAMS_HELD]) : 0;
	return get_limits(v, &m->who);
}

void message_put_reset(struct props_writer *w, const char *reason)
{
	props_put_text(w, PROP_REASON, reason);
}

int message_get_reset(const struct wire_frame *f, struct message_text *t, const char **reason)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	*reason = message_text(t, &v[PROP_REASON]);
	return WIRE_OK;
}

void message_put_ping(struct props_writer *w, const struct message_ping *m)
{
	props_put_u64(w, PROP_SENT, m->sent);
	props_put_u64(w, PROP_RECEIVED, m->received);
}

int message_get_ping(const struct wire_frame *f, struct message_ping *m)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	m->sent = props_u64(&v[PROP_SENT]);
	m->received = props_u64(&v[PROP_RECEIVED]);
	return WIRE_OK;
}

void message_put_open(struct props_writer *w, const struct svc_open *o)
{
	props_put_u32(w, PROP_KIND, o->kind);
	props_put_id(w, PROP_STREAM_ID, &o->stream_id);
	props_put_text(w, PROP_BARE_JID, o->bare_jid);
	props_put_text(w, PROP_RESOURCE, o->resource);
	props_put_text(w, PROP_MECHANISM, o->mechanism);
	props_put_text(w, PROP_ADDRESS, o->address);
	props_put_bool(w, PROP_SECURE, o->secure);
	props_put_text(w, PROP_FROM_DOMAIN, o->from_domain);
	props_put_text(w, PROP_TO_DOMAIN, o->to_domain);
	props_put_bool(w, PROP_CERTIFICATES_ONLY, o->certificates_only);
	if (o->kind == SVC_KIND_PEER)
		props_put_id(w, PROP_ORIGIN, &o->origin);
	if (o->last_acked != 0)
		props_put_u32(w, PROP_LAST_ACKED, o->last_acked);
}

/* What each kind of stream must say. */
static int open_complete(const struct svc_open *o)
{
	switch (o->kind) {
	case SVC_KIND_CLIENT:
		return o->bare_jid != NULL ? WIRE_OK : WIRE_E_MISSING;
	case SVC_KIND_PEER:
		if (o->bare_jid == NULL)
			return WIRE_E_MISSING;
		__attribute__((fallthrough));
	case SVC_KIND_SERVER_IN:
	case SVC_KIND_SERVER_OUT:
		return o->from_domain != NULL && o->to_domain != NULL ? WIRE_OK : WIRE_E_MISSING;
	}
	return 1;
}

int message_get_open(const struct wire_frame *f, struct message_text *t, struct svc_open *o)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	o->kind = (enum svc_kind)props_u32(&v[PROP_KIND]);
	memcpy(o->stream_id.b, v[PROP_STREAM_ID].p, sizeof(o->stream_id.b));
	o->bare_jid = message_text(t, &v[PROP_BARE_JID]);
	o->resource = message_text(t, &v[PROP_RESOURCE]);
	o->mechanism = message_text(t, &v[PROP_MECHANISM]);
	o->address = message_text(t, &v[PROP_ADDRESS]);
	o->secure = message_flag(&v[PROP_SECURE]);
	o->from_domain = message_text(t, &v[PROP_FROM_DOMAIN]);
	o->to_domain = message_text(t, &v[PROP_TO_DOMAIN]);
	o->certificates_only = message_flag(&v[PROP_CERTIFICATES_ONLY]);
	memset(&o->origin, 0, sizeof(o->origin));
	if (v[PROP_ORIGIN].p != NULL)
		memcpy(o->origin.b, v[PROP_ORIGIN].p, sizeof(o->origin.b));
	else if (o->kind == SVC_KIND_PEER)
		return WIRE_E_MISSING;
	o->last_acked = v[PROP_LAST_ACKED].p != NULL ? props_u32(&v[PROP_LAST_ACKED]) : 0;
	return open_complete(o);
}

bool message_may_open(enum svc_kind kind, enum svc_side opener)
{
	switch (kind) {
	case SVC_KIND_CLIENT:
	case SVC_KIND_SERVER_IN:
		return opener == SVC_GATEWAY;
	case SVC_KIND_SERVER_OUT:
		return opener == SVC_SERVICE;
	case SVC_KIND_PEER:
		return true;
	}
	return false;
}

bool message_open_fits(const struct svc_open *o)
{
	return open_complete(o) == WIRE_OK && props_text_fits(PROP_BARE_JID, o->bare_jid) && props_text_fits(PROP_RESOURCE, o->resource) &&
	       props_text_fits(PROP_MECHANISM, o->mechanism) && props_text_fits(PROP_ADDRESS, o->address) &&
	       props_text_fits(PROP_FROM_DOMAIN, o->from_domain) && props_text_fits(PROP_TO_DOMAIN, o->to_domain);
}

void message_put_accept(struct props_writer *w, const char *full_jid, uint32_t stanza_bytes_max)
{
	props_put_text(w, PROP_FULL_JID, full_jid);
	if (stanza_bytes_max != 0)
		props_put_u32(w, PROP_STANZA_BYTES_MAX, stanza_bytes_max);
}

int message_get_accept(const struct wire_frame *f, struct message_text *t, const char **full_jid, uint32_t *stanza_bytes_max)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	*full_jid = message_text(t, &v[PROP_FULL_JID]);
	*stanza_bytes_max = v[PROP_STANZA_BYTES_MAX].p != NULL ? props_u32(&v[PROP_STANZA_BYTES_MAX]) : 0;
	return WIRE_OK;
}

void message_put_refuse(struct props_writer *w, const struct svc_refusal *r)
{
	props_put_text(w, PROP_TYPE, r->type);
	props_put_text(w, PROP_CONDITION, r->condition);
	props_put_text(w, PROP_TEXT, r->text);
	props_put_text(w, PROP_SEE_OTHER_HOST, r->see_other_host);
	props_put_bool(w, PROP_STREAM_ERROR, r->stream_error);
	if (!r->counted)
		return;
	props_put_u32(w, PROP_H, r->h);
	props_put_u32(w, PROP_SENT_H, r->sent);
}

int message_get_refuse(const struct wire_frame *f, struct message_text *t, struct svc_refusal *r)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	r->type = message_text(t, &v[PROP_TYPE]);
	r->condition = message_text(t, &v[PROP_CONDITION]);
	r->text = message_text(t, &v[PROP_TEXT]);
	r->see_other_host = message_text(t, &v[PROP_SEE_OTHER_HOST]);
	r->stream_error = message_flag(&v[PROP_STREAM_ERROR]);
	r->counted = v[PROP_H].p != NULL && v[PROP_SENT_H].p != NULL;
	r->h = r->counted ? props_u32(&v[PROP_H]) : 0;
	r->sent = r->counted ? props_u32(&v[PROP_SENT_H]) : 0;
	return r->condition[0] != '\0' ? WIRE_OK : WIRE_E_VALUE;
}

bool message_refuse_fits(const struct svc_refusal *r)
{
	return r->condition != NULL && r->condition[0] != '\0' && props_text_fits(PROP_CONDITION, r->condition) &&
	       props_text_fits(PROP_TYPE, r->type) && props_text_fits(PROP_TEXT, r->text) &&
	       props_text_fits(PROP_SEE_OTHER_HOST, r->see_other_host);
}

void message_put_close(struct props_writer *w, const char *condition, const char *why)
{
	props_put_text(w, PROP_CONDITION, condition);
	props_put_text(w, PROP_TEXT, why);
}

int message_get_close(const struct wire_frame *f, struct message_text *t, const char **condition, const char **why)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	*condition = message_text(t, &v[PROP_CONDITION]);
	*why = message_text(t, &v[PROP_TEXT]);
	return WIRE_OK;
}

size_t message_put_reject(uint8_t p[WIRE_REJECT_MAX], const char *type, const char *condition)
{
	struct props_writer w = { .p = p + 2, .max = WIRE_REJECT_MAX - 2 };

	if (type == NULL || condition == NULL || !props_text_fits(PROP_TYPE, type) || !props_text_fits(PROP_CONDITION, condition))
		return 0;
	props_put_text(&w, PROP_TYPE, type);
	props_put_text(&w, PROP_CONDITION, condition);
	wire_put_u16(p, (uint16_t)w.n);
	return w.overflow ? 0 : w.n + 2;
}

int message_get_reject(const uint8_t *p, size_t n, struct message_text *t, const char **type, const char **condition, size_t *used)
{
	const uint64_t both = PROP_BIT(PROP_TYPE) | PROP_BIT(PROP_CONDITION);
	struct props_value v[PROP_COUNT];
	size_t list;
	int rc;

	if (n < 2)
		return WIRE_E_SHORT;
	list = wire_get_u16(p);
	if (list > WIRE_REJECT_MAX - 2)
		return WIRE_E_LONG;
	if (list > n - 2)
		return WIRE_E_SHORT;
	rc = props_parse(p + 2, list, both, both, v);
	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	*type = message_text(t, &v[PROP_TYPE]);
	*condition = message_text(t, &v[PROP_CONDITION]);
	*used = list + 2;
	return WIRE_OK;
}
